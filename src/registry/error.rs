//! What can go wrong with a registry, said so that the reader knows what to do next.

use std::fmt;
use std::io;

use crate::image::RepoName;
use crate::layer::Digest;

use super::credentials::CredentialsError;
use super::operation::{ManifestName, Operation};
use super::settings::SettingsError;

/// A failed operation on a registry: what was being done, and the problem.
///
/// Printed as `cannot pull the manifest of registry:5000/app:1: the registry registry:5000 refused the connection…`.
///
/// Its [`source`](std::error::Error::source) is the problem's own, so that a printed chain says nothing twice.
#[derive(Debug)]
pub struct RegistryError {
    /// What was being done.
    pub operation: Box<Operation>,
    /// What stood in the way.
    pub problem: Box<Problem>,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.operation, self.problem)
    }
}

impl std::error::Error for RegistryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl RegistryError {
    /// Whether what was asked for is not there, as opposed to could not be had.
    pub fn is_not_found(&self) -> bool {
        matches!(
            *self.problem,
            Problem::ManifestUnknown { .. } | Problem::RepositoryUnknown { .. } | Problem::BlobUnknown { .. }
        )
    }

    /// Whether credentials are missing, wrong, or not sufficient.
    pub fn is_denied(&self) -> bool {
        matches!(
            *self.problem,
            Problem::NoCredentials { .. } | Problem::CredentialsRefused { .. } | Problem::Denied { .. }
        )
    }

    /// Whether the registry keeps the tag from being overwritten. Recognised by the registry's words, since there
    /// is no code for it: ECR and Artifact Registry both say "immutable".
    pub fn is_immutable_tag(&self) -> bool {
        match &*self.problem {
            Problem::Rejected { detail, .. } | Problem::Denied { detail, .. } => {
                detail.0.to_ascii_lowercase().contains("immutable")
            }
            _ => false,
        }
    }
}

impl From<RegistryError> for io::Error {
    fn from(error: RegistryError) -> Self {
        Self::other(error)
    }
}

/// Text of a registry's answer, made safe to show: bounded, on one line, without control characters.
/// Printed with a leading ` (the registry says: …)`, or not at all when empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail(pub(super) Box<str>);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (the registry says: {})", self.0) }
    }
}

