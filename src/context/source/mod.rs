//! Where the files of a build context are: types, and the two languages they are written in.
//!
//! ```text
//! `cooper build CONTEXT`, `--build-context` ─► buildx::parse ─┐
//!                                                             ├─► ContextSource ─► context::fetch
//! the executor's `--context`                ─► kaniko::parse ─┘
//! ```
//!
//! Parsing looks at nothing but the text. What is secret in it (a token in a URL) is kept apart, is not shown, and is
//! not written with a request.

pub mod buildx;
mod git;
pub mod kaniko;
mod object;
mod web;

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use git::{CheckoutTimes, GitScheme, GitSource, GitUrl, ParseGitError};
pub(crate) use git::{is_commit_id, is_commit_prefix};
pub use object::ObjectAddress;
pub use web::{Login, ParseWebError, WebAddress};

use crate::image::ImageRef;

/// Where the files of the build context are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextSource {
    /// In a directory.
    Directory(PathBuf),
    /// There are none.
    Empty,
    /// Elsewhere: they are fetched when the build begins.
    Remote(Box<RemoteContext>),
}

/// Files that become a directory when a build begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteContext {
    /// Where they are.
    pub origin: ContextOrigin,
    /// The directory in there that is the context; relative and clean.
    pub subdirectory: Option<PathBuf>,
    /// Whether a `.dockerignore` that comes along counts: with Kaniko it does, with BuildKit only in a local directory.
    pub heeds_ignore_file: bool,
}

/// Where files are that are not in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextOrigin {
    /// In an archive on disk.
    Archive(PathBuf),
    /// On standard input: an archive, or a Dockerfile.
    Stdin,
    /// Behind an HTTP address: an archive, or a Dockerfile.
    Web(WebAddress),
    /// In a git repository.
    Git(GitSource),
    /// In an archive in an object store.
    Object(ObjectAddress),
    /// In an artifact in a registry, as `cooper submit` pushes it.
    Artifact(ImageRef),
}

impl ContextSource {
    /// All that is at `origin`.
    pub fn remote(origin: ContextOrigin) -> Self {
        Self::Remote(Box::new(RemoteContext::new(origin)))
    }
}

impl RemoteContext {
    /// All that is at `origin`.
    pub fn new(origin: ContextOrigin) -> Self {
        Self { origin, subdirectory: None, heeds_ignore_file: false }
    }
}

impl fmt::Display for ContextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Empty => f.write_str("nothing"),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl fmt::Display for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

impl fmt::Display for ContextOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Web(address) => address.fmt(f),
            Self::Git(source) => source.fmt(f),
            Self::Object(address) => address.fmt(f),
            Self::Artifact(image) => write!(f, "oci://{image}"),
        }
    }
}

/// A path inside a context: relative, without `.` and `..`. `None` if it is the context itself.
fn inner_path(text: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    Some(path).filter(|path| !path.as_os_str().is_empty())
}
