//! What Cooper keeps between builds, in one directory.
//!
//! ```text
//! oci-layout  index.json            the store is an OCI image layout: any tool can read it
//! blobs/sha256/<digest>             configs, manifests, compressed layers
//! indexes/<diff id>                 what each layer says, without contents (see `layer::LayerIndex`)
//! steps/<key>                       results of steps, by key
//! definitions/<scope>               what the steps of the last build of a project were made from
//! files/<directory>                 digests of files of build contexts, by inode, size and times
//! used/<chain id>                   when an unpacked layer was used last
//! locks/<key>                       held by the build that carries out this step
//! rootfs/<ids>/                     unpacked layers and cache mounts, where a RUN needed them (see `exec::sandbox`)
//! tmp/<random>/                     one directory per process at work; swept when the process is gone
//! ```
//!
//! Everything is written under a temporary name and renamed when it is whole, so that a process killed at any
//! moment leaves nothing half-written under a final name, and any number of builds can share a store.

mod blob;
mod files;
mod hold;
mod incoming;
mod prune;
mod reference;
mod scratch;

use std::io;
use std::path::{Path, PathBuf};

pub use blob::BlobWriter;
pub use files::{FileIdentity, KnownFiles};
pub use hold::StepLock;
pub use incoming::{Incoming, IncomingReader};
pub use prune::{Item, ItemKind, PruneLimits, Pruned};
use scratch::Scratch;

use crate::layer::{DiffId, Digest, IndexError, LayerIndex};

/// The store directory, open for one process.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    scratch: Scratch,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refuses something.
    #[error("cannot {action} `{}` in the store", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the store is not what it was when it was written.
    #[error("`{}` is damaged: {reason}; remove it and build again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's index cannot be written or read.
    #[error("cannot keep the file list of a layer in `{}`", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: IndexError,
    },
}

impl StoreError {
    /// What the user can do about it, if that is known.
    pub fn advice(&self) -> Option<&'static str> {
        use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::Io { source, .. } => {
                let kind = source.kind();
                matches!(kind, PermissionDenied | ReadOnlyFilesystem | NotADirectory)
                    .then_some("name a directory that can be written to with `--store DIR`")
            }
            _ => None,
        }
    }

    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl Store {
    /// Opens the store at `root`, making it where it is missing, and sweeps what dead processes left behind.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for directory in ["blobs/sha256", "indexes", "steps", "definitions", "files", "locks", "used", "tmp"]
        {
            let path = root.join(directory);
            std::fs::create_dir_all(&path).map_err(StoreError::io("create", path))?;
        }
        let scratch = Scratch::new(&root.join("tmp"))?;
        let store = Self { root, scratch };
        let marker = store.root.join("oci-layout");
        if !marker.exists() {
            store.write_atomically(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(store)
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory for temporary files of this process, on the file system of the store; gone when the store is
    /// dropped, and swept by the next process when this one is killed.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Removes what is in [`Store::scratch`], and the directory itself: for the end of a process whose threads may
    /// not end with it. Nothing can be written to the store any more.
    pub(crate) fn discard_scratch(&self) {
        self.scratch.discard();
    }

    /// The kept index of a layer.
    pub fn layer_index(&self, diff_id: DiffId) -> Result<Option<LayerIndex>, StoreError> {
        let path = self.index_path(diff_id);
        let _hold = self.hold()?;
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        hold::touch(&path);
        match LayerIndex::read_from(io::BufReader::new(file)) {
            Ok(index) => Ok(Some(index)),
            // Of another version of Cooper: it is made anew.
            Err(IndexError::Version { .. }) => {
                std::fs::remove_file(&path).map_err(StoreError::io("remove", path))?;
                Ok(None)
            }
            Err(source) => Err(StoreError::Index { path, source }),
        }
    }

    /// Whether the index of a layer is kept.
    pub fn has_layer_index(&self, diff_id: DiffId) -> bool {
        self.index_path(diff_id).exists()
    }

    /// Keeps the index of a layer.
    pub fn keep_layer_index(&self, diff_id: DiffId, index: &LayerIndex) -> Result<(), StoreError> {
        let path = self.index_path(diff_id);
        if path.exists() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        index.write_to(&mut bytes).map_err(|source| StoreError::Index { path: path.clone(), source })?;
        self.write_atomically(&path, &bytes)
    }

    fn index_path(&self, diff_id: DiffId) -> PathBuf {
        self.root.join("indexes").join(diff_id.0.hex())
    }

    /// The kept result of the step with this key.
    pub fn step<T: serde::de::DeserializeOwned>(&self, key: Digest) -> Result<Option<T>, StoreError> {
        let path = self.root.join("steps").join(key.hex());
        let _hold = self.hold()?;
        match std::fs::read(&path) {
            // A result in a form of another version is no result.
            Ok(bytes) => {
                hold::touch(&path);
                Ok(serde_json::from_slice(&bytes).ok())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    /// Keeps the result of a step.
    pub fn keep_step<T: serde::Serialize>(&self, key: Digest, result: &T) -> Result<(), StoreError> {
        let path = self.root.join("steps").join(key.hex());
        let bytes = serde_json::to_vec(result)
            .map_err(|error| StoreError::Damaged { path: path.clone(), reason: error.to_string() })?;
        self.write_atomically(&path, &bytes)
    }

    /// What the steps of the last build of this scope were made from.
    pub fn definitions<T: serde::de::DeserializeOwned>(
        &self,
        scope: Digest,
    ) -> Result<Option<T>, StoreError> {
        let path = self.root.join("definitions").join(scope.hex());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    /// Remembers what the steps of a build are made from.
    pub fn keep_definitions(
        &self,
        scope: Digest,
        definitions: &impl serde::Serialize,
    ) -> Result<(), StoreError> {
        let path = self.root.join("definitions").join(scope.hex());
        let bytes = serde_json::to_vec(definitions)
            .map_err(|error| StoreError::Damaged { path: path.clone(), reason: error.to_string() })?;
        self.write_atomically(&path, &bytes)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        use io::Write as _;
        let mut file = tempfile::NamedTempFile::new_in(self.scratch())
            .map_err(StoreError::io("create a file for", path))?;
        file.write_all(bytes).map_err(StoreError::io("write", path))?;
        file.persist(path).map_err(|error| StoreError::io("write", path)(error.error))?;
        Ok(())
    }
}
