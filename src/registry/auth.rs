//! Logging in, when a registry asks.
//!
//! ```text
//! request ─► 401 + challenge ─► credentials ─► Basic: header
//!                                           └► Bearer: token service ─► token, kept by scope ─► request again ─► 401: error
//! ```
//!
//! Once a registry's challenge is known, later requests bring their token along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;

use super::challenge::Challenge;
use super::credentials::{Credential, Credentials, Login};
use super::error::{Detail, Problem};
use super::token::{TokenService, basic};
use crate::image::RepoName;

/// The rights a request needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    path: String,
    actions: Actions,
    mounts_from: Option<String>,
}

/// The scope of a registry's list of repositories. See the distribution project, `docs/spec/auth/scope.md`.
const CATALOG: &str = "registry:catalog:*";

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Actions {
    Pull,
    /// And pull.
    Push,
    /// And pull.
    Delete,
    /// Listing the repositories of a registry.
    Catalog,
}

impl Scope {
    pub(super) fn pull(path: &str) -> Self {
        Self { path: path.to_owned(), actions: Actions::Pull, mounts_from: None }
    }

    pub(super) fn push(path: &str) -> Self {
        Self { path: path.to_owned(), actions: Actions::Push, mounts_from: None }
    }

    pub(super) fn delete(path: &str) -> Self {
        Self { path: path.to_owned(), actions: Actions::Delete, mounts_from: None }
    }

    /// To list the repositories.
    pub(super) fn catalog() -> Self {
        Self { path: String::new(), actions: Actions::Catalog, mounts_from: None }
    }

    /// To push to `path` blobs that are in `from`.
    pub(super) fn mount(path: &str, from: &str) -> Self {
        Self { path: path.to_owned(), actions: Actions::Push, mounts_from: Some(from.to_owned()) }
    }

    /// The scopes as token services know them, sorted.
    pub(super) fn texts(&self) -> Vec<String> {
        let own = match self.actions {
            Actions::Pull => format!("repository:{}:pull", self.path),
            Actions::Push => format!("repository:{}:pull,push", self.path),
            Actions::Delete => format!("repository:{}:pull,delete", self.path),
            Actions::Catalog => CATALOG.to_owned(),
        };
        let other = self.mounts_from.iter().map(|from| format!("repository:{from}:pull"));
        let mut texts: Vec<_> = other.chain([own]).collect();
        texts.sort();
        texts
    }

    /// Whether a scope as a registry writes it is no more than this one.
    fn covers(&self, text: &str) -> bool {
        let Some((resource, actions)) = text.rsplit_once(':') else { return text.is_empty() };
        if self.actions == Actions::Catalog {
            return text == CATALOG;
        }
        let is_own = resource.strip_prefix("repository:") == Some(self.path.as_str());
        let own = match self.actions {
            Actions::Push => Some("push"),
            Actions::Delete => Some("delete"),
            Actions::Pull | Actions::Catalog => None,
        };
        is_own && actions.split(',').all(|action| action == "pull" || Some(action) == own)
    }
}

/// The right to make requests: the header, until when it is good, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    /// Where the credential is from; `None` for a token that anybody gets.
    pub(super) origin: Option<String>,
    /// Whether a token service gave it, and so knows the user.
    pub(super) is_of_service: bool,
    until: Instant,
}

impl Grant {
    /// A login that is sent as it was found.
    fn of_login(header: HeaderValue, origin: String) -> Self {
        Self { header, origin: Some(origin), is_of_service: false, until: Instant::now() + PASSWORD_LIFETIME }
    }

    /// A token that a token service gave for `lifetime`; used for nine tenths of it, so that it does not run out
    /// on the way.
    pub(super) fn of_service(header: HeaderValue, origin: Option<String>, lifetime: Duration) -> Self {
        Self { header, origin, is_of_service: true, until: Instant::now() + lifetime.mul_f64(0.9) }
    }
}

/// Logins outlive no build, but helpers' passwords run out: ECR's after 12 hours, GCR's after one.
const PASSWORD_LIFETIME: Duration = Duration::from_mins(30);

/// The logins of one registry.
#[derive(Debug)]
pub(super) struct Authenticator {
    host: String,
    credentials: Arc<Credentials>,
    challenge: RwLock<Option<Challenge>>,
    slots: Mutex<HashMap<Scope, Arc<Slot>>>,
}

/// The grant for one scope. The lock is held while a grant is fetched, so that requests that need the same one
/// wait for it instead of asking too.
type Slot = tokio::sync::Mutex<Held>;

#[derive(Debug, Default)]
struct Held {
    grant: Option<Grant>,
    /// The scope the registry named, where it differs from what we would ask for.
    named: Option<String>,
}

impl Authenticator {
    pub(super) fn new(host: &str, credentials: Arc<Credentials>) -> Self {
        Self {
            host: host.to_owned(),
            credentials,
            challenge: RwLock::new(None),
            slots: Mutex::new(HashMap::new()),
        }
    }

