//! `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD`.

use super::{Variables, variable};
use crate::registry::credentials::{Credential, Login, Secret};

/// The login for `host`: its name in capitals with `_` for every other character, with the port or without it, or
/// the domain that it is in. A top-level domain alone is nobody's.
pub(super) fn find(host: &str, variables: &Variables) -> Option<Credential> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let labels: Vec<&str> = name.split('.').collect();
    let domains = (1..labels.len().saturating_sub(1)).map(|first| labels[first..].join("."));
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    let domains = domains.filter(|_| !is_address);
    [host.to_owned(), name.to_owned()].into_iter().chain(domains).find_map(|name| {
        let name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
            .collect();
        let variable = |kind: &str| {
            let name = format!("KANIKO_{name}_{kind}");
            variable(variables, &name).map(|value| (value, name))
        };
        let ((user, origin), (password, _)) = (variable("USER")?, variable("PASSWORD")?);
        let login = Login::Password { user: user.to_owned(), password: Secret::new(password) };
        Some(Credential { login, origin: format!("${origin}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts_and_their_domains() {
        for (host, name, expected) in [
            ("registry.example.com", "REGISTRY_EXAMPLE_COM", true),
            ("my-registry:5000", "MY_REGISTRY_5000", true),
            ("my-registry:5000", "MY_REGISTRY", true),
            ("registry.example.com", "EXAMPLE_COM", true),
            ("registry.example.com", "COM", false),
            ("registry.example.com", "REGISTRY", false),
            ("10.0.0.1", "0_0_1", false),
            ("10.0.0.1", "10_0_0_1", true),
        ] {
            let variables = Variables::from(
                ["USER", "PASSWORD"].map(|kind| (format!("KANIKO_{name}_{kind}"), Secret::new("x"))),
            );
            assert_eq!(find(host, &variables).is_some(), expected, "{host} {name}");
        }
    }

    #[test]
    fn a_name_without_a_password_is_no_login() {
        let variables = Variables::from([("KANIKO_REGISTRY_USER".to_owned(), Secret::new("u"))]);
        assert_eq!(find("registry", &variables), None);
    }
}
