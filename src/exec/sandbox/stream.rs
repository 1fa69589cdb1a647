//! Bytes between builder and helper.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::process::Helper;
use super::{OutputStream, SandboxError};
use crate::cancel::Cancel;

/// What is moved at once, in bytes.
const BUFFER: usize = 256 << 10;

/// How much a pipe holds if it may, in bytes: an unprivileged process's limit.
const PIPE: usize = 1 << 20;

/// A pipe for tar streams: reading end, writing end.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", error.into()))?;
    // Only faster: a user who has many pipes may be refused.
    let _ = fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}

/// A pipe for what a command prints. `/dev/stdout` leads to it, which commands of any user open.
pub(super) fn output_pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", error.into()))?;
    rustix::fs::fchmod(&writer, Mode::from_raw_mode(0o666))
        .map_err(|error| failed("open a pipe to the command", error.into()))?;
    Ok((reader, writer))
}

/// How copying to a helper ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// It has all.
    All,
    /// It wants no more.
    Refused,
}

/// Copies `source` to a helper; an error is that of the source, or the cancellation.
pub(super) fn feed(
    source: &mut dyn Read,
    pipe: OwnedFd,
    cancel: &Cancel,
    failed: impl Fn(io::Error) -> SandboxError,
) -> Result<Fed, SandboxError> {
    let mut pipe = File::from(pipe);
    let mut buffer = vec![0; BUFFER];
    let mut fed = Fed::All;
    loop {
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(fed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        // What the helper refuses is read to its end: if the source finds it corrupt, that is the true error.
        if fed == Fed::All && pipe.write_all(&buffer[..count]).is_err() {
            fed = Fed::Refused;
        }
    }
}

/// Copies the tar that a helper sends to `target`.
pub(super) fn drain(
    helper: &mut Helper,
    target: &mut dyn Write,
    cancel: &Cancel,
) -> Result<(), SandboxError> {
    let mut chunk = Vec::new();
    loop {
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        helper.receive_chunk(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        target.write_all(&chunk).map_err(SandboxError::WriteLayer)?;
    }
}

/// Hands on what a command prints until the helper has something to say.
pub(super) fn listen(
    helper: &Helper,
    stdout: OwnedFd,
    stderr: OwnedFd,
    output: &mut dyn FnMut(OutputStream, &[u8]),
    cancel: &Cancel,
) -> Result<(), SandboxError> {
    let mut pipes = vec![(OutputStream::Stdout, stdout), (OutputStream::Stderr, stderr)];
    let mut buffer = vec![0; BUFFER];
    let mut answered = false;
    while !answered || !pipes.is_empty() {
        let mut fds = vec![PollFd::new(cancel, PollFlags::IN)];
        fds.extend(pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
        if !answered {
            fds.push(PollFd::from_borrowed_fd(helper.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            result => result.map_err(|error| failed("wait for the command", error.into()))?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            return Err(SandboxError::Cancelled);
        }
        answered = answered || ready[ready.len() - 1];
        let mut ready = ready[1..].iter();
        let mut open = Vec::with_capacity(pipes.len());
        for (stream, pipe) in pipes {
            if ready.next() != Some(&true) {
                open.push((stream, pipe));
                continue;
            }
            match rustix::io::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => {}
                Ok(count) => {
                    output(stream, &buffer[..count]);
                    open.push((stream, pipe));
                }
                Err(Errno::INTR) => open.push((stream, pipe)),
                Err(error) => return Err(failed("read what the command prints", error.into())),
            }
        }
        pipes = open;
    }
    Ok(())
}

fn failed(step: &str, source: io::Error) -> SandboxError {
    SandboxError::Step { step: step.to_owned(), source }
}
