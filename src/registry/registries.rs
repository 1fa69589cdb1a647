//! The registries of one build.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::Clients;
use super::credentials::Credentials;
use super::host::Host;
use super::reach::Reach;
use super::repository::{Endpoint, Repository};
use super::settings::{RegistrySettings, SettingsError};
use super::traffic::Traffic;
use crate::image::RepoName;

/// Hands out [`Repository`]s, and keeps what those of one registry share: connections, tokens, limits.
///
/// Clones share everything.
#[derive(Debug, Clone)]
pub struct Registries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: RegistrySettings,
    credentials: Arc<Credentials>,
    clients: Arc<Clients>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Registries {
    /// Checks the settings (files of certificates are read now) and opens no connection.
    pub fn new(settings: RegistrySettings, credentials: Credentials) -> Result<Self, SettingsError> {
        let settings = settings.with_canonical_hosts();
        let clients = Arc::new(Clients::new(settings.clone())?);
        let shared = Shared {
            settings,
            credentials: Arc::new(credentials.through(&clients)),
            clients,
            hosts: Mutex::new(HashMap::new()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The repository of this name. Nothing is asked of the registry yet.
    pub fn repository(&self, name: &RepoName) -> Result<Repository, SettingsError> {
        let upstream = canonical(name.registry());
        let upstream_endpoint =
            Endpoint { host: self.host(upstream)?, path: name.path().to_owned(), upstream: None };
        let mut pulled_from = Vec::new();
        let mirrors = self.shared.settings.mirrors.get(upstream).map(Vec::as_slice).unwrap_or_default();
        for mirror in mirrors {
            let host = self.host(canonical(&mirror.host))?;
            pulled_from.push(Endpoint { host, path: mirror.path(name), upstream: Some(upstream.to_owned()) });
        }
        if mirrors.is_empty() || !self.shared.settings.only_mirrors {
            pulled_from.push(upstream_endpoint.clone());
        }
        Ok(Repository::new(name.clone(), pulled_from, upstream_endpoint, self.shared.settings.chunk_size))
    }

    /// A client for a host that is no registry, such as the source of an ADD: the same authorities are trusted, and no
    /// redirect is followed.
    pub(crate) fn web_client(&self, url: &url::Url) -> Result<reqwest::Client, SettingsError> {
        self.shared.clients.source_client(url)
    }

    /// Where sources may be fetched from.
    pub(crate) fn source_reach(&self) -> &Reach {
        self.shared.clients.source_reach()
    }

    /// The files that logins for registries are read from.
    pub(crate) fn files_with_logins(&self) -> impl Iterator<Item = &str> {
        self.shared.credentials.files_with_logins()
    }

    /// The client for a registry, for plain HTTP or TLS.
    pub(super) fn client(&self, host: &str, plain: bool) -> Result<reqwest::Client, SettingsError> {
        self.shared.clients.client(host, plain)
    }

    /// A client for hosts that no settings are about.
    pub(crate) fn tls_client(&self) -> Result<reqwest::Client, SettingsError> {
        self.shared.clients.client("", false)
    }

    /// How long a connection may stay silent before it counts as broken.
    pub(crate) fn stall_limit(&self) -> Duration {
        Duration::from_secs(self.shared.settings.stall_seconds.max(1))
    }

    /// The names under which the repository's blobs may be found: at mirrors, then its own. A blob can be mounted from
    /// each of them into other repositories of the same registry.
    pub fn names(&self, name: &RepoName) -> Vec<RepoName> {
        let mirrors = self.shared.settings.mirrors.get(canonical(name.registry()));
        let mirrors = mirrors.map(Vec::as_slice).unwrap_or_default();
        let mirrored = mirrors.iter().map(|mirror| RepoName::new(&mirror.host, mirror.path(name)));
        mirrored.chain([name.clone()]).collect()
    }

    /// What went over the wire so far, per registry. Downloads that a registry redirected elsewhere count for it.
    pub fn statistics(&self) -> BTreeMap<String, Traffic> {
        let hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(name, host)| (name.clone(), host.traffic())).collect()
    }

    fn host(&self, name: &str) -> Result<Arc<Host>, SettingsError> {
        let mut hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Ok(Arc::clone(host));
        }
        let Shared { settings, credentials, clients, .. } = &*self.shared;
        let host = Arc::new(Host::new(name, settings, Arc::clone(credentials), Arc::clone(clients))?);
        hosts.insert(name.to_owned(), Arc::clone(&host));
        Ok(host)
    }
}

/// Docker Hub has three names; this is the one in image names.
pub(super) fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}
