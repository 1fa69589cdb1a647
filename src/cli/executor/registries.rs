//! How registries are reached, from Kaniko's flags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::flags::registry as flags;
use super::parse::Parsed;
use super::{Mistake, read, variable};
use crate::registry::{AmbientLogins, ClientCertificate, Hosts, Mirror, RegistrySettings, RetryPolicy};

/// Where Kaniko's image has its certificate authorities, and where its users mount theirs.
const AUTHORITIES: &str = "/kaniko/ssl/certs";

/// The settings; `pushed_to` are the registries of the destinations and the cache.
pub(super) fn settings(
    parsed: &Parsed,
    pushed_to: &BTreeSet<String>,
    retries: u32,
) -> Result<RegistrySettings, Mistake> {
    let is_on = |flag| parsed.is_on(flag);
    let choice = |push, pull, named| hosts(is_on(push), is_on(pull), parsed.all(named), pushed_to);
    let usual = RetryPolicy::default();
    Ok(RegistrySettings {
        plain_or_tls: choice(&flags::INSECURE, &flags::INSECURE_PULL, &flags::INSECURE_REGISTRY),
        private_plain_or_tls: true,
        // Kaniko's `--skip-tls-verify` is for pushing by its name and for everything in effect.
        skip_tls_verify: if is_on(&flags::SKIP_TLS_VERIFY) {
            Hosts::Every
        } else {
            choice(&flags::SKIP_TLS_VERIFY, &flags::SKIP_TLS_VERIFY_PULL, &flags::SKIP_TLS_VERIFY_REGISTRY)
        },
        certificates: certificates(parsed),
        client_certificates: client_certificates(parsed)?,
        authorities: authorities(),
        mirrors: mirrors(parsed),
        only_mirrors: is_on(&flags::SKIP_DEFAULT_REGISTRY_FALLBACK),
        retry: RetryPolicy {
            attempts: usual.attempts.max(retries.saturating_add(1)),
            refused_attempts: usual.refused_attempts.max(retries.saturating_add(1)),
            ..usual
        },
        client_type: client_type()?,
        ..RegistrySettings::default()
    })
}

/// The hosts for which something holds: when pushing those that are pushed to, when pulling all others, and those
/// that are named in any case.
fn hosts(push: bool, pull: bool, named: &[String], pushed_to: &BTreeSet<String>) -> Hosts {
    match (push, pull) {
        (true, true) => Hosts::Every,
        (false, true) => {
            Hosts::AllBut(pushed_to.iter().filter(|host| !named.contains(host)).cloned().collect())
        }
        (true, false) => named.iter().chain(pushed_to).cloned().collect(),
        (false, false) => named.iter().cloned().collect(),
    }
}

/// What asks for this build, which servers are told.
fn client_type() -> Result<Option<String>, Mistake> {
    const NAME: &str = "UPSTREAM_CLIENT_TYPE";
    let found = variable(NAME).filter(|name| !name.is_empty());
    match found.as_deref().filter(|name| name.bytes().any(|byte| !(b' '..=b'~').contains(&byte))) {
        Some(odd) => {
            Err(Mistake::Said(format!("{NAME} is `{}`, which no header can hold", odd.escape_debug())))
        }
        None => Ok(found),
    }
}

fn certificates(parsed: &Parsed) -> BTreeMap<String, PathBuf> {
    let pairs = parsed.pairs(&flags::REGISTRY_CERTIFICATE).into_iter();
    pairs.map(|(host, path)| (host, path.into())).collect()
}

fn client_certificates(parsed: &Parsed) -> Result<BTreeMap<String, ClientCertificate>, Mistake> {
    let pairs = parsed.pairs(&flags::REGISTRY_CLIENT_CERT).into_iter();
    let parse = |(host, paths): (String, String)| {
        let shown = format!("{host}={paths}");
        let own = read(&flags::REGISTRY_CLIENT_CERT, &shown, |_| match paths.split_once(',') {
            Some((certificate, key)) if !key.contains(',') => {
                Ok(ClientCertificate { certificate: certificate.into(), key: key.into() })
            }
            _ => Err(format!("expected format: {host}=/path/to/cert,/path/to/key")),
        })?;
        Ok((host, own))
    };
    pairs.map(parse).collect()
}

fn authorities() -> Vec<PathBuf> {
    // With the variable set, the system's authorities are those in its directories.
    let is_told = std::env::var_os("SSL_CERT_DIR").is_some();
    let directory = Path::new(AUTHORITIES);
    if !is_told && directory.is_dir() { vec![directory.to_owned()] } else { Vec::new() }
}

/// Where images are pulled from instead; mirrors are maps of Docker Hub.
fn mirrors(parsed: &Parsed) -> BTreeMap<String, Vec<Mirror>> {
    let mut mirrors: BTreeMap<String, Vec<Mirror>> = BTreeMap::new();
    let maps = parsed.pairs(&flags::REGISTRY_MAP).into_iter();
    let hub = parsed.all(&flags::REGISTRY_MIRROR).iter();
    let hub = hub.map(|mirror| ("index.docker.io".to_owned(), mirror.clone()));
    for (registry, mirror) in maps.chain(hub) {
        // `https://mirror` is a common way of writing it.
        let mirror =
            mirror.strip_prefix("https://").or_else(|| mirror.strip_prefix("http://")).unwrap_or(&mirror);
        let registry = match registry.as_str() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            other => other.to_owned(),
        };
        mirrors.entry(registry).or_default().push(Mirror::parse(mirror));
    }
    mirrors
}

/// Where logins are looked for besides docker's config. Names that nobody knows are given back.
pub(super) fn ambient_logins(parsed: &Parsed) -> (AmbientLogins, Vec<String>) {
    let named = parsed.all(&flags::CREDENTIAL_HELPERS);
    if named.is_empty() {
        return (AmbientLogins::ALL, Vec::new());
    }
    let mut logins = AmbientLogins::default();
    let mut unknown = Vec::new();
    for name in named {
        match name.as_str() {
            "" => {}
            "env" => logins.variables = true,
            "google" => logins.google = true,
            "ecr" => logins.ecr = true,
            "acr" => logins.acr = true,
            "gitlab" => logins.gitlab = true,
            other => unknown.push(other.to_owned()),
        }
    }
    (logins, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_pushing_holds_for_the_registries_that_are_pushed_to() {
        let pushed_to = BTreeSet::from(["registry".to_owned()]);
        let named = ["named".to_owned()];
        for (push, pull, expected) in [
            (false, false, [false, true, false]),
            (true, false, [true, true, false]),
            (false, true, [false, true, true]),
            (true, true, [true, true, true]),
        ] {
            let hosts = hosts(push, pull, &named, &pushed_to);
            assert_eq!(["registry", "named", "other"].map(|host| hosts.contains(host)), expected);
        }
    }
}
