//! What can be asked of the service, and the worker's command line that it becomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::cache::{CachePlace, CacheSource, CacheTarget};
use crate::context::source::{ContextOrigin, ContextSource, GitScheme, GitSource, buildx, is_commit_id};
use crate::image::{ImageRef, Platform, RepoName};
use crate::kube::{ParseRolloutError, Rollout};
use crate::layer::{Digest, Hasher};

/// A build request, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Where the files are, if they do not come with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Path of the Dockerfile in the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The Dockerfile itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_text: Option<String>,
    /// The names that the image is pushed under.
    pub tags: Vec<ImageRef>,
    /// Values of ARGs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub build_args: BTreeMap<String, String>,
    /// Labels of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The stage to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Platforms of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Do every step anew.
    #[serde(skip_serializing_if = "is_false")]
    pub no_cache: bool,
    /// Repositories of caches to look into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_from: Vec<String>,
    /// Repositories of caches to put results into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_to: Vec<String>,
    /// Whose builds this one takes turns with; the token's first one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Higher ones begin first.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// How long it may take, like `30m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Processors, like `1.5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory, like `2GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// A newer request with the same text cancels this one if it still waits; by default, those for the same branch
    /// of the same repository do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersede: Option<String>,
    /// Containers that get the image when it is pushed, like `NAMESPACE/deployment/NAME=CONTAINER`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_image: Vec<String>,
    /// Why it is built; shown and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who is told of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyUrl>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

/// An address that is told something. Whoever knows it can tell it something too, so it is not shown whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotifyUrl(String);

impl NotifyUrl {
    /// Takes an address into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole address.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The address taken apart, if it is one of a web server, without a login.
    pub(super) fn url(&self) -> Option<Url> {
        let url = Url::parse(&self.0).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        is_plain.then_some(url)
    }

    /// The server alone.
    #[must_use]
    pub fn shown(&self) -> Self {
        let url = self.url();
        let host = url.as_ref().map(|url| format!("{}://{}/…", url.scheme(), url.authority()));
        Self(host.unwrap_or_else(|| "…".to_owned()))
    }
}

impl std::fmt::Debug for NotifyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown().0)
    }
}

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// In a git repository.
    Git(GitContext),
    /// In an artifact in a registry: `oci://REPOSITORY@DIGEST`.
    Artifact(String),
}

/// What is wanted of which repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitContext {
    /// `https://HOST/PATH.git`, without a login.
    pub url: String,
    /// A branch, a tag, or a full name like `refs/pull/1/head`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none", default)]
    pub reference: Option<String>,
    /// A whole commit id; it is what is built, and `ref` says what it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// The directory in the repository.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub directory: Option<String>,
}

/// Why a request cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRequest {
    /// There are no names.
    #[error("`tags` is empty: an image is pushed under at least one name, like registry.example.com/app:1")]
    NoTags,
    /// A digest is what comes out.
    #[error("`{0}` in `tags` has a digest, which only the build can tell; give a tag")]
    TagWithDigest(ImageRef),
    /// Too many, or too long.
    #[error("`{field}` is too long: at most {limit}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A value that means nothing.
    #[error("`{value}` in `{field}`: {expected}")]
    Value {
        /// Which.
        field: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// Two Dockerfiles.
    #[error("there is either `dockerfile`, a path in the context, or `dockerfile_text`, not both")]
    TwoDockerfiles,
}

/// A context that comes from elsewhere, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Git(GitSource),
    Artifact(ImageRef),
}

/// Most entries of a list or a map.
const MAX_ENTRIES: usize = 200;
/// Most bytes of a value.
const MAX_TEXT: usize = 32 << 10;
/// Most bytes of a Dockerfile in a request; longer ones are in the context.
const MAX_DOCKERFILE_TEXT: usize = 128 << 10;

/// The name of a Dockerfile that came with a request, in the directory that the worker runs in. What the context has
/// under the same name would be taken first, so it is one that nobody else gives.
pub(super) const OWN_DOCKERFILE: &str = "Dockerfile (request)";

