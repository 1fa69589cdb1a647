//! What builder and helper say to each other: JSON in frames with a length, over a socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Exit, Isolation, Refusal, RunSpec};
use crate::rootfs::owner::Ownership;
use crate::rootfs::unpack::{Form, Unpacked};

/// `argv[0]` of a helper.
pub(super) const HELPER_NAME: &str = "cooper-sandbox";

/// `argv[1]` of a helper that is to keep the builder's ids instead of entering a user namespace.
pub(super) const OWN_IDS: &str = "own-ids";

/// Longest frame, in bytes: a command line has at most two mebibytes, the rest is small.
const MAX_FRAME: usize = 64 << 20;

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

/// The one thing a helper does.
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
    /// Execute a command; output on descriptors 1 and 2.
    Run(Box<Run>),
    /// Execute a command without namespaces; output on descriptors 1 and 2.
    RunInPlace(Box<InPlace>),
    /// Write what changed to descriptor 1.
    Diff { root: Root, scratch: PathBuf, latest_mtime: Option<i64> },
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
    /// The command has ended.
    Exited(Exit),
    /// The changes were written: so many entries.
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

/// The helper's end of the socket: its standard input, whose place `/dev/null` takes.
pub(super) fn take_socket() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}
