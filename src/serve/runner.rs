//! Lets builds begin as the budget has room for them, and writes down how they end.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::{Build, BuildId, Ending, State};
use super::journal::{self, Journal};
use super::queue::QueueError;
use super::request::{Context, OWN_DOCKERFILE, Request};
use super::worker::{self, Job, Stop, WorkerEnd};
use super::{Service, deploying, upload};

/// The file that a worker gets its work from.
const JOB: &str = "job.json";
/// What a worker writes down when it is done.
pub(super) const RESULT: &str = "result.json";
/// The directory that a worker runs in.
const WORK: &str = "work";

/// The builds that run, and how to stop them.
#[derive(Debug, Default)]
pub(super) struct Stops {
    senders: Mutex<HashMap<BuildId, watch::Sender<Option<Stop>>>>,
}

impl Stops {
    fn add(&self, id: &BuildId) -> watch::Receiver<Option<Stop>> {
        let sender = watch::Sender::new(None);
        let receiver = sender.subscribe();
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        receiver
    }

    fn remove(&self, id: &BuildId) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Stops a build, if it runs.
    pub(super) fn cancel(&self, id: &BuildId) {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(id) {
            sender.send_replace(Some(Stop::Cancel));
        }
    }

    fn shut_down(&self) {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in senders.values() {
            sender.send_if_modified(|stop| {
                let is_new = stop.is_none();
                if is_new {
                    *stop = Some(Stop::Shutdown);
                }
                is_new
            });
        }
    }
}

/// Runs builds until the service stops; those that run then have the grace period to end.
pub(super) async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let mut builds = JoinSet::new();
    loop {
        if *stopping.borrow() {
            break;
        }
        match service.queue.begin_next(service.settings.budget).await {
            Ok(Some(build)) => {
                let service = Arc::clone(&service);
                builds.spawn(async move { run_one(&service, build).await });
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = crate::pipeline::describe(&error), "the queue fails");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        tokio::select! {
            () = service.wake.notified() => {}
            Some(_) = builds.join_next() => {}
            _ = stopping.changed() => {}
        }
    }
    let grace = tokio::time::sleep(service.settings.grace);
    tokio::pin!(grace);
    let mut is_patient = true;
    while !builds.is_empty() {
        tokio::select! {
            _ = builds.join_next() => {}
            () = &mut grace, if is_patient => {
                is_patient = false;
                tracing::info!(builds = builds.len(), "handing back what is not done");
                service.stops.shut_down();
            }
        }
    }
}

async fn run_one(service: &Service, build: Build) {
    let id = build.id.clone();
    tracing::info!(build = %id, project = build.project, attempt = build.attempts, "begun");
    service.metrics.begun(&build);
    service.hub.tell(&id);
    let ended = match attempt(service, &build).await {
        Ok(next) => settle(service, &build, next).await,
        Err(error) => {
            let error = format!("the service cannot run this build: {error}");
            service.queue.end(id.clone(), Ending::Failed { error, exit_code: None }, None).await
        }
    };
    service.stops.remove(&id);
    match ended {
        Ok(Some(build)) => after(service, &build),
        Ok(None) => service.hub.end(&id),
        // It stays as running, and is recovered when the service starts again.
        Err(error) => {
            tracing::error!(build = %id, error = crate::pipeline::describe(&error), "its end cannot be kept");
            service.hub.end(&id);
        }
    }
    service.wake.notify_one();
}

/// What is told when a build has come to its end, or waits again.
pub(super) fn after(service: &Service, build: &Build) {
    if !build.state.is_end() {
        tracing::info!(build = %build.id, "waits again");
        service.hub.tell(&build.id);
        return;
    }
    let digest = build.result.as_ref().map(|built| built.digest.to_string());
    tracing::info!(
        build = %build.id,
        project = build.project,
        state = build.state.name(),
        digest,
        error = build.error,
        "ended"
    );
    service.metrics.ended(build);
    service.hub.end(&build.id);
}

