//! Git repositories that ADD adds.

use std::sync::Arc;

use super::copy::{Selected, select_literally};
use super::solve::Solver;
use crate::context::fetch::{FetchError, PrivateDirectory, directory_in};
use crate::context::source::{CheckoutTimes, GitSource};
use crate::context::{Context, ContextError};
use crate::event::ActivityKind;
use crate::git::{Asker, GitError, Received, Repositories, Resolved};
use crate::graph::KeyWriter;

/// A repository at the commit that is meant, which may not have been fetched yet.
#[derive(Debug)]
pub(super) struct GitFiles {
    source: GitSource,
    resolved: Resolved,
}

/// The files of a commit, as long as this lives.
#[derive(Debug)]
pub(super) struct CheckedOut {
    pub(super) files: Vec<Selected>,
    _directory: PrivateDirectory,
}

/// Why a repository cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum GitSourceError {
    /// It cannot be fetched.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The directory that is meant is not in it, or nothing may be fetched.
    #[error("cannot add {repository}")]
    Fetch {
        /// The repository.
        repository: String,
        /// Why not.
        #[source]
        source: Box<FetchError>,
    },
    /// What was checked out cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// What was checked out cannot be copied.
    #[error(transparent)]
    Copy(#[from] super::copy::CopyError),
}

impl GitFiles {
    /// Adds to a key what the files are: the commit says it all, wherever it was fetched from.
    pub(super) fn write_to(&self, key: &mut KeyWriter) {
        let source = &self.source;
        key.field("git").field(self.resolved.id());
        key.optional(source.subdirectory.as_ref().map(|path| path.as_os_str().as_encoded_bytes()));
        key.number(u64::from(source.submodules));
        key.number(u64::from(source.times == CheckoutTimes::Commit));
        // `.git` also tells where it is from.
        let keeps = source.keep_git_dir == Some(true);
        key.optional(keeps.then(|| source.url.to_string()));
    }
}

impl Solver {
    /// Finds out which commit is meant. Blocks.
    pub(super) fn resolve_git(&self, source: &GitSource) -> Result<GitFiles, GitSourceError> {
        let fetcher = &self.settings().fetcher;
        fetcher.require_network().map_err(|error| failed(source, error))?;
        let resolved = self.repositories(Received::new(|_, _| {})).resolve(source)?;
        Ok(GitFiles { source: source.clone(), resolved })
    }

    /// Fetches a commit and lists its files. Blocks.
    pub(super) fn check_out(&self, git: &GitFiles) -> Result<CheckedOut, GitSourceError> {
        let GitFiles { source, resolved } = git;
        let fetcher = &self.settings().fetcher;
        let activity = self.settings().events.begin(ActivityKind::Pull, format!("fetch {source}"));
        let activity = Arc::new(activity);
        let told = Arc::clone(&activity);
        let received = Received::new(move |bytes, total| told.progress(bytes, total));
        let directory = PrivateDirectory::new(fetcher.store())
            .map_err(|error| failed(source, FetchError::Scratch(error)))?;
        let result = self.repositories(received).check_out(source, Some(resolved), directory.path());
        // Nothing is told any more.
        if let Some(activity) = Arc::into_inner(activity) {
            activity.end_with(&result);
        }
        result?;
        let root = match &source.subdirectory {
            None => directory.path().to_owned(),
            Some(path) => directory_in(directory.path(), path).map_err(|error| failed(source, error))?,
        };
        let tree = Context::load_foreign(&root)?;
        Ok(CheckedOut { files: vec![select_literally(&tree, "/")?], _directory: directory })
    }

    fn repositories(&self, received: Arc<Received>) -> Repositories<'_> {
        let fetcher = &self.settings().fetcher;
        let stop = self.settings().cancel.flag();
        Repositories::new(fetcher.registries(), fetcher.access(), Asker::Dockerfile, received, stop)
    }
}

fn failed(source: &GitSource, error: FetchError) -> GitSourceError {
    GitSourceError::Fetch { repository: source.to_string(), source: Box::new(error) }
}
