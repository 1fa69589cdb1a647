//! Notifications of ends: the record, in the envelope of Standard Webhooks.

use serde::Serialize;
use url::Url;

use crate::serve::build::{Build, Moment};
use crate::serve::http::View;

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'a str,
    timestamp: Moment,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    view: View,
    /// Where people find the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Like `build.succeeded`.
pub(super) fn subject(build: &Build) -> String {
    format!("build.{}", build.state.name())
}

pub(super) fn body(
    public_url: Option<&Url>,
    build: &Build,
    subject: &str,
) -> Result<String, serde_json::Error> {
    let url = public_url.map(|url| super::status::page(url, build));
    let timestamp = build.ended_at.unwrap_or_else(Moment::now);
    let data = Data { view: View::new(build.clone(), None), url };
    serde_json::to_string(&Envelope { r#type: subject, timestamp, data })
}
