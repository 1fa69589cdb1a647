//! Gitea and Forgejo: <https://docs.gitea.com/usage/repository/webhooks>.

use serde::Deserialize;

use super::event::{Commit, Event, PayloadError, Push, is_nothing, json, paths};
use super::{Message, Refusal, verify_hex};
use crate::registry::Secret;

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    before: String,
    after: String,
    repository: Repository,
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Vec<Commit>,
    /// There may be fewer in `commits`.
    total_commits: Option<usize>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

pub(super) fn verify(message: &Message<'_>, secrets: &[Secret]) -> Result<(), Refusal> {
    verify_hex(message, secrets, "X-Gitea-Signature", "")
}

pub(super) fn read(message: &Message<'_>) -> Result<Event, PayloadError> {
    let kind = message.header("x-gitea-event").unwrap_or("without a name");
    if kind != "push" {
        return Ok(Event::other_than_push(kind));
    }
    let payload: Payload = json(message.body)?;
    let is_deleted = is_nothing(&payload.after);
    let head = payload.head_commit.as_ref().filter(|_| !is_deleted);
    let commit = head.map_or(payload.after.as_str(), |commit| commit.id.as_str());
    let event = Push::of(payload.repository.full_name, &payload.reference, commit, head)?;
    let is_whole = !is_nothing(&payload.before) && payload.total_commits == Some(payload.commits.len());
    Ok(event.changing(is_whole.then(|| paths(&payload.commits)).flatten()))
}
