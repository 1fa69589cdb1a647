//! Names of images: `docker.io/library/node:20-alpine`, `registry:5000/app@sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::layer::{Digest, ParseDigestError};

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
#[error("`{text}` is not an image name: {problem}")]
pub struct ParseImageRefError {
    text: String,
    problem: NameProblem,
}

/// What is wrong with an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NameProblem {
    #[error("it is empty")]
    Empty,
    #[error("`{0}` is not the name of a registry: write HOST or HOST:PORT")]
    Registry(String),
    #[error("a repository name must be lower case")]
    UpperCase,
    #[error(
        "`{0}` is not part of a repository name: write letters and digits, with `.`, `_`, `__` or `-` between them"
    )]
    Path(String),
    #[error("its repository name has more than {MAX_PATH} characters")]
    TooLong,
    #[error(
        "`{0}` is not a tag: write up to {MAX_TAG} letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
    )]
    Tag(String),
    #[error("{0}")]
    Digest(ParseDigestError),
}

/// Docker's registry, under which names without a registry are looked up.
const DOCKER_HUB: &str = "docker.io";

/// The most bytes a repository's path may have.
const MAX_PATH: usize = 255;

/// The most bytes a tag may have.
const MAX_TAG: usize = 128;

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
        parse(text).map_err(|problem| ParseImageRefError { text: text.to_owned(), problem })
    }
}

/// The grammar of `distribution/reference`, by hand: its regular expression takes milliseconds to compile.
fn parse(text: &str) -> Result<ImageRef, NameProblem> {
    if text.is_empty() {
        return Err(NameProblem::Empty);
    }
    let (name, digest) = match text.split_once('@') {
        None => (text, None),
        Some((name, digest)) => (name, Some(digest.parse().map_err(NameProblem::Digest)?)),
    };
    // A colon before a slash is that of a port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].split_once(':') {
        None => (name, None),
        Some((part, tag)) => (&name[..last + part.len()], Some(tag)),
    };
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(NameProblem::Tag(tag.to_owned()));
    }
    // A name with neither tag nor digest means the latest; beside a digest the tag is only what was written.
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    Ok(ImageRef { repository: repository(name)?, tag: tag.map(str::to_owned), digest })
}

/// A repository by its full name, or by a short one of Docker Hub.
fn repository(name: &str) -> Result<RepoName, NameProblem> {
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, name),
    };
    if !is_registry(registry) {
        return Err(NameProblem::Registry(registry.to_owned()));
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NameProblem::UpperCase);
    }
    if let Some(part) = path.split('/').find(|part| !is_path_component(part)) {
        return Err(NameProblem::Path(part.to_owned()));
    }
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let is_official = registry == DOCKER_HUB && !path.contains('/');
    let path = if is_official { format!("library/{path}") } else { path.to_owned() };
    if path.len() > MAX_PATH {
        return Err(NameProblem::TooLong);
    }
    Ok(RepoName::new(registry, path))
}

/// Names of hosts with dots and dashes, perhaps with a port; or anything that could be a path, as with Docker.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && host.split('.').all(is_label)) || is_path_component(text)
}

/// Runs of small letters and digits, with `.`, `_`, `__` or any number of dashes between two of them.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = text.split(|c: char| c.is_ascii() && is_word(c as u8));
    // The parts before the first and behind the last character of a word.
    let (first, last) = (separators.next(), separators.next_back());
    let is_separator =
        |part: &str| matches!(part, "" | "." | "_" | "__") || part.bytes().all(|byte| byte == b'-');
    first == Some("") && last == Some("") && separators.all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
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
        for (text, reason) in [
            ("", "it is empty"),
            ("UPPER/case", "a repository name must be lower case"),
            ("a b", "`a b` is not part of a repository name"),
            ("a//b", "`` is not part of a repository name"),
            ("app:", "`` is not a tag"),
            ("app:-x", "`-x` is not a tag"),
            ("-.x:80/app", "`-.x:80` is not the name of a registry"),
            ("x:port/app", "`x:port` is not the name of a registry"),
            ("app@sha256:12", "12"),
        ] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            let (begin, rest) = error.split_at(format!("`{text}` is not an image name: ").len());
            assert!(begin.ends_with("is not an image name: ") && rest.contains(reason), "{error}");
        }
        assert!("a".repeat(248).parse::<ImageRef>().is_err(), "with `library/` it is too long");
    }

    /// What oci-spec's regular expression makes of a name; it lets a path with capitals through when it has several
    /// components, and tags of any script.
    fn model(text: &str) -> Option<(String, String, Option<String>, Option<String>)> {
        let reference: oci_spec::distribution::Reference = text.parse().ok()?;
        let repository = reference.repository();
        let is_fine = !repository.bytes().any(|byte| byte.is_ascii_uppercase()) && text.is_ascii();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let parts = (owned(reference.tag()), owned(reference.digest()));
        is_fine.then(|| (reference.registry().to_owned(), repository.to_owned(), parts.0, parts.1))
    }

    proptest::proptest! {
        #[test]
        fn equals_the_model(text in names()) {
            let found = text.parse::<ImageRef>().ok().map(|image| {
                let repository = image.repository().clone();
                let tag = image.tag().map(str::to_owned);
                (repository.registry, repository.path, tag, image.digest().map(|digest| digest.to_string()))
            });
            proptest::prop_assert_eq!(found, model(&text));
        }
    }

    /// Texts that are nearly names.
    fn names() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let piece = prop_oneof![
            4 => "[a-z0-9]{1,4}",
            2 => prop::sample::select(vec!["/", ":", ".", "-", "_", "__", "--", "@", "localhost", "docker.io", "index.docker.io", ":5000/", ":latest", "A", "é"]).prop_map(str::to_owned),
            1 => Just(format!("@sha256:{}", "0f".repeat(32))),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }
}
