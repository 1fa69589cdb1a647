//! GitLab: <https://docs.gitlab.com/user/project/integrations/webhook_events/>. A hook has a signing token, which
//! signs as Standard Webhooks does, or a secret token, which is sent as it is.

use serde::Deserialize;

use super::event::{Commit, Event, PayloadError, Push, is_nothing, json, line, paths};
use super::{Message, Refusal, verify_standard};
use crate::registry::Secret;
use crate::serve::sign;

#[derive(Deserialize)]
struct Kind {
    object_kind: Option<String>,
    event_name: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    before: String,
    after: String,
    /// Of a tag with a message, the commit; nothing if it was deleted.
    checkout_sha: Option<String>,
    project: Project,
    #[serde(default)]
    commits: Vec<Commit>,
    /// There may be fewer in `commits`.
    total_commits_count: Option<usize>,
    user_name: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
}

pub(super) fn verify(message: &Message<'_>, secrets: &[Secret]) -> Result<(), Refusal> {
    if message.header(sign::SIGNATURE).is_some() {
        return verify_standard(message, secrets);
    }
    let token = message.header("x-gitlab-token").ok_or(Refusal::Missing("X-Gitlab-Token"))?;
    if sign::is_one_of(secrets, token) { Ok(()) } else { Err(Refusal::Wrong("X-Gitlab-Token")) }
}

pub(super) fn read(message: &Message<'_>) -> Result<Event, PayloadError> {
    let kind: Kind = json(message.body)?;
    let kind = kind.object_kind.or(kind.event_name).unwrap_or_default();
    if !matches!(kind.as_str(), "push" | "tag_push") {
        return Ok(Event::other_than_push(&kind));
    }
    let payload: Payload = json(message.body)?;
    if is_nothing(&payload.after) {
        return Ok(Event::deleted(&payload.reference));
    }
    let commit = payload.checkout_sha.as_deref().unwrap_or(&payload.after);
    let head = payload.commits.iter().find(|told| told.id == commit);
    let mut event = Push::of(payload.project.path_with_namespace, &payload.reference, commit, head)?;
    if let Event::Push(push) = &mut event
        && push.author.is_none()
    {
        push.author = payload.user_name.as_deref().map(line);
    }
    let is_whole = !is_nothing(&payload.before) && payload.total_commits_count == Some(payload.commits.len());
    Ok(event.changing(is_whole.then(|| paths(&payload.commits)).flatten()))
}
