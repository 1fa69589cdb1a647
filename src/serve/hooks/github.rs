//! GitHub: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>.

use serde::Deserialize;

use super::event::{Commit, Event, PayloadError, Push, is_nothing, json, line, paths};
use super::{Message, Refusal, verify_hex};
use crate::registry::Secret;

/// Of more commits the message does not tell.
const MAX_COMMITS: usize = 2048;

/// GitHub sends what failed again for three days, and longer what somebody asks for; then it is somebody else's copy.
const MAX_AGE: i64 = 30 * 86_400;

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    before: String,
    after: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    forced: bool,
    repository: Repository,
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Vec<Commit>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    /// Seconds since 1970, in messages of pushes.
    pushed_at: Option<serde_json::Value>,
}

pub(super) fn verify(message: &Message<'_>, secrets: &[Secret]) -> Result<(), Refusal> {
    verify_hex(message, secrets, "X-Hub-Signature-256", "sha256=")
}

pub(super) fn read(message: &Message<'_>) -> Result<Event, PayloadError> {
    let kind = message.header("x-github-event").unwrap_or("without a name");
    if kind != "push" {
        return Ok(Event::other_than_push(kind));
    }
    let payload: Payload = json(message.body)?;
    if let Some(pushed_at) = &payload.repository.pushed_at {
        let is_recent = pushed_at.as_i64().is_none_or(|time| message.now.saturating_sub(time) < MAX_AGE);
        if !is_recent {
            return Err(PayloadError::Old(line(&pushed_at.to_string())));
        }
    }
    if payload.deleted {
        return Ok(Event::deleted(&payload.reference));
    }
    // Of a tag with a message, `after` is the tag.
    let head = payload.head_commit.as_ref();
    let commit = head.map_or(payload.after.as_str(), |commit| commit.id.as_str());
    let event = Push::of(payload.repository.full_name, &payload.reference, commit, head)?;
    let is_whole = !payload.forced && !is_nothing(&payload.before) && payload.commits.len() < MAX_COMMITS;
    Ok(event.changing(is_whole.then(|| paths(&payload.commits)).flatten()))
}
