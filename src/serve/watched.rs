//! Files that are read again when they have changed.

use std::error::Error;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a file is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// What tells a file that has changed.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Debug)]
struct Known<T> {
    stamp: Option<Stamp>,
    looked: Instant,
    value: Arc<T>,
}

/// What a file says. If it changes to something that makes no sense, what it said before stays.
#[derive(Debug)]
pub(super) struct Watched<T, E> {
    path: PathBuf,
    /// What it is, in the log.
    what: &'static str,
    read: fn(&Path) -> Result<T, E>,
    known: Mutex<Known<T>>,
}

impl<T, E: Error + 'static> Watched<T, E> {
    /// Reads the file for the first time.
    pub(super) fn open(path: &Path, what: &'static str, read: fn(&Path) -> Result<T, E>) -> Result<Self, E> {
        let stamp = stamp(path);
        let value = Arc::new(read(path)?);
        let known = Mutex::new(Known { stamp, looked: Instant::now(), value });
        Ok(Self { path: path.to_owned(), what, read, known })
    }

    /// What it says now, or said a second ago.
    pub(super) fn current(&self) -> Arc<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= PAUSE {
            known.looked = Instant::now();
            let stamp = stamp(&self.path);
            if stamp != known.stamp {
                known.stamp = stamp;
                match (self.read)(&self.path) {
                    Ok(value) => {
                        tracing::info!("the {} were read again", self.what);
                        known.value = Arc::new(value);
                    }
                    Err(error) => tracing::error!(
                        error = crate::pipeline::describe(&error),
                        "the {} have changed and cannot be used; those before stay",
                        self.what
                    ),
                }
            }
        }
        Arc::clone(&known.value)
    }

    /// As if the time to look again had come.
    #[cfg(test)]
    pub(super) fn hurry(&self) {
        self.known.lock().unwrap().looked -= PAUSE;
    }
}

/// Links are followed: in a mounted Secret the file is one, and what it leads to is replaced.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
