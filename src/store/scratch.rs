//! Temporary files that do not outlive their process, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;

/// A process's own directory below the store's `tmp`, marked as alive by a lock.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Held as long as the process lives: a directory whose lock is free belongs to a dead one.
    _lock: File,
}

/// What a directory is called until it is locked; that takes no time, unless its process dies.
const NEW: &str = "new-";

/// After how long a directory that is not locked yet never will be.
const STILLBORN: Duration = Duration::from_mins(10);

/// The locked file in each scratch directory.
pub(super) const LOCK: &str = "lock";

impl Scratch {
    /// Makes a directory in `parent`, and removes those of dead processes.
    pub(super) fn new(parent: &Path) -> Result<Self, StoreError> {
        sweep(parent)?;
        let failed =
            |source| StoreError::Io { action: "create a directory in", path: parent.to_owned(), source };
        // Locked before it gets its final name, so that nobody takes it for a dead one.
        let directory = tempfile::Builder::new().prefix(NEW).tempdir_in(parent).map_err(failed)?;
        let lock = File::create(directory.path().join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let name =
            directory.path().file_name().unwrap_or_default().to_string_lossy().replacen(NEW, "run-", 1);
        let path = parent.join(name);
        std::fs::rename(directory.keep(), &path).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Scratch {
    /// Removes the directory.
    pub(super) fn discard(&self) {
        // A thread that still writes may put a file into the directory while it is being emptied. What cannot be
        // removed now is removed by the next process that opens the store.
        for _ in 0..10 {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => return,
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.discard();
    }
}

fn sweep(parent: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { action: "list", path: parent.to_owned(), source };
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_dead = if name.starts_with(NEW) {
            let modified = path.metadata().and_then(|found| found.modified());
            modified.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > STILLBORN))
        } else if name.starts_with("run-") {
            match File::open(path.join(LOCK)) {
                Ok(lock) => match lock.try_lock() {
                    Ok(()) => true,
                    Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
                },
                // It was there before the directory had its name: its process was removing it, to the end or not.
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
        } else {
            false
        };
        if is_dead {
            // Another process may be sweeping the same directory; files of other users stay.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_only_the_dead() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Scratch::new(parent.path()).unwrap();
        let dead = parent.path().join("run-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        // One was killed while it removed its directory, and one while it made it.
        let half_removed = parent.path().join("run-half");
        std::fs::create_dir(&half_removed).unwrap();
        std::fs::write(half_removed.join("file"), "").unwrap();
        let [stillborn, newborn] = ["new-old", "new-now"].map(|name| parent.path().join(name));
        std::fs::create_dir(&stillborn).unwrap();
        std::fs::create_dir(&newborn).unwrap();
        let then = std::time::SystemTime::now() - STILLBORN - Duration::from_secs(1);
        File::open(&stillborn).unwrap().set_modified(then).unwrap();
        let other = Scratch::new(parent.path()).unwrap();
        assert!(alive.path().exists() && other.path().exists() && !dead.exists());
        assert!(!half_removed.exists() && !stillborn.exists() && newborn.exists());
        let gone = other.path().to_owned();
        drop(other);
        assert!(!gone.exists());
    }
}
