//! `--dispatch kubernetes`: every build is a Job, and what is known of it is in the Job.
//!
//! ```text
//!  replica ── accept ──► Job (record, labels) ◄── Kueue, scheduler, kubelet: when and where
//!     ▲                   │ watch    │ log
//!     └── mirror (SQLite) ◄┘          └──► journal        the same in every replica
//!                         ▲
//!             end ────────┘  one writes it, since it is written only to the version that was read
//! ```
//!
//! Replicas do not talk to each other. Each has a mirror of all Jobs, which it could lose at any time: lists, records and
//! streams of events come from there. What changes a build is written to its Job, with the version that was read as a
//! precondition; so the end of a build is written once, by whoever is first, and whatever follows from it (webhooks,
//! metrics, the log, removing the context) is done by that one. The Job runs whether a replica lives or not.

mod accept;
mod end;
mod follow;
mod record;

pub(super) use accept::{accept, problem};
pub(super) use end::{CancelError, cancel};

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::Service;
use super::build::{Build, BuildId, State};
use super::queue::QueueError;
use crate::kube::{
    self, Cluster, ContextFile, FILES, JobNews, JobState, JobTemplate, KubeError, Permissions, Place,
    PodSecurity, random_suffix,
};
use crate::pipeline::describe;
use crate::registry::RegistrySettings;

/// How many logs of builds that have ended are fetched at once, when a replica starts.
const OLD_LOGS: usize = 4;

/// What a service that dispatches is started with.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// How Jobs are made.
    pub template: JobTemplate,
    /// How the registry of contexts is reached.
    pub registries: RegistrySettings,
}

/// Why builds cannot be dispatched.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The cluster.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// A certificate cannot be given to the Jobs.
    #[error("cannot read `{}`", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The Jobs that are this service's builds.
#[derive(Debug)]
pub(super) struct Fleet {
    cluster: Cluster,
    settings: FleetSettings,
    security: PodSecurity,
    /// Certificates of registries.
    files: Vec<ContextFile>,
    /// Of `cooper build`, for all Jobs.
    arguments: Vec<String>,
    /// Tells this replica from all others.
    replica: String,
    /// Whether the mirror was complete once.
    is_listed: AtomicBool,
    known: Mutex<HashMap<BuildId, Known>>,
    old_logs: Semaphore,
}

/// What a replica does for a build.
#[derive(Debug, Default)]
struct Known {
    follower: Option<AbortHandle>,
    /// Whether its log is whole, and its end may be told.
    has_followed: bool,
    /// The version of the Job that the mirror has.
    version: Option<u64>,
    /// Whether this replica has done what follows from its end.
    is_settled: bool,
}

impl Fleet {
    /// Finds the cluster, and what may be done there.
    pub(super) async fn new(
        settings: FleetSettings,
        place: &Place,
        build_arguments: &[String],
    ) -> Result<Self, FleetError> {
        let cluster = Cluster::find(place).await?;
        let permissions = Permissions::to_create(true, false).and(Permissions::to_follow());
        permissions.and(Permissions::to_keep_records()).require(&cluster).await?;
        let security = match settings.template.security {
            Some(security) => security,
            None => cluster.pod_security().await?.unwrap_or_default(),
        };
        let (mut files, mut arguments) = (Vec::new(), Vec::new());
        for argument in build_arguments {
            let certificate = argument.strip_prefix("--registry-certificate=");
            let Some((host, path)) = certificate.and_then(|text| text.split_once('=')) else {
                arguments.push(argument.clone());
                continue;
            };
            let name = format!("certificate-{}.pem", files.len());
            let content = std::fs::read(path)
                .map_err(|source| FleetError::Certificate { path: path.into(), source })?;
            arguments.push(format!("--registry-certificate={host}={FILES}/{name}"));
            files.push(ContextFile { name, content });
        }
        // A pod's name, if it is one; a container that starts again in it is another.
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let replica = format!("{host}-{}", random_suffix());
        tracing::info!(replica, cluster = cluster.address(), namespace = cluster.namespace(), %security, "dispatching");
        Ok(Self {
            cluster,
            settings,
            security,
            files,
            arguments,
            replica,
            is_listed: AtomicBool::new(false),
            known: Mutex::default(),
            old_logs: Semaphore::new(OLD_LOGS),
        })
    }

