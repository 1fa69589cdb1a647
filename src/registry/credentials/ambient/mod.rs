//! Logins that need no configuration file: variables, GitLab's jobs, and what a pod is to its cloud.
//!
//! ```text
//! repository ─► whose host is it? ─► variables    KANIKO_<HOST>_USER, _PASSWORD
//!                                 ├► GitLab       CI_REGISTRY_USER, _PASSWORD, CI_DEPENDENCY_PROXY_…
//!                                 ├► Google       key file, gcloud's file, metadata server ─► access token
//!                                 ├► Amazon       keys, web identity, task role, instance ─► GetAuthorizationToken
//!                                 └► Azure        workload or managed identity ─► token exchange at the registry
//! ```
//!
//! A login is given to exactly the hosts that are its provider's. What a pod has by itself (an instance's role) may
//! be of no use for an image that anybody can pull: that it cannot be had is no error, while what somebody has
//! configured must work.

mod acr;
mod connector;
mod ecr;
mod gitlab;
mod google;
#[cfg(test)]
mod stand_in;
mod variables;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::Mutex;
use url::Url;

use super::{Credential, CredentialsError, Secret};
use crate::image::RepoName;
use crate::registry::clients::Clients;

/// Which logins are looked for besides docker's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AmbientLogins {
    /// `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD`.
    pub variables: bool,
    /// GitLab's variables.
    pub gitlab: bool,
    /// For Artifact Registry and Container Registry.
    pub google: bool,
    /// For Amazon's Elastic Container Registry.
    pub ecr: bool,
    /// For Azure Container Registry.
    pub acr: bool,
}

impl AmbientLogins {
    /// All of them.
    pub const ALL: Self = Self { variables: true, gitlab: true, google: true, ecr: true, acr: true };
}

/// Environment variables, as data; their values may be secrets.
pub type Variables = BTreeMap<String, Secret>;

/// Only variables with these beginnings mean anything here.
const PREFIXES: [&str; 9] =
    ["KANIKO_", "CI_", "AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_", "MSI_", "HOME"];

/// The variables of this process that may be about logins.
pub(super) fn variables_of_process() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name, Secret::new(value)))
        .collect()
}

/// How long a login of a cloud is used before it is asked for again; all live longer than this.
const LIFETIME: Duration = Duration::from_mins(10);
/// How long a service of a cloud has to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The logins of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Ambient {
    wanted: AmbientLogins,
    variables: Arc<Variables>,
    clients: Option<Arc<Clients>>,
    /// What was found, by host. `None` is remembered too: asking again would take as long again.
    found: Arc<Mutex<HashMap<String, Found>>>,
}

/// What was found, and until when that is not asked again.
type Found = (Option<Credential>, Instant);

impl Ambient {
    pub(super) fn new(wanted: AmbientLogins, variables: Variables) -> Self {
        Self { wanted, variables: Arc::new(variables), ..Self::default() }
    }

    /// The same, speaking to clouds through these clients.
    pub(super) fn through(self, clients: &Arc<Clients>) -> Self {
        Self { clients: Some(Arc::clone(clients)), ..self }
    }

    /// The login for the registry of this repository, if there is one.
    pub(super) async fn find(&self, repository: &RepoName) -> Result<Option<Credential>, CredentialsError> {
        let host = repository.registry();
        if self.wanted.variables
            && let Some(credential) = variables::find(host, &self.variables)
        {
            return Ok(Some(credential));
        }
        let cloud = if self.wanted.google && google::is_own(host) {
            Cloud::Google
        } else if self.wanted.ecr
            && let Some(registry) = ecr::Registry::of(host)
        {
            Cloud::Amazon(registry)
        } else if self.wanted.acr && acr::is_own(host) {
            Cloud::Azure
        } else {
            let is_gitlabs = self.wanted.gitlab;
            return Ok(is_gitlabs.then(|| gitlab::find(host, &self.variables)).flatten());
        };
        let mut found = self.found.lock().await;
        if let Some((credential, until)) = found.get(host)
            && *until > Instant::now()
        {
            return Ok(credential.clone());
        }
        let credential = self.ask(&cloud, host).await?;
        found.insert(host.to_owned(), (credential.clone(), Instant::now() + LIFETIME));
        Ok(credential)
    }

