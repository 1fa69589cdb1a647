//! Why a repository cannot be had.

use std::io;
use std::path::PathBuf;

use crate::context::fetch::AccessError;
use crate::web::WebError;

/// Why a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Its server cannot be reached.
    #[error("cannot reach the git server {host}")]
    Unreachable {
        /// The host, with its port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its web server does not answer, or not as a git server does.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The server wants a login, or another one. Many servers say so of repositories that do not exist.
    #[error(
        "{url} refuses access (the server answers {status}): the repository does not exist, or a login is missing or wrong; give one as `--secret id=GIT_AUTH_TOKEN`, or to the executor as GIT_TOKEN"
    )]
    Refused {
        /// The repository.
        url: String,
        /// The status of HTTP.
        status: u16,
    },
    /// There is no such repository.
    #[error("there is no git repository at {url}")]
    NoRepository {
        /// Where it was looked for.
        url: String,
    },
    /// A login cannot be shown.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such reference.
    #[error("{url} has no branch, tag or commit `{reference}`{guess}")]
    UnknownReference {
        /// The repository.
        url: String,
        /// What was asked for.
        reference: String,
        /// What may have been meant.
        guess: String,
    },
    /// The repository has no commit at all.
    #[error("the repository at {url} is empty")]
    Empty {
        /// The repository.
        url: String,
    },
    /// The commit is not the one that was said.
    #[error("checksum mismatch: {url} is at commit {actual}, and {expected} was expected")]
    Checksum {
        /// The repository and the reference.
        url: String,
        /// What was expected: a commit id or its beginning.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// A reference points somewhere else than a moment ago.
    #[error("`{reference}` of {url} moved while it was fetched; build again")]
    Moved {
        /// The repository.
        url: String,
        /// The reference.
        reference: String,
    },
    /// The protocol fails, or the repository is damaged.
    #[error("cannot {action} {url}: {reason}")]
    Protocol {
        /// What was tried.
        action: &'static str,
        /// The repository.
        url: String,
        /// What the library says, which has no type for it.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write `{}` of the repository", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It goes beyond all measure.
    #[error("the repository {url} {what} more than {limit} bytes, which is the limit")]
    TooLarge {
        /// The repository.
        url: String,
        /// What it does with them.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A path that would lead out of the repository, or into its `.git`.
    #[error("the repository {url} holds the path `{path}`, which cannot be checked out")]
    Path {
        /// The repository.
        url: String,
        /// The path.
        path: String,
    },
    /// A submodule makes no sense.
    #[error("the submodule `{path}` of {url} cannot be fetched: {reason}")]
    Submodule {
        /// The repository that it is part of.
        url: String,
        /// Where it is in there.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A submodule cannot be fetched.
    #[error("cannot fetch the submodule `{path}`")]
    InSubmodule {
        /// Where it is.
        path: String,
        /// Why not.
        #[source]
        source: Box<GitError>,
    },
    /// The SSH server cannot be spoken to.
    #[error(transparent)]
    Ssh(#[from] super::transport::SshError),
    /// It was given up.
    #[error("cancelled")]
    Cancelled,
}
