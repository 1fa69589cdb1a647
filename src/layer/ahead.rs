//! Reading ahead on another thread.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Length of a buffer in bytes.
const CHUNK: usize = 128 << 10;

/// So many full buffers may wait to be read.
const CHUNKS: usize = 6;

/// Reads from `T` on a thread of its own, a bounded number of bytes ahead of the one who reads from this.
///
/// When this is dropped, the thread ends as soon as its current read returns.
#[derive(Debug)]
pub struct Ahead<T> {
    /// Full buffers; an empty one is the end.
    full: Option<Receiver<io::Result<Vec<u8>>>>,
    /// Buffers to be filled again.
    spare: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    thread: JoinHandle<T>,
}

impl<T: Read + Send + 'static> Ahead<T> {
    /// Starts reading. Fails when the system gives no thread.
    pub fn start(source: T) -> io::Result<Self> {
        let (sender, full) = sync_channel(CHUNKS);
        let (spare, empty) = channel();
        let thread = thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || read_all(source, &sender, &empty))?;
        Ok(Self { full: Some(full), spare, current: Vec::new(), position: 0, thread })
    }

    /// Stops reading and gives the source back, for instance to ask it for the digest of what it gave. At the end of
    /// the stream nothing is lost; before it, the source may be further than what was read from this.
    pub fn finish(mut self) -> io::Result<T> {
        self.full = None;
        self.thread.join().map_err(|_| stopped())
    }
}

impl<T> Read for Ahead<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() {
            let Some(full) = &self.full else { return Ok(0) };
            let next = full.recv().map_err(|_| stopped())??;
            let used = std::mem::replace(&mut self.current, next);
            self.position = 0;
            if self.current.is_empty() {
                self.full = None;
                return Ok(0);
            }
            // The thread may have ended already; then the buffer is not needed.
            let _ = self.spare.send(used);
        }
        let rest = &self.current[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the thread that reads ahead stopped unexpectedly")
}

/// Fills buffers until the end, an error, or nobody wants them.
fn read_all<T: Read>(mut source: T, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) -> T {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let filled = tracing::info_span!("inflate").in_scope(|| fill(&mut source, &mut chunk));
        let ended = !matches!(filled, Ok(count) if count > 0);
        let message = filled.map(|count| {
            chunk.truncate(count);
            chunk
        });
        if full.send(message).is_err() || ended {
            return source;
        }
    }
}

/// Reads until the buffer is full or the source ends. An error takes the place of what came shortly before it: the
/// stream as a whole has failed.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Digest, Hashing};

    #[test]
    fn gives_all_bytes_and_the_source_back() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|index| index.to_le_bytes()[1]).collect();
        let mut ahead = Ahead::start(Hashing::new(io::Cursor::new(bytes.clone()))).unwrap();
        let mut output = Vec::new();
        ahead.read_to_end(&mut output).unwrap();
        assert!(output == bytes);
        assert_eq!(ahead.read(&mut [0]).unwrap(), 0);
        assert_eq!(ahead.finish().unwrap().finish().1, Digest::of(&bytes));
    }

    #[test]
    fn is_bounded_and_can_be_left() {
        let mut ahead = Ahead::start(Hashing::new(io::repeat(7))).unwrap();
        ahead.read_exact(&mut [0; 10]).unwrap();
        let read = ahead.finish().unwrap().length();
        assert!(read <= ((CHUNKS + 2) * CHUNK) as u64, "{read}");
    }

    #[test]
    fn passes_errors_on() {
        struct Fails(usize);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("worn out"))?;
                Ok(buffer.len())
            }
        }
        let mut ahead = Ahead::start(Fails(2)).unwrap();
        assert_eq!(ahead.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "worn out");
    }
}