impl Request {
    /// Finds what cannot be. Gives where the context is, if it does not come with the request.
    pub(super) fn validate(&self) -> Result<Option<Source>, InvalidRequest> {
        if self.tags.is_empty() {
            return Err(InvalidRequest::NoTags);
        }
        if let Some(tag) = self.tags.iter().find(|tag| tag.digest().is_some()) {
            return Err(InvalidRequest::TagWithDigest(tag.clone()));
        }
        self.check_lengths()?;
        if self.dockerfile.is_some() && self.dockerfile_text.is_some() {
            return Err(InvalidRequest::TwoDockerfiles);
        }
        if let Some(path) = &self.dockerfile {
            inner_path("dockerfile", path)?;
        }
        for name in self.build_args.keys() {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_good) {
                return Err(wrong("build_args", name, "names have letters, digits and `_`"));
            }
        }
        if let Some(name) = self.labels.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(wrong("labels", name, "this is no name of a label"));
        }
        for platform in &self.platforms {
            platform.parse::<Platform>().map_err(|error| wrong("platforms", platform, &error.to_string()))?;
        }
        for text in &self.cache_from {
            let source: CacheSource =
                text.parse().map_err(|error| wrong("cache_from", text, &describe(&error)))?;
            repository("cache_from", text, source.place)?;
        }
        self.cache_repositories()?;
        self.rollouts()?;
        let is_name = |name: &String| {
            name.len() <= 100
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte))
        };
        if let Some(name) = self.project.as_ref().filter(|name| !is_name(name)) {
            return Err(wrong("project", name, "up to 100 letters, digits, `-`, `.`, `_` and `/`"));
        }
        if let Some(notify) = &self.notify {
            let expected = "write https://HOST/PATH or http://HOST/PATH, without a login or a fragment";
            notify.url().ok_or_else(|| wrong("notify", "…", expected))?;
        }
        self.context.as_ref().map(Context::source).transpose()
    }

    fn check_lengths(&self) -> Result<(), InvalidRequest> {
        let lists = [
            ("tags", self.tags.len()),
            ("build_args", self.build_args.len()),
            ("labels", self.labels.len()),
            ("platforms", self.platforms.len()),
            ("cache_from", self.cache_from.len()),
            ("cache_to", self.cache_to.len()),
            ("set_image", self.set_image.len()),
        ];
        if let Some((field, _)) = lists.into_iter().find(|(_, count)| *count > MAX_ENTRIES) {
            return Err(InvalidRequest::TooLong { field, limit: MAX_ENTRIES });
        }
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, value)| name.len().max(value.len())).max().unwrap_or(0)
        };
        let texts = [
            ("dockerfile", optional(&self.dockerfile), MAX_TEXT),
            ("dockerfile_text", optional(&self.dockerfile_text), MAX_DOCKERFILE_TEXT),
            ("build_args", pairs(&self.build_args), MAX_TEXT),
            ("labels", pairs(&self.labels), MAX_TEXT),
            ("target", optional(&self.target), MAX_TEXT),
            ("supersede", optional(&self.supersede), 1000),
            ("reason", optional(&self.reason), 1000),
            ("notify", self.notify.as_ref().map_or(0, |url| url.reveal().len()), 2000),
        ];
        match texts.into_iter().find(|(_, length, limit)| length > limit) {
            Some((field, _, limit)) => Err(InvalidRequest::TooLong { field, limit }),
            None => Ok(()),
        }
    }

    /// The repositories that results are put into.
    pub(super) fn cache_repositories(&self) -> Result<Vec<RepoName>, InvalidRequest> {
        let repositories = self.cache_to.iter().map(|text| {
            let target: CacheTarget =
                text.parse().map_err(|error| wrong("cache_to", text, &describe(&error)))?;
            repository("cache_to", text, target.place)
        });
        repositories.collect()
    }

    /// The containers that get the image.
    pub(super) fn rollouts(&self) -> Result<Vec<Rollout>, InvalidRequest> {
        let rollouts = self.set_image.iter();
        rollouts
            .map(|text| {
                text.parse().map_err(|error: ParseRolloutError| wrong("set_image", text, &describe(&error)))
            })
            .collect()
    }

    /// The arguments of `cooper build`, the context aside; a Dockerfile that came with the request is at `dockerfile`.
    /// Nothing in a value is taken for an option.
    pub(super) fn arguments(&self, dockerfile: &str) -> Vec<String> {
        let mut arguments = vec!["--push".to_owned()];
        let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
        for tag in &self.tags {
            add("tag", &tag.to_string());
        }
        if self.dockerfile_text.is_some() {
            add("file", dockerfile);
        } else if let Some(path) = &self.dockerfile {
            add("file", path);
        }
        for (name, value) in &self.build_args {
            add("build-arg", &format!("{name}={value}"));
        }
        for (name, value) in &self.labels {
            add("label", &format!("{name}={value}"));
        }
        if let Some(target) = &self.target {
            add("target", target);
        }
        for platform in &self.platforms {
            add("platform", platform);
        }
        for cache in &self.cache_from {
            add("cache-from", cache);
        }
        for cache in &self.cache_to {
            add("cache-to", cache);
        }
        if self.no_cache {
            arguments.push("--no-cache".to_owned());
        }
        arguments
    }

    /// What makes two requests the same: all that has to do with the image.
    pub(super) fn identity(&self, upload: Option<Digest>, timeout_seconds: u64) -> Digest {
        let about_the_image = Self { priority: 0, reason: None, timeout: None, ..self.clone() };
        let mut hasher = Hasher::new();
        // A map of strings is always written.
        hasher.update(&serde_json::to_vec(&about_the_image).unwrap_or_default());
        hasher.update(format!("\n{upload:?} {timeout_seconds}").as_bytes());
        hasher.finish()
    }

    /// Whether the files are the same whenever they are fetched.
    pub(super) fn is_settled(&self) -> bool {
        match &self.context {
            None | Some(Context::Artifact(_)) => true,
            Some(Context::Git(git)) => git.commit.is_some(),
        }
    }

    /// What a newer request shares with those that it takes the place of.
    pub(super) fn superseded(&self) -> Option<String> {
        if let Some(text) = &self.supersede {
            return Some(format!("own {text}"));
        }
        let Some(Context::Git(git)) = &self.context else { return None };
        let reference = git.reference.as_ref()?;
        let repositories: Vec<String> = self.tags.iter().map(|tag| tag.repository().to_string()).collect();
        let parts = [
            &git.url,
            reference,
            git.directory.as_deref().unwrap_or_default(),
            self.dockerfile.as_deref().unwrap_or_default(),
            self.target.as_deref().unwrap_or_default(),
            &repositories.join(" "),
        ];
        Some(format!("git {}", parts.join("\n")))
    }
}

