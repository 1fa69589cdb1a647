//! A submission from end to end.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::prepare::{PrepareError, Prepared, PushedContext, prepare};
use super::{DryRun, SubmitArguments};
use crate::cli::build::{Failure, complain, say};
use crate::cli::progress::Progress;
use crate::context::fetch::ArtifactError;
use crate::exec::SecretValue;
use crate::image::{ImageRef, RepoName};
use crate::kube::{
    self, ApiError, Cluster, Created, Follow, Format, JobResult, KubeError, Line, Logins, Objects,
    Permissions, PodSecurity,
};
use crate::layer::Digest;
use crate::pipeline::describe;
use crate::registry::{
    CredentialPlaces, Credentials, CredentialsError, Registries, RegistryError, SettingsError,
};

/// How long cleaning up may take when somebody has interrupted.
const CLEAN_LIMIT: Duration = Duration::from_secs(20);

/// The exit code of what was interrupted, as of a local build.
const INTERRUPTED: u8 = 130;

/// Why a build was not submitted, or not well.
#[derive(Debug, thiserror::Error)]
enum SubmitError {
    /// It cannot be a Job.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The cluster.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// Credentials for registries cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Settings for registries cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The context cannot be pushed.
    #[error("cannot push the build context to `{repository}`; `--context-repo` names another place")]
    Push {
        /// Where to.
        repository: String,
        /// Why.
        #[source]
        source: ArtifactError,
    },
    /// A context that is of no use any more cannot be removed.
    #[error("cannot remove the context `{name}` from its registry")]
    Remove {
        /// The context.
        name: String,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// The runtime does not start.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// Standard output is closed.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    /// The build has failed.
    #[error("the Job `{name}` has failed: {reason}")]
    Failed {
        /// The Job.
        name: String,
        /// Why.
        reason: String,
        /// The exit code of the build.
        code: u8,
    },
    /// Somebody has interrupted.
    #[error("interrupted; the Job is deleted")]
    Interrupted,
}

pub(super) fn run(arguments: &SubmitArguments) -> ExitCode {
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(SubmitError::Prepare(PrepareError::Build(error))) => Failure::Build(error).report(),
        Err(error) => {
            let code = match &error {
                SubmitError::Failed { code, .. } => *code,
                SubmitError::Interrupted => INTERRUPTED,
                _ => 1,
            };
            complain_of(&error);
            ExitCode::from(code)
        }
    }
}

/// Says why, as every other failure is said; what follows on further lines is advice.
pub(in crate::cli) fn complain_of(error: &dyn std::error::Error) {
    let text = describe(error);
    let (first, advice) = text.split_once('\n').unwrap_or((&text, ""));
    Failure::Other(first.to_owned()).report();
    if !advice.is_empty() {
        complain(advice);
    }
}