    async fn ask(&self, cloud: &Cloud, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let Some(clients) = &self.clients else { return Ok(None) };
        let asking = Asking { variables: &self.variables, clients };
        let result = match cloud {
            Cloud::Google => google::find(&asking).await,
            Cloud::Amazon(registry) => ecr::find(registry, &asking).await,
            Cloud::Azure => acr::find(host, &format!("https://{host}/oauth2/exchange"), &asking).await,
        };
        match result {
            Ok(credential) => Ok(Some(credential)),
            Err(Failure { is_configured: false, reason }) => {
                tracing::debug!("no login for {host} from its cloud: {reason}");
                Ok(None)
            }
            Err(Failure { is_configured: true, reason }) => {
                Err(CredentialsError::Cloud { host: host.to_owned(), reason })
            }
        }
    }
}

/// Whose registry it is.
#[derive(Debug)]
enum Cloud {
    Google,
    Amazon(ecr::Registry),
    Azure,
}

/// Why a cloud gives no login.
#[derive(Debug)]
struct Failure {
    /// Whether somebody has configured it, so that it ought to work.
    is_configured: bool,
    /// One line; never with a secret.
    reason: String,
}

/// What providers are found with.
#[derive(Debug)]
struct Asking<'a> {
    variables: &'a Variables,
    clients: &'a Clients,
}

impl Asking<'_> {
    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<&str> {
        variable(self.variables, name)
    }

    /// A client for `url`.
    fn client(&self, url: &Url) -> Result<Client, String> {
        let host = crate::registry::host::authority(url);
        self.clients.client(&host, url.scheme() == "http").map_err(|error| error.to_string())
    }

    /// Sends a request, and gives its answer's JSON.
    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        complete: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
        method: reqwest::Method,
    ) -> Result<T, String> {
        let failed = |reason: String| format!("{}: {reason}", url.split('?').next().unwrap_or_default());
        let parsed: Url = url.parse().map_err(|error| failed(format!("{error}")))?;
        let request = complete(self.client(&parsed)?.request(method, parsed)).timeout(LIMIT);
        let response = request.send().await;
        let response = response.map_err(|error| failed(crate::pipeline::describe(&error.without_url())))?;
        if !response.status().is_success() {
            return Err(failed(format!("the answer is {}", response.status())));
        }
        let reading = crate::registry::answer::read_all("the token service", response, "token", 1 << 20);
        let bytes = tokio::time::timeout(LIMIT, reading).await;
        let bytes = bytes.map_err(|_| failed("the answer does not end".to_owned()))?;
        let bytes = bytes.map_err(|problem| failed(problem.to_string()))?;
        // The answer holds secrets, and is not shown.
        serde_json::from_slice(&bytes).map_err(|_| failed("the answer is not the expected JSON".to_owned()))
    }
}

/// A variable that is set to something.
fn variable<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(Secret::reveal).filter(|value| !value.is_empty())
}

/// Whether `host`, without a port, lies below one of these domains, or is one.
fn is_below(host: &str, domains: &[&str]) -> bool {
    let host = host.strip_suffix(":443").unwrap_or(host);
    domains.iter().any(|domain| {
        host == *domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_nobodys() {
        for (host, expected) in [
            ("gcr.io", true),
            ("eu.gcr.io", true),
            ("eu.gcr.io:443", true),
            ("evilgcr.io", false),
            ("gcr.io.evil.example", false),
            (".gcr.io", false),
            ("gcr.io:8443", false),
        ] {
            assert_eq!(is_below(host, &["gcr.io"]), expected, "{host}");
        }
    }

    #[tokio::test]
    async fn nothing_is_found_where_nothing_is_wanted() {
        let variables = Variables::from([
            ("KANIKO_REGISTRY_USER".to_owned(), Secret::new("u")),
            ("KANIKO_REGISTRY_PASSWORD".to_owned(), Secret::new("p")),
        ]);
        let repository = RepoName::new("registry", "app");
        for (wanted, expected) in [(AmbientLogins::default(), false), (AmbientLogins::ALL, true)] {
            let found = Ambient::new(wanted, variables.clone()).find(&repository).await.unwrap();
            assert_eq!(found.is_some(), expected);
        }
    }
}
