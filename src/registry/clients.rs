//! HTTP clients: TLS, connection pools, and which scheme a host is spoken to in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, redirect};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use url::Url;

use super::reach::Reach;
use super::settings::{Hosts, RegistrySettings, SettingsError};

/// Registries behind a load balancer answer in milliseconds; a host that drops packets never does.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// The clients of one build. Hosts without settings of their own share one.
#[derive(Debug)]
pub(super) struct Clients {
    settings: RegistrySettings,
    made: Mutex<HashMap<Kind, Client>>,
}

/// What a client differs by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// For plain HTTP; spares reading the system's certificates.
    Plain,
    /// For TLS as everybody does it.
    Usual,
    /// For a host with settings of its own.
    Particular(String),
    /// The same three for sources, where not all addresses may be fetched from.
    Limited(Box<Kind>),
}

impl Kind {
    fn is_plain(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Limited(kind) => kind.is_plain(),
            _ => false,
        }
    }
}

impl RegistrySettings {
    /// Whether `host` is spoken to in plain HTTP. There is no probe: a firewall that drops packets would make it
    /// take minutes.
    pub(super) fn is_plain(&self, host: &str) -> bool {
        let named = matches!(&self.skip_tls_verify, Hosts::Only(hosts) if hosts.contains(host));
        let has_tls =
            named || self.certificates.contains_key(host) || self.client_certificates.contains_key(host);
        let is_usual = is_loopback(host) && !has_tls && !self.may_be_plain(host);
        self.insecure.contains(host) || is_usual
    }
}

/// Whether `host` (with or without port) is this machine by its name alone.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Clients {
    /// Reads the files of all certificates at once, so that mistakes show before the build. Clients are made when they
    /// are needed: a build that talks to nobody, or in plain HTTP, never reads the system's authorities.
    pub(super) fn new(settings: RegistrySettings) -> Result<Self, SettingsError> {
        for (host, path) in &settings.certificates {
            certificates(host, path)?;
        }
        for (host, own) in &settings.client_certificates {
            certificates(host, &own.certificate)?;
            private_key(host, &own.key)?;
        }
        Ok(Self { settings, made: Mutex::new(HashMap::new()) })
    }

    /// The client for `host`, for plain HTTP or TLS.
    pub(super) fn client(&self, host: &str, plain: bool) -> Result<Client, SettingsError> {
        self.client_of(self.kind(host, plain), host)
    }

    /// The client for what is fetched from `url`'s host: it connects only to what [`RegistrySettings::source_reach`]
    /// permits.
    pub(super) fn source_client(&self, url: &Url) -> Result<Client, SettingsError> {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let kind = self.kind(&host, url.scheme() == "http");
        if self.settings.source_reach.is_any() {
            return self.client_of(kind, &host);
        }
        // Addresses are not looked up, so nobody else checks them.
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if let Some(address) = address {
            self.settings.source_reach.among(url.host_str().unwrap_or_default(), [(address, 0).into()])?;
        }
        self.client_of(Kind::Limited(Box::new(kind)), &host)
    }

    /// Where sources may be fetched from.
    pub(super) fn source_reach(&self) -> &Reach {
        &self.settings.source_reach
    }

    fn kind(&self, host: &str, plain: bool) -> Kind {
        let settings = &self.settings;
        let particular = settings.skip_tls_verify.contains(host)
            || settings.certificates.contains_key(host)
            || settings.client_certificates.contains_key(host);
        match (particular, plain) {
            (_, true) => Kind::Plain,
            (true, false) => Kind::Particular(host.to_owned()),
            (false, false) => Kind::Usual,
        }
    }

    fn client_of(&self, kind: Kind, host: &str) -> Result<Client, SettingsError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&kind) {
            return Ok(client.clone());
        }
        let client = self.make(host, &kind)?;
        made.insert(kind, client.clone());
        Ok(client)
    }

    /// Whether `host` may be spoken to in plain HTTP.
    pub(super) fn is_plain(&self, host: &str) -> bool {
        self.settings.is_plain(host) || self.settings.may_be_plain(host)
    }

    fn make(&self, host: &str, kind: &Kind) -> Result<Client, SettingsError> {
        let program = concat!("cooper/", env!("CARGO_PKG_VERSION"));
        let user_agent = match &self.settings.client_type {
            Some(client_type) => format!("{program},{client_type}"),
            None => program.to_owned(),
        };
        let builder = Client::builder();
        let builder = match kind {
            // A proxy would look names up, and connect, where nobody checks it.
            Kind::Limited(_) => builder.no_proxy().dns_resolver(Arc::new(self.settings.source_reach.clone())),
            _ => builder,
        };
        builder
            .user_agent(user_agent)
            // HTTP/2 shares one connection's flow control among all transfers; blobs are faster apart.
            .http1_only()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_LIMIT)
            .tls_backend_preconfigured(self.tls(host, kind)?)
            .build()
            .map_err(|source| SettingsError::Client { host: host.to_owned(), source })
    }

    fn tls(&self, host: &str, kind: &Kind) -> Result<ClientConfig, SettingsError> {
        let failed = |source| SettingsError::Tls { host: host.to_owned(), source };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = if self.settings.skip_tls_verify.contains(host) {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider)))
        } else {
            builder.with_root_certificates(self.roots(host, kind)?)
        };
        match self.settings.client_certificates.get(host) {
            Some(own) => {
                let chain = certificates(host, &own.certificate)?;
                let key = private_key(host, &own.key)?;
                builder.with_client_auth_cert(chain, key).map_err(failed)
            }
            None => Ok(builder.with_no_client_auth()),
        }
    }

    /// Mozilla's authorities, the system's, and the host's own. A scratch image has no system's: that is fine.
    fn roots(&self, host: &str, kind: &Kind) -> Result<RootCertStore, SettingsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if !kind.is_plain() {
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                tracing::debug!("a system certificate is left out: {error}");
            }
            roots.add_parsable_certificates(native.certs);
            for directory in &self.settings.authorities {
                let own = rustls_native_certs::load_certs_from_paths(None, Some(directory));
                for error in &own.errors {
                    tracing::debug!("a certificate is left out: {error}");
                }
                roots.add_parsable_certificates(own.certs);
            }
        }
        if let Some(path) = self.settings.certificates.get(host) {
            for certificate in certificates(host, path)? {
                let failed = |source| SettingsError::Tls { host: host.to_owned(), source };
                roots.add(certificate).map_err(failed)?;
            }
        }
        Ok(roots)
    }
}