fn start(arguments: &SubmitArguments) -> Result<(), SubmitError> {
    let prepared = prepare(arguments)?;
    if let Some(DryRun::Client) = arguments.dry_run {
        if let Some(name) = prepared.submission.logins_secret() {
            complain(&format!(
                "the Secret with the logins is not printed; make it with `kubectl create secret docker-registry {name} …`, \
                 or name one with `--registry-secret`"
            ));
        }
        let text =
            kube::print(&Objects::new(&prepared.submission), arguments.format.unwrap_or(Format::Yaml))?;
        return match io::stdout().write_all(text.as_bytes()) {
            // Nobody reads any more, as in `… | head`.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(SubmitError::Print(error)),
            _ => Ok(()),
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(SubmitError::Start)?.block_on(submit(arguments, prepared))
}

/// Shows lines on standard error, as far as they are wanted.
struct Screen {
    progress: Progress,
}

impl Screen {
    fn show(&self, line: Line) {
        match (line, self.progress) {
            (_, Progress::Quiet) | (Line::Event(_), Progress::Json) => {}
            (Line::Event(text), _) => complain(&format!("cluster: {text}")),
            (Line::Log(text), _) => complain(&text),
        }
    }

    fn tell(&self, text: impl Into<String>) {
        self.show(Line::Event(text.into()));
    }
}

async fn submit(arguments: &SubmitArguments, mut prepared: Prepared) -> Result<(), SubmitError> {
    let stop = stop_on_signal();
    let screen = Screen { progress: arguments.build.arguments.progress };
    let cluster = Cluster::find(&arguments.place.place()).await?;
    let submission = &mut prepared.submission;
    submission.namespace = Some(cluster.namespace().to_owned());
    let has_secrets = !submission.secrets.is_empty() || submission.logins != Logins::None;
    let permissions = Permissions::to_create(!submission.files.is_empty(), has_secrets);
    let permissions = if arguments.detach { permissions } else { permissions.and(Permissions::to_follow()) };
    let (near, far): (Vec<_>, Vec<_>) =
        arguments.rollouts.iter().partition(|rollout| rollout.namespace.is_none());
    let permissions = near.iter().fold(permissions, |all, rollout| all.and(rollout.permissions()));
    permissions.require(&cluster).await?;
    for rollout in far {
        rollout.permissions().require(&rollout.place(&cluster)).await?;
    }
    for rollout in &arguments.rollouts {
        rollout.find(&cluster).await?;
    }
    if arguments.job.pod_security.is_none() {
        submission.security = admitted(&cluster, &screen).await?;
    }
    if submission.logins != Logins::None {
        submission.logins = logins(&prepared.repositories, &screen).await?;
    }
    let objects = Objects::new(submission);
    let contexts = Contexts::push(&prepared.contexts, &prepared, &screen).await?;
    let created = {
        let mut creating = pin!(kube::create(&cluster, objects));
        tokio::select! {
            created = &mut creating => created,
            () = stop.cancelled() => {
                // Whether it was created is known only when the answer has come.
                if let Ok(Ok(created)) = tokio::time::timeout(CLEAN_LIMIT, creating).await {
                    cancel(&cluster, &created).await?;
                }
                contexts.remove(&screen).await;
                return Err(SubmitError::Interrupted);
            }
        }
    };
    let created = match created {
        Ok(created) => created,
        Err(error) => {
            contexts.remove(&screen).await;
            return Err(error.into());
        }
    };
    if arguments.detach {
        say(&mut io::stdout(), created.name());
        return Ok(());
    }
    screen.tell(format!("created the Job {} in the namespace {}", created.name(), cluster.namespace()));
    let mut show = |line| screen.show(line);
    let follow = Follow { cluster: &cluster, job: &created.job, wants_log: true, show: &mut show };
    let result = tokio::select! {
        result = follow.run() => result,
        () = stop.cancelled() => {
            screen.tell(format!("deleting the Job {}", created.name()));
            cancel(&cluster, &created).await?;
            contexts.remove(&screen).await;
            return Err(SubmitError::Interrupted);
        }
    };
    if let Err(KubeError::NotAdmitted { .. }) = &result {
        cancel(&cluster, &created).await?;
    }
    // Without contact nobody knows whether the Job still needs it.
    if !matches!(result, Err(KubeError::LostContact { .. })) {
        contexts.remove(&screen).await;
    }
    let digest = match result? {
        JobResult::Built { digest } => digest,
        JobResult::Failed { reason, code } => {
            return Err(SubmitError::Failed { name: created.name().to_owned(), reason, code });
        }
    };
    report(arguments, digest);
    tokio::select! {
        result = roll_out(arguments, &cluster, &prepared.tags, digest, &screen) => result,
        () = stop.cancelled() => Err(SubmitError::Interrupted),
    }
}

/// The logins of this machine for these repositories.
async fn logins(repositories: &BTreeSet<RepoName>, screen: &Screen) -> Result<Logins, SubmitError> {
    let credentials = Credentials::load(&CredentialPlaces::from_environment())?;
    if let Some(config) = credentials.carry(repositories).await? {
        return Ok(Logins::Carried(SecretValue::new(config.reveal().as_bytes())));
    }
    let hosts: BTreeSet<&str> = repositories.iter().map(RepoName::registry).collect();
    let hosts: Vec<&str> = hosts.into_iter().collect();
    screen.tell(format!("no logins are known here for {}", hosts.join(", ")));
    Ok(Logins::None)
}

/// What the namespace admits.
async fn admitted(cluster: &Cluster, screen: &Screen) -> Result<PodSecurity, SubmitError> {
    let security = cluster.pod_security().await?;
    match security {
        None => screen.tell(
            "the namespace's labels may not be read: taking it that it admits every pod; `--pod-security` says otherwise",
        ),
        Some(PodSecurity::Restricted) => {
            screen.tell("the namespace admits no pod in which a RUN is possible (Pod Security restricted)");
        }
        Some(_) => {}
    }
    Ok(security.unwrap_or_default())
}

async fn cancel(cluster: &Cluster, created: &Created) -> Result<(), SubmitError> {
    let result = tokio::time::timeout(CLEAN_LIMIT, kube::cancel(cluster, &created.job)).await;
    match result {
        Ok(result) => Ok(result.map(drop)?),
        Err(_) => Err(KubeError::Api {
            action: format!("delete the Job `{}`", created.name()),
            source: ApiError::Unreachable { reason: "it takes too long".to_owned() },
        }
        .into()),
    }
}

async fn roll_out(
    arguments: &SubmitArguments,
    cluster: &Cluster,
    tags: &[ImageRef],
    digest: Digest,
    screen: &Screen,
) -> Result<(), SubmitError> {
    let Some(tag) = tags.first() else { return Ok(()) };
    let image = ImageRef::by_digest(tag.repository().clone(), digest).to_string();
    for rollout in &arguments.rollouts {
        let mut show = |text| screen.tell(text);
        rollout.run(cluster, &image, &mut show).await?;
        screen.tell(format!("{} runs {image}", rollout.path().replace('/', " ")));
    }
    Ok(())
}

/// Contexts that go through a registry.
struct Contexts<'a> {
    pushed: &'a [PushedContext],
    registries: Option<Registries>,
}

impl<'a> Contexts<'a> {
    async fn push(
        pushed: &'a [PushedContext],
        prepared: &Prepared,
        screen: &Screen,
    ) -> Result<Self, SubmitError> {
        if pushed.is_empty() {
            return Ok(Self { pushed, registries: None });
        }
        let credentials = Credentials::load(&CredentialPlaces::from_environment())?;
        let registries = Registries::new(prepared.registries.clone(), credentials)?;
        for context in pushed {
            let repository = registries.repository(&context.repository)?;
            context
                .packed
                .push(&repository, Some(&context.tag))
                .await
                .map_err(|source| SubmitError::Push { repository: context.repository.to_string(), source })?;
            screen.tell(format!("pushed the context as {}", context.name()));
        }
        Ok(Self { pushed, registries: Some(registries) })
    }

    /// Removes them; a registry that does not let that happen has them cleaned up in its own way.
    async fn remove(&self, screen: &Screen) {
        let Some(registries) = &self.registries else { return };
        for context in self.pushed {
            let removed = async {
                let repository = registries.repository(&context.repository)?;
                let removed = repository.delete_manifest(context.packed.digest()).await;
                removed.map_err(|source| SubmitError::Remove { name: context.name(), source })
            };
            if let Err(error) = removed.await {
                screen.tell(describe(&error));
            }
        }
    }
}

/// Says what came of it, as a local build does.
fn report(arguments: &SubmitArguments, digest: Digest) {
    match arguments.build.arguments.progress {
        Progress::Json => {}
        Progress::Quiet => say(&mut io::stdout(), &digest.to_string()),
        _ => {
            complain(&format!("built {digest}"));
            if !io::stdout().is_terminal() {
                say(&mut io::stdout(), &digest.to_string());
            }
        }
    }
}

/// Cancelled by SIGINT and SIGTERM.
pub(in crate::cli) fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let thrown = stop.clone();
    tokio::spawn(async move {
        crate::cli::stop_signal().await;
        thrown.cancel();
    });
    stop
}
