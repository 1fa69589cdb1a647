//! Contexts as Kaniko's executor writes them.
//!
//! ```text
//! /path   dir:///path   tar:///path   tar://stdin   gs://BUCKET/KEY   s3://BUCKET/KEY   https://HOST/ARCHIVE
//! git://[TOKEN@]HOST/PATH.git[#REF[#COMMIT]]   https://ACCOUNT.blob.core.windows.net/CONTAINER/KEY
//! ```
//!
//! and besides: https:// and ssh:// git repositories, `USER@HOST:PATH`, and our own `oci://`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::buildx::{self, BuildxContextError};
use super::{
    ContextOrigin, ContextSource, GitScheme, GitSource, GitUrl, Login, ObjectAddress, ParseGitError,
    ParseWebError, RemoteContext, WebAddress, inner_path,
};
use crate::dockerfile::RemoteSource;
use crate::registry::Secret;

/// What else says which context is meant: other flags, and the environment.
#[derive(Debug, Clone, Default)]
pub struct KanikoOptions {
    /// `--context-sub-path`.
    pub sub_path: Option<PathBuf>,
    /// `--bucket`: the context is an object in it, of Google's unless a scheme says otherwise.
    pub bucket: Option<String>,
    /// `--git`.
    pub git: GitFlags,
    /// `GIT_PULL_METHOD`: what `git://` stands for; `https` if not set.
    pub git_pull_method: Option<String>,
    /// `GIT_TOKEN`, which is a user with an empty password, or `GIT_USERNAME` and `GIT_PASSWORD`.
    pub git_login: Option<Login>,
}

/// The value of `--git`: `branch=NAME,single-branch=BOOL,recurse-submodules=BOOL,insecure-skip-tls=BOOL,depth=N`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitFlags {
    /// The branch, if the address names no reference.
    pub branch: Option<String>,
    /// Whether only the history of that branch is fetched.
    pub single_branch: bool,
    /// Whether submodules are fetched too.
    pub recurse_submodules: bool,
    /// Whether the server's certificate is not checked.
    pub insecure_skip_tls: bool,
    /// How many commits of history are fetched; all if `None`.
    pub depth: Option<NonZeroU32>,
}

/// Why `--git` is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseGitFlagsError {
    /// Not `key=value`.
    #[error("`{0}` is not of the form key=value")]
    Form(String),
    /// A key that means nothing.
    #[error(
        "`{0}` is not known: there are branch, single-branch, recurse-submodules, insecure-skip-tls and depth"
    )]
    Key(String),
    /// A value that means nothing.
    #[error("`{key}={value}`: {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

