//! Getting contexts that are not directories.
//!
//! ```text
//! archive on disk, standard input ──┐
//! http(s):// ───────────────────────┤
//! s3://, gs://, Azure ──────────────┼─► decompress ─► unpack beneath a private directory ─┐
//! oci:// (a layer of an artifact) ──┘                                                     ├─► a directory
//! git ─► fetch, check out, submodules ────────────────────────────────────────────────────┘
//! ```
//!
//! All of it streams: neither archives nor packs are held in memory. The private directory is in the store's scratch
//! and goes away with the [`FetchedContext`].

mod access;
mod archive;
mod artifact;
mod object;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

pub use access::{Access, AccessError, SshPlaces};
pub use archive::ArchiveError;
use archive::{Received, Watched};
#[cfg(feature = "serve")]
pub(crate) use artifact::archive as write_archive;
pub use artifact::{ArtifactError, PackedContext, push as push_artifact};
pub use object::ObjectError;

use super::source::{ContextOrigin, GitSource, RemoteContext, WebAddress};
use crate::event::{Activity, ActivityKind, Events};
use crate::git::{self, GitError};
use crate::registry::Registries;
use crate::rootfs::remove::remove;
use crate::store::Store;
use crate::web::{self, StreamReader, WebError};

/// Gets contexts; clones share everything.
#[derive(Debug, Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    registries: Registries,
    events: Events,
    access: Access,
    is_offline: bool,
}

/// What was got.
#[derive(Debug)]
pub enum Fetched {
    /// Files.
    Context(FetchedContext),
    /// A Dockerfile, and no files.
    Dockerfile(String),
}

/// Files in a private directory, which is removed when this is dropped.
#[derive(Debug)]
pub struct FetchedContext {
    root: PathBuf,
    _directory: PrivateDirectory,
}

impl FetchedContext {
    /// The directory that is the context.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Why a context cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing may be fetched.
    #[error("`--offline` forbids to fetch it; give a directory or an archive on disk")]
    Offline,
    /// An archive cannot be opened.
    #[error("cannot open it")]
    Open(#[source] io::Error),
    /// A web server does not give it.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A login cannot be shown.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It is not what it should be.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An object store does not give it.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A registry does not give it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A repository does not give it.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is no such directory in it, or a link leads out.
    #[error("there is no directory `{}` in it", path.display())]
    NoSubdirectory {
        /// What was looked for.
        path: PathBuf,
    },
    /// The store's directory fails.
    #[error("cannot use a temporary directory in the store")]
    Scratch(#[source] io::Error),
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl FetchError {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Web(error) if error.may_pass())
    }
}

/// A directory that goes away whatever is in it.
#[derive(Debug)]
pub(crate) struct PrivateDirectory(TempDir);

impl PrivateDirectory {
    /// A directory of the store's scratch.
    pub(crate) fn new(store: &Store) -> io::Result<Self> {
        // Without links on the way, so that what is in it can be told from what is not.
        let scratch = std::fs::canonicalize(store.scratch())?;
        tempfile::Builder::new().prefix("context-").tempdir_in(scratch).map(Self)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Directories of an archive may be closed even for their owner, which the library does not expect. What cannot
        // be removed is removed with the scratch of a dead process.
        let (Some(parent), Some(name)) = (self.0.path().parent(), self.0.path().file_name()) else { return };
        let _ = File::open(parent).and_then(|parent| remove(parent, Path::new(name)));
    }
}

/// Tells blocking work that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fetcher {
    /// A fetcher. With `is_offline` it gets only what is on this machine.
    pub fn new(
        store: Arc<Store>,
        registries: Registries,
        events: Events,
        access: Access,
        is_offline: bool,
    ) -> Self {
        Self { shared: Arc::new(Shared { store, registries, events, access, is_offline }) }
    }

    /// Fails if nothing may be fetched.
    pub(crate) fn require_network(&self) -> Result<(), FetchError> {
        if self.shared.is_offline { Err(FetchError::Offline) } else { Ok(()) }
    }

    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.shared.registries
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Gets a context. Dropped before its end, it stops soon.
    pub async fn fetch(&self, context: &RemoteContext) -> Result<Fetched, FetchError> {
        let is_local = matches!(context.origin, ContextOrigin::Archive(_) | ContextOrigin::Stdin);
        if !is_local {
            self.require_network()?;
        }
        web::persist(|| self.attempt(context), FetchError::may_pass).await
    }

