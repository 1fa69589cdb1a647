//! What keeps builds that share a store out of each other's way.
//!
//! A build that uses something marks it as used now, by the file's mtime. Pruning removes nothing that was used since
//! the oldest build that is still running began, and no build looks at anything while pruning decides: so nothing
//! that a build has found goes away before the build has ended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use super::{Store, StoreError};
use crate::cancel::Cancel;
use crate::image::Descriptor;
use crate::layer::Digest;

/// The file that is locked while something is looked for, shared, and while pruning decides, alone.
const PRUNE_LOCK: &str = "prune.lock";

/// How long to wait before looking again whether another build has finished a step.
const PAUSE: Duration = Duration::from_millis(20);

/// While it lives, nothing goes away.
#[derive(Debug)]
pub(super) struct Hold {
    _lock: File,
}

/// The turn to carry out a step. Other builds with the same store wait until it is dropped.
#[derive(Debug)]
pub struct StepLock {
    /// The locked file; none where the file system knows no locks.
    file: Option<(File, PathBuf)>,
    has_waited: bool,
}

impl StepLock {
    /// Whether another build had the turn before, and so may have left the result.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl Drop for StepLock {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.file {
            // Who waits for this very file still gets its turn, and finds the result.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Store {
    pub(super) fn hold(&self) -> Result<Hold, StoreError> {
        let lock = open_lock(&self.root.join(PRUNE_LOCK))?;
        lock.lock_shared()
            .or_else(unless_unknown)
            .map_err(StoreError::io("lock", self.root.join(PRUNE_LOCK)))?;
        Ok(Hold { _lock: lock })
    }

    pub(super) fn hold_alone(&self) -> Result<Hold, StoreError> {
        let lock = open_lock(&self.root.join(PRUNE_LOCK))?;
        lock.lock().or_else(unless_unknown).map_err(StoreError::io("lock", self.root.join(PRUNE_LOCK)))?;
        Ok(Hold { _lock: lock })
    }

    /// Whether the blob is here, with its full length. It stays as long as this process lives.
    pub fn use_blob(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        let _hold = self.hold()?;
        let is_here = self.has_blob(descriptor);
        if is_here {
            touch(&self.blob_path(descriptor.digest));
        }
        Ok(is_here)
    }

    /// Waits for the turn to carry out the step with this key. Blocks, until `cancel` says otherwise.
    pub fn lock_step(&self, key: Digest, cancel: &Cancel) -> Result<StepLock, StoreError> {
        let path = self.root.join("locks").join(key.hex());
        let mut has_waited = false;
        loop {
            let file = open_lock(&path)?;
            match file.try_lock() {
                Ok(()) => {
                    // The one before may have removed the file; a new one would not be kept off by this lock.
                    if is_same(&file, &path) {
                        return Ok(StepLock { file: Some((file, path)), has_waited });
                    }
                }
                Err(TryLockError::WouldBlock) if cancel.is_cancelled() => {
                    return Ok(StepLock { file: None, has_waited });
                }
                Err(TryLockError::WouldBlock) => {
                    has_waited = true;
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::Error(error)) => {
                    unless_unknown(error).map_err(StoreError::io("lock", &path))?;
                    return Ok(StepLock { file: None, has_waited });
                }
            }
        }
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(StoreError::io("open", path))
}

fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let one = file.metadata().map(|found| (found.dev(), found.ino()));
    let two = std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((one, two), (Ok(one), Ok(two)) if one == two)
}

/// Some network file systems have no locks. There, two builds may do the same work, and pruning is for quiet hours.
fn unless_unknown(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::ENOLCK) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Marks a file as used now. One that cannot be marked, as in another user's store, is pruned sooner.
pub(super) fn touch(path: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: now };
    let _ = utimensat(CWD, path, &times, AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_at_a_time_carries_out_a_step() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let cancel = Cancel::new().unwrap();
        let key = Digest::of("step");
        let first = store.lock_step(key, &cancel).unwrap();
        assert!(!first.has_waited());
        assert!(!store.lock_step(Digest::of("another"), &cancel).unwrap().has_waited());
        let waiting = {
            let (store, cancel) = (Arc::clone(&store), cancel.clone());
            std::thread::spawn(move || store.lock_step(key, &cancel).unwrap().has_waited())
        };
        std::thread::sleep(PAUSE * 3);
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.join().unwrap());
        assert_eq!(std::fs::read_dir(directory.path().join("locks")).unwrap().count(), 0);
        let _held = store.lock_step(key, &cancel).unwrap();
        cancel.cancel();
        assert!(store.lock_step(key, &cancel).unwrap().file.is_none());
    }
}