impl Context {
    fn source(&self) -> Result<Source, InvalidRequest> {
        match self {
            Self::Git(git) => git.source().map(Source::Git),
            Self::Artifact(text) => {
                let expected = "write oci://REPOSITORY@DIGEST";
                match buildx::parse(text) {
                    Ok(ContextSource::Remote(remote)) => match remote.origin {
                        ContextOrigin::Artifact(image) if image.digest().is_some() => {
                            Ok(Source::Artifact(image))
                        }
                        _ => Err(wrong("context.artifact", text, expected)),
                    },
                    _ => Err(wrong("context.artifact", text, expected)),
                }
            }
        }
    }
}

impl GitContext {
    fn source(&self) -> Result<GitSource, InvalidRequest> {
        let text = &self.url;
        let field = "context.git.url";
        let expected = "write https://HOST/PATH.git, without a login, a query or a fragment";
        if text.contains('@') {
            // What is before it may be a password.
            return Err(wrong(field, "…@…", expected));
        }
        if !text.starts_with("http") || text.contains(['#', '?']) {
            return Err(wrong(field, text, expected));
        }
        if let Some(path) = self.directory.as_ref() {
            inner_path("context.git.directory", path)?;
        }
        if let Some(commit) = self.commit.as_ref().filter(|commit| !is_commit_id(commit)) {
            return Err(wrong("context.git.commit", commit, "it must be a whole commit id"));
        }
        if self.reference.as_deref().is_some_and(str::is_empty) {
            return Err(wrong("context.git.ref", "", "it names nothing"));
        }
        match buildx::parse(&self.address(text)) {
            Ok(ContextSource::Remote(remote)) => match remote.origin {
                ContextOrigin::Git(source)
                    if matches!(source.url.scheme, GitScheme::Http | GitScheme::Https) =>
                {
                    Ok(source)
                }
                _ => Err(wrong(field, text, expected)),
            },
            _ => Err(wrong(field, text, expected)),
        }
    }

    /// The one text for `cooper build`; `url` may have a login.
    pub(super) fn address(&self, url: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(commit) = &self.commit {
            query.append_pair("commit", commit).append_pair("fetch-by-commit", "true");
        }
        if let Some(reference) = &self.reference {
            query.append_pair("ref", reference);
        }
        if let Some(directory) = &self.directory {
            query.append_pair("subdir", directory);
        }
        let query = query.finish();
        if query.is_empty() { url.to_owned() } else { format!("{url}?{query}") }
    }
}

fn wrong(field: &'static str, value: &str, expected: &str) -> InvalidRequest {
    let value = value.chars().take(200).collect();
    InvalidRequest::Value { field, value, expected: expected.to_owned() }
}