    /// What to send along with a request of this scope: nothing before the registry has asked.
    pub(super) async fn grant(
        &self,
        scope: &Scope,
        repository: &RepoName,
        tokens: &TokenService<'_>,
    ) -> Result<Option<Grant>, Problem> {
        let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge) = challenge else { return Ok(None) };
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        if let Some(grant) = held.grant.as_ref().filter(|grant| grant.until > Instant::now()) {
            return Ok(Some(grant.clone()));
        }
        let credential = self
            .credentials
            .find(repository)
            .await
            .map_err(|source| Problem::Credentials { host: self.host.clone(), source })?;
        let grant = match (challenge, credential) {
            (_, Some(Credential { login: Login::RegistryToken(token), origin })) => {
                let header = sensitive(&format!("Bearer {}", token.reveal()));
                let header = header.ok_or_else(|| self.unsendable(&origin))?;
                Some(Grant::of_login(header, origin))
            }
            (Challenge::Basic, Some(Credential { login: Login::Password { user, password }, origin })) => {
                let header = basic(&user, &password).ok_or_else(|| self.unsendable(&origin))?;
                Some(Grant::of_login(header, origin))
            }
            // An identity token is for a token service; a registry with passwords only cannot take it.
            (Challenge::Basic, _) => None,
            (Challenge::Bearer(bearer), credential) => {
                let mut scopes = scope.texts();
                let named = held.named.iter().flat_map(|named| named.split(' '));
                scopes.extend(named.filter(|named| !scope.covers(named)).map(str::to_owned));
                scopes.sort();
                scopes.dedup();
                Some(tokens.fetch(&bearer, &scopes, credential.as_ref()).await?)
            }
        };
        held.grant.clone_from(&grant);
        Ok(grant)
    }

    /// Learns from a 401: the way to log in, and that `used` is not good (any more).
    pub(super) async fn refused(&self, challenge: Challenge, scope: &Scope, used: Option<&Grant>) {
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        if let Challenge::Bearer(bearer) = &challenge {
            held.named.clone_from(&bearer.scope);
        }
        let is_held = |used: &Grant| held.grant.as_ref().is_some_and(|grant| grant.header == used.header);
        if used.is_some_and(is_held) {
            held.grant = None;
        }
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
    }

    /// Where was looked for credentials, for messages.
    pub(super) fn looked_in(&self) -> String {
        self.credentials.looked_in().to_string()
    }

    /// Whom the registry takes us for, for messages.
    pub(super) async fn whom(&self, repository: &RepoName) -> Box<str> {
        let challenged = self.challenge.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let whom = match self.credentials.find(repository).await {
            Ok(Some(credential)) if challenged => match credential.login {
                Login::Password { user, .. } | Login::IdentityToken { user: Some(user), .. } => {
                    format!("the user `{user}` (from {})", credential.origin)
                }
                _ => format!("the holder of the token from {}", credential.origin),
            },
            _ => format!("anonymous users (looked for credentials in {})", self.looked_in()),
        };
        whom.into()
    }

    fn unsendable(&self, origin: &str) -> Problem {
        Problem::CredentialsRefused {
            host: self.host.clone(),
            origin: format!("{origin} (they hold characters that cannot be sent)"),
            detail: Detail::default(),
        }
    }

    fn slot(&self, scope: &Scope) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }
}

/// A header value that is shown nowhere.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_token_services_know_them() {
        for (scope, texts) in [
            (Scope::pull("library/node"), &["repository:library/node:pull"][..]),
            (Scope::push("app"), &["repository:app:pull,push"]),
            (Scope::delete("app"), &["repository:app:pull,delete"]),
            (Scope::catalog(), &["registry:catalog:*"]),
            (Scope::mount("app", "base"), &["repository:app:pull,push", "repository:base:pull"]),
            (Scope::mount("b", "a"), &["repository:a:pull", "repository:b:pull,push"]),
        ] {
            assert_eq!(scope.texts(), texts);
        }
    }

    #[test]
    fn what_registries_name_is_added_only_where_it_says_more() {
        for (scope, named, is_covered) in [
            (Scope::pull("app"), "repository:app:pull", true),
            (Scope::push("app"), "repository:app:pull", true),
            (Scope::push("app"), "repository:app:push,pull", true),
            (Scope::pull("app"), "repository:app:push,pull", false),
            (Scope::push("app"), "repository:app:delete", false),
            (Scope::push("app"), "repository:proxy/app:pull", false),
            (Scope::push("app"), "registry:catalog:*", false),
            (Scope::delete("app"), "repository:app:delete", true),
            (Scope::delete("app"), "repository:app:push", false),
            (Scope::catalog(), "registry:catalog:*", true),
            (Scope::catalog(), "repository::pull", false),
            (Scope::push("app"), "", true),
        ] {
            assert_eq!(scope.covers(named), is_covered, "{named}");
        }
    }
}
