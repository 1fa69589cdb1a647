//! Cache directories: which one a mount means, who may use it, and how it begins.
//!
//! A directory is found by the mount's id, by what it begins with, and by mode and owner where the mount gives them:
//! another mode is another directory, as with BuildKit. Locks are on files, so they hold between processes that share
//! a store. Whoever needs several locks takes them in the order of the directories' names, so that nobody waits in a
//! circle.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::MountError;
use super::bind::{self, Shown};
use crate::dockerfile::{CacheMount, CacheSharing, Span};
use crate::exec::error::StepError;
use crate::exec::sandbox::{Sandbox, SandboxError};
use crate::exec::solve::SolverSettings;
use crate::graph::KeyWriter;
use crate::layer::Metadata;
use crate::rootfs::{Directory, Node};

/// How often it is looked whether a lock is free.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The directories that a build without cache has begun anew: each once.
pub(in crate::exec) type Renewed = Mutex<BTreeSet<String>>;

/// A cache directory in use. Dropping it lets others have it.
#[derive(Debug)]
pub(super) struct Cache {
    /// The source of the mount.
    pub(super) source: PathBuf,
    _lock: File,
}

/// What a mount means, before anything is made.
#[derive(Debug)]
pub(super) struct CacheRequest<'a> {
    mount: &'a CacheMount,
    seed: Option<&'a Shown>,
    span: Span,
    name: String,
}

impl<'a> CacheRequest<'a> {
    pub(super) fn new(mount: &'a CacheMount, seed: Option<&'a Shown>, span: Span) -> Self {
        let mut key = KeyWriter::new("cache");
        key.field(mount.id.as_ref().unwrap_or(&mount.target));
        key.optional(seed.map(|seed| *seed.key.as_bytes()));
        for number in [mount.mode, mount.uid, mount.gid] {
            key.optional(number.map(u32::to_be_bytes));
        }
        Self { mount, seed, span, name: key.finish().hex() }
    }

    /// The directory's name, in whose order locks are taken.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Who else may use it.
    pub(super) fn sharing(&self) -> CacheSharing {
        self.mount.sharing
    }

    /// Waits until the directory may be used like this, and makes it if need be.
    pub(super) fn acquire(
        &self,
        sharing: CacheSharing,
        sandbox: &Sandbox,
        settings: &SolverSettings,
        renewed: &Renewed,
    ) -> Result<Arc<Cache>, StepError> {
        let alone = FlockOperation::NonBlockingLockExclusive;
        let (name, lock) = match sharing {
            CacheSharing::Private => Self::lock_any(&self.name, sandbox)?,
            CacheSharing::Locked => (self.name.clone(), self.lock(alone, sandbox, settings)?),
            CacheSharing::Shared => {
                let with_others = FlockOperation::NonBlockingLockShared;
                (self.name.clone(), self.lock(with_others, sandbox, settings)?)
            }
        };
        let explicit = self.mount.mode.is_some() || self.mount.uid.is_some() || self.mount.gid.is_some();
        let source = if explicit && !settings.use_cache && !is_renewed(renewed, &name) {
            // Others that share it must not lose it under their hands.
            drop(lock);
            let lock = self.lock_named(&name, alone, sandbox, settings)?;
            if !is_renewed(renewed, &name) {
                sandbox.remove_cache(&name)?;
                self.make(&name, sandbox, settings)?;
                renewed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
            }
            drop(lock);
            return self.acquire(sharing, sandbox, settings, renewed);
        } else {
            match sandbox.cache(&name)? {
                Some(source) => source,
                None => self.make(&name, sandbox, settings)?,
            }
        };
        Ok(Arc::new(Cache { source, _lock: lock }))
    }

    /// The first directory of this name that nobody uses.
    fn lock_any(name: &str, sandbox: &Sandbox) -> Result<(String, File), StepError> {
        let mut number = 0_u32;
        loop {
            let name = if number == 0 { name.to_owned() } else { format!("{name}-{number}") };
            let file = sandbox.cache_lock(&name)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok((name, file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => number += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn lock(
        &self,
        operation: FlockOperation,
        sandbox: &Sandbox,
        settings: &SolverSettings,
    ) -> Result<File, StepError> {
        self.lock_named(&self.name, operation, sandbox, settings)
    }

    fn lock_named(
        &self,
        name: &str,
        operation: FlockOperation,
        sandbox: &Sandbox,
        settings: &SolverSettings,
    ) -> Result<File, StepError> {
        let file = sandbox.cache_lock(name)?;
        let mut waiting = false;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed(error)),
            }
            if !waiting {
                let id = self.mount.id.as_deref().unwrap_or(&self.mount.target);
                settings.events.note(format!("waiting for the cache `{id}`, which another step uses"));
                waiting = true;
            }
            let pause = Timespec::try_from(LOOK_AGAIN).unwrap_or_default();
            match poll(&mut [PollFd::new(&settings.cancel, PollFlags::IN)], Some(&pause)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Err(StepError::Cancelled),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Makes the directory. It gets its name when it is complete.
    fn make(&self, name: &str, sandbox: &Sandbox, settings: &SolverSettings) -> Result<PathBuf, StepError> {
        let begin = match self.seed.map(|seed| &seed.node) {
            Some(Node::Directory(directory)) => directory.as_ref().clone(),
            Some(Node::Leaf(_)) => {
                let source = self.mount.source.clone();
                return Err(StepError::Mount {
                    source: MountError::SeedIsFile { path: source },
                    span: self.span,
                });
            }
            None => Directory::new(Metadata {
                mtime: settings.clock.now.epoch_seconds(),
                ..Metadata::with_mode(0o755)
            }),
        };
        let mut begin = begin;
        let metadata = &mut begin.metadata;
        metadata.mode = self.mount.mode.unwrap_or(metadata.mode);
        metadata.uid = self.mount.uid.unwrap_or(metadata.uid);
        metadata.gid = self.mount.gid.unwrap_or(metadata.gid);
        let files = bind::lay_out(&Node::Directory(Arc::new(begin)), self.seed, sandbox, settings)?;
        Ok(sandbox.keep_cache(name, &files, bind::NAME)?)
    }
}

fn is_renewed(renewed: &Renewed, name: &str) -> bool {
    renewed.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

fn failed(error: Errno) -> StepError {
    let source = io::Error::from(error);
    SandboxError::Step { step: "lock a cache directory".to_owned(), source }.into()
}