    async fn attempt(&self, context: &RemoteContext) -> Result<Fetched, FetchError> {
        let activity =
            self.shared.events.begin(ActivityKind::Pull, format!("load build context from {context}"));
        let directory = PrivateDirectory::new(&self.shared.store).map_err(FetchError::Scratch)?;
        let activity = Arc::new(activity);
        let result = self.get(&context.origin, directory, &activity).await;
        if let Ok(activity) = Arc::try_unwrap(activity) {
            activity.end_with(&result);
        }
        match result? {
            Fetched::Dockerfile(text) => Ok(Fetched::Dockerfile(text)),
            Fetched::Context(mut fetched) => {
                let origin_directory = match &context.origin {
                    ContextOrigin::Git(source) => source.subdirectory.as_deref(),
                    _ => None,
                };
                for path in [origin_directory, context.subdirectory.as_deref()].into_iter().flatten() {
                    fetched.root = directory_in(&fetched.root, path)?;
                }
                Ok(Fetched::Context(fetched))
            }
        }
    }

    async fn get(
        &self,
        origin: &ContextOrigin,
        directory: PrivateDirectory,
        activity: &Arc<Activity>,
    ) -> Result<Fetched, FetchError> {
        match origin {
            ContextOrigin::Archive(path) => {
                let file = File::open(path).map_err(FetchError::Open)?;
                let total = file.metadata().ok().map(|metadata| metadata.len());
                self.unpack(file, total, false, directory, activity).await
            }
            ContextOrigin::Stdin => self.unpack(io::stdin(), None, true, directory, activity).await,
            ContextOrigin::Web(address) => {
                let (body, total) = self.open_web(address).await?;
                self.unpack(body, total, true, directory, activity).await
            }
            ContextOrigin::Git(source) => self.clone_repository(source, directory, activity).await,
            ContextOrigin::Object(address) => {
                let (object, size) = object::open(address, &self.shared.registries).await?;
                self.unpack(object, Some(size), false, directory, activity).await
            }
            ContextOrigin::Artifact(image) => {
                let (layer, size) = artifact::open(image, &self.shared.registries).await?;
                self.unpack(layer, Some(size), false, directory, activity).await
            }
        }
    }

    async fn open_web(&self, address: &WebAddress) -> Result<(StreamReader, Option<u64>), FetchError> {
        let authorization = self.shared.access.for_web(address.url(), address.login())?;
        let registries = &self.shared.registries;
        let response = web::open(registries, address.url(), authorization.as_ref()).await?;
        let total = response.content_length();
        Ok((StreamReader::of_body(response, registries.stall_limit()), total))
    }

    /// Unpacks a stream on a thread that may block.
    async fn unpack(
        &self,
        stream: impl Read + Send + 'static,
        total: Option<u64>,
        may_be_dockerfile: bool,
        directory: PrivateDirectory,
        activity: &Arc<Activity>,
    ) -> Result<Fetched, FetchError> {
        let stop = StopOnDrop(Arc::default());
        let watched = Watched {
            from: stream,
            activity: Arc::clone(activity),
            total,
            done: 0,
            stop: Arc::clone(&stop.0),
        };
        let unpacking = tokio::task::spawn_blocking(move || {
            let received = archive::receive(watched, directory.path(), may_be_dockerfile)?;
            Ok::<_, FetchError>(match received {
                Received::Dockerfile(text) => Fetched::Dockerfile(text),
                Received::Files => {
                    let root = directory.path().to_owned();
                    Fetched::Context(FetchedContext { root, _directory: directory })
                }
            })
        });
        unpacking.await?
    }

    async fn clone_repository(
        &self,
        source: &GitSource,
        directory: PrivateDirectory,
        activity: &Arc<Activity>,
    ) -> Result<Fetched, FetchError> {
        let stop = StopOnDrop(Arc::default());
        let told = Arc::clone(activity);
        let received = git::Received::new(move |bytes, total| told.progress(bytes, total));
        let (stopped, fetcher, source) = (Arc::clone(&stop.0), self.clone(), source.clone());
        let cloning = tokio::task::spawn_blocking(move || {
            let asker = git::Asker::Request;
            git::Repositories::new(fetcher.registries(), fetcher.access(), asker, received, &stopped)
                .check_out(&source, None, directory.path())?;
            let root = directory.path().to_owned();
            Ok::<_, FetchError>(Fetched::Context(FetchedContext { root, _directory: directory }))
        });
        cloning.await?
    }
}

/// A directory in `root`, links followed inside of it only.
pub(crate) fn directory_in(root: &Path, path: &Path) -> Result<PathBuf, FetchError> {
    let none = || FetchError::NoSubdirectory { path: path.to_owned() };
    let real = std::fs::canonicalize(root).map_err(|_| none())?;
    let found = std::fs::canonicalize(real.join(path)).map_err(|_| none())?;
    if found.starts_with(&real) && found.is_dir() { Ok(found) } else { Err(none()) }
}

/// A file in `root`, links followed inside of it only.
pub(crate) fn file_in(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = std::fs::canonicalize(root).ok()?;
    // An absolute path would take the place of the root.
    let relative = path.strip_prefix(root).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
    let found = std::fs::canonicalize(real.join(relative)).ok()?;
    (found.starts_with(&real) && found.is_file()).then_some(found)
}
