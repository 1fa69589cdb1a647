//! Anybody else: signed and laid out as Standard Webhooks says.
//!
//! ```json
//! {"type": "push", "data": {"repository": "shop/app", "ref": "refs/heads/main", "commit": "4f1c…",
//!                           "author": "Ada", "message": "Fix it", "link": "https://…", "paths": ["src/a.js"]}}
//! ```

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Event, PayloadError, Push, json, line, link};
use super::{Message, Refusal, verify_standard};
use crate::registry::Secret;

#[derive(Deserialize)]
struct Envelope<'a> {
    r#type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    commit: String,
    author: Option<String>,
    message: Option<String>,
    link: Option<String>,
    paths: Option<Vec<String>>,
}

pub(super) fn verify(message: &Message<'_>, secrets: &[Secret]) -> Result<(), Refusal> {
    verify_standard(message, secrets)
}

pub(super) fn read(message: &Message<'_>) -> Result<Event, PayloadError> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(message.body).map_err(|error| PayloadError::Json(error.to_string()))?;
    if envelope.r#type != "push" {
        let what = line(&envelope.r#type);
        return Ok(Event::Ignored(format!("only pushes are built, and this is of the type `{what}`")));
    }
    let data: Data = json(envelope.data.map(|data| data.get().as_bytes()).unwrap_or_default())?;
    let mut event = Push::of(data.repository, &data.reference, &data.commit, None)?;
    if let Event::Push(push) = &mut event {
        push.author = data.author.as_deref().map(line);
        push.message = data.message.as_deref().map(line);
        push.link = data.link.as_deref().and_then(link);
    }
    Ok(event.changing(data.paths))
}
