//! Why a step could not be carried out.

use std::sync::Arc;

use super::contents::ContentsError;
use super::copy::{ArchiveError, CopyError};
use super::download::DownloadError;
use super::git_source::GitSourceError;
use super::layers::LayerError;
use super::mounts::MountError;
use super::sandbox::{EmulatorError, SandboxError};
use crate::context::ContextError;
use crate::dockerfile::Span;
use crate::graph::Place;
use crate::image::Platform;
use crate::layer::TarError;
use crate::rootfs::{OwnerError, TreeError};
use crate::store::StoreError;

/// A step that could not be carried out, with its place in the Dockerfile.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct StepFailure {
    /// Where the step is written.
    pub place: Place,
    /// What is shown of the step.
    pub name: String,
    /// Why. Shared, because several steps may wait for the one that failed.
    #[source]
    pub error: Arc<StepError>,
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A source or the destination of a COPY is not what it needs to be.
    #[error("{source}")]
    Copy {
        /// Why.
        source: CopyError,
        /// The word that is to blame.
        span: Option<Span>,
    },
    /// An archive that ADD unpacks is damaged.
    #[error("cannot unpack this archive")]
    Archive {
        /// Why.
        #[source]
        source: ArchiveError,
        /// The word that is to blame.
        span: Option<Span>,
    },
    /// A source of ADD cannot be downloaded.
    #[error("{source}")]
    Download {
        /// Why.
        source: DownloadError,
        /// The word that is to blame.
        span: Span,
    },
    /// A source of ADD cannot be fetched.
    #[error("{source}")]
    Git {
        /// Why.
        source: Box<GitSourceError>,
        /// The word that is to blame.
        span: Span,
    },
    /// A source of a COPY is there, but not for the build.
    #[error("`{path}` was not found: it is excluded by `.dockerignore`")]
    Ignored {
        /// The source, as written.
        path: String,
        /// Where it is written.
        span: Span,
    },
    /// `--chown`, or the user whose a working directory is to be.
    #[error("{source}")]
    Owner {
        /// Why.
        source: OwnerError,
        /// The word that is to blame.
        span: Option<Span>,
    },
    /// The command of a RUN failed.
    #[error("process \"{command}\" did not complete successfully: exit code: {code}")]
    Failed {
        /// The command with its arguments.
        command: String,
        /// Its exit code; 128 and the signal's number if one killed it.
        code: i32,
    },
    /// A program is for another architecture, and nobody here executes it.
    #[error(
        "`{program}` is for {platform}, which this machine ({}) does not execute: {advice}",
        Platform::host()
    )]
    Foreign {
        /// The program.
        program: String,
        /// What it is for.
        platform: Box<Platform>,
        /// What to do.
        advice: &'static str,
    },
    /// The emulator that was named is none.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The build was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Something the language allows and this builder does not do (yet).
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What.
        what: &'static str,
        /// Where it is written.
        span: Span,
    },
    /// A named context that was not given.
    #[error("there is no build context{}", if name.is_empty() { ": the build was given a Dockerfile and no files".to_owned() } else { format!(" `{name}`") })]
    NoContext {
        /// Its name.
        name: String,
    },
    /// A mount of a RUN cannot be had.
    #[error("{source}")]
    Mount {
        /// Why.
        source: MountError,
        /// Where it is written.
        span: Span,
    },
    /// An exclusion pattern that cannot be.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
        /// Where it is written.
        span: Span,
    },
    /// The base image's tree makes no sense.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Files cannot be written to a layer.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// The layer that was made cannot be read back.
    #[error("the new layer is not usable")]
    Tar(#[from] TarError),
    /// A layer cannot be written.
    #[error("cannot write a layer")]
    Write(#[source] std::io::Error),
    /// The sandbox fails.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl From<SandboxError> for StepError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Cancelled => Self::Cancelled,
            error => Self::Sandbox(error),
        }
    }
}

impl StepError {
    /// Whether it may have been met in the bytes of a layer below.
    pub(super) fn is_about_layers(&self) -> bool {
        matches!(self, Self::Tree(_) | Self::Layer(_) | Self::Contents(_) | Self::Tar(_) | Self::Sandbox(_))
    }

    /// The word that is to blame, if one is.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Copy { span, .. } | Self::Owner { span, .. } | Self::Archive { span, .. } => *span,
            Self::Download { span, .. }
            | Self::Git { span, .. }
            | Self::Ignored { span, .. }
            | Self::Mount { span, .. }
            | Self::Unsupported { span, .. }
            | Self::Pattern { span, .. } => Some(*span),
            _ => None,
        }
    }
}
