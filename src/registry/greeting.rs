//! What answers where a registry should be: for those who look for what is wrong.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap};
use reqwest::{Method, StatusCode, Url};

use super::auth::Scope;
use super::diagnosis::diagnose;
use super::error::{Problem, RegistryError};
use super::host::Call;
use super::lanes::Lane;
use super::operation::Operation;
use super::registries::Registries;
use super::repository::Repository;
use super::settings::SettingsError;
use super::upload;
use crate::image::RepoName;
use crate::layer::Digest;

/// How long an answer is waited for: long for a network in which pods are built, short for somebody who waits.
const LIMIT: Duration = Duration::from_secs(10);

/// What a registry says before anybody has logged in.
#[derive(Debug)]
pub struct Greeting {
    /// In TLS.
    pub tls: Result<Reply, Problem>,
    /// In plain HTTP.
    pub plain: Result<Reply, Problem>,
}

/// An answer to the question whether this is a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// What time it is there, to the second.
    pub date: Option<Timestamp>,
}

impl Reply {
    /// Whether a registry answers so: it knows the address, and may want a login.
    pub fn is_of_registry(self) -> bool {
        matches!(self.status, 200 | 401)
    }
}

impl Registries {
    /// Asks `host` in TLS and in plain HTTP, once each and at the same time, and without a login.
    pub async fn greet(&self, host: &str) -> Result<Greeting, SettingsError> {
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let ask = async |scheme: &str| {
            let invalid = |_| SettingsError::Host { host: host.to_owned() };
            let url = Url::parse(&format!("{scheme}://{address}/v2/")).map_err(invalid)?;
            let client = self.client(host, scheme == "http")?;
            let reply = client.get(url).timeout(LIMIT).send().await;
            Ok::<_, SettingsError>(match reply {
                Ok(response) => {
                    Ok(Reply { status: response.status().as_u16(), date: date(response.headers()) })
                }
                Err(error) => Err(diagnose(error, host, LIMIT)),
            })
        };
        let (tls, plain) = tokio::join!(ask("https"), ask("http"));
        Ok(Greeting { tls: tls?, plain: plain? })
    }
}

impl Repository {
    /// Finds out whether the registry lets in whom the credentials are for; says whether it wanted to know.
    pub async fn check_login(&self) -> Result<(), RegistryError> {
        let endpoint = self.upstream();
        let operation = Operation::LogIn(self.name().clone());
        let during = |problem: Problem| problem.during(&operation);
        let scope = Scope::pull(&endpoint.path);
        let call = Call {
            method: Method::GET,
            url: endpoint.host.url("").await.map_err(during)?,
            headers: HeaderMap::new(),
            body: None,
            scope: &scope,
            repository: &endpoint.name(),
            operation: &operation,
            lane: Lane::Small,
            is_mirror: false,
        };
        let answer = endpoint.host.send(&call).await.map_err(during)?;
        match answer.response.status() {
            StatusCode::OK => Ok(()),
            status => {
                Err(during(endpoint.host.protocol(&format!("it answers {status} where its address begins"))))
            }
        }
    }

    /// Finds out whether blobs can be mounted, with one that the repository has: it is mounted where it is, so that
    /// nothing changes.
    pub async fn check_mount(&self, digest: Digest) -> Result<bool, RegistryError> {
        upload::mounts_from_itself(self, digest).await
    }
}

/// The time that an answer was given. RFC 2822 dates differ from HTTP dates in the name of the zone only.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?.replace("GMT", "+0000");
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The name of a registry without a repository.
pub fn registry_alone(host: &str) -> RepoName {
    RepoName::new(host, "")
}
