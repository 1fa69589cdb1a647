//! An SSH agent for a command: a socket of its own, whose connections are passed on to the user's agent.
//!
//! The agent's own socket cannot simply be bound into the sandbox: it belongs to the builder's user, and agents
//! refuse other users.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::dockerfile::SshMount;
use crate::exec::sandbox::{Files, Sandbox, SandboxError};

/// The socket's name in its directory.
const NAME: &str = "agent";

/// How many connections a command may have at the same time; more are closed at once.
const MAX_CONNECTIONS: usize = 32;

/// Passes connections on as long as it lives.
#[derive(Debug)]
pub(super) struct Forwarder {
    /// Keeps the socket's directory.
    files: Files,
    stop: Arc<OwnedFd>,
    connections: Connections,
    thread: Option<JoinHandle<()>>,
}

/// The open connections: both ends of each, by number.
type Connections = Arc<Mutex<BTreeMap<u64, (UnixStream, UnixStream)>>>;

impl Forwarder {
    /// Begins to listen.
    pub(super) fn begin(
        mount: &SshMount,
        agent: Arc<OwnedFd>,
        sandbox: &Sandbox,
    ) -> Result<Self, SandboxError> {
        let files = sandbox.files()?;
        let failed =
            |source| SandboxError::Step { step: format!("listen for the SSH agent `{}`", mount.id), source };
        let listener = listen(&sandbox.path_in(&files)).map_err(failed)?;
        sandbox.give(&files, NAME, (mount.uid, mount.gid), mount.mode)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
        let connections = Connections::default();
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&connections));
        let thread = std::thread::spawn(move || accept(&listener, &agent, &stopped, &shared));
        Ok(Self { files, stop, connections, thread: Some(thread) })
    }

    /// The source of the mount.
    pub(super) fn source(&self) -> PathBuf {
        self.files.source(NAME)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Neither can fail in a way that matters: the counter is far from full, and a thread that panicked has ended.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for (client, agent) in connections.values() {
            close(client);
            close(agent);
        }
    }
}

/// A socket in `directory`, whose path may be longer than the address of a socket can be.
fn listen(directory: &std::path::Path) -> io::Result<UnixListener> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    UnixListener::bind(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()))
}

fn accept(listener: &UnixListener, agent: &OwnedFd, stop: &OwnedFd, connections: &Connections) {
    for number in 0.. {
        let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => return,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        // Whatever goes wrong with one connection is seen by who made it: it is closed.
        if let Ok((client, _)) = listener.accept() {
            let _ = forward(number, client, agent, connections);
        }
    }
}

/// Connects a client to the agent; both directions then go on by themselves until one side ends.
fn forward(number: u64, client: UnixStream, agent: &OwnedFd, connections: &Connections) -> io::Result<()> {
    let mut open = connections.lock().unwrap_or_else(PoisonError::into_inner);
    if open.len() >= MAX_CONNECTIONS {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let agent = UnixStream::connect(format!("/proc/self/fd/{}", agent.as_raw_fd()))?;
    open.insert(number, (client.try_clone()?, agent.try_clone()?));
    drop(open);
    let (to_agent, from_client) = (agent.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || pass(from_client, to_agent));
    let connections = Arc::clone(connections);
    std::thread::spawn(move || {
        pass(agent, client);
        connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    });
    Ok(())
}

/// Copies until the end, which is then told the other side.
fn pass(mut from: UnixStream, mut to: UnixStream) {
    // An error ends a connection as its end does.
    if io::copy(&mut from, &mut to).is_err() {
        close(&from);
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn close(stream: &UnixStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}
