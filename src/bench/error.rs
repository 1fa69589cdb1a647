//! Why the harness cannot go on.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why nothing was measured, or a build did not end well.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file or directory of the harness cannot be used.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program has failed.
    #[error("`{program}` failed ({status}); what it said is in `{}`", log.display())]
    Failed {
        /// Which.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its output is.
        log: PathBuf,
    },
    /// A program has refused to do something.
    #[error("`{program}` failed: {said}")]
    Refused {
        /// Which.
        program: String,
        /// Its own words.
        said: String,
    },
    /// A server does not answer.
    #[error("`{program}` does not answer; its log is `{}`", log.display())]
    Silent {
        /// Which.
        program: String,
        /// Its log.
        log: PathBuf,
    },
    /// `/proc` does not tell what processes use.
    #[error("`/proc` does not tell what processes use; the harness needs Linux with task I/O accounting")]
    NoCounters,
    /// An image that was built cannot be read back.
    #[error("cannot read {image} back from the registry")]
    Image {
        /// Which.
        image: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A base image's layout cannot be read.
    #[error("the base image in `{}` cannot be read; make it with tests/tools/bench-bases.sh", path.display())]
    Base {
        /// The layout.
        path: PathBuf,
        /// Why.
        #[source]
        source: crate::image::layout::LayoutError,
    },
    /// No builder was chosen, or none is there.
    #[error("there is nothing to measure: no case and no builder is left")]
    Nothing,
}

impl BenchError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
