//! What servers of sources are shown: secrets of the build, logins in addresses, SSH agents and keys.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use url::Url;

use crate::context::source::Login;
use crate::exec::{SecretValue, Supplies};

/// What servers of sources are shown.
///
/// The secrets have the names that BuildKit gave them: `GIT_AUTH_TOKEN`, `GIT_AUTH_HEADER` (also with `.HOST`),
/// `HTTP_AUTH_TOKEN_HOST`, `HTTP_AUTH_HEADER_HOST`.
#[derive(Debug, Clone, Default)]
pub struct Access {
    secrets: BTreeMap<String, SecretValue>,
    agents: Vec<Arc<OwnedFd>>,
    ssh: SshPlaces,
}

/// Where keys and the keys of hosts are, for SSH.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshPlaces {
    /// Files of `known_hosts` lines; those that do not exist do not count.
    pub known_hosts: Vec<PathBuf>,
    /// Private keys; those that do not exist do not count.
    pub identities: Vec<PathBuf>,
    /// The socket of an agent.
    pub agent: Option<PathBuf>,
}

/// Why something cannot be shown to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A secret with bytes that no header can have.
    #[error("the secret `{id}` cannot be sent to {host}: it is not one line of text")]
    NotAHeader {
        /// The secret, or what else it is.
        id: String,
        /// For whom it is.
        host: String,
    },
}

impl SshPlaces {
    /// As OpenSSH has them: `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`, or the files in `SSH_KNOWN_HOSTS`
    /// with colons between them; `~/.ssh/id_*`, or `ssh-privatekey`, which is how Kubernetes mounts secrets of the
    /// type `kubernetes.io/ssh-auth`; and the agent at `SSH_AUTH_SOCK`.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let own = set("HOME").map(|home| PathBuf::from(home).join(".ssh"));
        let known_hosts = if let Some(list) = set("SSH_KNOWN_HOSTS") {
            std::env::split_paths(&list).collect()
        } else {
            let own = own.iter().map(|own| own.join("known_hosts"));
            own.chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect()
        };
        let names = ["id_ed25519", "id_ecdsa", "id_rsa", "ssh-privatekey"];
        let identities = own.iter().flat_map(|own| names.map(|name| own.join(name))).collect();
        Self { known_hosts, identities, agent: set("SSH_AUTH_SOCK").map(PathBuf::from) }
    }
}

impl Access {
    /// Takes what concerns sources from what is given to RUNs.
    pub fn new(supplies: &Supplies, ssh: SshPlaces) -> Self {
        let is_ours = |id: &str| id.starts_with("GIT_AUTH_") || id.starts_with("HTTP_AUTH_");
        let secrets = supplies.secrets().iter().filter(|(id, _)| is_ours(id));
        Self {
            secrets: secrets.map(|(id, value)| (id.clone(), value.clone())).collect(),
            agents: supplies.agents().values().cloned().collect(),
            ssh,
        }
    }

    /// The agents that the build was given.
    pub(crate) fn agents(&self) -> &[Arc<OwnedFd>] {
        &self.agents
    }

    /// Where keys are.
    pub(crate) fn ssh(&self) -> &SshPlaces {
        &self.ssh
    }

    /// The `Authorization` header for an archive or a file.
    pub(crate) fn for_web(
        &self,
        url: &Url,
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, AccessError> {
        for host in hosts(url) {
            let header = format!("HTTP_AUTH_HEADER_{host}");
            if let Some(value) = self.secret(&header) {
                return self::header(value, &header, &host).map(Some);
            }
            let token = format!("HTTP_AUTH_TOKEN_{host}");
            if let Some(value) = self.secret(&token) {
                return self::header(&[b"Bearer ", value].concat(), &token, &host).map(Some);
            }
        }
        login.map(|login| basic(login, url)).transpose()
    }

    /// The `Authorization` header for a git repository. `is_asked_for` is whether it is the repository that was named,
    /// and not a submodule on another server: that gets only what names its host.
    pub(crate) fn for_git(
        &self,
        url: &Url,
        login: Option<&Login>,
        is_asked_for: bool,
    ) -> Result<Option<HeaderValue>, AccessError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let scoped = hosts(url).into_iter().map(|host| format!(".{host}"));
        for scope in scoped.chain(is_asked_for.then(String::new)) {
            if let (true, Some(login)) = (scope.is_empty(), login) {
                return basic(login, url).map(Some);
            }
            let id = format!("GIT_AUTH_HEADER{scope}");
            if let Some(value) = self.secret(&id) {
                return header(value, &id, &host).map(Some);
            }
            let id = format!("GIT_AUTH_TOKEN{scope}");
            if let Some(value) = self.secret(&id) {
                // As GitHub wants it; other servers do not look at the user.
                let pair = STANDARD.encode([b"x-access-token:", value].concat());
                return header(format!("Basic {pair}").as_bytes(), &id, &host).map(Some);
            }
        }
        Ok(None)
    }