fn certificates(host: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| unreadable(host, path, source))?;
    if certificates.is_empty() {
        return Err(SettingsError::NoCertificate { host: host.to_owned(), path: path.to_owned() });
    }
    Ok(certificates)
}

fn private_key(host: &str, path: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| unreadable(host, path, source))
}

fn unreadable(host: &str, path: &Path, source: pem::Error) -> SettingsError {
    SettingsError::Pem { host: host.to_owned(), path: path.to_owned(), source }
}

/// Believes every certificate, for hosts whose owner said so; signatures are still checked.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_and_the_insecure() {
        let settings = RegistrySettings {
            insecure: Hosts::from_iter(["registry:5000", "10.0.0.1"]),
            skip_tls_verify: Hosts::from_iter(["127.0.0.9:443"]),
            ..RegistrySettings::default()
        };
        for (host, plain) in [
            ("registry:5000", true),
            ("registry", false),
            ("10.0.0.1", true),
            ("10.0.0.1:5000", false),
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("127.0.0.9:443", false),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("[::2]:5000", false),
            ("localhost.example", false),
            ("127.0.0.1.example:80", false),
            ("docker.io", false),
        ] {
            assert_eq!(settings.is_plain(host), plain, "{host}");
        }
    }

    #[test]
    fn broken_certificate_files_are_told_before_any_request() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        for (path, words) in
            [(directory.path().join("none.pem"), "cannot be read"), (empty, "holds no certificate")]
        {
            let certificates = [("registry.example".to_owned(), path)].into();
            let settings = RegistrySettings { certificates, ..RegistrySettings::default() };
            let error = Clients::new(settings).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("registry.example"), "{error}");
        }
    }
}