    /// Whether all builds of the cluster were seen once.
    pub(super) fn is_ready(&self) -> bool {
        self.is_listed.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<BuildId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Job of a build.
    async fn find(&self, id: &BuildId) -> Result<Option<Job>, KubeError> {
        let selector = format!("{},{}={id}", record::SELECTOR, record::ID);
        Ok(kube::find(&self.cluster, &selector).await?.into_iter().next())
    }
}

/// Looks for a build that the mirror does not have yet: another replica may have made it just now.
pub(super) async fn fetch(service: &Arc<Service>, fleet: &Fleet, id: &BuildId) -> Result<(), QueueError> {
    match fleet.find(id).await {
        Ok(Some(job)) => see(service, fleet, job).await,
        Ok(None) => Ok(()),
        Err(error) => {
            tracing::warn!(build = %id, error = describe(&error), "the cluster cannot be asked for a build");
            Ok(())
        }
    }
}

/// Keeps the mirror until the service stops.
pub(super) async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let Some(fleet) = &service.fleet else { return };
    let (sender, mut news) = mpsc::channel(256);
    let watching = tokio::spawn(kube::watch_jobs(fleet.cluster.clone(), record::SELECTOR, sender));
    let mut listed = HashSet::new();
    loop {
        let news = tokio::select! {
            Some(news) = news.recv() => news,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        if let Err(error) = take(&service, fleet, news, &mut listed).await {
            tracing::error!(error = describe(&error), "the mirror fails");
        }
    }
    watching.abort();
    let followers: Vec<_> = fleet.known().values_mut().filter_map(|known| known.follower.take()).collect();
    for follower in followers {
        follower.abort();
    }
    end::give_up(fleet).await;
}

async fn take(
    service: &Arc<Service>,
    fleet: &Fleet,
    news: JobNews,
    listed: &mut HashSet<BuildId>,
) -> Result<(), QueueError> {
    match news {
        JobNews::Listing => listed.clear(),
        JobNews::Is(job) => {
            if let Some(build) = record::read(&job) {
                listed.insert(build.id);
            }
            see(service, fleet, *job).await?;
        }
        JobNews::Gone(job) => {
            if let Some(build) = record::read(&job) {
                forget(service, fleet, build.id).await?;
            }
        }
        JobNews::Listed => {
            let gone: Vec<BuildId> =
                fleet.known().keys().filter(|id| !listed.contains(*id)).cloned().collect();
            for id in gone {
                // One that was made while the list was on its way is there.
                if matches!(fleet.find(&id).await, Ok(None)) {
                    forget(service, fleet, id).await?;
                }
            }
            if !fleet.is_listed.swap(true, Ordering::Relaxed) {
                tracing::info!(builds = listed.len(), "all builds are known");
            }
        }
        JobNews::Failing(reason) => tracing::warn!(reason, "the cluster does not answer; asking again"),
    }
    Ok(())
}

/// Takes a Job into the mirror, and follows it if nobody does.
async fn see(service: &Arc<Service>, fleet: &Fleet, job: Job) -> Result<(), QueueError> {
    let Some(build) = record::read(&job) else { return Ok(()) };
    let seen = job.clone();
    let id = build.id.clone();
    let was_ended = build.state.is_end();
    let waits_for_its_log = {
        let mut known = fleet.known();
        let known = known.entry(id.clone()).or_default();
        if build.state == State::Cancelled {
            // What it says while it ends is not waited for.
            if let Some(follower) = known.follower.take() {
                follower.abort();
            }
            known.has_followed = true;
        } else if known.follower.is_none() && !known.has_followed && JobState::of(&job) != JobState::Suspended
        {
            let follower = tokio::spawn(follow::run(Arc::clone(service), job, id.clone(), was_ended));
            known.follower = Some(follower.abort_handle());
            // The log of one that had ended before it was ever seen here comes when it comes.
            known.has_followed = was_ended;
        }
        was_ended && !known.has_followed
    };
    if waits_for_its_log { Ok(()) } else { show(service, fleet, &seen).await }
}

/// Takes what a Job says into the mirror, unless it is known to have said something later.
async fn show(service: &Service, fleet: &Fleet, job: &Job) -> Result<(), QueueError> {
    let Some(build) = record::read(job) else { return Ok(()) };
    // Versions are numbers that grow: see "Resource versions" of the API's concepts.
    let version = job.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    {
        let mut known = fleet.known();
        let known = known.entry(build.id.clone()).or_default();
        if version < known.version {
            return Ok(());
        }
        known.version = version;
    }
    mirror(service, build).await
}

/// Writes a build into the mirror, and tells who waits.
async fn mirror(service: &Service, build: Build) -> Result<(), QueueError> {
    let (id, has_ended) = (build.id.clone(), build.state.is_end());
    service.queue.mirror(build).await?;
    if has_ended {
        service.hub.end(&id);
    } else {
        service.hub.tell(&id);
    }
    Ok(())
}

/// A build whose Job is gone: nobody knows it any more.
async fn forget(service: &Service, fleet: &Fleet, id: BuildId) -> Result<(), QueueError> {
    let known = fleet.known().remove(&id);
    if let Some(follower) = known.and_then(|known| known.follower) {
        follower.abort();
    }
    service.queue.drop_mirrored(id.clone()).await?;
    service.hub.end(&id);
    let directory = super::journal::directory(&service.settings.data, &id);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
