//! What is to be done: a Dockerfile made concrete.
//!
//! [`plan`] is a pure function from a Dockerfile, build arguments and the configs of base images to a [`Graph`]:
//! steps that name their inputs, and the image that results. Steps are in an order in which inputs come first.
//! The model is BuildKit's LLB, so that a graph can also be written as one.

mod base;
mod key;
mod llb;
mod plan;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

pub use base::{Base, BaseRequest, BaseSource, Bases};
pub use key::{Change, ChangeKind, Definition, KeyWriter};
pub use llb::{CONTEXT as LLB_CONTEXT, Llb, LlbError, LlbOptions, llb};
pub use plan::{NamedContext, PlanRequest, Planned, global_argument, plan};

use crate::context::source::GitSource;
use crate::dockerfile::{Chmod, Mount, Network, Source, Span};
use crate::image::{History, ImageConfig, Platform};
use crate::layer::Digest;

/// Everything a build has to do for one platform.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The steps; inputs come before the steps that use them.
    pub steps: Vec<Step>,
    /// The step whose file system is the image's.
    pub result: StepId,
    /// The image's config, complete but for layers and times.
    pub config: ImageConfig,
    /// The image's history, oldest first.
    pub history: Vec<HistoryItem>,
}

/// Position of a step in [`Graph::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(usize);

/// One thing to do. It yields a file system: its parent's, with one layer on top, or a base.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is done.
    pub operation: Operation,
    /// What is shown of it, like `[build 2/5] COPY . .`.
    pub name: String,
    /// Where it is written.
    pub place: Place,
}

/// A place in a Dockerfile or in a base image's trigger.
#[derive(Debug, Clone)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// Where in it.
    pub span: Span,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Begins with an image.
    Base(BaseRequest),
    /// Begins with nothing.
    Scratch,
    /// Adds files.
    Copy(CopyStep),
    /// Makes a working directory.
    WorkingDirectory(WorkingDirectoryStep),
    /// Executes a command.
    Run(RunStep),
}

/// Files added to a file system.
#[derive(Debug, Clone)]
pub struct CopyStep {
    /// What the files are added to.
    pub parent: StepId,
    /// What is added, in order.
    pub sources: Vec<CopyInput>,
    /// Where to: absolute and clean.
    pub destination: PathBuf,
    /// Whether the destination was written as a directory.
    pub into_directory: bool,
    /// `--chown`, expanded.
    pub owner: Option<Located<String>>,
    /// `--chmod`.
    pub mode: Option<Chmod>,
    /// `--link`: the destination's tree is not looked at.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<Located<String>>,
    /// Whether local archives are unpacked.
    pub unpack_local: bool,
}

