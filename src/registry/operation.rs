//! What is done with a registry, for messages.

use std::fmt;

use crate::image::{ImageRef, RepoName};
use crate::layer::Digest;

/// What was being done with a registry. Reads as the end of "cannot …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Fetching or looking for a manifest.
    PullManifest(ManifestName),
    /// Fetching a blob.
    PullBlob(RepoName, Digest),
    /// Asking whether a blob is there.
    CheckBlob(RepoName, Digest),
    /// Mounting a blob of another repository.
    MountBlob {
        /// The repository that shall have it.
        into: RepoName,
        /// The repository that has it.
        from: RepoName,
        /// The blob.
        digest: Digest,
    },
    /// Uploading a blob.
    PushBlob(RepoName, Digest),
    /// Uploading a manifest.
    PushManifest(ManifestName),
    /// Asking whether pushing is allowed.
    CheckPush(RepoName),
    /// Logging in; the name may have no path.
    LogIn(RepoName),
    /// Listing the repositories of a registry; the name has no path.
    ListRepositories(RepoName),
    /// Listing the tags of a repository.
    ListTags(RepoName),
    /// Deleting a manifest or a tag.
    Delete(ManifestName),
}

/// A repository with a tag or digest as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestName {
    /// The repository.
    pub repository: RepoName,
    /// Tag or digest.
    pub selector: String,
}

impl fmt::Display for ManifestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.selector.contains(':') { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.repository, self.selector)
    }
}

impl From<&ImageRef> for ManifestName {
    fn from(image: &ImageRef) -> Self {
        Self { repository: image.repository().clone(), selector: image.selector() }
    }
}

impl Operation {
    /// The repository it is about.
    pub fn repository(&self) -> &RepoName {
        match self {
            Self::PullManifest(name) | Self::PushManifest(name) | Self::Delete(name) => &name.repository,
            Self::PullBlob(repository, _)
            | Self::CheckBlob(repository, _)
            | Self::MountBlob { into: repository, .. }
            | Self::PushBlob(repository, _)
            | Self::CheckPush(repository)
            | Self::LogIn(repository)
            | Self::ListRepositories(repository)
            | Self::ListTags(repository) => repository,
        }
    }

    /// What a credential must allow for it.
    pub(super) fn right(&self) -> &'static str {
        match self {
            Self::PullManifest(_) | Self::PullBlob(..) | Self::ListTags(_) => "pull from",
            Self::LogIn(_) => "log in to",
            Self::ListRepositories(_) => "list the repositories of",
            Self::Delete(_) => "delete from",
            Self::CheckBlob(..)
            | Self::MountBlob { .. }
            | Self::PushBlob(..)
            | Self::PushManifest(_)
            | Self::CheckPush(_) => "push to",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullManifest(name) => write!(f, "pull the manifest of {name}"),
            Self::PullBlob(repository, digest) => write!(f, "pull the blob {digest} from {repository}"),
            Self::CheckBlob(repository, digest) => write!(f, "look for the blob {digest} in {repository}"),
            Self::MountBlob { into, from, digest } => {
                write!(f, "mount the blob {digest} from {from} into {into}")
            }
            Self::PushBlob(repository, digest) => write!(f, "push the blob {digest} to {repository}"),
            Self::PushManifest(name) => write!(f, "push the manifest {name}"),
            Self::CheckPush(repository) => write!(f, "push to {repository}"),
            Self::LogIn(registry) => write!(f, "log in to {}", registry.registry()),
            Self::ListRepositories(registry) => write!(f, "list the repositories of {}", registry.registry()),
            Self::ListTags(repository) => write!(f, "list the tags of {repository}"),
            Self::Delete(name) => write!(f, "delete {name}"),
        }
    }
}
