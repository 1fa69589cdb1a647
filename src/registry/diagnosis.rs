//! From the errors of the HTTP library to what the user can do about them.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::clients::CONNECT_LIMIT;
use super::error::Problem;

/// What the failure of a request to `host` means.
pub(super) fn diagnose(error: reqwest::Error, host: &str, limit: Duration) -> Problem {
    let host = host.to_owned();
    if let Some(problem) = causes(&error).find_map(|cause| cause.downcast_ref()).map(|tls| of_tls(&host, tls))
    {
        return problem;
    }
    if error.is_dns() {
        return Problem::HostNotFound { host };
    }
    if error.is_timeout() {
        let limit = if error.is_connect() { CONNECT_LIMIT } else { limit };
        return Problem::Silent { host, seconds: limit.as_secs() };
    }
    let is_refusal = |cause: &io::Error| cause.kind() == io::ErrorKind::ConnectionRefused;
    if causes(&error).filter_map(|cause| cause.downcast_ref()).any(is_refusal) {
        return Problem::ConnectionRefused { host };
    }
    // A TLS server answers plain HTTP with an alert, which is not the start of an HTTP response. The library
    // has no type for it.
    if causes(&error).any(|cause| cause.to_string().starts_with("invalid HTTP version")) {
        return Problem::NotPlainHttp { host };
    }
    Problem::Connection { host, source: error.without_url() }
}

fn of_tls(host: &str, error: &rustls::Error) -> Problem {
    let (host, source) = (host.to_owned(), error.clone());
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Problem::PlainHttp { host },
        // A bad signature is what an authority that was made anew under its old name looks like.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Problem::UntrustedCertificate { host },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Problem::ClientCertificateWanted { host }
        }
        rustls::Error::InvalidCertificate(_) => Problem::InvalidCertificate { host, source },
        _ => Problem::Tls { host, source },
    }
}

/// The error and all that caused it; looks also into I/O errors, whose inner error is not their `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}
