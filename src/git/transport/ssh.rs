//! Git over SSH, without an `ssh` program.
//!
//! The server proves who it is by a key that is in a file of known hosts: a key that nobody has vouched for is refused.
//! Cooper proves who it is by the keys of agents, or by key files.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use russh::client::{self, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, load_secret_key,
};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Preferred};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle as Runtime;

use super::known_hosts::KnownKeys;
use super::metered::Metered;
use super::{Connected, Connecting, Problem};
use crate::context::fetch::SshPlaces;
use crate::git::GitError;
use crate::git::remote::Asker;

/// The port of SSH.
const PORT: u16 = 22;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// Whom git servers know if an address names no user.
const USER: &str = "git";

/// How much is kept of what a server says on its standard error.
const MAX_COMPLAINT: usize = 2000;

/// Why an SSH server cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// Nobody has vouched for the server's key.
    #[error(
        "the SSH host {host} is not known: put its key, as `ssh-keyscan` prints it, into a `known_hosts` file in `~/.ssh` (or name one with SSH_KNOWN_HOSTS)"
    )]
    UnknownHost {
        /// The host, with its port.
        host: String,
    },
    /// The server shows another key.
    #[error(
        "the SSH host {host} shows a key that is not the one in `known_hosts`: somebody may be in between; if the host has a new key, replace the line"
    )]
    WrongHostKey {
        /// The host, with its port.
        host: String,
    },
    /// The server shows a key that is not its own any more.
    #[error("the SSH host {host} is known by revoked keys only: remove the `@revoked` line if that is wrong")]
    RevokedHostKey {
        /// The host, with its port.
        host: String,
    },
    /// Somebody has vouched for it in a way that is not understood.
    #[error(
        "the SSH host {host} is known by the `@cert-authority` in `{}`, line {line}, and certificates of hosts are not understood: add the key of the host itself, as `ssh-keyscan` prints it",
        path.display()
    )]
    HostAuthority {
        /// The host, with its port.
        host: String,
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A file of known hosts cannot be used.
    #[error("cannot use the known hosts in `{}`", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A key file cannot be used.
    #[error("cannot use the SSH key `{}`; one with a passphrase must be given to an agent", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: russh::keys::Error,
    },
    /// No key of ours is welcome.
    #[error("the SSH host {host} refuses {user}: {tried}")]
    Refused {
        /// The host, with its port.
        host: String,
        /// The user.
        user: String,
        /// What was tried, and what could be.
        tried: String,
    },
    /// The server's git says no.
    #[error("the SSH host {host} says: {complaint}")]
    Command {
        /// The host, with its port.
        host: String,
        /// The last of what it wrote to standard error.
        complaint: String,
    },
    /// The protocol fails.
    #[error("cannot speak SSH with {host}")]
    Protocol {
        /// The host, with its port.
        host: String,
        /// Why not.
        #[source]
        source: russh::Error,
    },
    /// The server went silent.
    #[error("the SSH host {host} said nothing for {seconds} seconds")]
    Silent {
        /// The host, with its port.
        host: String,
        /// For how long.
        seconds: u64,
    },
}

pub(super) fn connect(connecting: &Connecting<'_>) -> Result<Connected, GitError> {
    let url = connecting.server.url;
    let runtime = Runtime::current();
    let limit = connecting.registries.stall_limit();
    let peer = Peer {
        name: url.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port.unwrap_or(PORT),
        user: url.user.clone().unwrap_or_else(|| USER.to_owned()),
    };
    let silent = |_| SshError::Silent { host: peer.shown(), seconds: limit.as_secs() };
    let (session, channel) = runtime.block_on(async {
        let session = tokio::time::timeout(limit, peer.log_in(connecting)).await.map_err(silent)??;
        let opening = async {
            let channel = session.channel_open_session().await?;
            // Servers that do not take it speak the older version.
            channel.set_env(false, "GIT_PROTOCOL", "version=2").await?;
            channel.exec(true, command(&url.path)).await?;
            Ok::<_, russh::Error>(channel)
        };
        let failed = |source| SshError::Protocol { host: peer.shown(), source };
        let channel = tokio::time::timeout(limit, opening).await.map_err(silent)?.map_err(failed)?;
        Ok::<_, GitError>((session, channel))
    })?;
    let problem = Problem::default();
    let (reader, writer) = streams(session, channel, &peer, limit, problem.clone());
    let nobody = None::<(String, Option<u16>)>;
    let reader = Metered::new(reader, connecting.received, problem.clone(), url);
    let connection =
        Connection::new(reader, writer, Protocol::V2, url.path.clone(), nobody, ConnectMode::Process, false);
    Ok(Connected { transport: Box::new(connection), problem })
}