/// Waits until a build is to be stopped.
async fn stop(mut stops: watch::Receiver<Option<Stop>>) -> Stop {
    loop {
        if let Some(stop) = *stops.borrow_and_update() {
            return stop;
        }
        if stops.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What comes after an attempt.
#[derive(Debug)]
pub(super) enum Next {
    End(Ending),
    /// The worker was killed.
    Interrupted(String),
    /// The service stops.
    HandBack,
}

async fn settle(service: &Service, build: &Build, next: Next) -> Result<Option<Build>, QueueError> {
    let id = build.id.clone();
    match next {
        Next::End(ending) => {
            let cache = journal::cache_use(&journal::directory(&service.settings.data, &id));
            service.queue.end(id, ending, cache).await
        }
        Next::Interrupted(why) => service.queue.interrupt(id, why).await,
        Next::HandBack => service.queue.hand_back(id).await,
    }
}

async fn attempt(service: &Service, build: &Build) -> io::Result<Next> {
    let settings = &service.settings;
    let directory = journal::directory(&settings.data, &build.id);
    std::fs::create_dir_all(&directory)?;
    let mut journal = Journal::open(&directory, settings.max_log)?;
    if build.attempts > 1 {
        let what = if build.is_deploying() { "deploying" } else { "the build" };
        journal.note(&format!("{what} did not come to its end; it is done again"))?;
    }
    let stops = service.stops.add(&build.id);
    // Somebody may have cancelled it between its beginning and this.
    let noted = service.queue.get(build.id.clone()).await;
    if noted.is_ok_and(|build| build.is_cancelling || build.state != State::Running) {
        service.stops.cancel(&build.id);
    }
    if let Some(built) = build.result.clone().filter(|_| build.is_deploying()) {
        return deploying::run(service, build, built, &mut journal, stop(stops)).await;
    }
    let context = build.upload.as_ref().map(|upload| upload::path(&settings.data, &upload.digest.hex()));
    let work = prepare_work(&directory, &build.request)?;
    let group = match &service.groups {
        Some(groups) => Some(groups.make(build.id.as_str(), build.need.memory)?),
        None => None,
    };
    let job = Job {
        arguments: arguments(service, build, &directory),
        lock: directory.join("lock"),
        group: group.as_ref().map(|group| group.path().to_owned()),
        memory: build.need.memory,
    };
    let job_file = directory.join(JOB);
    write_private(&job_file, &serde_json::to_vec(&job)?)?;
    let stopped = stop(stops.clone());
    let config = service.herald.config();
    let hidden: Vec<String> =
        config.secrets().filter_map(|place| place.variable()).map(str::to_owned).collect();
    let child = worker::start(&job_file, &work, context.as_deref(), &hidden)?;
    let limit = Duration::from_secs(build.timeout_seconds);
    let ended =
        worker::supervise(child, &mut journal, limit, stopped, || service.hub.tell(&build.id)).await?;
    let out_of_memory = group.as_ref().is_some_and(super::memory::Group::was_out_of_memory);
    // It has build arguments, and perhaps a login.
    std::fs::remove_file(&job_file)?;
    std::fs::remove_dir_all(&work)?;
    let failed = |error: String, exit_code| Next::End(Ending::Failed { error, exit_code });
    Ok(match ended {
        WorkerEnd::Exited(0) => match worker::result(&directory.join(RESULT)) {
            Some(built) if build.request.set_image.is_empty() => Next::End(Ending::Succeeded(built)),
            Some(built) => deploying::run(service, build, built, &mut journal, stop(stops)).await?,
            None => failed("the worker did not say what it has built".to_owned(), Some(0)),
        },
        WorkerEnd::Exited(_) | WorkerEnd::Killed(_) if out_of_memory => {
            let error = format!("the build wanted more memory than its limit of {} bytes", build.need.memory);
            journal.note(&error)?;
            failed(error, None)
        }
        WorkerEnd::Exited(code) => {
            let error =
                journal.error().unwrap_or_else(|| format!("the worker ended with the exit code {code}"));
            failed(error, Some(code))
        }
        WorkerEnd::Killed(signal) => {
            let why = format!("the build's worker was killed by the signal {signal}");
            journal.note(&why)?;
            Next::Interrupted(why)
        }
        WorkerEnd::TimedOut => {
            let error = format!("the build took longer than {} seconds", build.timeout_seconds);
            journal.note(&error)?;
            failed(error, None)
        }
        WorkerEnd::Cancelled => {
            journal.note("cancelled")?;
            Next::End(Ending::Cancelled { reason: "cancelled while it was running".to_owned() })
        }
        WorkerEnd::Stopped => Next::HandBack,
    })
}

/// An empty directory, but for a Dockerfile that came with the request.
fn prepare_work(directory: &Path, request: &Request) -> io::Result<std::path::PathBuf> {
    let work = directory.join(WORK);
    for stale in [std::fs::remove_dir_all(&work), std::fs::remove_file(directory.join(RESULT))] {
        match stale {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::create_dir(&work)?;
    if let Some(text) = &request.dockerfile_text {
        std::fs::write(work.join(OWN_DOCKERFILE), text)?;
    }
    Ok(work)
}

fn arguments(service: &Service, build: &Build, directory: &Path) -> Vec<String> {
    let settings = &service.settings;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![
        "build".to_owned(),
        "--progress=json".to_owned(),
        format!("--store={}", path(&settings.store)),
        format!("--metadata-file={}", path(&directory.join(RESULT))),
        format!("--source-reach={}", settings.reach),
    ];
    arguments.extend(settings.build_arguments.iter().cloned());
    // In the directory that the worker runs in.
    arguments.extend(build.request.arguments(OWN_DOCKERFILE));
    arguments.push("--".to_owned());
    arguments.push(match &build.request.context {
        None => "-".to_owned(),
        Some(Context::Artifact(text)) => text.clone(),
        Some(Context::Git(git)) => git.address(&service.logins.address(&git.url)),
    });
    arguments
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Settles what an earlier run of the service has left.
pub(super) async fn recover(service: &Service) -> Result<(), QueueError> {
    let data = service.settings.data.clone();
    let recovered =
        service.queue.recover(move |id| worker::result(&journal::directory(&data, id).join(RESULT))).await?;
    for id in &recovered.again {
        tracing::warn!(build = %id, "was running when the service stopped; it waits again");
    }
    for build in &recovered.ended {
        after(service, build);
    }
    tracing::info!(again = recovered.again.len(), ended = recovered.ended.len(), "recovered");
    Ok(())
}
