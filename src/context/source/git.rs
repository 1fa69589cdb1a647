//! Git repositories, as BuildKit writes them.
//!
//! ```text
//! https://host/path.git   http://host/path.git   git://host/path   ssh://[user@]host[:port]/path   user@host:path
//! …#REF   …#REF:DIRECTORY   …#:DIRECTORY                          or a query instead of the fragment:
//! …?ref= tag= branch= subdir= checksum=|commit= keep-git-dir= submodules= mtime=checkout|commit fetch-by-commit=
//! ```

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Login, inner_path};

/// What is wanted of which repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// The repository.
    pub url: GitUrl,
    /// A branch, a tag, a full name like `refs/pull/1/head`, or a whole commit id; the server's default if `None`.
    pub reference: Option<String>,
    /// The commit id that must come out, or how it must begin.
    pub checksum: Option<String>,
    /// The commit is fetched by its id, and the reference only says what it is called.
    pub fetch_by_commit: bool,
    /// The directory in the repository that is meant; relative and clean.
    pub subdirectory: Option<PathBuf>,
    /// Whether submodules are fetched too.
    pub submodules: bool,
    /// Whether `.git` stays, if that was said.
    pub keep_git_dir: Option<bool>,
    /// How many commits of history are fetched; all if `None`.
    pub depth: Option<NonZeroU32>,
    /// Whether other branches and tags are fetched along; they only show in `.git`.
    pub all_branches: bool,
    /// What the files' modification times are.
    pub times: CheckoutTimes,
    /// Whether the server's TLS certificate is not checked.
    pub skip_tls_verify: bool,
    /// How to log in to the server. Never written with a request.
    #[serde(skip)]
    pub login: Option<Login>,
}

/// Modification times of files from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckoutTimes {
    /// When they were checked out.
    #[default]
    Checkout,
    /// When the commit was made.
    Commit,
}

/// The address of a repository, without password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl {
    /// How it is reached.
    pub scheme: GitScheme,
    /// The user, which is no secret with SSH; with HTTP there is none here.
    pub user: Option<String>,
    /// The host's name, or its address; IPv6 addresses are in brackets.
    pub host: String,
    /// The port, if it is not the usual one.
    pub port: Option<u16>,
    /// The path on the host. Without a leading slash, which only SSH has, it begins in the user's home.
    pub path: String,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitScheme {
    /// Over TLS.
    Https,
    /// In plain HTTP.
    Http,
    /// Git's own protocol, which has neither login nor encryption.
    Git,
    /// Over SSH.
    Ssh,
}

/// Why a text is no git repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseGitError {
    /// None of the forms.
    #[error(
        "this is not the address of a git repository: write https://HOST/PATH.git, git://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"
    )]
    Url,
    /// A fragment and a query.
    #[error("a git address takes either `#REF:DIRECTORY` or a query, not both")]
    FragmentAndQuery,
    /// A key that means nothing.
    #[error(
        "unexpected query \"{0}\": there are ref, tag, branch, subdir, checksum, commit, keep-git-dir, submodules, mtime and fetch-by-commit"
    )]
    UnknownQuery(String),
    /// A value that means nothing.
    #[error("`{key}={value}` in the address of a git repository: {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// Two references.
    #[error("the address of a git repository names more than one of ref, tag and branch")]
    SeveralReferences,
    /// A commit by its id, without the id.
    #[error("`fetch-by-commit` in the address of a git repository needs `commit=` with a whole commit id")]
    NoCommit,
}

/// Hexadecimal digits of a commit id, of SHA-1 repositories and of SHA-256 ones.
const ID_LENGTHS: [usize; 2] = [40, 64];

impl GitSource {
    /// Everything at the head of `url`'s default branch, and nothing before it.
    pub fn new(url: GitUrl) -> Self {
        Self {
            url,
            reference: None,
            checksum: None,
            fetch_by_commit: false,
            subdirectory: None,
            submodules: true,
            keep_git_dir: None,
            depth: Some(NonZeroU32::MIN),
            all_branches: false,
            times: CheckoutTimes::default(),
            skip_tls_verify: false,
            login: None,
        }
    }