/// What the server is asked to execute. Shells of servers see the path in quotes.
fn command(path: &str) -> String {
    // `/~user/…` begins in a home.
    let path = if path.starts_with("/~") { &path[1..] } else { path };
    format!("git-upload-pack '{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// The other side.
#[derive(Debug)]
struct Peer {
    name: String,
    port: u16,
    user: String,
}

impl Peer {
    fn shown(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    async fn log_in(&self, connecting: &Connecting<'_>) -> Result<Handle<HostKeys>, GitError> {
        let places = connecting.access.ssh();
        let known = self.known_keys(places)?;
        let mut key: Vec<Algorithm> = known.iter().flat_map(signatures).collect();
        key.dedup();
        let preferred = Preferred { key: Cow::Owned(key), ..Preferred::default() };
        let config = Arc::new(client::Config { preferred, nodelay: true, ..client::Config::default() });
        let wrong = Arc::new(Mutex::new(false));
        let handler = HostKeys { known, wrong: Arc::clone(&wrong) };
        let stream = self.open(connecting).await?;
        let failed = |source| match *wrong.lock().unwrap_or_else(PoisonError::into_inner) {
            true => SshError::WrongHostKey { host: self.shown() },
            false if matches!(source, russh::Error::NoCommonAlgo { .. }) => {
                SshError::WrongHostKey { host: self.shown() }
            }
            false => SshError::Protocol { host: self.shown(), source },
        };
        let mut session = client::connect_stream(config, stream, handler).await.map_err(failed)?;
        self.prove(&mut session, connecting).await?;
        Ok(session)
    }

    async fn open(&self, connecting: &Connecting<'_>) -> Result<TcpStream, GitError> {
        let failed = |source| GitError::Unreachable { host: self.shown(), source };
        let reach = connecting.registries.source_reach();
        let found = tokio::net::lookup_host((self.name.as_str(), self.port)).await.map_err(failed)?;
        let refused = |error| failed(io::Error::new(io::ErrorKind::PermissionDenied, error));
        let addresses = reach.among(&self.name, found).map_err(refused)?;
        let connecting = TcpStream::connect(addresses.as_slice());
        let late = |_| failed(io::ErrorKind::TimedOut.into());
        tokio::time::timeout(CONNECT_LIMIT, connecting).await.map_err(late)?.map_err(failed)
    }

    /// The keys that somebody has vouched for.
    fn known_keys(&self, places: &SshPlaces) -> Result<Vec<PublicKey>, SshError> {
        let KnownKeys { trusted, revoked, authority } =
            KnownKeys::read(&places.known_hosts, &self.name, self.port)
                .map_err(|(path, source)| SshError::KnownHosts { path, source })?;
        let host = self.shown();
        match authority {
            _ if !trusted.is_empty() => Ok(trusted),
            Some((path, line)) => Err(SshError::HostAuthority { host, path, line }),
            None if revoked.is_empty() => Err(SshError::UnknownHost { host }),
            None => Err(SshError::RevokedHostKey { host }),
        }
    }

    /// Logs in with the first key that is welcome: those of agents, then those in files.
    async fn prove(
        &self,
        session: &mut Handle<HostKeys>,
        connecting: &Connecting<'_>,
    ) -> Result<(), SshError> {
        let failed = |source| SshError::Protocol { host: self.shown(), source };
        let hash = session.best_supported_rsa_hash().await.map_err(failed)?.flatten();
        let mut tried = 0;
        let places = connecting.access.ssh();
        let is_request = connecting.asker == Asker::Request;
        let mut agents: Vec<UnixStream> = Vec::new();
        for agent in connecting.access.agents() {
            agents.extend(open_agent(agent).await);
        }
        if let Some(path) = places.agent.as_ref().filter(|_| is_request) {
            agents.extend(UnixStream::connect(path).await);
        }
        for agent in agents {
            let mut agent = AgentClient::connect(agent);
            // An agent that does not answer has no keys.
            for identity in agent.request_identities().await.unwrap_or_default() {
                let AgentIdentity::PublicKey { key, .. } = identity else { continue };
                tried += 1;
                let hash = hash.filter(|_| key.algorithm().is_rsa());
                let result = session.authenticate_publickey_with(&self.user, key, hash, &mut agent).await;
                if result.is_ok_and(|result| result.success()) {
                    return Ok(());
                }
            }
        }
        for path in places.identities.iter().filter(|path| is_request && path.exists()) {
            let key =
                load_secret_key(path, None).map_err(|source| SshError::Key { path: path.clone(), source })?;
            tried += 1;
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
            if session.authenticate_publickey(&self.user, key).await.map_err(failed)?.success() {
                return Ok(());
            }
        }
        let tried = match (tried, is_request) {
            (0, true) => "there is no key to show; put one into `~/.ssh` (`id_ed25519`, `id_ecdsa`, `id_rsa` or `ssh-privatekey`), or give an agent with `--ssh default`".to_owned(),
            (0, false) => "there is no key to show; give an agent with `--ssh default`".to_owned(),
            (1, _) => "the one key that was shown is not welcome".to_owned(),
            (tried, _) => format!("none of the {tried} keys that were shown is welcome"),
        };
        Err(SshError::Refused { host: self.shown(), user: self.user.clone(), tried })
    }
}

/// Connects to an agent whose socket is known by its place.
async fn open_agent(agent: &OwnedFd) -> io::Result<UnixStream> {
    UnixStream::connect(format!("/proc/self/fd/{}", agent.as_raw_fd())).await
}

/// The ways in which a server can sign with a known key, the best first.
fn signatures(key: &PublicKey) -> Vec<Algorithm> {
    match key.algorithm() {
        Algorithm::Rsa { .. } => {
            [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
        }
        algorithm => vec![algorithm],
    }
}

/// Compares the server's key with the known ones.
#[derive(Debug)]
struct HostKeys {
    known: Vec<PublicKey>,
    wrong: Arc<Mutex<bool>>,
}

impl Handler for HostKeys {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let is_known = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known.iter().any(|known| known.key_data() == key.key_data())
            }
            // Authorities are not understood, so that no certificate is vouched for.
            PublicKeyOrCertificate::Certificate(_) => false,
        };
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = !is_known;
        Ok(is_known)
    }
}

/// The two directions of a command's channel, for blocking code.
fn streams(
    session: Handle<HostKeys>,
    channel: Channel<client::Msg>,
    peer: &Peer,
    limit: Duration,
    problem: Problem,
) -> (Reader, Writer) {
    let (incoming, outgoing) = channel.split();
    let runtime = Runtime::current();
    let reader = Reader {
        incoming,
        buffer: Bytes::new(),
        complaint: Vec::new(),
        host: peer.shown(),
        limit,
        problem,
        runtime: runtime.clone(),
        _session: session,
    };
    (reader, Writer { outgoing, limit, runtime })
}

/// What the command writes.
struct Reader {
    incoming: ChannelReadHalf,
    buffer: Bytes,
    complaint: Vec<u8>,
    host: String,
    limit: Duration,
    problem: Problem,
    runtime: Runtime,
    /// The connection ends with it.
    _session: Handle<HostKeys>,
}

impl Reader {
    fn complain(&self) {
        let text = String::from_utf8_lossy(&self.complaint);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            let complaint = lines.join(" ").replace(|letter: char| letter.is_control(), " ");
            self.problem.tell(SshError::Command { host: self.host.clone(), complaint }.into());
        }
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.buffer.is_empty() {
            let message =
                self.runtime.block_on(async { tokio::time::timeout(self.limit, self.incoming.wait()).await });
            let Ok(message) = message else {
                let seconds = self.limit.as_secs();
                self.problem.tell(SshError::Silent { host: self.host.clone(), seconds }.into());
                return Err(io::ErrorKind::TimedOut.into());
            };
            match message {
                Some(ChannelMsg::Data { data }) => self.buffer = data,
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = MAX_COMPLAINT.saturating_sub(self.complaint.len());
                    self.complaint.extend_from_slice(&data[..data.len().min(room)]);
                }
                None => {
                    // If what came before was all that was wanted, nobody asks what was said here.
                    self.complain();
                    return Ok(0);
                }
                Some(_) => {}
            }
        }
        let count = self.buffer.len().min(into.len());
        self.buffer.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// What the command reads.
struct Writer {
    outgoing: ChannelWriteHalf<client::Msg>,
    limit: Duration,
    runtime: Runtime,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sending = self.outgoing.data_bytes(Bytes::copy_from_slice(bytes));
        let sent = self.runtime.block_on(async { tokio::time::timeout(self.limit, sending).await });
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_servers_shell() {
        assert_eq!(command("/srv/a.git"), "git-upload-pack '/srv/a.git'");
        assert_eq!(command("group/a"), "git-upload-pack 'group/a'");
        assert_eq!(command("/~user/a"), "git-upload-pack '~user/a'");
        assert_eq!(command("/a'; rm -rf /"), r"git-upload-pack '/a'\''; rm -rf /'");
    }
}
