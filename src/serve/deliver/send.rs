//! One attempt to deliver one letter.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};

use super::letter::{Due, Kind, Target};
use super::{GIVE_UP, Moment, Service};
use crate::registry::{Credentials, Reach, Registries, RegistrySettings, Secret, SettingsError, retry_after};
use crate::serve::config::{Provider, SecretError, SecretPlace};
use crate::serve::sign;

/// A receiver that has not answered after so long is tried again later.
const LIMIT: Duration = Duration::from_secs(15);

/// The first pause, which doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How letters are sent.
#[derive(Debug)]
pub(in crate::serve) struct Sender {
    registries: Registries,
    reach: Reach,
}

impl Sender {
    /// Nothing beyond `reach` is connected to.
    pub(in crate::serve) fn new(reach: Reach) -> Result<Self, SettingsError> {
        let settings = RegistrySettings { source_reach: reach.clone(), ..RegistrySettings::default() };
        Ok(Self { registries: Registries::new(settings, Credentials::anonymous())?, reach })
    }

    /// Where letters may go.
    pub(in crate::serve) fn reach(&self) -> &Reach {
        &self.reach
    }
}

/// Why an attempt failed. Names no more than the host.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the address makes no sense")]
    Address,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the secret has characters that no header can have")]
    Header,
    #[error(transparent)]
    Client(#[from] SettingsError),
    #[error("the receiver cannot be asked")]
    Request(#[source] reqwest::Error),
    #[error("the receiver answers {status}")]
    Status { status: StatusCode, wish: Option<Duration>, is_final: bool },
}

impl SendError {
    /// Whether there is no sense in trying again.
    fn is_final(&self) -> bool {
        matches!(self, Self::Address | Self::Status { is_final: true, .. })
    }
}

/// Sends a letter, and writes down what came of it.
pub(super) async fn attempt(service: &Service, due: Due) {
    let sent = send(&service.sender, &due).await;
    let now = Moment::now();
    let kind = due.kind;
    let (kept, outcome) = match sent {
        Ok(()) => {
            tracing::debug!(build = %due.build, delivery = due.id, host = due.host, "delivered");
            (service.queue.delivered(due.number, now).await, "delivered")
        }
        Err(error) => {
            let text = crate::pipeline::describe(&error);
            let pause = pause(due.attempts, &error);
            let next = Moment(now.0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)));
            let last = i64::try_from(GIVE_UP.as_millis()).unwrap_or(i64::MAX).saturating_add(due.created.0);
            if error.is_final() || next.0 > last {
                tracing::error!(build = %due.build, delivery = due.id, host = due.host, subject = due.subject, error = text, "given up");
                (service.queue.gave_up(due.number, now, text).await, "given-up")
            } else {
                tracing::warn!(build = %due.build, delivery = due.id, host = due.host, attempt = due.attempts + 1, error = text, "not delivered; it is tried again");
                (service.queue.put_off(due.number, now, next, text).await, "failed")
            }
        }
    };
    service.metrics.delivery(kind, outcome);
    if let Err(error) = kept {
        // It is done again, under the same name.
        tracing::error!(error = crate::pipeline::describe(&error), "what came of a delivery cannot be kept");
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

/// Doubles with every attempt, less up to half of it at random, so that letters that failed together do not come back
/// together. A wish of the receiver goes first.
fn pause(attempts: u32, error: &SendError) -> Duration {
    if let SendError::Status { wish: Some(wish), .. } = error {
        return (*wish).clamp(FIRST_PAUSE, GIVE_UP);
    }
    let full = FIRST_PAUSE.saturating_mul(1 << attempts.min(20)).min(LONGEST_PAUSE);
    let random = f64::from(crate::registry::jitter()) / f64::from(u16::MAX);
    full.mul_f64(1.0 - random / 2.0)
}

async fn send(sender: &Sender, due: &Due) -> Result<(), SendError> {
    let url = url::Url::parse(due.target.url()).map_err(|_| SendError::Address)?;
    let client = sender.registries.web_client(&url)?;
    let request = client
        .post(url)
        .timeout(LIMIT)
        .header(CONTENT_TYPE, "application/json")
        .headers(proof(due).await?)
        .body(due.body.clone());
    let answer = answer(request).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let wish = retry_after(answer.headers(), jiff::Timestamp::now());
    Err(SendError::Status { status, wish, is_final: is_final(due.kind, status) })
}

async fn answer(request: RequestBuilder) -> Result<reqwest::Response, SendError> {
    // The path of an address may be all that keeps others from it.
    request.send().await.map_err(|error| SendError::Request(error.without_url()))
}

/// Whether the receiver will never take it. An n8n that does not wait yet, or a token that is about to be replaced, may
/// answer with other client's errors for a while.
fn is_final(kind: Kind, status: StatusCode) -> bool {
    match kind {
        Kind::Notification => status == StatusCode::GONE,
        Kind::Status => matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::CONFLICT
                | StatusCode::GONE
                | StatusCode::UNPROCESSABLE_ENTITY
        ),
    }
}