    /// Understands the forms of BuildKit.
    pub fn parse(text: &str) -> Result<Self, ParseGitError> {
        let (before, fragment) = split(text, '#');
        let (address, query) = split(before, '?');
        if fragment.is_some() && query.is_some() {
            return Err(ParseGitError::FragmentAndQuery);
        }
        let (url, login) = GitUrl::parse(address)?;
        let mut source = Self { login, ..Self::new(url) };
        if let Some(fragment) = fragment {
            let (reference, directory) = split(fragment, ':');
            source.reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
            source.subdirectory = directory.and_then(inner_path);
        }
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            source.set(&key, value)?;
        }
        if source.fetch_by_commit && !source.checksum.as_deref().is_some_and(is_commit_id) {
            return Err(ParseGitError::NoCommit);
        }
        // A commit alone is what is wanted, not only what must come out.
        if source.reference.is_none() && source.checksum.as_deref().is_some_and(is_commit_id) {
            source.reference.clone_from(&source.checksum);
        }
        Ok(source)
    }

    fn set(&mut self, key: &str, value: Cow<'_, str>) -> Result<(), ParseGitError> {
        let wrong =
            |expected| ParseGitError::Value { key: key.to_owned(), value: value.to_string(), expected };
        let truth = || match &*value {
            "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err(wrong("it is true or false")),
        };
        match key {
            "ref" | "tag" | "branch" => {
                if self.reference.is_some() {
                    return Err(ParseGitError::SeveralReferences);
                }
                if value.is_empty() {
                    return Err(wrong("it names nothing"));
                }
                self.reference = Some(match key {
                    "tag" if !value.starts_with("refs/") => format!("refs/tags/{value}"),
                    "branch" if !value.starts_with("refs/") => format!("refs/heads/{value}"),
                    _ => value.into_owned(),
                });
            }
            "subdir" => self.subdirectory = inner_path(&value),
            "checksum" | "commit" => {
                if !is_commit_prefix(&value) {
                    return Err(wrong("it is no commit id, nor the beginning of one"));
                }
                self.checksum = Some(value.to_ascii_lowercase());
            }
            "keep-git-dir" => self.keep_git_dir = Some(truth()?),
            "submodules" => self.submodules = truth()?,
            "fetch-by-commit" => self.fetch_by_commit = truth()?,
            "mtime" => {
                self.times = match &*value {
                    "checkout" => CheckoutTimes::Checkout,
                    "commit" => CheckoutTimes::Commit,
                    _ => return Err(wrong("it is checkout or commit")),
                }
            }
            _ => return Err(ParseGitError::UnknownQuery(key.to_owned())),
        }
        Ok(())
    }
}

/// Whether `text` is a whole commit id.
pub(crate) fn is_commit_id(text: &str) -> bool {
    ID_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a commit id can begin so.
pub(crate) fn is_commit_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl GitUrl {
    /// Understands an address without reference; a login over HTTP is given beside it.
    pub fn parse(text: &str) -> Result<(Self, Option<Login>), ParseGitError> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Self::parse_scp_like(text).map(|url| (url, None)).ok_or(ParseGitError::Url);
        };
        let scheme: GitScheme = scheme.parse()?;
        let mut url = Url::parse(text).map_err(|_| ParseGitError::Url)?;
        let user =
            Some(url.username().to_owned()).filter(|user| scheme == GitScheme::Ssh && !user.is_empty());
        let login = Login::take_from(&mut url).filter(|_| scheme != GitScheme::Ssh);
        let host = url.host_str().unwrap_or_default().to_owned();
        let parsed = Self { scheme, user, host, port: url.port(), path: url.path().to_owned() };
        let is_named = !parsed.path.trim_matches('/').is_empty();
        if is_named && parsed.is_sound() { Ok((parsed, login)) } else { Err(ParseGitError::Url) }
    }

    /// `user@host:path`
    fn parse_scp_like(text: &str) -> Option<Self> {
        let (user, rest) = text.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let (user, host, path) = (Some(user.to_owned()), host.to_owned(), path.to_owned());
        let parsed = Self { scheme: GitScheme::Ssh, user, host, port: None, path };
        (!parsed.path.is_empty() && parsed.is_sound()).then_some(parsed)
    }

    fn is_sound(&self) -> bool {
        let is_word = |text: &str, also: &[u8]| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        is_word(&self.host, b".-_[]:")
            && self.user.as_deref().is_none_or(|user| is_word(user, b".-_"))
            && !self.path.bytes().any(|byte| byte.is_ascii_control())
    }
}

impl FromStr for GitScheme {
    type Err = ParseGitError;

    fn from_str(text: &str) -> Result<Self, ParseGitError> {
        match text {
            "https" => Ok(Self::Https),
            "http" => Ok(Self::Http),
            "git" => Ok(Self::Git),
            "ssh" => Ok(Self::Ssh),
            _ => Err(ParseGitError::Url),
        }
    }
}

impl fmt::Display for GitScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Git => "git",
            Self::Ssh => "ssh",
        })
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        if !self.path.starts_with('/') {
            return write!(f, "{user}{}:{}", self.host, self.path);
        }
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{}://{user}{}{port}{}", self.scheme, self.host, self.path)
    }
}

