//! What a build request gives to RUNs: secrets, SSH agents, names of hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::rootfs::remove::file_type;

/// The largest secret, in bytes; BuildKit's limit.
const MAX_SECRET: u64 = 500 << 10;

/// Where a secret is. Its value is never written with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In this environment variable of the builder.
    Environment(String),
    /// Here.
    #[serde(skip)]
    Value(SecretValue),
}

/// The bytes of a secret. `Debug` shows nothing of them, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<[u8]>);

/// Where an SSH agent listens: the path of its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentSource(pub PathBuf);

/// What a build request gives to RUNs.
#[derive(Debug, Default)]
pub struct Supplies {
    pub(super) secrets: BTreeMap<String, SecretValue>,
    pub(super) agents: BTreeMap<String, Arc<OwnedFd>>,
    hosts: Vec<(String, IpAddr)>,
}

/// Why something that a request gives to RUNs cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// A secret's file cannot be read.
    #[error("cannot read the secret `{id}` from `{}`", path.display())]
    ReadSecret {
        /// The secret's name.
        id: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A secret's variable is not set.
    #[error("the secret `{id}` is to be in the environment variable `{variable}`, which is not set")]
    NoVariable {
        /// The secret's name.
        id: String,
        /// The variable.
        variable: String,
    },
    /// A secret is too large.
    #[error("the secret `{id}` has more than {} KiB", MAX_SECRET >> 10)]
    LargeSecret {
        /// The secret's name.
        id: String,
    },
    /// There is no agent.
    #[error("cannot use the SSH agent `{id}` at `{}`", path.display())]
    Agent {
        /// The agent's name.
        id: String,
        /// Its socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was given is a key, or something else that nobody listens at.
    #[error(
        "`{}` is not the socket of an SSH agent; key files are not read: add the key to an agent with `ssh-add`, and give the agent's socket as `--ssh {id}=SOCKET`",
        path.display()
    )]
    NotASocket {
        /// The agent's name.
        id: String,
        /// What was given.
        path: PathBuf,
    },
}

impl SecretValue {
    /// Takes `bytes` into custody.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for those who give them to a command or a server.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

impl Supplies {
    /// Reads the secrets and finds the agents. That happens at a build's beginning, so that a mistake is found before
    /// anything is done, and because a RUN may take the place of the builder's own files.
    pub fn gather(
        secrets: &BTreeMap<String, SecretSource>,
        agents: &BTreeMap<String, AgentSource>,
        hosts: &[(String, IpAddr)],
    ) -> Result<Self, SupplyError> {
        let read = |(id, source): (&String, &SecretSource)| Ok((id.clone(), read_secret(id, source)?));
        let open =
            |(id, source): (&String, &AgentSource)| Ok((id.clone(), Arc::new(open_agent(id, source)?)));
        Ok(Self {
            secrets: secrets.iter().map(read).collect::<Result<_, SupplyError>>()?,
            agents: agents.iter().map(open).collect::<Result<_, SupplyError>>()?,
            hosts: hosts.to_vec(),
        })
    }

    /// The secrets, by id.
    pub(crate) fn secrets(&self) -> &BTreeMap<String, SecretValue> {
        &self.secrets
    }

    /// The places of the agents' sockets, by id.
    pub(crate) fn agents(&self) -> &BTreeMap<String, Arc<OwnedFd>> {
        &self.agents
    }

    /// Further names of hosts: addresses and names.
    pub(in crate::exec) fn hosts(&self) -> Vec<(String, String)> {
        self.hosts.iter().map(|(name, address)| (address.to_string(), name.clone())).collect()
    }
}

fn read_secret(id: &str, source: &SecretSource) -> Result<SecretValue, SupplyError> {
    let value = match source {
        SecretSource::Value(value) => value.clone(),
        SecretSource::Environment(variable) => {
            let value = std::env::var_os(variable)
                .ok_or_else(|| SupplyError::NoVariable { id: id.to_owned(), variable: variable.clone() })?;
            SecretValue::new(value.into_encoded_bytes())
        }
        SecretSource::File(path) => {
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut bytes));
            read.map_err(|source| SupplyError::ReadSecret { id: id.to_owned(), path: path.clone(), source })?;
            SecretValue::new(bytes)
        }
    };
    if value.0.len() as u64 > MAX_SECRET {
        return Err(SupplyError::LargeSecret { id: id.to_owned() });
    }
    Ok(value)
}

/// The socket as a place: it can be reached whatever becomes of its path, and whatever that path's length.
fn open_agent(id: &str, AgentSource(path): &AgentSource) -> Result<OwnedFd, SupplyError> {
    let failed = |error: rustix::io::Errno| SupplyError::Agent {
        id: id.to_owned(),
        path: path.clone(),
        source: error.into(),
    };
    let socket = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&socket).map_err(failed)?;
    if file_type(stat.st_mode) != FileType::Socket {
        return Err(SupplyError::NotASocket { id: id.to_owned(), path: path.clone() });
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(source: SecretSource) -> Result<Supplies, SupplyError> {
        Supplies::gather(&BTreeMap::from([("id".to_owned(), source)]), &BTreeMap::new(), &[])
    }

    #[test]
    fn secrets_are_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, vec![b'x'; 500 << 10]).unwrap();
        let supplies = gather(SecretSource::File(path.clone())).unwrap();
        assert_eq!(supplies.secrets["id"].reveal().len(), 500 << 10);
        std::fs::write(&path, vec![b'x'; (500 << 10) + 1]).unwrap();
        assert!(matches!(gather(SecretSource::File(path.clone())), Err(SupplyError::LargeSecret { .. })));
        let missing = SecretSource::File(directory.path().join("missing"));
        assert!(matches!(gather(missing), Err(SupplyError::ReadSecret { .. })));
        let unset = SecretSource::Environment("COOPER_TEST_UNSET".to_owned());
        assert!(matches!(gather(unset), Err(SupplyError::NoVariable { .. })));
        let agents = BTreeMap::from([("default".to_owned(), AgentSource(path))]);
        let error = Supplies::gather(&BTreeMap::new(), &agents, &[]).unwrap_err();
        assert!(matches!(error, SupplyError::NotASocket { .. }));
    }

    #[test]
    fn values_are_neither_shown_nor_written() {
        let source = SecretSource::Value(SecretValue::new(*b"hidden"));
        assert_eq!(format!("{source:?}"), "Value(SecretValue(…))");
        assert!(serde_json::to_string(&source).is_err());
        let supplies = gather(source).unwrap();
        assert!(!format!("{supplies:?}").contains("hidden"));
        let named = SecretSource::Environment("TOKEN".to_owned());
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"environment":"TOKEN"}"#);
    }
}
