//! Docker's `config.json`, podman's `auth.json`: the same form.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::{CredentialsError, Login, Secret};
use crate::image::RepoName;

/// Far above any real file: hundreds of registries with tokens of kilobytes.
const LIMIT: u64 = 4 << 20;

/// The key under which Docker keeps the login for Docker Hub, from the days of its first protocol.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A parsed configuration; keys are normalised to `host[:port][/path]`.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerConfig {
    logins: BTreeMap<String, Login>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// The form of the file. Everything else in it (proxies, plugins) is no concern of ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl DockerConfig {
    pub(super) fn single(key: &str, user: &str, password: &str) -> Self {
        let login = Login::Password { user: user.to_owned(), password: Secret::new(password) };
        Self { logins: BTreeMap::from([(normal(key), login)]), ..Self::default() }
    }

    /// Reads `path`; `None` when there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let failed = |source| CredentialsError::Read { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LIMIT {
            return Err(CredentialsError::TooLarge { path: path.to_owned(), limit: LIMIT });
        }
        // Podman leaves an empty file behind when it has logged out everywhere.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self::default()));
        }
        Self::parse(&bytes, &path.display().to_string()).map(Some)
    }

    pub(super) fn parse(bytes: &[u8], origin: &str) -> Result<Self, CredentialsError> {
        // serde_json's own message may quote the text, which holds secrets: only the position is kept.
        let file: Document = serde_json::from_slice(bytes).map_err(|error| CredentialsError::Parse {
            origin: origin.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        let mut logins = BTreeMap::new();
        for (key, entry) in file.auths.unwrap_or_default() {
            let login = entry.map(Entry::into_login).transpose().map_err(|BrokenAuth| {
                CredentialsError::Auth { origin: origin.to_owned(), key: key.clone() }
            })?;
            if let Some(login) = login.flatten() {
                logins.insert(normal(&key), login);
            }
        }
        let helpers = file.cred_helpers.unwrap_or_default();
        let helpers = helpers.into_iter().map(|(key, name)| (normal(&key), name)).collect();
        Ok(Self { logins, helpers, store: file.creds_store.filter(|name| !name.is_empty()) })
    }

    /// The keys of all logins and helpers.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.logins.keys().chain(self.helpers.keys())
    }

    pub(super) fn has_logins(&self) -> bool {
        !self.logins.is_empty()
    }

    pub(super) fn login(&self, key: &str) -> Option<&Login> {
        self.logins.get(key)
    }

    pub(super) fn helper(&self, key: &str) -> Option<&str> {
        self.helpers.get(key).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }
}

struct BrokenAuth;

impl Entry {
    /// The login in this entry; an empty entry only says that a helper has it.
    fn into_login(self) -> Result<Option<Login>, BrokenAuth> {
        let given = |secret: Option<Secret>| secret.filter(|secret| !secret.is_empty());
        let (user, password) = match given(self.auth) {
            Some(auth) => {
                let (user, password) = decode(&auth)?;
                (Some(user), Some(password))
            }
            None => (self.username.filter(|user| !user.is_empty()), given(self.password)),
        };
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Login::RegistryToken(token)));
        }
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Login::IdentityToken { user, token }));
        }
        Ok(user.zip(password).map(|(user, password)| Login::Password { user, password }))
    }
}

/// Takes `auth` apart: base64 of `user:password`, with or without padding.
fn decode(auth: &Secret) -> Result<(String, Secret), BrokenAuth> {
    let text = auth.reveal().trim();
    let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map_err(|_| BrokenAuth)?;
    let text = String::from_utf8(bytes).map_err(|_| BrokenAuth)?;
    let (user, password) = text.split_once(':').ok_or(BrokenAuth)?;
    // Old versions of Docker padded the text with zeros.
    Ok((user.to_owned(), Secret::new(password.trim_end_matches('\0'))))
}

/// One form for all ways in which keys are written: no scheme, no `/v1/` or `/v2/`, Docker Hub as `docker.io`.
fn normal(key: &str) -> String {
    let key = key.trim();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    let host = host.to_ascii_lowercase();
    let host = match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    path.map_or_else(|| host.to_owned(), |path| format!("{host}/{path}"))
}

/// The keys under which a login for `repository` may be, most particular first: `host/a/b`, `host/a`, `host`.
pub(super) fn keys(repository: &RepoName) -> impl Iterator<Item = String> {
    let full = normal(&format!("{}/{}", repository.registry(), repository.path()));
    std::iter::successors(Some(full), |key| key.rsplit_once('/').map(|(shorter, _)| shorter.to_owned()))
}

/// What a helper is asked for, given a normalised key: Docker Hub goes by its old name there.
pub(super) fn helper_key(key: &str) -> &str {
    if key == "docker.io" { DOCKER_HUB } else { key }
}

/// The normalised key of the registry alone.
pub(super) fn host_key(repository: &RepoName) -> String {
    normal(repository.registry())
}