/// Why a text names no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KanikoContextError {
    /// A scheme that is not known. The text is Kaniko's, for scripts that look for it.
    #[error(
        "unknown build context prefix provided, please use one of the following: gs://, dir://, tar://, s3://, git://, https:// (or ssh://, oci://)"
    )]
    UnknownPrefix,
    /// Nothing was given.
    #[error("there is no build context: name one with --context")]
    Empty,
    /// A git repository that cannot be.
    #[error(transparent)]
    Git(#[from] ParseGitError),
    /// An address that cannot be.
    #[error(transparent)]
    Web(#[from] ParseWebError),
    /// What `git://` stands for is not known.
    #[error("GIT_PULL_METHOD is `{0}`: it can be https or http")]
    PullMethod(String),
    /// An artifact or object that cannot be.
    #[error(transparent)]
    Other(#[from] BuildxContextError),
}

impl KanikoOptions {
    /// Takes `GIT_TOKEN`, `GIT_USERNAME`, `GIT_PASSWORD` and `GIT_PULL_METHOD` from an environment.
    #[must_use]
    pub fn with_environment(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let secret = |name: &str| set(name).map(Secret::new);
        let login = match (secret("GIT_TOKEN"), secret("GIT_USERNAME"), secret("GIT_PASSWORD")) {
            (Some(token), _, _) => Some(Login { user: token, password: Secret::new("") }),
            (None, None, None) => None,
            (None, user, password) => {
                let empty = || Secret::new("");
                Some(Login { user: user.unwrap_or_else(empty), password: password.unwrap_or_else(empty) })
            }
        };
        Self { git_login: login.or(self.git_login), git_pull_method: set("GIT_PULL_METHOD"), ..self }
    }
}

impl FromStr for GitFlags {
    type Err = ParseGitFlagsError;

    fn from_str(text: &str) -> Result<Self, ParseGitFlagsError> {
        let mut flags = Self::default();
        for field in text.split(',').filter(|field| !field.is_empty()) {
            flags.set(field)?;
        }
        Ok(flags)
    }
}

impl GitFlags {
    /// Sets one of them, as `key=value`: the flag may be given several times.
    pub fn set(&mut self, field: &str) -> Result<(), ParseGitFlagsError> {
        let (key, value) = field.split_once('=').ok_or_else(|| ParseGitFlagsError::Form(field.to_owned()))?;
        let wrong =
            |expected| ParseGitFlagsError::Value { key: key.to_owned(), value: value.to_owned(), expected };
        let truth = || match value {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err(wrong("it is true or false")),
        };
        match key {
            "branch" => self.branch = Some(value.to_owned()).filter(|branch| !branch.is_empty()),
            "single-branch" => self.single_branch = truth()?,
            "recurse-submodules" => self.recurse_submodules = truth()?,
            "insecure-skip-tls" => self.insecure_skip_tls = truth()?,
            "depth" => {
                let depth = value.parse().map_err(|_| wrong("it is a number of commits"))?;
                self.depth = NonZeroU32::new(depth);
            }
            _ => return Err(ParseGitFlagsError::Key(key.to_owned())),
        }
        Ok(())
    }
}

/// Understands the value of `--context`.
///
/// `.dockerignore` counts wherever the context comes from, and a repository keeps its `.git` and its history, as with
/// Kaniko. Unlike there, `--context-sub-path` also holds for plain directories.
pub fn parse(text: &str, options: &KanikoOptions) -> Result<ContextSource, KanikoContextError> {
    let sub_path = options.sub_path.as_deref().and_then(|path| inner_path(&path.to_string_lossy()));
    let origin = match origin(text, options)? {
        Place::Directory(path) => {
            return Ok(ContextSource::Directory(sub_path.map_or(path.clone(), |below| path.join(below))));
        }
        Place::Origin(origin) => origin,
    };
    let remote =
        RemoteContext { subdirectory: sub_path, heeds_ignore_file: true, ..RemoteContext::new(origin) };
    Ok(ContextSource::Remote(Box::new(remote)))
}

enum Place {
    Directory(PathBuf),
    Origin(ContextOrigin),
}

fn origin(text: &str, options: &KanikoOptions) -> Result<Place, KanikoContextError> {
    let found = |origin| Ok(Place::Origin(origin));
    if let Some(bucket) = options.bucket.as_deref().filter(|bucket| !bucket.is_empty()) {
        let bucket = if bucket.contains("://") { bucket.to_owned() } else { format!("gs://{bucket}") };
        let key = if text.contains("://") { "" } else { text.trim_start_matches('/') };
        let address = format!("{}/{key}", bucket.trim_end_matches('/'));
        return found(ContextOrigin::Object(object(&address)?));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        if !Path::new(text).exists() && RemoteSource::of(text) == Some(RemoteSource::Git) {
            return found(ContextOrigin::Git(git(text, None, options)?));
        }
        return if text.is_empty() {
            Err(KanikoContextError::Empty)
        } else {
            Ok(Place::Directory(text.into()))
        };
    };
    match scheme {
        "dir" => Ok(Place::Directory(rest.into())),
        "tar" if rest == "stdin" => found(ContextOrigin::Stdin),
        "tar" => found(ContextOrigin::Archive(rest.into())),
        "s3" | "gs" => found(ContextOrigin::Object(object(text)?)),
        "git" => {
            let scheme = match options.git_pull_method.as_deref() {
                None | Some("https") => GitScheme::Https,
                Some("http") => GitScheme::Http,
                Some(other) => return Err(KanikoContextError::PullMethod(other.to_owned())),
            };
            found(ContextOrigin::Git(git(rest, Some(scheme), options)?))
        }
        "ssh" => found(ContextOrigin::Git(git(text, None, options)?)),
        "http" | "https" => match (ObjectAddress::parse(text), RemoteSource::of(text)) {
            (Some(object), _) => found(ContextOrigin::Object(object)),
            (None, Some(RemoteSource::Git)) => found(ContextOrigin::Git(git(text, None, options)?)),
            _ => found(ContextOrigin::Web(WebAddress::parse(text)?)),
        },
        "oci" => match buildx::artifact(text, rest)? {
            ContextSource::Remote(remote) => found(remote.origin),
            _ => Err(KanikoContextError::UnknownPrefix),
        },
        _ => Err(KanikoContextError::UnknownPrefix),
    }
}

fn object(text: &str) -> Result<ObjectAddress, KanikoContextError> {
    ObjectAddress::parse(text).ok_or_else(|| BuildxContextError::Object(text.to_owned()).into())
}

/// `ADDRESS[#REF[#COMMIT]]`, where the scheme may have been cut off.
fn git(
    text: &str,
    scheme: Option<GitScheme>,
    options: &KanikoOptions,
) -> Result<GitSource, KanikoContextError> {
    let mut parts = text.split('#').map(|part| Some(part).filter(|part| !part.is_empty()));
    let address = parts.next().flatten().unwrap_or_default();
    let (reference, commit) = (parts.next().flatten(), parts.next().flatten());
    let address = scheme.map_or(address.to_owned(), |scheme| format!("{scheme}://{address}"));
    let (url, login) = GitUrl::parse(&address)?;
    let flags = &options.git;
    // A commit is what is wanted; the reference was only there to make sure that it is fetched.
    let reference = commit.or(reference).or(flags.branch.as_deref()).map(str::to_owned);
    Ok(GitSource {
        reference,
        submodules: flags.recurse_submodules,
        keep_git_dir: Some(true),
        depth: flags.depth,
        all_branches: !flags.single_branch,
        skip_tls_verify: flags.insecure_skip_tls,
        login: login.or_else(|| options.git_login.clone().filter(|_| url.scheme != GitScheme::Ssh)),
        ..GitSource::new(url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, options: &KanikoOptions) -> String {
        match parse(text, options) {
            Ok(source) => source.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn each_form() {
        let options = KanikoOptions::default();
        let id = "0123456789abcdef0123456789abcdef01234567";
        for (text, expected) in [
            ("/workspace/", "/workspace/"),
            ("dir:///workspace", "/workspace"),
            ("tar:///a.tar.gz", "/a.tar.gz"),
            ("tar://stdin", "standard input"),
            ("gs://bucket/a.tar.gz", "gs://bucket/a.tar.gz"),
            ("s3://bucket", "s3://bucket/context.tar.gz"),
            ("git://h/a/b.git", "https://h/a/b.git"),
            ("git://s3cret@h/a/b", "https://h/a/b"),
            ("git://h/a/b.git#refs/heads/x", "https://h/a/b.git#refs/heads/x"),
            (&format!("git://h/a.git#refs/heads/x#{id}"), &format!("https://h/a.git#{id}")),
            (&format!("git://h/a.git##{id}"), &format!("https://h/a.git#{id}")),
            ("https://me.blob.core.windows.net/c/d", "https://me.blob.core.windows.net/c/d"),
            ("https://h/a.tar.gz", "https://h/a.tar.gz"),
            ("https://h/a.git#main", "https://h/a.git#main"),
            ("git@h:a/b#v1", "git@h:a/b#v1"),
            ("oci://h:5000/a:1", "oci://h:5000/a:1"),
        ] {
            assert_eq!(shown(text, &options), expected, "{text}");
        }
        let unknown = "unknown build context prefix provided, please use one of the following: gs://, dir://, tar://, s3://, git://, https://";
        assert!(shown("ftp://h/a", &options).contains(unknown));
        assert_eq!(parse("", &options), Err(KanikoContextError::Empty));
    }

    #[test]
    fn flags_and_environment() {
        let git = "branch=dev,single-branch=true,recurse-submodules=1,insecure-skip-tls=true,depth=3"
            .parse()
            .unwrap();
        let options = KanikoOptions { git, ..KanikoOptions::default() }.with_environment(|name| match name {
            "GIT_TOKEN" => Some("s3cret".to_owned()),
            "GIT_PULL_METHOD" => Some("http".to_owned()),
            _ => None,
        });
        let Ok(ContextSource::Remote(remote)) = parse("git://h/a", &options) else { panic!() };
        let ContextOrigin::Git(source) = remote.origin else { panic!() };
        assert_eq!(source.to_string(), "http://h/a#dev");
        assert_eq!((source.submodules, source.skip_tls_verify, source.all_branches), (true, true, false));
        assert_eq!((source.keep_git_dir, source.depth), (Some(true), NonZeroU32::new(3)));
        assert_eq!(source.login.unwrap().user.reveal(), "s3cret");
        assert!(remote.heeds_ignore_file);
        assert!(matches!("branch".parse::<GitFlags>(), Err(ParseGitFlagsError::Form(_))));
        assert!(matches!("brunch=x".parse::<GitFlags>(), Err(ParseGitFlagsError::Key(_))));
        assert!(matches!("depth=x".parse::<GitFlags>(), Err(ParseGitFlagsError::Value { .. })));
        let wrong = KanikoOptions { git_pull_method: Some("ftp".into()), ..options };
        assert_eq!(parse("git://h/a", &wrong), Err(KanikoContextError::PullMethod("ftp".into())));
    }

    #[test]
    fn sub_paths_and_buckets() {
        let options = KanikoOptions { sub_path: Some("a/../b".into()), ..KanikoOptions::default() };
        assert_eq!(shown("/workspace", &options), "/workspace/b");
        let Ok(ContextSource::Remote(remote)) = parse("s3://x/y", &options) else { panic!() };
        assert_eq!(remote.subdirectory, Some("b".into()));
        let bucket = |bucket: &str| KanikoOptions { bucket: Some(bucket.into()), ..KanikoOptions::default() };
        assert_eq!(shown("/workspace/a.tar", &bucket("b")), "gs://b/workspace/a.tar");
        assert_eq!(shown("", &bucket("s3://b")), "s3://b/context.tar.gz");
    }
}
