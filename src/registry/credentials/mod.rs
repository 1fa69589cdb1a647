//! Who Cooper is to a registry: docker's `config.json` and its kin, and the helper programs they name.

mod ambient;
mod carry;
mod config;
mod helper;
mod places;
mod secret;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::clients::Clients;
use crate::image::RepoName;

use ambient::Ambient;
pub use ambient::{AmbientLogins, Variables};
use config::DockerConfig;
pub use places::CredentialPlaces;
pub use secret::Secret;

/// What a login consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A user's name and password, or what a registry calls a token but takes as a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An `OAuth2` refresh token, as Docker's and Azure's logins leave behind.
    IdentityToken {
        /// The user's name, where one is known.
        user: Option<String>,
        /// The token.
        token: Secret,
    },
    /// A finished bearer token, used as it is.
    RegistryToken(Secret),
}

/// A [`Login`] and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The login.
    pub login: Login,
    /// Where it is from, for messages: a file, a variable or a helper. Never contains secrets.
    pub origin: String,
}

/// The credentials of this process, read once. Nothing is read from disk and no helper runs before a registry
/// asks for a login, apart from the files themselves.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    sources: Vec<Source>,
    looked_in: Vec<String>,
    helper_path: Option<std::ffi::OsString>,
    ambient: Ambient,
}

/// One configuration and where it is from.
#[derive(Debug, Clone)]
struct Source {
    origin: String,
    is_file: bool,
    config: DockerConfig,
}

impl Credentials {
    /// No credentials.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// One login for one registry host (or `host/path`), as `cooper registry login` and tests need it.
    pub fn single(key: &str, user: &str, password: &str) -> Self {
        let origin = "the command line".to_owned();
        let config = DockerConfig::single(key, user, password);
        let source = Source { origin: origin.clone(), is_file: false, config };
        Self { sources: vec![source], looked_in: vec![origin], ..Self::default() }
    }

    /// Reads the configurations of all `places` that are there.
    pub fn load(places: &CredentialPlaces) -> Result<Self, CredentialsError> {
        let ambient = Ambient::new(places.ambient, places.variables.clone());
        let mut credentials = Self { helper_path: places.path.clone(), ambient, ..Self::default() };
        if let Some(json) = places.docker_auth_config.as_ref().filter(|json| !json.reveal().trim().is_empty())
        {
            let origin = "$DOCKER_AUTH_CONFIG".to_owned();
            let config = DockerConfig::parse(json.reveal().as_bytes(), &origin)?;
            credentials.looked_in.push(origin.clone());
            credentials.sources.push(Source { origin, is_file: false, config });
        }
        for path in places.files() {
            let origin = path.display().to_string();
            if let Some(config) = DockerConfig::read(&path)? {
                credentials.sources.push(Source { origin: origin.clone(), is_file: true, config });
            }
            credentials.looked_in.push(origin);
        }
        Ok(credentials)
    }

    /// The login for `repository`: the entry with the longest path that the repository lies under, from the
    /// first place that has any. Hosts match exactly, port included; an entry never serves a look-alike host.
    pub async fn find(&self, repository: &RepoName) -> Result<Option<Credential>, CredentialsError> {
        for source in &self.sources {
            if let Some(credential) = source.find(repository, self.helper_path.as_deref()).await? {
                return Ok(Some(credential));
            }
        }
        self.ambient.find(repository).await
    }

    /// The registries that the configurations have logins for, `host[:port]`.
    pub fn registries(&self) -> std::collections::BTreeSet<String> {
        let keys = self.sources.iter().flat_map(|source| source.config.keys());
        keys.map(|key| key.split('/').next().unwrap_or(key).to_owned()).collect()
    }

    /// The files that have logins in them, rather than the name of a helper program.
    pub fn files_with_logins(&self) -> impl Iterator<Item = &str> {
        let files = self.sources.iter().filter(|source| source.is_file && source.config.has_logins());
        files.map(|source| source.origin.as_str())
    }

