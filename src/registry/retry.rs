//! What is tried again, how often, and after how long.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};

/// How failures that may pass by themselves are retried: lost connections, 408, 429 and 5xx.
///
/// The wait doubles from `base_milliseconds` up to `cap_milliseconds`, less up to half of it at random, so that
/// builds that failed together do not come back together. A `Retry-After` of the registry replaces that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// Tries altogether; 1 means no retry.
    pub attempts: u32,
    /// The first wait.
    pub base_milliseconds: u64,
    /// The longest wait of our own choice.
    pub cap_milliseconds: u64,
    /// Tries altogether while nobody listens at all: a registry that is down is told of soon.
    pub refused_attempts: u32,
    /// The longest `Retry-After` that is obeyed; a registry that asks for more is given up at once.
    pub patience_seconds: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base_milliseconds: 500,
            cap_milliseconds: 30_000,
            refused_attempts: 3,
            patience_seconds: 300,
        }
    }
}

impl RetryPolicy {
    /// The same policy for a place that others stand behind: one more try, then the next place.
    #[must_use]
    pub fn for_mirror(self) -> Self {
        Self { attempts: self.attempts.min(2), patience_seconds: self.patience_seconds.min(2), ..self }
    }

    /// The same policy for a host that has refused every connection so far.
    pub(super) fn while_refused(self) -> Self {
        Self { attempts: self.attempts.min(self.refused_attempts), ..self }
    }

    /// Whether a registry that asks for this wait gets it.
    pub(super) fn grants(self, wait: Duration) -> bool {
        wait <= Duration::from_secs(self.patience_seconds)
    }

    /// How long to wait after the failure of try number `attempt` (from 1), or `None` to give up.
    ///
    /// `random` is uniform in `0..=u16::MAX`.
    pub(super) fn delay(self, attempt: u32, asked: Option<Duration>, random: u16) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if let Some(asked) = asked {
            return self.grants(asked).then_some(asked);
        }
        let doubled = self.base_milliseconds.saturating_mul(1 << (attempt - 1).min(16));
        let full = doubled.min(self.cap_milliseconds);
        let shaved = (full / 2).saturating_mul(u64::from(random)) / u64::from(u16::MAX);
        Some(Duration::from_millis(full - shaved))
    }
}

/// Whether a response of this status is worth another try.
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        || (status.is_server_error()
            && !matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED))
}

/// The wait a response asks for, by RFC 9110 section 10.2.3: seconds, or an HTTP date. Nonsense is no wish.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    // RFC 2822 dates differ from HTTP dates in the name of the zone only.
    let when = rfc2822::DateTimeParser::new().parse_timestamp(text.replace("GMT", "+0000")).ok()?;
    Some(Duration::try_from(when.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// A random number for jitter. Unpredictability does not matter, only that processes differ.
pub(crate) fn jitter() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    let hash = RandomState::new().hash_one(std::process::id());
    let [low, high, ..] = hash.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// How often a transfer that breaks off may be taken up again.
///
/// A transfer of gigabytes may break many times and still arrive, so what is limited is breaks *without
/// progress*: each break costs one, and a stretch of [`Endurance::STRETCH`] bytes gives all back.
#[derive(Debug)]
pub(super) struct Endurance {
    policy: RetryPolicy,
    breaks: u32,
    last: u64,
}

impl Endurance {
    /// What counts as progress: a mebibyte, as in containers/image.
    const STRETCH: u64 = 1 << 20;

    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, breaks: 0, last: 0 }
    }

    /// Notes a break at `position`; says how long to wait before going on, or `None` to give up.
    pub(super) fn broke_at(&mut self, position: u64, asked: Option<Duration>) -> Option<Duration> {
        if position.saturating_sub(self.last) >= Self::STRETCH {
            self.breaks = 0;
        }
        self.last = position;
        self.breaks += 1;
        self.policy.delay(self.breaks, asked, jitter())
    }

    /// Tries made since there was progress.
    pub(super) fn tries(&self) -> u32 {
        self.breaks
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_end() {
        let policy = RetryPolicy {
            attempts: 5,
            base_milliseconds: 100,
            cap_milliseconds: 300,
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = (1..=5).map(|attempt| policy.delay(attempt, None, 0)).collect();
        let expected = [Some(100), Some(200), Some(300), Some(300), None];
        assert_eq!(waits, expected.map(|wait| wait.map(Duration::from_millis)));
        assert_eq!(policy.delay(1, None, u16::MAX), Some(Duration::from_millis(50)));
    }

    #[test]
    fn the_registry_may_ask_for_a_wait_within_reason() {
        let policy = RetryPolicy { patience_seconds: 10, ..RetryPolicy::default() };
        assert_eq!(policy.delay(1, Some(Duration::from_secs(10)), 7), Some(Duration::from_secs(10)));
        assert_eq!(policy.delay(1, Some(Duration::from_secs(11)), 7), None);
    }

    #[test]
    fn reads_retry_after() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 22 Nov 2026 08:01:30 GMT", Some(90)),
            ("Sun, 22 Nov 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn some_statuses_pass() {
        for (status, passes) in
            [(408, true), (429, true), (500, true), (503, true), (501, false), (404, false)]
        {
            assert_eq!(may_pass(StatusCode::from_u16(status).unwrap()), passes, "{status}");
        }
    }

    #[test]
    fn endurance_is_renewed_by_progress() {
        let policy = RetryPolicy { attempts: 3, base_milliseconds: 0, ..RetryPolicy::default() };
        let mut endurance = Endurance::new(policy);
        assert!(endurance.broke_at(10, None).is_some());
        assert!(endurance.broke_at(10, None).is_some());
        assert!(endurance.broke_at(10 + Endurance::STRETCH, None).is_some());
        assert!(endurance.broke_at(10 + Endurance::STRETCH, None).is_some());
        assert!(endurance.broke_at(10 + Endurance::STRETCH, None).is_none());
    }
}