/// What stood in the way of an operation.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the message of each variant names")]
pub enum Problem {
    // Getting there.
    /// No address for the host.
    #[error("the host {host} was not found: check the name, and that this pod's DNS knows it")]
    HostNotFound { host: String },
    /// Nothing listens there.
    #[error("{host} refused the connection: check the port, and that the registry is running")]
    ConnectionRefused { host: String },
    /// No answer in time.
    #[error(
        "{host} did not answer within {seconds} s: check that a firewall or network policy lets this pod reach it"
    )]
    Silent { host: String, seconds: u64 },
    /// HTTP where TLS was expected.
    #[error("the registry at {host} speaks plain HTTP: add `--insecure-registry {host}`")]
    PlainHttp { host: String },
    /// TLS where HTTP was expected.
    #[error("the registry at {host} speaks HTTPS: do not declare it insecure (`--insecure-registry`)")]
    NotPlainHttp { host: String },
    /// A certificate of an unknown authority.
    #[error(
        "the TLS certificate of {host} is signed by an unknown authority: name the authority's certificate with `--registry-certificate {host}=FILE.pem`, or do without the check with `--skip-tls-verify-registry {host}`"
    )]
    UntrustedCertificate { host: String },
    /// A certificate that is wrong in another way.
    #[error("the TLS certificate of {host} is not valid")]
    InvalidCertificate {
        host: String,
        #[source]
        source: rustls::Error,
    },
    /// A registry that wants to know who we are before anything else.
    #[error(
        "{host} wants a TLS client certificate: name it with `--registry-client-cert {host}=CERTIFICATE.pem,KEY.pem`"
    )]
    ClientCertificateWanted { host: String },
    /// Any other failure of TLS.
    #[error("no TLS connection with {host} came about")]
    Tls {
        host: String,
        #[source]
        source: rustls::Error,
    },
    /// A connection that was lost or not made, for other reasons.
    #[error("the connection with {host} broke")]
    Connection {
        host: String,
        #[source]
        source: reqwest::Error,
    },
    /// Redirected from HTTPS to HTTP.
    #[error(
        "{host} redirects to {target} without encryption: add `--insecure-registry {target}` if that is meant"
    )]
    InsecureRedirect { host: String, target: String },

    // Being let in.
    /// 401, and nothing to show.
    #[error(
        "{host} wants a login, or does not know the repository; no credentials for {host} were found (looked in {looked_in}){detail}"
    )]
    NoCredentials { host: String, looked_in: String, detail: Detail },
    /// 401 to what was shown.
    #[error("{host} refused the credentials from {origin}: check user name and password{detail}")]
    CredentialsRefused { host: String, origin: String, detail: Detail },
    /// 403.
    #[error("{host} does not allow {whom} to {right} {repository}, or does not know it{detail}")]
    Denied { host: String, whom: Box<str>, right: &'static str, repository: RepoName, detail: Detail },
    /// Credentials that cannot be read.
    #[error("the credentials for {host} cannot be read")]
    Credentials {
        host: String,
        #[source]
        source: CredentialsError,
    },
    /// A token service that would get a password without encryption.
    #[error("{host} asks to log in at {realm}, without encryption: the credentials were not sent")]
    InsecureRealm { host: String, realm: String },

    // What is there and what is not.
    /// No such tag or digest.
    #[error("the image {image} was not found{detail}")]
    ManifestUnknown { image: ManifestName, detail: Detail },
    /// No such repository.
    #[error("the repository {repository} does not exist{detail}")]
    RepositoryUnknown { repository: RepoName, detail: Detail },
    /// No such blob.
    #[error("the registry does not have the blob {digest}, which the image refers to{detail}")]
    BlobUnknown { digest: Digest, detail: Detail },

    // What came.
    /// Bytes that are not what their name says.
    #[error(
        "{host} sent content that does not match its digest: expected {expected}, got {actual}; a proxy or the registry's storage is damaged"
    )]
    WrongDigest { host: String, expected: Digest, actual: Digest },
    /// More bytes than announced.
    #[error("{host} sent more than the expected {expected} bytes")]
    TooLong { host: String, expected: u64 },
    /// Fewer bytes than announced, also after trying again.
    #[error(
        "{host} sent {received} of {expected} bytes, and {attempts} tries to get the rest brought nothing"
    )]
    Truncated { host: String, expected: u64, received: u64, attempts: u32 },
    /// A manifest, token or error beyond its limit.
    #[error("{host} sent a {what} of more than {limit} bytes")]
    TooLarge { host: String, what: &'static str, limit: usize },
    /// An answer against the protocol.
    #[error("{host} did not answer as a registry does: {reason}")]
    Protocol { host: String, reason: String },

    // Refusals.
    /// 429 until patience ended.
    #[error(
        "{host} answered `too many requests` {attempts} times{wish}: log in to raise the limit, use a mirror (`--registry-mirror`), or try later{detail}"
    )]
    TooManyRequests { host: String, attempts: u32, wish: RetryWish, detail: Detail },
    /// 5xx until patience ended.
    #[error("{host} failed {attempts} times, last with status {status}{detail}")]
    ServerFailed { host: String, attempts: u32, status: u16, detail: Detail },
    /// 405 to a deletion.
    #[error(
        "{host} does not delete: the distribution registry does after `storage.delete.enabled: true` in its configuration (or REGISTRY_STORAGE_DELETE_ENABLED=true){detail}"
    )]
    DeletionDisabled { host: String, detail: Detail },
    /// Another status.
    #[error("{host} answered with status {status}{detail}")]
    Rejected { host: String, status: u16, detail: Detail },

    // Our side.
    /// What was to be sent cannot be read.
    #[error("the content to send cannot be read")]
    Source {
        #[source]
        source: io::Error,
    },
    /// What was to be sent is not as long as was said.
    #[error("the content to send is not {expected} bytes long any more")]
    SourceChanged { expected: u64 },
    /// Settings that cannot be used.
    #[error("the settings for this registry cannot be used")]
    Settings {
        #[source]
        source: SettingsError,
    },
}

/// How long the registry wanted us to wait, where that was more than the policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryWish(pub(super) Option<std::time::Duration>);

impl fmt::Display for RetryWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, " and asks to wait {} s", wait.as_secs()),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// The problem met during `operation`.
    pub(super) fn during(self, operation: &Operation) -> RegistryError {
        RegistryError { operation: Box::new(operation.clone()), problem: Box::new(self) }
    }

    /// `403` during `operation`.
    pub(super) fn denied(host: &str, whom: Box<str>, operation: &Operation, detail: Detail) -> Self {
        Self::Denied {
            host: host.to_owned(),
            whom,
            right: operation.right(),
            repository: operation.repository().clone(),
            detail,
        }
    }

    /// Whether a connection may be made, or hold, at another try.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::HostNotFound { .. }
                | Self::ConnectionRefused { .. }
                | Self::Silent { .. }
                | Self::Connection { .. }
        )
    }
}
