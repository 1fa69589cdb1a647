//! What builder and helper say to each other: JSON in frames with a length, over a socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DiffSettings, Exit, Isolation, Refusal, RunSpec};
use crate::rootfs::owner::Ownership;
use crate::rootfs::unpack::{Form, Unpacked};

/// `argv[0]` of a helper.
pub(super) const HELPER_NAME: &str = "cooper-sandbox";

/// `argv[1]` of a helper that is to keep the builder's ids instead of entering a user namespace.
pub(super) const OWN_IDS: &str = "own-ids";

/// Longest frame, in bytes: a command line has at most two mebibytes, the rest is small.
const MAX_FRAME: usize = 64 << 20;

/// Longest chunk of a stream, in bytes.
const MAX_CHUNK: usize = 256 << 10;

/// What a helper is to do, sent when its ids are mapped. All paths are relative to its working directory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Whether supplementary groups can be set in the namespace; not so with a single-id map.
    pub(super) groups: bool,
    /// Where it is written whose files are.
    pub(super) ownership: Ownership,
    /// The operation.
    pub(super) operation: Operation,
}

/// What a helper does: one thing, and after a command the diff too.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Operation {
    /// Nothing: that the namespace could be made is all that was asked.
    Enter,
    /// Find out whether the namespace's root can mount, and with `overlay` also an overlay, in the empty `scratch`.
    Probe { scratch: PathBuf, overlay: bool },
    /// Find out whether commands can be executed without namespaces, with the help of the empty `scratch`.
    ProbeInPlace { scratch: PathBuf, isolation: Isolation },
    /// Make a directory and unpack the tar on descriptor 1 into it.
    Unpack { directory: PathBuf, form: Form, fingerprints: Option<PathBuf> },
    /// Settle what a layer directory could not know of its lower layers (topmost first).
    /// `scratch` is an empty directory to mount them at.
    Amend { directory: PathBuf, lowers: Vec<PathBuf>, unpacked: Unpacked, scratch: PathBuf },
    /// Note what a plain rootfs holds.
    Baseline { root: PathBuf, fingerprints: PathBuf, baseline: PathBuf },
    /// Execute a command; output on descriptors 1 and 2. Another order may follow.
    Run(Box<Run>),
    /// Execute a command without namespaces; output on descriptors 1 and 2. Another order may follow.
    RunInPlace(Box<InPlace>),
    /// Send what changed, as the chunks of a tar that precede the answer. `scratch` is a directory to mount at.
    Diff { root: Root, scratch: PathBuf, settings: DiffSettings },
    /// Make something belong to a user and a group.
    Give { path: PathBuf, owner: (u32, u32), mode: u32 },
    /// Remove files and directories with all that is in them.
    Remove { paths: Vec<PathBuf> },
}

/// A command and its surroundings.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) root: Root,
    pub(super) spec: RunSpec,
    /// Where the files are put that are bound into the root; it is mounted at `root` in there.
    pub(super) scratch: PathBuf,
    /// Contents of `/etc/resolv.conf`.
    pub(super) resolv_conf: String,
}

/// A command that is executed without namespaces.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InPlace {
    pub(super) run: Run,
    pub(super) isolation: Isolation,
    /// Absolute paths that stay where they are, because the builder uses them.
    pub(super) keep: Vec<PathBuf>,
    /// The builder's store: what is in it can be lent to a command.
    pub(super) store: PathBuf,
}

/// A rootfs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Root {
    /// Layer directories (topmost first) below a directory for changes.
    Overlay { lowers: Vec<PathBuf>, upper: PathBuf, work: PathBuf },
    /// A directory, and the note of what was in it.
    Plain { directory: PathBuf, baseline: PathBuf },
}

/// What a helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is in a new user namespace and waits for its maps.
    Unshared,
    /// It has done what it was to do.
    Done,
    /// It has unpacked a layer.
    Unpacked(Unpacked),
    /// The command has ended, and its output too. The helper waits for another order, or for the builder to hang up.
    Exited(Exit),
    /// The changes were sent: so many there are.
    Written(u64),
    /// It has failed.
    Failed(Failure),
}

