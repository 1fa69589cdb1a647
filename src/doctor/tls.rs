//! TLS that does not come about: what is wrong with it in particular.

use rustls::{AlertDescription, CertificateError, Error};

/// What to do about a failure of TLS with `host`, other than a certificate of an unknown authority.
pub(super) fn advice(host: &str, error: &Error) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!(
                "have it renewed (cert-manager: `kubectl describe certificate`; else whoever signed it), and restart what \
                 serves it. If it is not over for others, this pod's clock is ahead: `timedatectl` on the node. Until \
                 then `--skip-tls-verify-registry {host}` does without the check"
            )
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "compare the clocks of this node, the registry and whoever signed it (`timedatectl`, chrony): one \
              of them is wrong, or the certificate is for later"
            .to_owned(),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "use a name that the certificate is for, or have one made whose subjectAltName has `{name}` (an address needs \
             an entry of type IP; the common name does not count)"
        ),
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "let it speak TLS 1.2 or 1.3: docker-registry with `http.tls.minimumtls: tls1.2`, else the proxy \
             in front of it; older versions are spoken by nobody any more"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "let it offer the usual cipher suites of TLS 1.2 or 1.3 (ECDHE with AES-GCM or ChaCha20), or see \
             its log, and that of the proxy in front of it, for what it wants"
                .to_owned()
        }
        Error::InvalidCertificate(_) => format!(
            "look at it with `openssl s_client -connect {host} -showcerts`, and have one made that clients take: for \
             servers, with a subjectAltName, and not the authority's own"
        ),
        _ => format!(
            "try `openssl s_client -connect {host}`, and see the registry's log, and that of the proxy in front of it"
        ),
    }
}
