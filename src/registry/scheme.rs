//! Plain HTTP or TLS: finding out what a registry speaks that may speak either.
//!
//! Both are tried at once, so that a port that a firewall keeps silent about costs nothing; TLS wins where it is there.
//! No login is sent while trying.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{Either, select};
use reqwest::{Client, StatusCode, Url};

use super::diagnosis::diagnose;
use super::error::Problem;
use super::settings::RegistrySettings;

/// How long TLS gets when plain HTTP has answered: some round trips across an ocean.
const TLS_GRACE: Duration = Duration::from_secs(1);
/// How long either gets.
const LIMIT: Duration = Duration::from_secs(15);

impl RegistrySettings {
    /// Whether `host` is one of those that are asked whether they speak TLS.
    pub(super) fn may_be_plain(&self, host: &str) -> bool {
        self.plain_or_tls.contains(host) || (self.private_plain_or_tls && is_private(host))
    }
}

/// Whether `host` (with or without port) is this machine or in a private network, by its name: the rule of
/// go-containerregistry, and so of Kaniko.
fn is_private(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => {
            let last = name.rsplit('.').next().unwrap_or_default();
            last == "localhost" || (last == "local" && name.contains('.'))
        }
    }
}

/// Which of the two is spoken at `plain` or `tls`, which differ in nothing else. Where nobody answers it is TLS, whose
/// error is then the one to tell.
pub(super) async fn find<'a>(plain: (&'a Url, Client), tls: (&'a Url, Client)) -> &'a Url {
    let speaks_tls = std::pin::pin!(speaks_tls(tls.1, tls.0));
    let speaks_plain = std::pin::pin!(speaks_plain(plain.1, plain.0));
    let is_plain = match select(speaks_tls, speaks_plain).await {
        Either::Left((true, _)) | Either::Right((false, _)) => false,
        Either::Left((false, speaks_plain)) => speaks_plain.await,
        Either::Right((true, speaks_tls)) => {
            !tokio::time::timeout(TLS_GRACE, speaks_tls).await.unwrap_or_default()
        }
    };
    if is_plain { plain.0 } else { tls.0 }
}

/// A certificate that is not believed is still TLS, and then the reason why the build stops.
async fn speaks_tls(client: Client, url: &Url) -> bool {
    match client.get(url.clone()).timeout(LIMIT).send().await {
        Ok(_) => true,
        Err(error) => matches!(
            diagnose(error, url.host_str().unwrap_or_default(), LIMIT),
            Problem::UntrustedCertificate { .. }
                | Problem::InvalidCertificate { .. }
                | Problem::ClientCertificateWanted { .. }
        ),
    }
}

/// A server that only says to come back with TLS does not count, nor does one whose TLS port says so.
async fn speaks_plain(client: Client, url: &Url) -> bool {
    match client.get(url.clone()).timeout(LIMIT).send().await {
        Ok(response) => !response.status().is_redirection() && response.status() != StatusCode::BAD_REQUEST,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Hosts;

    #[test]
    fn private_hosts_are_told_by_their_names() {
        for (host, expected) in [
            ("registry.local:5000", true),
            ("registry.svc.cluster.local", true),
            ("localhost:5000", true),
            ("app.localhost", true),
            ("10.1.2.3:5000", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("127.0.0.1:80", true),
            ("[::1]:5000", true),
            ("8.8.8.8", false),
            ("registry.local.example", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_private(host), expected, "{host}");
        }
    }

    #[test]
    fn only_hosts_that_were_named_may_be_plain() {
        let plain_or_tls = Hosts::AllBut(["registry:5000".to_owned()].into());
        let settings = RegistrySettings { plain_or_tls, ..RegistrySettings::default() };
        assert!(settings.may_be_plain("mirror") && !settings.may_be_plain("registry:5000"));
        let settings = RegistrySettings { private_plain_or_tls: true, ..RegistrySettings::default() };
        assert!(settings.may_be_plain("10.0.0.1") && !settings.may_be_plain("registry:5000"));
    }
}
