//! The variables that GitLab sets for its jobs. See GitLab's documentation, "Predefined CI/CD variables".

use super::{Variables, variable};
use crate::registry::credentials::{Credential, Login, Secret};

/// The login for `host`, if it is GitLab's registry or its dependency proxy, by exactly the name in the variable.
pub(super) fn find(host: &str, variables: &Variables) -> Option<Credential> {
    let without_port = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let is_host =
        |name: &str| variable(variables, name).is_some_and(|value| without_port(value) == without_port(host));
    let login = |user: &str, password: &str, origin: &str| {
        let login = Login::Password { user: user.to_owned(), password: Secret::new(password) };
        Credential { login, origin: format!("${origin}") }
    };
    let pair = |prefix: &str| {
        let (user, password) = (format!("{prefix}_USER"), format!("{prefix}_PASSWORD"));
        Some(login(variable(variables, &user)?, variable(variables, &password)?, &user))
    };
    let registry = is_host("CI_REGISTRY").then(|| {
        pair("CI_REGISTRY")
            .or_else(|| Some(login("gitlab-ci-token", variable(variables, "CI_JOB_TOKEN")?, "CI_JOB_TOKEN")))
    });
    let proxy = is_host("CI_DEPENDENCY_PROXY_SERVER").then(|| pair("CI_DEPENDENCY_PROXY"));
    registry.flatten().or_else(|| proxy.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_knows_its_registry_and_its_proxy() {
        let variables: Variables = [
            ("CI_REGISTRY", "registry.gitlab.example"),
            ("CI_REGISTRY_USER", "job"),
            ("CI_REGISTRY_PASSWORD", "secret"),
            ("CI_DEPENDENCY_PROXY_SERVER", "gitlab.example:443"),
            ("CI_DEPENDENCY_PROXY_USER", "proxy"),
            ("CI_DEPENDENCY_PROXY_PASSWORD", "secret"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .collect();
        for (host, user) in [
            ("registry.gitlab.example", Some("job")),
            ("gitlab.example", Some("proxy")),
            ("gitlab.example:443", Some("proxy")),
            ("registry.gitlab.example:5000", None),
            ("evil-registry.gitlab.example", None),
        ] {
            let found = find(host, &variables).map(|found| match found.login {
                Login::Password { user, .. } => user,
                other => panic!("{other:?}"),
            });
            assert_eq!(found.as_deref(), user, "{host}");
        }
    }

    #[test]
    fn the_job_token_will_do() {
        let variables: Variables = [("CI_REGISTRY", "registry.example"), ("CI_JOB_TOKEN", "token")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .collect();
        let login = Login::Password { user: "gitlab-ci-token".to_owned(), password: Secret::new("token") };
        assert_eq!(find("registry.example", &variables).unwrap().login, login);
    }
}