/// An error on its way to the builder.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(super) enum Failure {
    /// The system forbids what the isolation needs.
    #[error("{what}: {}", io::Error::from_raw_os_error(*errno))]
    Refused { refusal: Refusal, what: String, errno: i32 },
    /// A system call failed.
    #[error("cannot {step}: {}", io::Error::from_raw_os_error(*errno))]
    Step { step: String, errno: i32 },
    /// The layer is at fault.
    #[error("{0}")]
    Layer(String),
    /// What changed cannot be put into a layer.
    #[error("{0}")]
    Diff(String),
    /// The supervisor of the command was killed.
    #[error("killed by signal {0}")]
    Killed(i32),
    /// No such user.
    #[error("no user `{0}`")]
    UnknownUser(String),
    /// No such group.
    #[error("no group `{0}`")]
    UnknownGroup(String),
    /// A command that was to have no network could have one.
    #[error("no network namespace can be made")]
    NoNetworkNamespace,
    /// A builder has ended while `/` showed an image.
    #[error("the pod's own files are still out of the way")]
    Interrupted,
    /// Too much would have to be moved file by file.
    #[error("there is too much in `{path}`")]
    Crowded { path: String },
    /// The image has something else where a directory has to stay.
    #[error("`{path}` is no directory in the image")]
    InTheWay { path: String },
    /// A secret would have to be on a disk.
    #[error("there is no memory for the secret at `{target}`")]
    SecretFile { target: String },
    /// The program cannot be executed.
    #[error("cannot execute `{program}`")]
    Program { program: String, errno: i32 },
}

impl Failure {
    /// The failure of `step`, which completes "cannot …".
    pub(super) fn step(step: impl Into<String>, error: &io::Error) -> Self {
        Self::Step { step: step.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// That `what` was refused.
    pub(super) fn refused(refusal: Refusal, what: impl Into<String>, error: &io::Error) -> Self {
        Self::Refused { refusal, what: what.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Gives an error the step it belongs to.
pub(super) trait During<T> {
    /// `step` completes "cannot …".
    fn during<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| Failure::step(step(), &error.into()))
    }
}

/// Sends one frame.
pub(super) fn send(mut stream: impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame)
}

/// Receives one frame; the end of the stream is an error of kind `UnexpectedEof`.
pub(super) fn receive<T: DeserializeOwned>(mut stream: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Sends a stream of bytes ahead of an answer: chunks with a length, an empty one last.
#[derive(Debug)]
pub(super) struct ChunkWriter<'a>(pub(super) &'a UnixStream);

impl ChunkWriter<'_> {
    /// Says that this is all.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.0.write_all(&0_u32.to_le_bytes())
    }
}

impl Write for ChunkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(MAX_CHUNK)];
        if !chunk.is_empty() {
            let length = u32::try_from(chunk.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.0.write_all(&length.to_le_bytes())?;
            self.0.write_all(chunk)?;
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives the next chunk into `buffer`; an empty one is the last.
pub(super) fn receive_chunk(mut stream: impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_CHUNK {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is too long"));
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer)
}

/// The helper's end of the socket: its standard input, whose place `/dev/null` takes.
pub(super) fn take_socket() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_chunks_ends_before_the_answer() {
        let (one, other) = UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..MAX_CHUNK * 2 + 5).map(|number| number.to_le_bytes()[0]).collect();
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = ChunkWriter(&one);
                assert_eq!(writer.write(&[]).unwrap(), 0);
                writer.write_all(&sent).unwrap();
                writer.end().unwrap();
                send(&one, &Answer::Written(7)).unwrap();
            });
            let (mut received, mut chunk) = (Vec::new(), Vec::new());
            while receive_chunk(&other, &mut chunk).is_ok() && !chunk.is_empty() {
                received.extend_from_slice(&chunk);
            }
            assert!(matches!(receive(&other), Ok(Answer::Written(7))));
            received
        });
        assert!(received == sent);
        (&one).write_all(&u32::MAX.to_le_bytes()).unwrap();
        let refused = receive_chunk(&other, &mut Vec::new()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
