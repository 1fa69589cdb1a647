//! The directory of unpacked layers and of builds at work.
//!
//! ```text
//! STORE/rootfs/whole/              named after the id map, since owners differ with it
//!   layers/HEX/                    one directory per layer, by chain id; complete as soon as it has this name
//!   builds/ID/                     what one build makes, locked by builds/ID.lock while that lives
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::SandboxError;
use super::idmap::IdMap;
use super::process::Helpers;
use super::wire::Operation;
use crate::layer::Digest;

/// Distinguishes the builds of one process.
static BUILDS: AtomicU64 = AtomicU64::new(0);

/// The directory of unpacked layers for one id map.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    path: PathBuf,
    map: IdMap,
}

impl Directory {
    /// Makes it if it is missing.
    pub(super) fn open(store: &Path, map: IdMap) -> Result<Self, SandboxError> {
        // Absolute, since helpers make it their working directory.
        let path = std::path::absolute(store)
            .map_err(|source| SandboxError::Store { path: store.to_owned(), source })?
            .join("rootfs")
            .join(map.name());
        fs::create_dir_all(&path).map_err(|source| SandboxError::Store { path: path.clone(), source })?;
        let directory = Self { path, map };
        directory.own("", 0o700)?;
        for name in ["layers", "builds"] {
            directory.make(name)?;
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> SandboxError {
        let path = self.path.join(path);
        move |source| SandboxError::Store { path, source }
    }

    /// Makes a directory that belongs to the namespace's root.
    pub(super) fn make(&self, path: impl AsRef<Path>) -> Result<(), SandboxError> {
        let path = path.as_ref();
        match DirBuilder::new().mode(0o700).create(self.path.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.failed(path)(error)),
            Ok(()) => self.own(path, 0o755),
        }
    }

    fn own(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), SandboxError> {
        let path = path.as_ref();
        let full = self.path.join(path);
        let (user, group) = self.map.root();
        let own = || -> io::Result<()> {
            let metadata = fs::metadata(&full)?;
            if (metadata.uid(), metadata.gid()) != (user, group) {
                std::os::unix::fs::chown(&full, Some(user), Some(group))?;
            }
            fs::set_permissions(&full, Permissions::from_mode(mode))
        };
        own().map_err(self.failed(path))
    }

    /// Where a layer is unpacked, if it is: relative to this directory.
    pub(super) fn find(&self, chain: &Digest) -> Result<Option<PathBuf>, SandboxError> {
        let path = layer_path(chain);
        let exists = self.path.join(&path).try_exists().map_err(self.failed(&path))?;
        Ok(exists.then_some(path))
    }

    /// Gives a complete layer directory its name. If another build was faster, its directory stays, and is as good.
    pub(super) fn keep(&self, made: &Path, chain: &Digest) -> Result<PathBuf, SandboxError> {
        let path = layer_path(chain);
        match fs::rename(self.path.join(made), self.path.join(&path)) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Ok(path)
            }
            result => result.map(|()| path.clone()).map_err(self.failed(&path)),
        }
    }

    /// Begins a build.
    pub(super) fn begin(&self) -> Result<Build, SandboxError> {
        loop {
            let number = BUILDS.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("builds/{}-{number}", std::process::id()));
            let lock_path = self.path.join(&path).with_extension("lock");
            let lock = match File::options().write(true).create_new(true).open(&lock_path) {
                // Left by a process that had our number, in another pod perhaps.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result.map_err(self.failed(&path))?,
            };
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| self.failed(&path)(error.into()))?;
            // Somebody who sweeps may have seen the file before it was locked.
            if !lock_path.try_exists().map_err(self.failed(&path))? {
                continue;
            }
            self.make(&path)?;
            return Ok(Build { path, lock_path, _lock: lock });
        }
    }

    /// Removes what builds have left that did not end well.
    pub(super) fn sweep(&self, helpers: &Helpers) -> Result<(), SandboxError> {
        let mut locks = Vec::new();
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.path.join("builds")).map_err(self.failed("builds"))? {
            let lock_path = entry.map_err(self.failed("builds"))?.path();
            let (Some("lock"), Some(name)) =
                (lock_path.extension().and_then(|e| e.to_str()), lock_path.file_stem())
            else {
                continue;
            };
            let lock = match File::open(&lock_path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result.map_err(self.failed(&lock_path))?,
            };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                paths.push(Path::new("builds").join(name));
                locks.push((lock_path, lock));
            }
        }
        if paths.is_empty() {
            return Ok(());
        }
        helpers.perform(Operation::Remove { paths })?;
        for (lock_path, _lock) in locks {
            fs::remove_file(&lock_path).map_err(self.failed(&lock_path))?;
        }
        Ok(())
    }
}

/// A build at work.
#[derive(Debug)]
pub(super) struct Build {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Build {
    /// A path in the build's directory, relative to the directory of unpacked layers.
    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Removes all that the build has made.
    pub(super) fn end(&self, helpers: &Helpers) -> Result<(), SandboxError> {
        helpers.perform(Operation::Remove { paths: vec![self.path.clone()] })?;
        fs::remove_file(&self.lock_path)
            .map_err(|source| SandboxError::Store { path: self.lock_path.clone(), source })
    }
}

fn layer_path(chain: &Digest) -> PathBuf {
    Path::new("layers").join(chain.hex())
}
