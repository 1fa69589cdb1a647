//! A helper process, seen from the builder.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::idmap::IdMap;
use super::wire::{self, Answer, Failure, HELPER_NAME, OWN_IDS, Operation, Order};
use super::{Refusal, SandboxError};

/// How helpers are started.
#[derive(Debug, Clone)]
pub(super) struct Helpers {
    /// The program to re-execute.
    pub(super) program: PathBuf,
    /// Which ids they have.
    pub(super) map: IdMap,
    /// Their working directory, to which the paths in their orders are relative. It is entered before the user
    /// namespace is, so that no directory on the way to it need be open to the namespace's root.
    pub(super) directory: PathBuf,
}

/// Where a helper goes before it is told what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Into a user namespace.
    UserNamespace,
    /// Nowhere.
    OwnIds,
}

/// A helper at work. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Helper {
    child: Child,
    socket: UnixStream,
    /// Whether it must not be killed: it has things to put back.
    is_tidying: bool,
}

impl Helpers {
    /// Starts a helper for one operation. `stream` becomes its descriptor 1, `errors` its descriptor 2.
    pub(super) fn start(
        &self,
        operation: Operation,
        stream: Stdio,
        errors: Stdio,
    ) -> Result<Helper, SandboxError> {
        let entry = if self.map == IdMap::Own { Entry::OwnIds } else { Entry::UserNamespace };
        let mut helper = Helper::enter(&self.program, entry, Some(&self.directory), stream, errors)?;
        if entry == Entry::UserNamespace {
            self.map.write(helper.id()).map_err(|source| map_refused(self.map, &source))?;
        }
        helper.is_tidying = matches!(operation, Operation::RunInPlace(_));
        self.order(&mut helper, operation)?;
        Ok(helper)
    }

    /// Gives a helper another order: only to one that has answered that its command has ended.
    pub(super) fn order(&self, helper: &mut Helper, operation: Operation) -> Result<(), SandboxError> {
        helper.order(operation, self.map)
    }

    /// Has a helper do something that needs no streams.
    pub(super) fn perform(&self, operation: Operation) -> Result<Answer, SandboxError> {
        self.start(operation, Stdio::null(), Stdio::inherit())?.answer()
    }

    /// Finds the best id map that the kernel accepts.
    pub(super) fn find_map(program: &Path) -> Result<IdMap, SandboxError> {
        let mut refused = None;
        for map in IdMap::candidates() {
            // A new one for each: a map can be written only once, and one of the two may be refused.
            let mut helper =
                Helper::enter(program, Entry::UserNamespace, None, Stdio::null(), Stdio::inherit())?;
            match map.write(helper.id()) {
                Ok(()) => {
                    helper.order(Operation::Enter, map)?;
                    helper.answer()?;
                    return Ok(map);
                }
                Err(error) => refused = Some(map_refused(map, &error)),
            }
        }
        Err(refused.unwrap_or(SandboxError::Cancelled))
    }
}

impl Helper {
    /// Starts a helper and waits until it is where it is to be.
    fn enter(
        program: &Path,
        entry: Entry,
        directory: Option<&Path>,
        stream: Stdio,
        errors: Stdio,
    ) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Spawn { helper: program.to_owned(), source };
        let (socket, other) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg0(HELPER_NAME).env_clear().stdin(OwnedFd::from(other)).stdout(stream).stderr(errors);
        if entry == Entry::OwnIds {
            // What is typed at a terminal is for the builder, which tells the helper to put everything back first.
            command.arg(OWN_IDS).process_group(0);
        }
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let child = command.spawn().map_err(failed)?;
        // The command holds the other end of the socket and of the streams: they must close when the helper ends.
        drop(command);
        let mut helper = Self { child, socket, is_tidying: false };
        match helper.receive()? {
            Answer::Unshared => Ok(helper),
            _ => Err(SandboxError::Protocol(io::ErrorKind::InvalidData.into())),
        }
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn order(&mut self, operation: Operation, map: IdMap) -> Result<(), SandboxError> {
        let order = Order { groups: map.has_groups(), ownership: map.ownership(), operation };
        match wire::send(&self.socket, &order) {
            Ok(()) => Ok(()),
            // It died; it may have said why.
            Err(_) => self.receive().map(|_| ()),
        }
    }

    /// The socket: readable when the helper has an answer, or has died.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Tells the helper to stop what it is doing and to clean up.
    pub(super) fn stop(&self) {
        // Fails only if the helper is gone already.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Receives a part of the stream that precedes the answer; an empty one is its end.
    pub(super) fn receive_chunk(&mut self, chunk: &mut Vec<u8>) -> Result<(), SandboxError> {
        let received = wire::receive_chunk(&self.socket, chunk);
        received.map_err(|error| self.broken(error))
    }

    /// Waits for an answer that another order may follow.
    pub(super) fn interim_answer(&mut self) -> Result<Answer, SandboxError> {
        let answer = self.receive()?;
        // It has put everything back: from now on it may be killed, whatever it is doing.
        self.is_tidying = false;
        Ok(answer)
    }

    /// Waits for the answer and for the end of the helper.
    pub(super) fn answer(mut self) -> Result<Answer, SandboxError> {
        let answer = self.receive()?;
        self.child.wait().map_err(SandboxError::Protocol)?;
        Ok(answer)
    }

    fn receive(&mut self) -> Result<Answer, SandboxError> {
        match wire::receive(&self.socket) {
            Ok(Answer::Failed(failure)) => Err(failure.into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Why nothing is received: most probably it has died.
    fn broken(&mut self, error: io::Error) -> SandboxError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                match self.child.wait() {
                    Ok(status) => SandboxError::Died { status },
                    Err(error) => SandboxError::Protocol(error),
                }
            }
            _ => SandboxError::Protocol(error),
        }
    }
}

fn map_refused(map: IdMap, source: &io::Error) -> SandboxError {
    SandboxError::Refused {
        refused: format!("a user namespace with {} is refused: {source}", map.description()),
        refusal: Refusal::IdMap,
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // All of this fails when it was waited for; then there is nothing to do.
        if self.is_tidying {
            self.stop();
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        let os = io::Error::from_raw_os_error;
        match failure {
            Failure::Refused { refusal, what, errno } => {
                Self::Refused { refused: format!("{what}: {}", os(errno)), refusal }
            }
            Failure::Step { step, errno } => Self::Step { step, source: os(errno) },
            Failure::Layer(reason) => Self::BadLayer { reason },
            Failure::Diff(reason) => Self::Diff { reason },
            Failure::Killed(signal) => Self::Killed { signal },
            Failure::UnknownUser(user) => Self::UnknownUser { user },
            Failure::UnknownGroup(group) => Self::UnknownGroup { group },
            Failure::NoNetworkNamespace => Self::NoNetworkNamespace,
            Failure::Interrupted => Self::Interrupted,
            Failure::Crowded { path } => Self::Crowded { path: path.into() },
            Failure::InTheWay { path } => Self::InTheWay { path: path.into() },
            Failure::SecretFile { target } => Self::SecretFile { target: target.into() },
            Failure::Program { program, errno } => Self::Program { program, source: os(errno) },
        }
    }
}
