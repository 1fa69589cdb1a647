//! A Dockerfile behind a URL.

use std::time::Duration;

use futures_util::StreamExt as _;
use url::Url;

use crate::pipeline::describe;
use crate::registry::{Credentials, Registries, RegistrySettings};
use crate::request::MAX_DOCKERFILE;

/// How long a server may take altogether.
const LIMIT: Duration = Duration::from_mins(2);
/// More redirects than this lead nowhere.
const REDIRECTS: usize = 10;

/// The text at `url`; redirects are followed, but not from TLS to plain HTTP.
pub(super) async fn text(url: &str, settings: &RegistrySettings) -> Result<String, String> {
    let failed = |reason: String| format!("cannot fetch `{url}`: {reason}");
    tokio::time::timeout(LIMIT, follow(url, settings))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
        .map_err(failed)
}

async fn follow(url: &str, settings: &RegistrySettings) -> Result<String, String> {
    let mut url: Url = url.parse().map_err(|error| format!("{error}"))?;
    let registries =
        Registries::new(settings.clone(), Credentials::anonymous()).map_err(|error| describe(&error))?;
    for _ in 0..=REDIRECTS {
        let client = registries.web_client(&url).map_err(|error| describe(&error))?;
        let response = client.get(url.clone()).send().await;
        let response = response.map_err(|error| describe(&error.without_url()))?;
        if response.status().is_redirection() {
            let location = response.headers().get("location").and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.ok_or("it redirects to nowhere")?;
            if next.scheme() != "https" && next.scheme() != url.scheme() {
                return Err(format!("it redirects to {}://, which is not followed", next.scheme()));
            }
            url = next;
            continue;
        }
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part.map_err(|error| describe(&error.without_url()))?);
            if bytes.len() as u64 > MAX_DOCKERFILE {
                return Err(format!("it is longer than {MAX_DOCKERFILE} bytes"));
            }
        }
        return String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned());
    }
    Err(format!("it redirects more than {REDIRECTS} times"))
}
