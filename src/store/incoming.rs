//! Blobs on their way into the store, read while they arrive.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::blob::persist;
use super::{Store, StoreError};
use crate::image::Descriptor;

/// A blob that is being downloaded.
///
/// One task appends; any number of threads follow with [`Incoming::follow`], so that a layer is inflated and
/// unpacked while its end is still on the wire. A follower sees the end of the blob only after the task has said
/// [`Incoming::finish`], for which it must have checked the digest; before that, what was read from it must not be
/// given a final name.
#[derive(Debug)]
pub struct Incoming {
    target: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Taken when the blob gets its final name, or is given up.
    file: Option<NamedTempFile>,
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone)]
enum End {
    Whole,
    Broken(Failure),
}

/// Why a blob does not come: one error for all who wait for it.
#[derive(Debug, Clone)]
struct Failure(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Store {
    /// Begins to receive the blob `descriptor`.
    pub fn receive_blob(&self, descriptor: &Descriptor) -> Result<Arc<Incoming>, StoreError> {
        let file = NamedTempFile::new_in(self.scratch())
            .map_err(StoreError::io("create a file in", self.scratch()))?;
        Ok(Arc::new(Incoming {
            target: self.blob_path(descriptor.digest),
            state: Mutex::new(State { file: Some(file), written: 0, end: None }),
            changed: Condvar::new(),
        }))
    }
}

impl Incoming {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next bytes.
    pub fn append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(file) = &mut state.file {
            file.write_all(bytes).map_err(StoreError::io("write", &self.target))?;
        }
        state.written += bytes.len() as u64;
        self.changed.notify_all();
        Ok(())
    }

    /// Gives the blob its name in the store. The caller has checked its digest, and passes on an error with
    /// [`Incoming::fail`].
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(file) = state.file.take() else { return Ok(()) };
        persist(file, &self.target)?;
        state.end = Some(End::Whole);
        self.changed.notify_all();
        Ok(())
    }

    /// Gives up: followers get this error.
    pub fn fail(&self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        let mut state = self.state();
        state.file = None;
        state.end.get_or_insert_with(|| End::Broken(Failure(Arc::from(error.into()))));
        self.changed.notify_all();
    }

    /// Waits until all is here, or will never be. Blocks.
    pub fn wait(&self) -> io::Result<()> {
        let mut state = self.state();
        loop {
            match &state.end {
                Some(End::Broken(failure)) => return Err(io::Error::other(failure.clone())),
                Some(End::Whole) => return Ok(()),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Reads the blob from its beginning, waiting for what has not arrived yet.
    pub fn follow(self: &Arc<Self>) -> Result<IncomingReader, StoreError> {
        let state = self.state();
        let file = match &state.file {
            Some(file) => file.reopen(),
            None => File::open(&self.target),
        };
        let file = file.map_err(StoreError::io("open", &self.target))?;
        Ok(IncomingReader { incoming: Arc::clone(self), file, position: 0 })
    }
}

/// Reads a blob while it arrives.
#[derive(Debug)]
pub struct IncomingReader {
    incoming: Arc<Incoming>,
    file: File,
    position: u64,
}

impl IncomingReader {
    /// How many bytes can be read now: zero at the end.
    fn available(&self) -> io::Result<u64> {
        let _span = tracing::info_span!("wait for bytes").entered();
        let mut state = self.incoming.state();
        loop {
            match &state.end {
                Some(End::Broken(failure)) => return Err(io::Error::other(failure.clone())),
                Some(End::Whole) => return Ok(state.written - self.position),
                None if state.written > self.position => return Ok(state.written - self.position),
                None => {
                    state = self.incoming.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Read for IncomingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.available()?;
        let wanted = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MediaType;
    use crate::layer::Digest;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn is_read_while_it_arrives() {
        let (_directory, store) = store();
        let descriptor = Descriptor::new(MediaType::ImageLayer, Digest::of("hello world"), 11);
        let incoming = store.receive_blob(&descriptor).unwrap();
        let mut early = incoming.follow().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            early.read_to_string(&mut text).map(|_| text)
        });
        incoming.append(b"hello ").unwrap();
        incoming.append(b"world").unwrap();
        incoming.finish().unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "hello world");
        assert!(store.has_blob(&descriptor));
        let mut text = String::new();
        incoming.follow().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
    }

    #[test]
    fn giving_up_reaches_every_reader() {
        let (_directory, store) = store();
        let incoming =
            store.receive_blob(&Descriptor::new(MediaType::ImageLayer, Digest::of("x"), 1)).unwrap();
        let mut reader = incoming.follow().unwrap();
        incoming.fail("the line went dead");
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "the line went dead");
        assert_eq!(incoming.wait().unwrap_err().to_string(), "the line went dead");
    }
}
