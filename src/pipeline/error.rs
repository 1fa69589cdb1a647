//! Why a build failed, and how that is said.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use annotate_snippets::{Group, Level, Renderer};

use super::export::ExportError;
use crate::context::ContextError;
use crate::context::fetch::FetchError;
use crate::dockerfile::{Code, Diagnostic, Diagnostics, Severity};
use crate::exec::{LayerError, StepError, StepFailure, SupplyError};
use crate::graph::{BaseSource, LlbError};
use crate::image::{ConfigError, LayoutError, ManifestError, NoSuchPlatform, RepoName, TimeError};
use crate::registry::{RegistryError, SettingsError};
use crate::request::RequestError;
use crate::store::StoreError;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The request cannot be.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `SOURCE_DATE_EPOCH` is no time.
    #[error("SOURCE_DATE_EPOCH is not a time")]
    Epoch(#[source] TimeError),
    /// There is no Dockerfile.
    #[error("there is no Dockerfile at `{}`; name it with `--file PATH`", path.display())]
    NoDockerfile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The Dockerfile cannot be read.
    #[error("cannot read `{}`", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The `.dockerignore` makes no sense.
    #[error("`{}`: {reason}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The Dockerfile has mistakes.
    #[error("{0}")]
    Dockerfile(Diagnostics),
    /// The context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context cannot be had.
    #[error("cannot load the build context from {context}")]
    Fetch {
        /// Where it is.
        context: String,
        /// Why not.
        #[source]
        source: Box<FetchError>,
    },
    /// The context is a Dockerfile, and another one is named.
    #[error("{context} is a Dockerfile, and `--file` names another one: give one of them")]
    TwoDockerfiles {
        /// Where the first is.
        context: String,
    },
    /// A secret or an agent cannot be had.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings for registries cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A base image cannot be had.
    #[error("cannot use the image {image}")]
    Base {
        /// The image.
        image: BaseSource,
        /// Why.
        #[source]
        source: Box<BaseError>,
    },
    /// A step failed.
    #[error("{0}")]
    Step(#[source] Box<StepFailure>),
    /// The image's config cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The image's manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A layer cannot be read for an output.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A registry does not take the image.
    #[error(transparent)]
    Push(#[from] RegistryError),
    /// A registry says beforehand that it would not take the image.
    #[error("checking push permission for \"{repository}\"")]
    PushForbidden {
        /// Where it was to go.
        repository: RepoName,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// An output cannot be written.
    #[error("cannot write the image to `{}`", path.display())]
    Export {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ExportError>,
    },
    /// The build cannot be written as LLB.
    #[error(transparent)]
    Llb(LlbError),
    /// It was cancelled from outside.
    #[error("the build was cancelled")]
    Cancelled,
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

/// Why a base image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// Its registry does not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry cannot even be asked.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No registry may be asked, and the store does not have it.
    #[error(
        "it is not in the store, and `--offline` forbids to fetch it; build once without `--offline`, or name it as oci-layout://PATH"
    )]
    Offline,
    /// Its manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It exists for other platforms only.
    #[error(transparent)]
    Platform(#[from] NoSuchPlatform),
    /// Its config makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The config and the manifest disagree.
    #[error("its config names {diff_ids} layers and its manifest {layers}")]
    LayerCount {
        /// In the config.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
    /// A layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl From<StepFailure> for BuildError {
    fn from(failure: StepFailure) -> Self {
        Self::Step(Box::new(failure))
    }
}

impl BuildError {
    /// The exit code of a program that ends with this error: that of the command that failed, 130 after an
    /// interruption, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cancelled => 130,
            Self::Step(failure) => match &*failure.error {
                StepError::Failed { code, .. } => u8::try_from(*code).unwrap_or(1).max(1),
                StepError::Cancelled => 130,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// The error in one line that begins with its place in the Dockerfile, where there is one. Of several mistakes it
    /// is the first.
    pub fn summary(&self) -> String {
        let (text, source, span) = match self {
            Self::Dockerfile(diagnostics) => {
                let mut errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
                let Some(first) = errors.next().or_else(|| diagnostics.iter().next()) else {
                    return "the Dockerfile has mistakes".to_owned();
                };
                (first.message.clone(), diagnostics.source(), first.span)
            }
            Self::Step(failure) => {
                let span = failure.error.span().unwrap_or(failure.place.span);
                (chain(&*failure.error), &failure.place.source, Some(span))
            }
            error => return chain(error),
        };
        let place = span.map(|span| format!(":{}", source.line_column(span.start).line)).unwrap_or_default();
        format!("{}{place}: {text}", source.name())
    }

    /// What is shown: with the place in the Dockerfile and the line, where there is one.
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Dockerfile(diagnostics) => diagnostics.render(colour),
            Self::Step(failure) => render_step(failure, colour),
            error => {
                let text = error_line(&chain(error), colour);
                let store = match error {
                    Self::Store(store) | Self::Layer(LayerError::Store(store)) => store.advice(),
                    _ => None,
                };
                match store.or_else(|| advice(error)) {
                    Some(advice) => format!("{text}\n  = help: {advice}"),
                    None => text,
                }
            }
        }
    }
}

/// `error: …` in the look of diagnostics.
pub(crate) fn error_line(text: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    // The title is the message alone: the library makes control characters in it visible.
    renderer.render(&[Group::with_title(Level::ERROR.primary_title(text))])
}

/// What to do about a cause that deep layers meet, and that has nothing to do with what they were doing.
fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let is_full = causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    });
    is_full.then_some("the disk is full; free some space, or name another place with `--store DIR`")
}

fn render_step(failure: &StepFailure, colour: bool) -> String {
    let error = &*failure.error;
    let span = error.span().unwrap_or(failure.place.span);
    let code = match error {
        StepError::Copy { .. } | StepError::Ignored { .. } => Code::NotFound,
        StepError::Owner { .. } | StepError::Pattern { .. } => Code::InvalidValue,
        StepError::Mount { .. } => Code::InvalidMount,
        StepError::Unsupported { .. } => Code::Unsupported,
        _ => Code::StepFailed,
    };
    let diagnostic = Diagnostic::error(code, chain(error), span);
    let store = match error {
        StepError::Store(store) | StepError::Layer(LayerError::Store(store)) => store.advice(),
        _ => None,
    };
    let diagnostic = match store.or_else(|| advice(error)) {
        Some(advice) => diagnostic.advise(advice),
        None => diagnostic,
    };
    diagnostic.render(&failure.place.source, colour)
}

/// An error and its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent wrappers say what their cause says.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