/// The headers that show who sends. Secrets are read for every attempt: they may have been replaced.
async fn proof(due: &Due) -> Result<HeaderMap, SendError> {
    let mut headers = HeaderMap::new();
    match &due.target {
        Target::Notification { secret, .. } => {
            let timestamp = jiff::Timestamp::now().as_second();
            headers.insert(sign::ID, secret_header(&due.id, false)?);
            headers.insert(sign::TIMESTAMP, HeaderValue::from(timestamp));
            if let Some(place) = secret {
                let secrets = read(place.clone()).await?;
                let signature = sign::standard(&secrets, &due.id, timestamp, due.body.as_bytes());
                headers.insert(sign::SIGNATURE, secret_header(&signature, false)?);
            }
        }
        Target::Status { provider, token, .. } => {
            let secrets = read(token.clone()).await?;
            let token = secrets.first().map(Secret::reveal).unwrap_or_default();
            match provider {
                Provider::Github => {
                    headers.insert(AUTHORIZATION, secret_header(&format!("Bearer {token}"), true)?);
                    headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
                    headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
                }
                Provider::Gitlab => {
                    headers.insert("private-token", secret_header(token, true)?);
                }
                Provider::Gitea | Provider::Generic => {
                    headers.insert(AUTHORIZATION, secret_header(&format!("token {token}"), true)?);
                }
            }
        }
    }
    Ok(headers)
}

fn secret_header(text: &str, is_secret: bool) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SendError::Header)?;
    value.set_sensitive(is_secret);
    Ok(value)
}

async fn read(place: SecretPlace) -> Result<Vec<Secret>, SendError> {
    let read = tokio::task::spawn_blocking(move || place.read()).await;
    // The reading ends with a panic or not at all.
    Ok(read.map_err(|_| SendError::Header)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_heed_wishes() {
        let failed =
            |wish| SendError::Status { status: StatusCode::SERVICE_UNAVAILABLE, wish, is_final: false };
        for (attempts, least, most) in [(0, 500, 1000), (3, 4000, 8000), (40, 1_800_000, 3_600_000)] {
            let pause = pause(attempts, &failed(None)).as_millis();
            assert!((least..=most).contains(&pause), "{attempts}: {pause}");
        }
        let wish = |seconds| pause(9, &failed(Some(Duration::from_secs(seconds)))).as_secs();
        assert_eq!((wish(0), wish(77), wish(u64::MAX)), (1, 77, GIVE_UP.as_secs()));
    }

    #[test]
    fn some_answers_are_final() {
        assert!(is_final(Kind::Notification, StatusCode::GONE));
        assert!(!is_final(Kind::Notification, StatusCode::NOT_FOUND));
        assert!(!is_final(Kind::Notification, StatusCode::FOUND));
        assert!(is_final(Kind::Status, StatusCode::UNPROCESSABLE_ENTITY));
        assert!(!is_final(Kind::Status, StatusCode::UNAUTHORIZED));
    }
}