    /// A secret without the end of its line.
    fn secret(&self, id: &str) -> Option<&[u8]> {
        self.secrets.get(id).map(|value| value.reveal().trim_ascii_end())
    }
}

/// The names by which a secret may mean a server: with the port, if it is written, and without.
fn hosts(url: &Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    with_port.into_iter().chain([host]).collect()
}

fn basic(login: &Login, url: &Url) -> Result<HeaderValue, AccessError> {
    let pair = STANDARD.encode(format!("{}:{}", login.user.reveal(), login.password.reveal()));
    let host = url.host_str().unwrap_or_default();
    header(format!("Basic {pair}").as_bytes(), "login", host)
}

fn header(value: &[u8], id: &str, host: &str) -> Result<HeaderValue, AccessError> {
    let mut value = HeaderValue::from_bytes(value)
        .map_err(|_| AccessError::NotAHeader { id: id.to_owned(), host: host.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Secret;

    fn access(secrets: &[(&str, &str)]) -> Access {
        let value = |text: &str| SecretValue::new(text.as_bytes().to_vec());
        let secrets = secrets.iter().map(|(id, text)| ((*id).to_owned(), value(text))).collect();
        Access { secrets, ..Access::default() }
    }

    fn shown(header: Option<HeaderValue>) -> Option<String> {
        header.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_nearest_secret_counts() {
        let url = Url::parse("https://git.example:8443/a.git").unwrap();
        let login = Login { user: Secret::new("u"), password: Secret::new("p") };
        let git = |secrets: &[(&str, &str)], login: Option<&Login>, asked| {
            shown(access(secrets).for_git(&url, login, asked).unwrap())
        };
        let token = ("GIT_AUTH_TOKEN", "t\n");
        assert_eq!(
            git(&[token], None, true).unwrap(),
            format!("Basic {}", STANDARD.encode("x-access-token:t"))
        );
        assert_eq!(git(&[token], None, false), None);
        assert_eq!(git(&[token], Some(&login), true).unwrap(), "Basic dTpw");
        assert_eq!(git(&[token, ("GIT_AUTH_HEADER.git.example", "Own h")], None, true).unwrap(), "Own h");
        assert_eq!(git(&[("GIT_AUTH_HEADER.git.example:8443", "Own h")], None, false).unwrap(), "Own h");
        assert_eq!(git(&[("GIT_AUTH_HEADER.other", "Own h")], None, true), None);
        let web = |secrets: &[(&str, &str)], login| shown(access(secrets).for_web(&url, login).unwrap());
        assert_eq!(web(&[("HTTP_AUTH_TOKEN_git.example", "t")], None).unwrap(), "Bearer t");
        assert_eq!(web(&[("HTTP_AUTH_HEADER_git.example:8443", "h")], Some(&login)).unwrap(), "h");
        assert_eq!(web(&[token], Some(&login)).unwrap(), "Basic dTpw");
        assert_eq!(web(&[token], None), None);
    }

    #[test]
    fn secrets_that_are_no_header_are_named_and_not_shown() {
        let url = Url::parse("https://h/a.git").unwrap();
        let error = access(&[("GIT_AUTH_HEADER", "a\nb")]).for_git(&url, None, true).unwrap_err();
        assert!(error.to_string().contains("`GIT_AUTH_HEADER` cannot be sent to h"));
        let debug = format!("{:?}", access(&[("GIT_AUTH_HEADER", "hidden")]));
        assert!(!debug.contains("hidden"));
    }
}
