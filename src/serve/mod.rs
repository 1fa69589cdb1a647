//! `cooper serve`: builds for those who ask over HTTP, one process, one port.
//!
//! ```text
//!  POST /v1/builds ─► access ─► request ─► upload ─► queue (SQLite) ─► runner ─► worker: `cooper build …`
//!                                                      │    ▲            │          │ lines
//!  GET …/{id}, …/logs, …/events ◄─ hub ◄───────────────┘    └── end ─────┘      journal (files)
//!  POST /v1/hooks/{name} ─► signature ─► cooper.yaml ─► request           └► letters ─► deliver ─► receivers
//! ```
//!
//! A request is answered when its build is on the disk. From then on it comes to exactly one end, whatever is killed:
//! workers are processes of their own, and what a dead service has left as running is found when it starts again.

mod access;
mod build;
mod config;
mod deliver;
mod deploy;
mod deploying;
mod fleet;
mod hooks;
mod http;
mod hub;
mod journal;
mod keep;
mod logins;
mod memory;
mod metrics;
mod order;
mod page;
mod problem;
mod queue;
mod request;
mod runner;
mod sign;
pub mod told;
mod upload;
mod watched;
mod worker;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};

pub use access::TokensError;
use access::{Access, TokenFile};
pub use build::{Build, BuildId, Built, Moment, Need, Origin, State, Upload};
pub use config::{ConfigError, Provider, Summary, check_config};
use deliver::{Herald, Sender};
use deploy::Deployer;
pub use deploy::{Deployment, DeploymentState};
use fleet::Fleet;
pub use fleet::{FleetError, FleetSettings};
use hub::Hub;
use logins::Logins;
use memory::Groups;
pub(crate) use memory::available as available_memory;
use metrics::Metrics;
use queue::Queue;
pub use queue::QueueError;
pub use request::{Context, GitContext, NotifyUrl, Request};
use runner::Stops;
pub(crate) use worker::prepare as prepare_worker;

use crate::kube::Place;
use crate::registry::Reach;

/// What the service is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where queue, logs and uploads are.
    pub data: PathBuf,
    /// Where the builds' store is.
    pub store: PathBuf,
    /// Who may do what; without it nobody needs a token, which is for loopback only.
    pub tokens: Option<PathBuf>,
    /// What all builds that run may take together.
    pub budget: Need,
    /// What a build takes that does not say.
    pub usual_need: Need,
    /// Seconds that a build may take that does not say.
    pub usual_timeout: u64,
    /// Seconds that any build may take.
    pub max_timeout: u64,
    /// Bytes of an uploaded context.
    pub max_upload: u64,
    /// Builds that may wait.
    pub max_queued: u64,
    /// Bytes of a build's events that are kept.
    pub max_log: u64,
    /// How long running builds may go on when the service is told to stop.
    pub grace: Duration,
    /// Where contexts and files for ADD may come from.
    pub reach: Reach,
    /// Logins for git servers: host and file.
    pub git_logins: Vec<(String, PathBuf)>,
    /// The cluster that images are deployed to.
    pub cluster: Place,
    /// Builds become Jobs in that cluster; else they are done here.
    pub fleet: Option<FleetSettings>,
    /// Arguments of `cooper build` for all builds.
    pub build_arguments: Vec<String>,
    /// How long ended builds are kept.
    pub keep_builds: Duration,
    /// How long the contexts of ended builds are kept, so that they can be built again.
    pub keep_uploads: Duration,
    /// Bytes of the store.
    pub store_max_size: Option<u64>,
    /// What was not used for so long leaves the store.
    pub store_max_age: Option<Duration>,
    /// Which pushes are built, and who is told.
    pub config: Option<PathBuf>,
    /// Where people find the service.
    pub public_url: Option<url::Url>,
    /// Where notifications and statuses may go.
    pub notify_reach: Reach,
    /// Bytes that stay free on the disk: uploads are refused, and the store is pruned.
    pub min_free: u64,
}

/// In KiB, for large messages to hooks that come at once.
const ROOM_FOR_HOOKS: usize = 32 << 10;

