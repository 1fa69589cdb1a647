//! Where secrets are, and what they are when they are needed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::registry::Secret;

/// A file of secrets that is longer is none.
const MAX_FILE: u64 = 64 << 10;

/// Where a secret is. A file or a variable with several lines has several: a new one can be added before the old one
/// is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum SecretPlace {
    /// In a file, like a mounted Secret.
    File(PathBuf),
    /// In a variable of the service's environment.
    Env(String),
}

/// Why there is no secret. Says where, never what.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum SecretError {
    #[error("cannot read the secret in `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the environment has no variable `{0}` with a secret in it")]
    Variable(String),
    #[error("there is no secret in {0}: it is empty, or no text")]
    Empty(String),
}

impl SecretPlace {
    /// All that are there now, at least one.
    pub(in crate::serve) fn read(&self) -> Result<Vec<Secret>, SecretError> {
        let text = match self {
            Self::File(path) => {
                read_file(path).map_err(|source| SecretError::File { path: path.clone(), source })?
            }
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Variable(name.clone()))?;
                value.into_encoded_bytes()
            }
        };
        let text = String::from_utf8(text).map_err(|_| SecretError::Empty(self.shown()))?;
        let secrets: Vec<Secret> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect();
        if secrets.is_empty() { Err(SecretError::Empty(self.shown())) } else { Ok(secrets) }
    }

    /// The variable, if it is one: nobody else needs to see it.
    pub(in crate::serve) fn variable(&self) -> Option<&str> {
        match self {
            Self::Env(name) => Some(name),
            Self::File(_) => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("`{}`", path.display()),
            Self::Env(name) => format!("the variable `{name}`"),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_line_and_never_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let place = SecretPlace::File(path.clone());
        assert!(matches!(place.read(), Err(SecretError::File { .. })));
        std::fs::write(&path, "\n  \n").unwrap();
        assert!(matches!(place.read(), Err(SecretError::Empty(_))));
        std::fs::write(&path, "new\r\n\nold\n").unwrap();
        let secrets = place.read().unwrap();
        let texts: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
        assert_eq!(texts, ["new", "old"]);
        assert!(!format!("{secrets:?}").contains("new"));
        let missing = SecretPlace::Env("COOPER_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(missing.read(), Err(SecretError::Variable(_))));
    }
}
