//! Logins on their way to another machine: a docker config that holds what a build needs there, and no more.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Credentials, CredentialsError, Login, Secret, config};
use crate::image::RepoName;

impl Credentials {
    /// A docker `config.json` with the logins for these repositories, wherever they are from here: a file, a helper
    /// program, a cloud. `None` if there are none.
    ///
    /// The entry is that of the whole registry if all of its repositories have the same login, since a build may also
    /// find layers elsewhere in it.
    pub async fn carry(&self, repositories: &BTreeSet<RepoName>) -> Result<Option<Secret>, CredentialsError> {
        let mut found: BTreeMap<String, Vec<(&RepoName, Login)>> = BTreeMap::new();
        for repository in repositories {
            if let Some(credential) = self.find(repository).await? {
                found.entry(config::host_key(repository)).or_default().push((repository, credential.login));
            }
        }
        let mut auths = BTreeMap::new();
        for (host, logins) in &found {
            let of_host = repositories.iter().filter(|name| config::host_key(name) == *host).count();
            match logins.as_slice() {
                [(_, first), rest @ ..]
                    if logins.len() == of_host && rest.iter().all(|(_, login)| login == first) =>
                {
                    auths.insert(config::helper_key(host).to_owned(), entry(first));
                }
                _ => auths.extend(
                    logins.iter().map(|(name, login)| (format!("{host}/{}", name.path()), entry(login))),
                ),
            }
        }
        Ok((!auths.is_empty()).then(|| Secret::new(json!({ "auths": auths }).to_string())))
    }
}

/// A login as an entry of `auths`.
fn entry(login: &Login) -> Value {
    let auth = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    match login {
        Login::Password { user, password } => json!({ "auth": auth(user, password.reveal()) }),
        Login::IdentityToken { user, token } => {
            json!({ "auth": auth(user.as_deref().unwrap_or("<token>"), ""), "identitytoken": token.reveal() })
        }
        Login::RegistryToken(token) => json!({ "registrytoken": token.reveal() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CredentialPlaces;
    use super::*;

    fn load(config: &Value) -> Credentials {
        let docker_auth_config = Some(Secret::new(config.to_string()));
        Credentials::load(&CredentialPlaces { docker_auth_config, ..CredentialPlaces::default() }).unwrap()
    }

    #[tokio::test]
    async fn only_what_is_needed_is_carried_and_means_the_same() {
        let entry = |user: &str| json!({ "username": user, "password": "p:q" });
        let here = load(&json!({ "auths": {
            "https://index.docker.io/v1/": entry("hub"),
            "one.example:5000": entry("one"),
            "two.example": entry("two"),
            "two.example/team": entry("team"),
            "part.example/known": entry("part"),
            "token.example": { "auth": STANDARD.encode("me:"), "identitytoken": "t" },
            "bearer.example": { "registrytoken": "b" },
            "other.example": entry("other"),
        }}));
        let names = [
            ("docker.io", "library/node"),
            ("one.example:5000", "a"),
            ("one.example:5000", "b/c"),
            ("two.example", "a"),
            ("two.example", "team/a"),
            ("part.example", "known/a"),
            ("part.example", "unknown"),
            ("token.example", "a"),
            ("bearer.example", "a"),
            ("open.example", "a"),
        ];
        let names: BTreeSet<RepoName> = names.map(|(host, path)| RepoName::new(host, path)).into();
        let carried = here.carry(&names).await.unwrap().unwrap();
        let carried: Value = serde_json::from_str(carried.reveal()).unwrap();
        let keys: Vec<&String> = carried["auths"].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "bearer.example",
                "https://index.docker.io/v1/",
                "one.example:5000",
                "part.example/known/a",
                "token.example",
                "two.example/a",
                "two.example/team/a",
            ]
        );
        let there = load(&carried);
        for name in &names {
            let login = async |credentials: &Credentials| {
                credentials.find(name).await.unwrap().map(|credential| credential.login)
            };
            assert_eq!(login(&there).await, login(&here).await, "{name}");
        }
        let open = BTreeSet::from([RepoName::new("open.example", "a")]);
        assert_eq!(here.carry(&open).await.unwrap(), None);
    }
}
