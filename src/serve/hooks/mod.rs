//! What providers send: signatures first, over the bytes as they came, then what they say.
//!
//! ```text
//! headers, body ─► verify (secret) ─► read ─► Push ─► the repository's builds in cooper.yaml
//!                     └ Refusal         └ Ignored: why
//! ```

mod event;
mod generic;
mod gitea;
mod github;
mod gitlab;

use axum::http::HeaderMap;

pub(super) use event::{Event, PayloadError, Push, Reference};

use super::config::Provider;
use crate::registry::Secret;

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the header `{0}` is missing: the hook needs its secret at the provider, too")]
    Missing(&'static str),
    #[error("the header `{0}` does not fit the body and the secret of this hook")]
    Wrong(&'static str),
    #[error("`webhook-timestamp` is no time within five minutes of now")]
    Time,
}

/// What came, unread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Message<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is from who knows one of the secrets.
    pub(super) fn verify(&self, provider: Provider, secrets: &[Secret]) -> Result<(), Refusal> {
        match provider {
            Provider::Github => github::verify(self, secrets),
            Provider::Gitlab => gitlab::verify(self, secrets),
            Provider::Gitea => gitea::verify(self, secrets),
            Provider::Generic => generic::verify(self, secrets),
        }
    }

    /// What it says. Only after [`Message::verify`].
    pub(super) fn read(&self, provider: Provider) -> Result<Event, PayloadError> {
        match provider {
            Provider::Github => github::read(self),
            Provider::Gitlab => gitlab::read(self),
            Provider::Gitea => gitea::read(self),
            Provider::Generic => generic::read(self),
        }
    }

    /// What tells it from others: the same for a message that is sent again.
    pub(super) fn identity(&self, provider: Provider) -> Identity {
        let text = |name: &str| self.header(name).map(|text| text.chars().take(200).collect::<String>());
        let digest = || crate::layer::Digest::of(self.body).hex();
        match provider {
            // Nobody signs these names, so the body counts as well: a copy under another name is still a copy. It has
            // the time of the push in it.
            Provider::Github => Identity { delivery: text("x-github-delivery"), body: Some(digest()) },
            Provider::Gitea => Identity { delivery: text("x-gitea-delivery"), body: Some(digest()) },
            // Two pushes there and back and there again have the same body.
            Provider::Gitlab => Identity {
                delivery: text("webhook-id")
                    .or_else(|| text("idempotency-key"))
                    .or_else(|| text("x-gitlab-event-uuid")),
                body: None,
            },
            Provider::Generic => Identity { delivery: text("webhook-id"), body: None },
        }
    }
}

/// What tells a message from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// What its sender calls it.
    pub(super) delivery: Option<String>,
    /// The digest of the body, where that is never the same by chance.
    pub(super) body: Option<String>,
}

/// Checks a header that has `prefix` and the HMAC of the body, in hexadecimal digits.
fn verify_hex(
    message: &Message<'_>,
    secrets: &[Secret],
    name: &'static str,
    prefix: &str,
) -> Result<(), Refusal> {
    let header = message.header(name).ok_or(Refusal::Missing(name))?;
    let hex = header.strip_prefix(prefix).unwrap_or_default();
    if super::sign::matches_hex(secrets, hex, message.body) { Ok(()) } else { Err(Refusal::Wrong(name)) }
}

/// Checks the headers of Standard Webhooks.
fn verify_standard(message: &Message<'_>, secrets: &[Secret]) -> Result<(), Refusal> {
    use super::sign::{ID, SIGNATURE, TIMESTAMP, TOLERANCE, matches_standard};
    let header = |name: &'static str| message.header(name).ok_or(Refusal::Missing(name));
    let (id, signature) = (header(ID)?, header(SIGNATURE)?);
    let timestamp: i64 = header(TIMESTAMP)?.parse().map_err(|_| Refusal::Time)?;
    if message.now.abs_diff(timestamp) > TOLERANCE.unsigned_abs() {
        return Err(Refusal::Time);
    }
    if !matches_standard(secrets, id, timestamp, signature, message.body) {
        return Err(Refusal::Wrong(SIGNATURE));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
