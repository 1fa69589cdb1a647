//! How registries are reached: plain data, from the command line or a request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::reach::{OutOfReach, Reach};
use super::registries::canonical;
use super::retry::RetryPolicy;
use crate::image::RepoName;

/// Everything about reaching registries that is not a credential.
///
/// Hosts are written as in image names, with the port where there is one: `registry:5000`, `docker.io`.
/// Settings that differ between pulling and pushing take two sets of [`super::Registries`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistrySettings {
    /// Hosts spoken to in plain HTTP, without trying HTTPS. `localhost`, `127.0.0.0/8` and `[::1]` always are,
    /// unless they have a certificate below.
    pub insecure: Hosts,
    /// Hosts that may speak plain HTTP or TLS: which, is found out when they are first asked.
    pub plain_or_tls: Hosts,
    /// Whether hosts of private networks, by their addresses or as `*.local`, and this machine are among those.
    pub private_plain_or_tls: bool,
    /// Hosts whose TLS certificate is not checked.
    pub skip_tls_verify: Hosts,
    /// Per host, a PEM file of certificate authorities trusted besides the system's and Mozilla's.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Directories with PEM files of certificate authorities that are trusted for all hosts.
    pub authorities: Vec<PathBuf>,
    /// Per host, the certificate Cooper shows.
    pub client_certificates: BTreeMap<String, ClientCertificate>,
    /// Per upstream host, where to pull from instead, in order; pushes never go there.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// Fail when no mirror has what is wanted, instead of asking the upstream.
    pub only_mirrors: bool,
    /// What asks, as Kaniko's `UPSTREAM_CLIENT_TYPE` says; servers are told after the name of this program.
    pub client_type: Option<String>,
    /// How failures that may pass are retried.
    pub retry: RetryPolicy,
    /// Requests of one kind (small, download, upload) under way at once, per registry. At least one.
    pub concurrency: usize,
    /// Blobs of more bytes than this are uploaded in chunks of this size, so that a broken connection costs a
    /// chunk and not the blob.
    pub chunk_size: u64,
    /// Seconds a connection may stay silent before it counts as broken.
    pub stall_seconds: u64,
    /// Where sources (contexts, git repositories, files for ADD) may be fetched from; registries are not meant.
    pub source_reach: Reach,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            insecure: Hosts::default(),
            plain_or_tls: Hosts::default(),
            private_plain_or_tls: false,
            skip_tls_verify: Hosts::default(),
            certificates: BTreeMap::new(),
            authorities: Vec::new(),
            client_certificates: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            only_mirrors: false,
            client_type: None,
            retry: RetryPolicy::default(),
            // Docker's client uses 3 downloads and 5 uploads; more brings nothing on one network link and
            // earns 429s.
            concurrency: 6,
            chunk_size: 64 << 20,
            // Object stores behind a registry may take a minute to assemble a large blob.
            stall_seconds: 120,
            source_reach: Reach::Any,
        }
    }
}

impl RegistrySettings {
    /// The same settings with one name for Docker Hub.
    pub(super) fn with_canonical_hosts(mut self) -> Self {
        fn keys<V>(map: BTreeMap<String, V>) -> BTreeMap<String, V> {
            map.into_iter().map(|(host, value)| (canonical(&host).to_owned(), value)).collect()
        }
        self.certificates = keys(self.certificates);
        self.client_certificates = keys(self.client_certificates);
        self.mirrors = keys(self.mirrors);
        for hosts in [&mut self.insecure, &mut self.plain_or_tls, &mut self.skip_tls_verify] {
            if let Hosts::Only(names) | Hosts::AllBut(names) = hosts {
                *names = names.iter().map(|host| canonical(host).to_owned()).collect();
            }
        }
        self
    }
}

/// A choice of registry hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    /// All of them.
    Every,
    /// The named ones, port included.
    Only(BTreeSet<String>),
    /// All but the named ones.
    #[serde(rename = "all-but")]
    AllBut(BTreeSet<String>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Hosts {
    /// Whether `host` is among them.
    pub fn contains(&self, host: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(hosts) => hosts.contains(host),
            Self::AllBut(hosts) => !hosts.contains(host),
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Hosts {
    fn from_iter<I: IntoIterator<Item = S>>(hosts: I) -> Self {
        Self::Only(hosts.into_iter().map(Into::into).collect())
    }
}

/// A place that serves the images of another registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Its host, with port.
    pub host: String,
    /// What is put before the upstream's repository path: `proxy` makes `proxy/library/node`.
    #[serde(default)]
    pub prefix: Option<String>,
}

impl Mirror {
    /// Reads `host[:port][/prefix]`.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_end_matches('/');
        match text.split_once('/') {
            Some((host, prefix)) => Self { host: host.to_owned(), prefix: Some(prefix.to_owned()) },
            None => Self { host: text.to_owned(), prefix: None },
        }
    }

    /// Where `name` is found at this mirror.
    pub(super) fn path(&self, name: &RepoName) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{}", name.path()),
            None => name.path().to_owned(),
        }
    }
}

/// The files with which Cooper proves itself to a registry that asks for a TLS client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM file of the certificate and the chain above it.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A certificate or key file cannot be read, or is not PEM.
    #[error("the PEM file `{}` given for the registry {host} cannot be read", path.display())]
    Pem {
        /// The registry the file is for.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A PEM file without a certificate.
    #[error("the file `{}` given for the registry {host} holds no certificate: it must be PEM text with `BEGIN CERTIFICATE`", path.display())]
    NoCertificate {
        /// The registry the file is for.
        host: String,
        /// The file.
        path: PathBuf,
    },
    /// The TLS library does not accept what was given.
    #[error("the TLS settings for the registry {host} cannot be used")]
    Tls {
        /// The registry the settings are for.
        host: String,
        /// The library's reason.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP library does not start.
    #[error("the HTTP client for the registry {host} cannot be set up")]
    Client {
        /// The registry it is for.
        host: String,
        /// The library's reason.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing may be fetched from there.
    #[error(transparent)]
    OutOfReach(#[from] OutOfReach),
    /// A registry host that cannot stand in a URL.
    #[error("`{host}` is not a registry host: write `name` or `name:port`")]
    Host {
        /// What was given.
        host: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_hosts_with_an_optional_prefix() {
        for (text, host, prefix) in [
            ("mirror:5000", "mirror:5000", None),
            ("mirror/", "mirror", None),
            ("harbor.local/proxy/hub", "harbor.local", Some("proxy/hub")),
        ] {
            let mirror = Mirror::parse(text);
            assert_eq!((mirror.host.as_str(), mirror.prefix.as_deref()), (host, prefix), "{text}");
        }
    }

    #[test]
    fn docker_hub_has_one_name() {
        let mirrors = [("index.docker.io".to_owned(), vec![Mirror::parse("mirror")])].into();
        let insecure = Hosts::from_iter(["registry-1.docker.io", "registry:5000"]);
        let settings = RegistrySettings { insecure, mirrors, ..RegistrySettings::default() };
        let settings = settings.with_canonical_hosts();
        assert!(settings.mirrors.contains_key("docker.io"));
        assert_eq!(settings.insecure, Hosts::from_iter(["docker.io", "registry:5000"]));
    }

    #[test]
    fn settings_survive_json_and_missing_fields_are_defaults() {
        let settings = RegistrySettings {
            insecure: Hosts::from_iter(["registry:5000"]),
            skip_tls_verify: Hosts::Every,
            ..RegistrySettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<RegistrySettings>(&json).unwrap(), settings);
        assert_eq!(serde_json::from_str::<RegistrySettings>("{}").unwrap(), RegistrySettings::default());
    }
}
