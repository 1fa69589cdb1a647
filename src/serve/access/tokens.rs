//! The file of tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::{Grants, Patterns, limit};
use crate::layer::Digest;
use crate::serve::watched::Watched;
use crate::units;

/// A file that is longer is none.
const MAX_FILE: u64 = 4 << 20;

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It makes no sense.
    #[error("the tokens in `{}` make no sense: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    name: String,
    sha256: String,
    projects: Option<Vec<String>>,
    #[serde(default)]
    destinations: Vec<String>,
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    notify: Vec<String>,
    #[serde(default)]
    deployments: Vec<String>,
    max_upload: Option<String>,
    max_timeout: Option<String>,
    #[serde(default)]
    max_priority: i32,
    max_queued: Option<u64>,
    #[serde(default)]
    read_only: bool,
}

/// Tokens by their digests.
type Tokens = Vec<(Digest, Arc<Grants>)>;

/// A file of tokens, read again when it has changed.
#[derive(Debug)]
pub(in crate::serve) struct TokenFile(Watched<Tokens, TokensError>);

impl TokenFile {
    pub(in crate::serve) fn open(path: &Path) -> Result<Self, TokensError> {
        Watched::open(path, "tokens", read).map(Self)
    }

    /// What the holder of this token may do. Takes as long for a wrong one as for a right one.
    pub(in crate::serve) fn find(&self, token: &str) -> Option<Arc<Grants>> {
        let digest = Digest::of(token);
        let mut found = None;
        for (known, grants) in self.0.current().iter() {
            if bool::from(known.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(Arc::clone(grants));
            }
        }
        found
    }
}

fn read(path: &Path) -> Result<Tokens, TokensError> {
    use std::io::Read as _;
    let failed = |source| TokensError::Read { path: path.to_owned(), source };
    let wrong = |reason: String| TokensError::Content { path: path.to_owned(), reason };
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    let file: File = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut tokens = Tokens::new();
    for token in file.tokens {
        let name = token.name.clone();
        let (digest, grants) = token.grants().map_err(|reason| wrong(format!("`{name}`: {reason}")))?;
        if tokens.iter().any(|(_, other)| other.name == name) {
            return Err(wrong(format!("there are two tokens with the name `{name}`")));
        }
        tokens.push((digest, Arc::new(grants)));
    }
    Ok(tokens)
}

impl Token {
    fn grants(self) -> Result<(Digest, Grants), String> {
        let digest: Digest = format!("sha256:{}", self.sha256)
            .parse()
            .map_err(|_| "sha256 is not the 64 hexadecimal digits of a token's SHA-256".to_owned())?;
        let patterns = |name: &str, texts: Vec<String>| {
            Patterns::new(texts).map_err(|text| format!("`{text}` in {name} is no pattern"))
        };
        if self.name.is_empty() {
            return Err("a token has a name".to_owned());
        }
        let grants = Grants {
            projects: patterns("projects", self.projects.unwrap_or_else(|| vec![self.name.clone()]))?,
            destinations: patterns("destinations", self.destinations)?,
            contexts: patterns("contexts", self.contexts)?,
            notify: patterns("notify", self.notify)?,
            deployments: patterns("deployments", self.deployments)?,
            max_upload: limit("max_upload", self.max_upload, units::bytes)?,
            max_timeout: limit("max_timeout", self.max_timeout, units::seconds)?,
            max_priority: self.max_priority,
            max_queued: self.max_queued,
            read_only: self.read_only,
            name: self.name,
        };
        Ok((digest, grants))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("tokens.json");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn token(name: &str, token: &str) -> String {
        format!(r#"{{"name": "{name}", "sha256": "{}", "max_upload": "1MiB"}}"#, Digest::of(token).hex())
    }

    #[test]
    fn finds_tokens_and_heeds_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(
            directory.path(),
            &format!("{{\"tokens\": [{}, {}]}}", token("a", "one"), token("b", "two")),
        );
        let tokens = TokenFile::open(&path).unwrap();
        let name = |text: &str| tokens.find(text).map(|grants| grants.name.clone());
        assert_eq!(
            (name("one").as_deref(), name("two").as_deref(), name("three")),
            (Some("a"), Some("b"), None)
        );
        assert_eq!(tokens.find("one").unwrap().max_upload, Some(1 << 20));
        assert_eq!(tokens.find("one").unwrap().usual_project(), "a");
        let later = || tokens.0.hurry();
        file(directory.path(), "{\"tokens\": 1}");
        later();
        assert_eq!(name("one").as_deref(), Some("a"), "a file that makes no sense is not heeded");
        file(directory.path(), &format!("{{\"tokens\": [{}]}}", token("c", "three")));
        later();
        assert_eq!((name("one"), name("three").as_deref()), (None, Some("c")));
    }

    #[test]
    fn says_what_makes_no_sense() {
        let directory = tempfile::tempdir().unwrap();
        for (text, said) in [
            ("{}".to_owned(), "tokens"),
            (r#"{"tokens": [{"name": "a", "sha256": "12"}]}"#.to_owned(), "64 hexadecimal"),
            (format!("{{\"tokens\": [{}, {}]}}", token("a", "1"), token("a", "2")), "two tokens"),
            (r#"{"tokens": [{"name": "a", "sha256": "", "x": 1}]}"#.to_owned(), "unknown field `x`"),
        ] {
            let error = TokenFile::open(&file(directory.path(), &text)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
