//! Files of the builder that commands see through mounts.
//!
//! A helper makes them, so that they have the owners that commands know. They are beside the unpacked layers, in a
//! directory that the namespace's root can reach:
//!
//! ```text
//! STORE/rootfs/whole/
//!   builds/ID/files/       what one command sees, removed when it has ended
//!   cache/NAME             directories that outlive builds
//!   cache/NAME.lock        locked while a command uses the directory
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::directory::Build;
use super::process::Helpers;
use super::wire::{Answer, Operation};
use super::{Sandbox, SandboxError, stream};
use crate::cancel::Cancel;
use crate::rootfs::unpack::{Form, Warning};

/// The directory of what outlives builds, relative to that of unpacked layers.
const CACHES: &str = "cache";

/// A directory of files that can be bound into a rootfs. Dropping it removes them.
#[derive(Debug)]
pub struct Files {
    helpers: Helpers,
    build: Build,
    warnings: Vec<Warning>,
}

impl Sandbox {
    /// Unpacks the tar that `write` gives into a new directory.
    pub fn lay_out<E: From<SandboxError>>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
        cancel: &Cancel,
    ) -> Result<Files, E> {
        let mut files = self.files()?;
        let operation = Operation::Unpack {
            directory: files.build.join("files"),
            form: Form::Applied,
            fingerprints: None,
        };
        let (reader, writer) = stream::pipe()?;
        let helper = self.helpers.start(operation, Stdio::from(reader), Stdio::inherit())?;
        let mut pipe = Pipe { file: File::from(writer), cancel, broken: false };
        let written = write(&mut pipe);
        let broken = pipe.broken;
        drop(pipe);
        let answer = helper.answer();
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled.into());
        }
        // Of two errors, the true one is the first: a helper that is not given all has an error for that reason.
        if !broken {
            written?;
        }
        match answer? {
            Answer::Unpacked(unpacked) => files.warnings.extend(unpacked.warnings),
            _ => return Err(SandboxError::Protocol(io::ErrorKind::InvalidData.into()).into()),
        }
        Ok(files)
    }

    /// A new directory without any files.
    pub fn files(&self) -> Result<Files, SandboxError> {
        let build = self.directory.begin()?;
        self.directory.make(build.join("files"))?;
        Ok(Files { helpers: self.helpers.clone(), build, warnings: Vec::new() })
    }

    /// Makes something in `files` belong to a user and a group as commands know them.
    pub fn give(&self, files: &Files, name: &str, owner: (u32, u32), mode: u32) -> Result<(), SandboxError> {
        let Some((user, group)) = self.helpers.map.outside(owner) else {
            // The builder is not root: only root of the namespace can give it away.
            let operation = Operation::Give { path: files.source(name), owner, mode };
            return self.helpers.perform(operation).map(|_| ());
        };
        let path = self.path_in(files).join(name);
        let give = || -> io::Result<()> {
            std::os::unix::fs::chown(&path, Some(user), Some(group))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
        };
        give().map_err(|source| SandboxError::Step {
            step: format!("give `{name}` to user {} and group {}", owner.0, owner.1),
            source,
        })
    }

    /// The directory of `files`, for the builder itself.
    pub fn path_in(&self, files: &Files) -> PathBuf {
        self.directory.path().join(files.build.join("files"))
    }

    /// The cache directory `name` as the source of a mount, if there is one.
    pub fn cache(&self, name: &str) -> Result<Option<PathBuf>, SandboxError> {
        let path = Path::new(CACHES).join(name);
        let full = self.directory.path().join(&path);
        match full.try_exists() {
            Ok(exists) => Ok(exists.then_some(path)),
            Err(source) => Err(SandboxError::Store { path: full, source }),
        }
    }

    /// Makes a cache directory of the directory `from` in `files`. If another build was faster, its directory stays.
    pub fn keep_cache(&self, name: &str, files: &Files, from: &str) -> Result<PathBuf, SandboxError> {
        let path = Path::new(CACHES).join(name);
        let full = self.directory.path().join(&path);
        match std::fs::rename(self.path_in(files).join(from), &full) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Ok(path)
            }
            Err(source) => Err(SandboxError::Store { path: full, source }),
            Ok(()) => Ok(path),
        }
    }

    /// Removes a cache directory, if there is one.
    pub fn remove_cache(&self, name: &str) -> Result<(), SandboxError> {
        self.helpers.perform(Operation::Remove { paths: vec![Path::new(CACHES).join(name)] }).map(|_| ())
    }

    /// The file to lock for a cache directory.
    pub fn cache_lock(&self, name: &str) -> Result<File, SandboxError> {
        self.directory.make(CACHES)?;
        let path = self.directory.path().join(CACHES).join(format!("{name}.lock"));
        let opened = File::options().create(true).append(true).open(&path);
        // Its mtime says when the cache was used last, for pruning.
        opened
            .and_then(|file| file.set_modified(std::time::SystemTime::now()).map(|()| file))
            .map_err(|source| SandboxError::Store { path, source })
    }
}

impl Files {
    /// The path of a file or directory among them, as the source of a mount.
    pub fn source(&self, name: &str) -> PathBuf {
        self.build.join("files").join(name)
    }

    /// What could not be made as the tar says.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What remains is removed when the next sandbox is chosen.
        let _ = self.build.end(&self.helpers);
    }
}

/// The way to a helper that unpacks.
struct Pipe<'a> {
    file: File,
    cancel: &'a Cancel,
    /// Whether the helper wanted no more.
    broken: bool,
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        self.file.write(bytes).inspect_err(|error| self.broken |= error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
