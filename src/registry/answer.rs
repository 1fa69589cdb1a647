//! Reading what a registry says: bounded, and made safe to show.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::error::{Detail, Problem};

/// Longest text of a registry that is shown.
const SHOWN_CHARACTERS: usize = 300;
/// How much of the body of an error is read.
const ERROR_LIMIT: usize = 64 << 10;
/// How long the body of an error may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(10);

/// An answer that is not a success, without its connection.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) codes: Vec<String>,
    pub(super) detail: Detail,
}

impl Refusal {
    /// Whether one of the errors has this code. See the OCI distribution specification, "Error Codes".
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }
}

/// The body of an error: `{"errors":[{"code":…,"message":…,"detail":…}]}`.
#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads the rest of a refusal. A body that cannot be read is no detail: the status says enough.
pub(super) async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let body = discard(response).await;
    let document = serde_json::from_slice::<ErrorDocument>(&body);
    let errors = document.map(|document| document.errors).unwrap_or_default();
    let text = if errors.is_empty() {
        // Proxies answer in HTML, which tells nothing in one line.
        let text = String::from_utf8_lossy(&body);
        if text.trim_start().starts_with('<') { String::new() } else { text.into_owned() }
    } else {
        let texts = errors.iter().map(|error| match error.message.as_str() {
            "" => error.code.clone(),
            message => format!("{}: {message}", error.code),
        });
        texts.collect::<Vec<_>>().join("; ")
    };
    let codes = errors.into_iter().map(|error| error.code).collect();
    Refusal { status, codes, detail: Detail(printable(&text).into()) }
}

/// Reads a body of no importance, so that the connection can be used again; gives it where that went well.
pub(super) async fn discard(response: Response) -> Bytes {
    let reading = tokio::time::timeout(ERROR_PATIENCE, read(response, ERROR_LIMIT)).await;
    reading.ok().and_then(Result::ok).flatten().unwrap_or_default()
}

/// The whole body, where it is not longer than `limit`.
pub(super) async fn read_all(
    host: &str,
    response: Response,
    what: &'static str,
    limit: usize,
) -> Result<Bytes, Problem> {
    match read(response, limit).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Problem::TooLarge { host: host.to_owned(), what, limit }),
        Err(source) => Err(Problem::Connection { host: host.to_owned(), source: source.without_url() }),
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.freeze()))
}

/// Foreign text on one line, without control characters, cut where it gets long.
pub(super) fn printable(text: &str) -> String {
    let mut words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        if line.len() > 4 * SHOWN_CHARACTERS {
            break;
        }
        line.push(' ');
        line.push_str(word);
    }
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_harmless() {
        for (text, shown) in [
            ("", String::new()),
            ("plain", "plain".to_owned()),
            (" two\r\nlines\t\u{1b}[31m ", "two lines [31m".to_owned()),
            (&"ä".repeat(1000), format!("{}…", "ä".repeat(SHOWN_CHARACTERS))),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert!(printable(&"word ".repeat(100_000)).chars().count() <= SHOWN_CHARACTERS + 1);
    }
}
