//! The end of a build: written once, to the Job, by whoever comes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use tokio::sync::mpsc;

use super::record::{self, DEPLOYING, Deploying, END, End};
use super::{Fleet, mirror};
use crate::image::ImageRef;
use crate::kube::{self, JobState, KubeError, Patched};
use crate::pipeline::describe;
use crate::registry::{CredentialPlaces, Credentials, Registries};
use crate::serve::Service;
use crate::serve::build::{Build, BuildId, Built, Ending, Moment, State};
use crate::serve::deploy;
use crate::serve::journal;
use crate::serve::queue::QueueError;

/// How often a replica that deploys shows that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// A replica that has not shown that it lives for so long has lost what it was deploying. By the clock of who watches it.
const LIFETIME: Duration = Duration::from_secs(20);

/// How long is waited before the cluster is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// Seconds of a Job that is to end now. Nothing else ends a Job and keeps it.
const NOW: i64 = 1;

/// What an attempt to write something came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// There is an end.
    Settled,
    /// Somebody has changed the Job meanwhile.
    Again,
}

/// Sees to it that the end is written, by this replica or another; and before that, that the image is deployed.
pub(super) async fn settle(service: &Arc<Service>, fleet: &Fleet, name: &str, ending: &Ending) {
    loop {
        match Box::pin(attempt(service, fleet, name, ending)).await {
            Ok(Attempt::Settled) => return,
            Ok(Attempt::Again) => {}
            Err(error) => {
                tracing::warn!(
                    job = name,
                    error = describe(&error),
                    "the end of a build cannot be written; trying again"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn attempt(
    service: &Arc<Service>,
    fleet: &Fleet,
    name: &str,
    ending: &Ending,
) -> Result<Attempt, KubeError> {
    let Some(job) = kube::get(&fleet.cluster, name).await? else { return Ok(Attempt::Settled) };
    let Some(build) = record::read(&job) else { return Ok(Attempt::Settled) };
    if build.state.is_end() {
        // Written by this replica, if the answer was lost.
        conclude(service, fleet, &job, build).await;
        return Ok(Attempt::Settled);
    }
    match ending {
        Ending::Succeeded(built) if !build.request.set_image.is_empty() => {
            Box::pin(deploy(service, fleet, job, build, built)).await
        }
        ending => write(service, fleet, &job, build, ending.clone()).await,
    }
}

/// Writes the end to the version of the Job that was read.
async fn write(
    service: &Arc<Service>,
    fleet: &Fleet,
    job: &Job,
    mut build: Build,
    ending: Ending,
) -> Result<Attempt, KubeError> {
    let deadline = (!JobState::of(job).has_ended()).then_some(NOW);
    build.end(ending, Moment::now());
    build.cache = journal::cache_use(&journal::directory(&service.settings.data, &build.id));
    let end = serde_json::to_string(&End::of(&build, &fleet.replica)).map_err(KubeError::Json)?;
    let annotations = BTreeMap::from([(END, Some(end)), (DEPLOYING, None)]);
    match kube::patch(&fleet.cluster, job, &annotations, deadline).await? {
        Patched::Done(job) => {
            conclude(service, fleet, &job, build).await;
            Ok(Attempt::Settled)
        }
        Patched::Outdated => Ok(Attempt::Again),
    }
}

/// Does what follows from an end, if this replica has written it, once.
async fn conclude(service: &Arc<Service>, fleet: &Fleet, job: &Job, build: Build) {
    if record::end(job).is_none_or(|end| end.by != fleet.replica) {
        return;
    }
    if std::mem::replace(&mut fleet.known().entry(build.id.clone()).or_default().is_settled, true) {
        return;
    }
    if let Err(error) = mirror(service, build.clone()).await {
        tracing::error!(build = %build.id, error = describe(&error), "the mirror fails");
    }
    crate::serve::runner::after(service, &build);
    let contexts = kube::context_annotation(job).unwrap_or_default().to_owned();
    for context in contexts.split_whitespace() {
        if let Err(reason) = remove_context(fleet, context).await {
            tracing::info!(context, reason, "the context of a build stays in its registry");
        }
    }
}

/// Removes what a Job had its files from. A registry that does not let that happen has it cleaned up in its own way.
pub(super) async fn remove_context(fleet: &Fleet, name: &str) -> Result<(), String> {
    let image: ImageRef = name.parse().map_err(|error| describe(&error))?;
    let Some(digest) = image.digest() else { return Err("it has no digest".to_owned()) };
    let credentials =
        Credentials::load(&CredentialPlaces::from_environment()).map_err(|error| describe(&error))?;
    let registries =
        Registries::new(fleet.settings.registries.clone(), credentials).map_err(|error| describe(&error))?;
    let repository = registries.repository(image.repository()).map_err(|error| describe(&error))?;
    repository.delete_manifest(digest).await.map(drop).map_err(|error| describe(&error))
}

/// Why a build is not cancelled.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum CancelError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Kube(#[from] KubeError),
}

/// Cancels a build, whatever it is at: its end is written, and its Job told to end.
pub(in crate::serve) async fn cancel(
    service: &Arc<Service>,
    fleet: &Fleet,
    id: &BuildId,
    by: &str,
) -> Result<Build, CancelError> {
    let reason = |build: &Build| match build.state {
        State::Queued => format!("cancelled by {by}"),
        _ if build.is_deploying() => "cancelled while it was being deployed; the image is pushed".to_owned(),
        _ => "cancelled while it was running".to_owned(),
    };
    loop {
        let Some(job) = fleet.find(id).await? else { return Err(QueueError::NoBuild(id.clone()).into()) };
        let Some(mut build) = record::read(&job) else {
            return Err(QueueError::NoBuild(id.clone()).into());
        };
        match build.state {
            State::Cancelled => return Ok(build),
            State::Succeeded | State::Failed => return Err(QueueError::HasEnded(id.clone()).into()),
            State::Queued | State::Running => {}
        }
        deploy::stopped(&mut build.deployments, "cancelled");
        let ending = Ending::Cancelled { reason: reason(&build) };
        write(service, fleet, &job, build, ending).await?;
    }
}

/// Cancels a build that waits for another one's sake; one that has begun by now goes on.
pub(super) async fn supersede(
    service: &Arc<Service>,
    fleet: &Fleet,
    job: &Job,
    by: &BuildId,
) -> Result<(), KubeError> {
    let Some(mut build) = record::read(job) else { return Ok(()) };
    if build.state != State::Queued || build.id >= *by {
        return Ok(());
    }
    build.superseded_by = Some(by.clone());
    let ending = Ending::Cancelled { reason: format!("superseded by {by}") };
    // Who has changed the Job meanwhile is its controller, since it begins.
    write(service, fleet, job, build, ending).await.map(drop)
}

/// Deploys a build, or waits until another replica has.
async fn deploy(
    service: &Arc<Service>,
    fleet: &Fleet,
    job: Job,
    build: Build,
    built: &Built,
) -> Result<Attempt, KubeError> {
    let Some((job, before)) = claim_of_the_dead(fleet, job).await? else { return Ok(Attempt::Again) };
    let planned = match before {
        Some(before) => Ok(before.deployments),
        None => service.deployer.plan(&build, built.digest),
    };
    let deployments = match planned {
        Ok(deployments) => deployments,
        Err(reason) => {
            let error = format!("the image is pushed, but cannot be deployed: {reason}");
            let build = Build { result: Some(built.clone()), ..build };
            return write(service, fleet, &job, build, Ending::Failed { error, exit_code: None }).await;
        }
    };
    let how_far = Deploying { owner: fleet.replica.clone(), beat: 0, result: built.clone(), deployments };
    let mut own = Claim { fleet, job, how_far };
    if !own.write().await? {
        return Ok(Attempt::Again);
    }
    let begun = deploy::begun_at(&build);
    let used = Duration::from_millis((Moment::now().0 - begun.0).max(0).unsigned_abs());
    let left = Duration::from_secs(build.timeout_seconds).saturating_sub(used);
    let planned = own.how_far.deployments.clone();
    let (sender, mut news) = mpsc::unbounded_channel();
    let rolling = service.deployer.roll_out(&planned, &sender);
    let deadline = tokio::time::sleep(left);
    let mut beat = tokio::time::interval(BEAT);
    tokio::pin!(rolling, deadline);
    let ending = loop {
        tokio::select! {
            biased;
            Some(news) = news.recv() => {
                deploy::note(&mut own.how_far.deployments, &news);
                if !own.write().await? {
                    return Ok(Attempt::Again);
                }
            }
            ended = &mut rolling => {
                while let Ok(news) = news.try_recv() {
                    deploy::note(&mut own.how_far.deployments, &news);
                }
                break match ended {
                    Ok(()) => Ending::Succeeded(built.clone()),
                    Err((index, reason)) => {
                        let error = deploy::failed(&mut own.how_far.deployments, index, &reason);
                        Ending::Failed { error, exit_code: None }
                    }
                };
            }
            () = &mut deadline => {
                deploy::stopped(&mut own.how_far.deployments, "the build took too long");
                let seconds = build.timeout_seconds;
                let error = format!(
                    "the image is pushed, but the build took longer than {seconds} seconds before it was deployed"
                );
                break Ending::Failed { error, exit_code: None };
            }
            _ = beat.tick() => {
                if !own.write().await? {
                    return Ok(Attempt::Again);
                }
            }
        }
    };
    let Claim { job, how_far, .. } = own;
    let build = Build { result: Some(built.clone()), deployments: how_far.deployments, ..build };
    write(service, fleet, &job, build, ending).await
}

/// A deployment that this replica is at.
struct Claim<'a> {
    fleet: &'a Fleet,
    job: Job,
    how_far: Deploying,
}

impl Claim<'_> {
    /// Writes how far it is; whether it is still this replica's.
    async fn write(&mut self) -> Result<bool, KubeError> {
        loop {
            self.how_far.beat += 1;
            let text = serde_json::to_string(&self.how_far).map_err(KubeError::Json)?;
            let annotations = BTreeMap::from([(DEPLOYING, Some(text))]);
            match kube::patch(&self.fleet.cluster, &self.job, &annotations, None).await? {
                Patched::Done(job) => {
                    self.job = *job;
                    return Ok(true);
                }
                Patched::Outdated => {
                    let name = self.job.metadata.name.clone().unwrap_or_default();
                    let Some(job) = kube::get(&self.fleet.cluster, &name).await? else { return Ok(false) };
                    let has_ended = record::end(&job).is_some();
                    let owner = record::deploying(&job).map(|claim| claim.owner);
                    // Taken by another one, which may be before this one's first.
                    if has_ended
                        || owner.is_some_and(|owner| !owner.is_empty() && owner != self.fleet.replica)
                    {
                        return Ok(false);
                    }
                    self.job = job;
                }
            }
        }
    }
}

/// Waits until nobody who lives deploys the build. `None` if it has ended.
async fn claim_of_the_dead(
    fleet: &Fleet,
    mut job: Job,
) -> Result<Option<(Job, Option<Deploying>)>, KubeError> {
    let mut seen: Option<(String, u64)> = None;
    let mut since = Instant::now();
    loop {
        if record::end(&job).is_some() {
            return Ok(None);
        }
        let Some(claim) = record::deploying(&job) else { return Ok(Some((job, None))) };
        if claim.owner.is_empty() || claim.owner == fleet.replica {
            return Ok(Some((job, Some(claim))));
        }
        let now = Some((claim.owner.clone(), claim.beat));
        if seen == now {
            if since.elapsed() >= LIFETIME {
                tracing::warn!(
                    job = job.metadata.name,
                    owner = claim.owner,
                    "taking over from a replica that is silent"
                );
                return Ok(Some((job, Some(claim))));
            }
        } else {
            (seen, since) = (now, Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
        let name = job.metadata.name.clone().unwrap_or_default();
        match kube::get(&fleet.cluster, &name).await? {
            Some(newer) => job = newer,
            None => return Ok(None),
        }
    }
}

/// Leaves what this replica deploys to others, at once rather than when they notice.
pub(super) async fn give_up(fleet: &Fleet) {
    let Ok(jobs) = kube::find(&fleet.cluster, record::SELECTOR).await else { return };
    for job in jobs {
        let Some(claim) = record::deploying(&job).filter(|claim| claim.owner == fleet.replica) else {
            continue;
        };
        let left = Deploying { owner: String::new(), ..claim };
        let Ok(text) = serde_json::to_string(&left) else { continue };
        // Who cannot be told finds out.
        let _ = kube::patch(&fleet.cluster, &job, &BTreeMap::from([(DEPLOYING, Some(text))]), None).await;
    }
}