    /// The same, asking clouds through these clients where that is needed.
    pub(super) fn through(self, clients: &Arc<Clients>) -> Self {
        Self { ambient: self.ambient.through(clients), ..self }
    }

    /// Where was looked, for messages.
    pub(super) fn looked_in(&self) -> LookedIn<'_> {
        LookedIn(&self.looked_in)
    }
}

impl Source {
    async fn find(
        &self,
        repository: &RepoName,
        helper_path: Option<&std::ffi::OsStr>,
    ) -> Result<Option<Credential>, CredentialsError> {
        for key in config::keys(repository) {
            if let Some(name) = self.config.helper(&key)
                && let Some(login) = helper::ask(name, &key, helper_path).await?
            {
                return Ok(Some(self.by_helper(login, name)));
            }
            if let Some(login) = self.config.login(&key) {
                return Ok(Some(Credential { login: login.clone(), origin: self.origin.clone() }));
            }
        }
        if let Some(name) = self.config.store() {
            let host = config::host_key(repository);
            if let Some(login) = helper::ask(name, &host, helper_path).await? {
                return Ok(Some(self.by_helper(login, name)));
            }
        }
        Ok(None)
    }

    fn by_helper(&self, login: Login, name: &str) -> Credential {
        Credential { login, origin: format!("docker-credential-{name}, named in {}", self.origin) }
    }
}

/// A list of places, as the end of "looked in …".
#[derive(Debug)]
pub(super) struct LookedIn<'a>(&'a [String]);

impl fmt::Display for LookedIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no place"),
            [only] => f.write_str(only),
            [first @ .., last] => write!(f, "{} and {last}", first.join(", ")),
        }
    }
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A configuration file that is there but cannot be read.
    #[error("the credentials file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A configuration beyond any sensible size.
    #[error("the credentials file `{}` is larger than {limit} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A configuration that is not JSON of Docker's form. The position is told, the text is not.
    #[error("{origin} is not a docker config: line {line}, column {column} is not the expected JSON")]
    Parse {
        /// The file or variable.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An `auth` that is not base64 of `user:password`.
    #[error("the entry `{key}` of {origin} is broken: `auth` must be the base64 form of `user:password`")]
    Auth {
        /// The file or variable.
        origin: String,
        /// The entry.
        key: String,
    },
    /// A cloud that gives no login to whom it should.
    #[error("no login for {host} can be had: {reason}")]
    Cloud {
        /// The registry.
        host: String,
        /// Why not.
        reason: String,
    },
    /// A helper's name that could lead out of the search path.
    #[error(
        "`{name}` is not the name of a credential helper: only letters, digits, `-`, `_` and `.` may be in it"
    )]
    HelperName {
        /// The name.
        name: String,
    },
    /// A helper program that is not installed.
    #[error(
        "`docker-credential-{name}` is not on the PATH: install it in this image, or put the login for {key} into `auths` of the docker config"
    )]
    HelperMissing {
        /// The helper.
        name: String,
        /// What it was to be asked for.
        key: String,
    },
    /// A helper program that does not run.
    #[error("`docker-credential-{name}` does not run")]
    HelperRun {
        /// The helper.
        name: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A helper program that does not come back.
    #[error("`docker-credential-{name}` gave no answer for {key} within {seconds} s")]
    HelperTimeout {
        /// The helper.
        name: String,
        /// What it was asked for.
        key: String,
        /// The limit.
        seconds: u64,
    },
    /// A helper program that failed.
    #[error("`docker-credential-{name} get` failed for {key}: {message}")]
    HelperFailed {
        /// The helper.
        name: String,
        /// What it was asked for.
        key: String,
        /// What it said, bounded.
        message: String,
    },
    /// A helper program that answered something else than a login. The answer may hold secrets and is not shown.
    #[error("`docker-credential-{name} get` did not answer with `Username` and `Secret` for {key}")]
    HelperAnswer {
        /// The helper.
        name: String,
        /// What it was asked for.
        key: String,
    },
}

#[cfg(test)]
mod tests;