/// Why the service does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anybody could write.
    #[error(
        "without `--tokens FILE` anybody can have anything built and pushed: that needs `--allow-anonymous`, and an address of this machine alone, like 127.0.0.1:8080, not {0}"
    )]
    Anonymous(SocketAddr),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Webhooks are kept where builds are.
    #[error(
        "`--config` is for builds of the service's own: it cannot be used with `--dispatch kubernetes` yet"
    )]
    ConfigWithFleet,
    /// Nobody can be told anything.
    #[error("notifications cannot be sent")]
    Sender(#[source] crate::registry::SettingsError),
    /// The queue fails.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Builds cannot be dispatched.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The directory is another one's.
    #[error("another service uses `{}`", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot use `{}`", path.display())]
    Data {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system does not keep its memory from builds.
    #[error("cannot hide the service's memory from builds")]
    Hide(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// What all parts of the service share.
#[derive(Debug)]
struct Service {
    settings: Settings,
    access: Access,
    queue: Queue,
    hub: Hub,
    stops: Stops,
    logins: Logins,
    herald: Arc<Herald>,
    sender: Sender,
    deployer: Deployer,
    /// Where builds are done, if not here.
    fleet: Option<Fleet>,
    groups: Option<Groups>,
    metrics: Metrics,
    /// KiB of memory for messages that nobody has proved yet.
    room_for_hooks: Semaphore,
    /// Something may begin.
    wake: Notify,
    /// Whether the service is about to end.
    stopping: watch::Receiver<bool>,
    /// Held as long as the service lives.
    _lock: File,
}

impl Service {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// A build.
    async fn get(self: &Arc<Self>, id: BuildId) -> Result<Build, QueueError> {
        let found = self.queue.get(id.clone()).await;
        match (&self.fleet, found) {
            (Some(fleet), Err(QueueError::NoBuild(_))) => {
                Box::pin(fleet::fetch(self, fleet, &id)).await?;
                self.queue.get(id).await
            }
            (_, found) => found,
        }
    }

    /// The places of builds that wait. Those of Jobs are the cluster's business.
    async fn places(&self) -> Result<HashMap<BuildId, queue::Place>, QueueError> {
        if self.fleet.is_some() {
            return Ok(HashMap::new());
        }
        self.queue.places(self.settings.budget).await
    }
}

/// Serves until SIGTERM or SIGINT, and in good order for as long as the grace period; a second signal ends it at once.
pub async fn run(mut settings: Settings) -> Result<(), ServeError> {
    // A RUN that is executed in-place may have all that the service may: it must not get at its memory and environment.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| ServeError::Hide(error.into()))?;
    let access = match &settings.tokens {
        Some(path) => Access::Tokens(TokenFile::open(path)?),
        None if settings.listen.ip().is_loopback() => Access::anonymous(),
        None => return Err(ServeError::Anonymous(settings.listen)),
    };
    let herald = Arc::new(Herald::open(settings.config.as_deref(), settings.public_url.clone())?);
    for place in herald.config().secrets() {
        if let Err(error) = place.read() {
            tracing::warn!(
                error = crate::pipeline::describe(&error),
                "a secret of the configuration is not there"
            );
        }
    }
    let sender = Sender::new(settings.notify_reach.clone()).map_err(ServeError::Sender)?;
    raise_file_limit();
    let lock = prepare_data(&settings.data)?;
    let fleet = match settings.fleet.take() {
        // What is known of Jobs is lost with the process, and what is to be told of them would be too.
        Some(_) if settings.config.is_some() => return Err(ServeError::ConfigWithFleet),
        Some(fleet) => {
            settings.data = empty_mirror(&settings.data)?;
            Some(Fleet::new(fleet, &settings.cluster, &settings.build_arguments).await?)
        }
        None => None,
    };
    let queue = Queue::open(&settings.data.join("builds.db"), Arc::clone(&herald))?;
    let groups = Groups::delegated()
        .inspect_err(|reason| {
            tracing::info!(reason, "no control groups: the memory limit holds for each process of a build");
        })
        .ok();
    let address = settings.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let local = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    let (stop, stopping) = watch::channel(false);
    let service = Arc::new(Service {
        access,
        queue,
        hub: Hub::default(),
        stops: Stops::default(),
        logins: Logins::new(settings.git_logins.iter().cloned()),
        herald,
        sender,
        deployer: Deployer::find(&settings.cluster).await,
        fleet,
        groups,
        metrics: Metrics::new(settings.budget),
        room_for_hooks: Semaphore::new(ROOM_FOR_HOOKS),
        wake: Notify::new(),
        stopping: stopping.clone(),
        _lock: lock,
        settings,
    });
    let is_local = service.fleet.is_none();
    if is_local {
        runner::recover(&service).await?;
    }
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let (for_runner, for_keeper) = (Arc::clone(&service), Arc::clone(&service));
    let (stop_runner, stop_keeper) = (stopping.clone(), stopping.clone());
    let runner = tokio::spawn(async move {
        if is_local {
            runner::run(for_runner, stop_runner).await;
        } else {
            fleet::run(for_runner, stop_runner).await;
        }
    });
    let keeper = tokio::spawn(async move {
        // Jobs are removed by the cluster, and what is known of them with them.
        if is_local {
            keep::run(for_keeper, stop_keeper).await;
        }
    });
    let deliverer = tokio::spawn(deliver::run(Arc::clone(&service), stopping.clone()));
    let http = tokio::spawn(http::listen(listener, Arc::clone(&service)));
    let budget = service.settings.budget;
    tracing::info!(
        address = %local,
        data = %service.settings.data.display(),
        millicpus = budget.millicpus,
        memory = budget.memory,
        anonymous = service.access.is_anonymous(),
        reach = %service.settings.reach,
        hooks = service.herald.config().hooks.len(),
        "listening"
    );
    let signal = signals.next().await;
    tracing::info!(signal, "stopping: builds that run may go on for {} s", service.settings.grace.as_secs());
    stop.send_replace(true);
    let ending = async {
        // They end by themselves; one that has panicked has ended too, and said so.
        let _ = tokio::join!(runner, keeper, deliverer, http);
    };
    tokio::select! {
        () = ending => tracing::info!("stopped"),
        signal = signals.next() => tracing::warn!(signal, "stopped at once; what was running is done again"),
    }
    Ok(())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Makes the directories, closed to others, and takes the lock.
fn prepare_data(data: &Path) -> Result<File, ServeError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ServeError::Data { path, source }
    };
    for directory in [data.to_owned(), data.join("builds"), data.join("uploads")] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed(&directory))?;
    }
    let path = data.join("service.lock");
    let lock = File::options().create(true).append(true).mode(0o600).open(&path).map_err(failed(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServeError::InUse { path: data.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(&path)(source)),
    }
}

/// The directory of what is known of Jobs. It begins empty: all of it comes from the cluster.
fn empty_mirror(data: &Path) -> Result<PathBuf, ServeError> {
    let mirror = data.join("mirror");
    let made = match std::fs::remove_dir_all(&mirror) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => ["builds", "uploads"].iter().try_for_each(|name| std::fs::create_dir_all(mirror.join(name))),
    };
    made.map_err(|source| ServeError::Data { path: mirror.clone(), source })?;
    Ok(mirror)
}

/// Thousands of streams of events are thousands of open files; shells give 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What the system does not grant is not used: connections wait to be accepted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