impl TryFrom<String> for GitUrl {
    type Error = ParseGitError;

    fn try_from(text: String) -> Result<Self, ParseGitError> {
        Self::parse(&text).map(|(url, _)| url)
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)?;
        match (&self.reference, &self.subdirectory) {
            (None, None) => Ok(()),
            (Some(reference), None) => write!(f, "#{reference}"),
            (reference, Some(directory)) => {
                write!(f, "#{}:{}", reference.as_deref().unwrap_or_default(), directory.display())
            }
        }
    }
}

/// Before and after the first `separator`.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, scheme, user, host, port, path) in [
            ("https://h/a/b.git", GitScheme::Https, None, "h", None, "/a/b.git"),
            ("http://h:3000/a.git", GitScheme::Http, None, "h", Some(3000), "/a.git"),
            ("git://h/a", GitScheme::Git, None, "h", None, "/a"),
            ("ssh://git@h:2222/a", GitScheme::Ssh, Some("git"), "h", Some(2222), "/a"),
            ("git@h:a/b.git", GitScheme::Ssh, Some("git"), "h", None, "a/b.git"),
        ] {
            let source = GitSource::parse(text).unwrap();
            let url = &source.url;
            let found = (url.scheme, url.user.as_deref(), url.host.as_str(), url.port, url.path.as_str());
            assert_eq!(found, (scheme, user, host, port, path), "{text}");
            assert_eq!(url.to_string(), text);
            let written = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<GitSource>(&written).unwrap(), source);
        }
        for text in
            ["https://h", "https:///a", "h:a", "a@b", "git@-oProxy:a", "file:///a", "ssh://-h/a", "git://h/"]
        {
            assert_eq!(GitSource::parse(text), Err(ParseGitError::Url), "{text}");
        }
    }

    #[test]
    fn fragments() {
        for (fragment, reference, directory) in [
            ("", None, None),
            ("#", None, None),
            ("#v1", Some("v1"), None),
            ("#v1:a/b", Some("v1"), Some("a/b")),
            ("#:a", None, Some("a")),
            ("#refs/pull/1/head:../a/./b/../c", Some("refs/pull/1/head"), Some("a/c")),
            ("#main:/", Some("main"), None),
        ] {
            let source = GitSource::parse(&format!("https://h/a.git{fragment}")).unwrap();
            assert_eq!(source.reference.as_deref(), reference, "{fragment}");
            assert_eq!(source.subdirectory, directory.map(PathBuf::from), "{fragment}");
        }
    }

    #[test]
    fn queries() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let parse = |query: &str| GitSource::parse(&format!("https://h/a.git?{query}"));
        let source =
            parse(&format!("branch=main&subdir=a%2Fb&commit={id}&keep-git-dir=1&submodules=false")).unwrap();
        assert_eq!(source.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!(source.subdirectory, Some("a/b".into()));
        assert_eq!(source.checksum.as_deref(), Some(id));
        assert_eq!((source.keep_git_dir, source.submodules), (Some(true), false));
        assert_eq!(parse("tag=v1").unwrap().reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(parse("ref=refs/heads/x").unwrap().reference.as_deref(), Some("refs/heads/x"));
        assert_eq!(parse(&format!("commit={id}")).unwrap().reference.as_deref(), Some(id));
        assert_eq!(parse("checksum=abc").unwrap().reference, None);
        assert_eq!(parse("mtime=commit").unwrap().times, CheckoutTimes::Commit);
        assert!(parse(&format!("ref=v1&commit={id}&fetch-by-commit=true")).unwrap().fetch_by_commit);
        assert_eq!(parse("fetch-by-commit=1"), Err(ParseGitError::NoCommit));
        assert_eq!(parse("tag=a&branch=b"), Err(ParseGitError::SeveralReferences));
        assert_eq!(parse("x=1"), Err(ParseGitError::UnknownQuery("x".into())));
        assert_eq!(parse("ref=a#b"), Err(ParseGitError::FragmentAndQuery));
        for query in ["mtime=now", "submodules=perhaps", "commit=xyz", "tag="] {
            assert!(matches!(parse(query), Err(ParseGitError::Value { .. })), "{query}");
        }
    }

    #[test]
    fn a_token_is_neither_shown_nor_written() {
        let source = GitSource::parse("https://s3cret@h/a.git#main").unwrap();
        assert_eq!(source.login.as_ref().unwrap().user.reveal(), "s3cret");
        let written = serde_json::to_string(&source).unwrap();
        for text in [written, source.to_string(), format!("{source:?}")] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