fn describe(error: &dyn std::error::Error) -> String {
    crate::pipeline::describe(error)
}

/// A cache in a registry; those in directories would be the service's own.
fn repository(field: &'static str, text: &str, place: CachePlace) -> Result<RepoName, InvalidRequest> {
    match place {
        CachePlace::Registry(repository) => Ok(repository),
        CachePlace::Layout(_) => Err(wrong(field, text, "caches of the service are in registries")),
    }
}

/// A path in the context.
fn inner_path(field: &'static str, path: &str) -> Result<(), InvalidRequest> {
    let is_inside = !path.is_empty()
        && !path.starts_with('/')
        && path != "-"
        && !path.contains(['\0', '\n'])
        && !path.contains("://")
        && path.split('/').all(|part| part != "..");
    if is_inside { Ok(()) } else { Err(wrong(field, path, "it must be a path in the context, without `..`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn becomes_arguments() {
        let request = request(
            r#"{"context": {"git": {"url": "https://h/a.git", "ref": "main", "directory": "x y"}},
                "tags": ["r/a:1"], "build_args": {"A": "--push"}, "target": "-x", "dockerfile": "d/Dockerfile",
                "cache_to": ["r/cache"], "no_cache": true, "platforms": ["linux/amd64"]}"#,
        );
        assert!(matches!(request.validate(), Ok(Some(Source::Git(_)))));
        assert_eq!(
            request.arguments("Dockerfile"),
            [
                "--push",
                "--tag=docker.io/r/a:1",
                "--file=d/Dockerfile",
                "--build-arg=A=--push",
                "--target=-x",
                "--platform=linux/amd64",
                "--cache-to=r/cache",
                "--no-cache"
            ]
        );
        let Some(Context::Git(git)) = &request.context else { unreachable!() };
        assert_eq!(git.address("https://u:p@h/a.git"), "https://u:p@h/a.git?ref=main&subdir=x+y");
        assert!(!request.is_settled());
        let again = Request { priority: 5, ..request.clone() };
        assert_eq!(request.identity(None, 1), again.identity(None, 1));
        assert_ne!(request.identity(None, 1), again.identity(None, 2));
        assert_eq!(
            serde_json::from_str::<Request>(&serde_json::to_string(&request).unwrap()).unwrap(),
            request
        );
    }

    #[test]
    fn refuses_what_cannot_be() {
        for json in [
            "{}",
            r#"{"tags": ["r/a@sha256:0000000000000000000000000000000000000000000000000000000000000000"]}"#,
            r#"{"tags": ["r/a"], "dockerfile": "/etc/passwd"}"#,
            r#"{"tags": ["r/a"], "dockerfile": "a/../../b"}"#,
            r#"{"tags": ["r/a"], "dockerfile": "-"}"#,
            r#"{"tags": ["r/a"], "dockerfile": "a", "dockerfile_text": "FROM a"}"#,
            r#"{"tags": ["r/a"], "build_args": {"A B": ""}}"#,
            r#"{"tags": ["r/a"], "cache_to": ["oci:/data/store"]}"#,
            r#"{"tags": ["r/a"], "cache_from": ["type=oci,ref=/x"]}"#,
            r#"{"tags": ["r/a"], "project": ".. "}"#,
            r#"{"tags": ["r/a"], "set_image": ["web=app"]}"#,
            r#"{"tags": ["r/a"], "context": {"artifact": "oci://r/a:tag"}}"#,
            r#"{"tags": ["r/a"], "context": {"artifact": "/etc"}}"#,
            r#"{"tags": ["r/a"], "context": {"git": {"url": "ssh://git@h/a.git"}}}"#,
            r#"{"tags": ["r/a"], "context": {"git": {"url": "https://u:p@h/a.git"}}}"#,
            r#"{"tags": ["r/a"], "context": {"git": {"url": "https://h/a.tar"}}}"#,
            r#"{"tags": ["r/a"], "context": {"git": {"url": "https://h/a.git", "commit": "12ab"}}}"#,
            r#"{"tags": ["r/a"], "context": {"git": {"url": "/srv/a.git"}}}"#,
        ] {
            assert!(request(json).validate().is_err(), "{json}");
        }
        for json in
            [r#"{"tgas": []}"#, r#"{"tags": ["A B"]}"#, r#"{"context": {"git": {"url": "", "x": 1}}}"#]
        {
            assert!(serde_json::from_str::<Request>(json).is_err(), "{json}");
        }
    }
}