impl CopyStep {
    /// A step that adds nothing yet, to `/`.
    fn into_root(parent: StepId) -> Self {
        Self {
            parent,
            sources: Vec::new(),
            destination: PathBuf::from("/"),
            into_directory: true,
            owner: None,
            mode: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack_local: false,
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// One source of a [`CopyStep`].
#[derive(Debug, Clone)]
pub enum CopyInput {
    /// A path or pattern in some files.
    Files {
        /// Whose files.
        from: Files,
        /// The path or pattern.
        pattern: Located<String>,
    },
    /// A file behind a URL.
    Remote {
        /// The URL.
        url: Located<String>,
        /// `--checksum`.
        checksum: Option<Digest>,
        /// Whether it is unpacked if it is an archive.
        unpack: bool,
    },
    /// What a git repository has, in the directory that is meant.
    Git(Box<Located<GitSource>>),
    /// A here-document.
    Inline {
        /// Its name.
        name: String,
        /// Its text.
        text: Arc<[u8]>,
    },
}

/// Files that a step reads besides its parent's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Files {
    /// The build context, or the named one.
    Context(Option<String>),
    /// The file system that a step yields.
    Step(StepId),
}

/// A directory made for `WORKDIR`.
#[derive(Debug, Clone)]
pub struct WorkingDirectoryStep {
    /// Where it is made.
    pub parent: StepId,
    /// Absolute and clean, not `/`.
    pub path: PathBuf,
    /// `USER` at this point, whose it becomes; root if empty.
    pub user: String,
}

/// A command that is executed.
#[derive(Debug, Clone)]
pub struct RunStep {
    /// Where it is executed.
    pub parent: StepId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment, without what the isolation adds.
    pub env: Vec<(String, String)>,
    /// Proxy settings: in the environment, but no part of the step's identity.
    pub proxies: Vec<(String, String)>,
    /// Working directory.
    pub cwd: String,
    /// `USER` at this point.
    pub user: String,
    /// A script to be found at `/dev/pipes/NAME`.
    pub script: Option<Script>,
    /// What is mounted.
    pub mounts: Vec<RunMount>,
    /// `--network`.
    pub network: Network,
    /// The host name it sees.
    pub hostname: String,
    /// What its programs are for.
    pub platform: Platform,
}

/// A here-document that is executed as a program.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its name below `/dev/pipes`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A mount of a [`RunStep`].
#[derive(Debug, Clone)]
pub struct RunMount {
    /// What and where. Targets are absolute and clean, and a cache has its whole id.
    pub mount: Mount,
    /// For those that have a `from`, and for binds of the context: whose files.
    pub from: Option<Files>,
    /// Where it is written.
    pub span: Span,
}

/// An entry of the image's history.
#[derive(Debug, Clone)]
pub enum HistoryItem {
    /// Inherited from the base image.
    Base(History),
    /// Made by this build.
    Made {
        /// What is shown for it.
        created_by: String,
        /// The step whose layer it stands for; `None` for metadata.
        step: Option<StepId>,
    },
}

impl Graph {
    /// A step.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// The chain from the base to `id`: the base's step first.
    pub fn chain(&self, id: StepId) -> Vec<StepId> {
        let mut chain = vec![id];
        let mut at = id;
        while let Some(parent) = self.step(at).operation.parent() {
            chain.push(parent);
            at = parent;
        }
        chain.reverse();
        chain
    }

    /// The named contexts that its steps read.
    pub fn named_contexts(&self) -> BTreeSet<&str> {
        let files = self.steps.iter().flat_map(|step| step.operation.files());
        files
            .filter_map(|files| match files {
                Files::Context(name) => name.as_deref(),
                Files::Step(_) => None,
            })
            .collect()
    }
}

impl StepId {
    pub(crate) fn new(position: usize) -> Self {
        Self(position)
    }

    /// All steps of a graph, in order.
    pub(crate) fn all(graph: &Graph) -> impl DoubleEndedIterator<Item = Self> + use<> {
        (0..graph.steps.len()).map(Self)
    }

    /// The position.
    pub fn position(self) -> usize {
        self.0
    }
}

impl Operation {
    /// The step whose file system this one builds on.
    pub fn parent(&self) -> Option<StepId> {
        match self {
            Self::Base(_) | Self::Scratch => None,
            Self::Copy(step) => Some(step.parent),
            Self::WorkingDirectory(step) => Some(step.parent),
            Self::Run(step) => Some(step.parent),
        }
    }

    /// What it reads besides its parent's files.
    fn files(&self) -> Vec<&Files> {
        match self {
            Self::Base(_) | Self::Scratch | Self::WorkingDirectory(_) => Vec::new(),
            Self::Copy(copy) => copy
                .sources
                .iter()
                .filter_map(|source| match source {
                    CopyInput::Files { from, .. } => Some(from),
                    _ => None,
                })
                .collect(),
            Self::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
        }
    }

    /// The steps whose results this one needs.
    pub fn inputs(&self) -> Vec<StepId> {
        let mut inputs: Vec<StepId> = self.parent().into_iter().collect();
        match self {
            Self::Copy(copy) => {
                for source in &copy.sources {
                    if let CopyInput::Files { from: Files::Step(id), .. } = source {
                        inputs.push(*id);
                    }
                }
            }
            Self::Run(run) => {
                inputs.extend(run.mounts.iter().filter_map(|mount| match mount.from {
                    Some(Files::Step(id)) => Some(id),
                    _ => None,
                }));
            }
            _ => {}
        }
        inputs
    }
}
