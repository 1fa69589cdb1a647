//! What came of a build, for programs: the last event of `--progress json`, and a pod's termination message.
//! `docs/progress.md` describes both.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::layer::Digest;

/// The longest termination message that Kubernetes takes of a container, in bytes.
pub const MAX_TERMINATION_MESSAGE: usize = 4096;

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// The image's first name, as it was asked for; none if it was given no name.
    pub image: Option<String>,
    /// Digest of its manifest, or of the index of several platforms; none if the build failed.
    pub digest: Option<Digest>,
    /// How long the build took, in seconds.
    pub duration: f64,
    /// What the caches were good for.
    pub cache: CacheUse,
    /// Why there is no image: one line that begins with the place in the Dockerfile, where there is one.
    pub error: Option<String>,
}

/// What the caches were good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheUse {
    /// Steps whose results were known.
    pub hits: u64,
    /// Steps in all: those that were known, and those that were begun.
    pub steps: u64,
}

impl BuildOutcome {
    /// The JSON that is a pod's termination message, of at most [`MAX_TERMINATION_MESSAGE`] bytes: of a longer error
    /// the middle is left out, since it begins with the place and ends with the cause.
    pub fn termination_message(&self) -> String {
        let mut kept = self.error.as_ref().map_or(0, |error| error.chars().count());
        loop {
            let error = self.error.as_deref().map(|error| shortened(error, kept));
            let message = serde_json::json!(Self { error, ..self.clone() }).to_string();
            let excess = message.len().saturating_sub(MAX_TERMINATION_MESSAGE);
            if excess == 0 || kept == 0 {
                return message;
            }
            // A character takes up to twelve bytes as JSON: cutting so few may not suffice, and never cuts too many.
            kept = kept.saturating_sub((excess / 12).max(1));
        }
    }
}

/// At most `kept` characters of `text`, from its beginning and its end.
fn shortened(text: &str, kept: usize) -> String {
    const GAP: &str = " … ";
    let count = text.chars().count();
    if count <= kept {
        return text.to_owned();
    }
    let half = kept.saturating_sub(GAP.len()) / 2;
    let (head, tail): (String, String) =
        (text.chars().take(half).collect(), text.chars().skip(count - half).collect());
    format!("{head}{GAP}{tail}")
}

/// One line of a text of several, without passwords in URLs and without `secrets`, wherever they are in it.
pub(crate) fn redacted_line<'a>(text: &str, secrets: impl IntoIterator<Item = &'a [u8]>) -> String {
    static USER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^/\s@]+@").ok());
    const HIDDEN: &str = "***";
    let mut text = text.to_owned();
    for secret in secrets {
        // What is not text cannot be part of one, and shorter ones would hide half of every message.
        let Ok(secret) = std::str::from_utf8(secret) else { continue };
        for line in secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_SECRET) {
            text = text.replace(line, HIDDEN);
        }
    }
    if let Some(user) = &*USER {
        text = user.replace_all(&text, format!("://{HIDDEN}@")).into_owned();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is shorter is no secret, in bytes.
const SHORTEST_SECRET: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: &str) -> BuildOutcome {
        BuildOutcome {
            image: Some("registry:5000/team/app:1".to_owned()),
            digest: None,
            duration: 1.25,
            cache: CacheUse { hits: 2, steps: 5 },
            error: Some(error.to_owned()),
        }
    }

    #[test]
    fn messages_have_five_fields() {
        let expected = r#"{"cache":{"hits":2,"steps":5},"digest":null,"duration":1.25,"error":"why","image":"registry:5000/team/app:1"}"#;
        assert_eq!(failed("why").termination_message(), expected);
        let read: BuildOutcome = serde_json::from_str(expected).unwrap();
        assert_eq!(read, failed("why"));
    }

    #[test]
    fn long_errors_keep_their_ends() {
        for middle in ["x".repeat(9000), "\u{1}".repeat(5000), "🦀\"".repeat(3000), String::new()] {
            let message = failed(&format!("Dockerfile:3: {middle} exit code: 7")).termination_message();
            assert!(message.len() <= MAX_TERMINATION_MESSAGE, "{}", message.len());
            assert!(middle.is_empty() || message.len() > MAX_TERMINATION_MESSAGE - 100, "{}", message.len());
            let read: BuildOutcome = serde_json::from_str(&message).unwrap();
            let error = read.error.unwrap();
            assert!(error.starts_with("Dockerfile:3: ") && error.ends_with(" exit code: 7"), "{error}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let text = "cannot fetch\n  https://me:hunter2@host/x: no s3cret-token\there, for a";
        let secrets: [&[u8]; 3] = [b"s3cret-token\n", b"a", b"\xff\xff\xff\xff"];
        assert_eq!(redacted_line(text, secrets), "cannot fetch https://***@host/x: no *** here, for a");
    }
}
