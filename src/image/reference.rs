//! Names of images: `docker.io/library/node:20-alpine`, `registry:5000/app@sha256:…`.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};

use crate::layer::Digest;

/// A repository in a registry: `docker.io/library/node`, without tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepoName {
    registry: String,
    path: String,
}

/// A full image name: repository, and a tag, a digest, or both.
///
/// Parsed with Docker's rules: a missing registry is `docker.io`, a one-word repository there lives under
/// `library/`, and a name with neither tag nor digest means the tag `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    repository: RepoName,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an [`ImageRef`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: {reason}")]
pub struct ParseImageRefError {
    text: String,
    reason: String,
}

impl RepoName {
    /// A repository by registry host (with port) and path; both are taken as they are.
    pub fn new(registry: impl Into<String>, path: impl Into<String>) -> Self {
        Self { registry: registry.into(), path: path.into() }
    }

    /// Host and, where it is not the default, port: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path below the registry: `library/node`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl ImageRef {
    /// The image with this digest in `repository`.
    pub fn by_digest(repository: RepoName, digest: Digest) -> Self {
        Self { repository, tag: None, digest: Some(digest) }
    }

    /// The image with this tag in `repository`.
    pub fn tagged(repository: RepoName, tag: impl Into<String>) -> Self {
        Self { repository, tag: Some(tag.into()), digest: None }
    }

    /// Where the image lives.
    pub fn repository(&self) -> &RepoName {
        &self.repository
    }

    /// The tag. `None` only when there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when the name pins one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask a registry for: the digest where there is one, else the tag.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same name pinned to `digest`.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: String| ParseImageRefError { text: text.to_owned(), reason };
        let reference: Reference = text.parse().map_err(|source| error(format!("{source}")))?;
        // oci-spec lets a path with capitals through when it has several components; no registry would.
        if reference.repository().bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error("a repository name must be lower case".to_owned()));
        }
        let digest =
            reference.digest().map(str::parse).transpose().map_err(|source| error(format!("{source}")))?;
        let tag = match (reference.tag(), digest) {
            // The parser adds `latest` to a bare name; with a digest the tag is only what was written.
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { repository: RepoName::new(reference.registry(), reference.repository()), tag, digest })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ParseImageRefError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_like_docker() {
        let digest = Digest::of("x");
        for (text, normal) in [
            ("node", "docker.io/library/node:latest".to_owned()),
            ("node:20-alpine", "docker.io/library/node:20-alpine".to_owned()),
            ("grafana/loki", "docker.io/grafana/loki:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("registry:5000/a/b:c", "registry:5000/a/b:c".to_owned()),
            (&format!("node@{digest}"), format!("docker.io/library/node@{digest}")),
            (&format!("node:20@{digest}"), format!("docker.io/library/node:20@{digest}")),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), normal);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        for text in ["", "UPPER/case", "a b", "app:", "app@sha256:12"] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not an image name: ")), "{error}");
        }
    }
}
