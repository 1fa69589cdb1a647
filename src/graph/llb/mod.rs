//! A graph as BuildKit's LLB: the same build, for a fleet of BuildKit daemons.
//!
//! The result is a `pb.Definition` as `buildctl build` reads it from standard input: a list of marshalled operations,
//! each naming its inputs by the SHA-256 of theirs, and a last one that names the result. The shapes are those of
//! BuildKit's own Dockerfile frontend (`frontend/dockerfile/dockerfile2llb`), the format is that of
//! `solver/pb/ops.proto`. Equal graphs give equal bytes.

mod copy;
mod definition;
mod mounts;
mod run;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard_buildkit_proto::pb;

use super::{Graph, Operation, Place, StepId, WorkingDirectoryStep};
use crate::image::Platform;
use definition::{DefinitionWriter, Output};

/// What an LLB definition needs besides the graph.
#[derive(Debug, Clone)]
pub struct LlbOptions<'a> {
    /// What the image is for.
    pub platform: &'a Platform,
    /// The `.dockerignore` patterns of each context, which `buildctl` applies when it sends files; the build context
    /// has no name.
    pub ignored: &'a BTreeMap<Option<String>, Vec<String>>,
    /// `--add-host`.
    pub extra_hosts: &'a [(String, IpAddr)],
    /// Whether the daemon may use results of earlier builds.
    pub use_cache: bool,
}

/// A graph as LLB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Llb {
    /// The marshalled `pb.Definition`.
    pub definition: Vec<u8>,
    /// The local directories it reads, by the names that `buildctl build --local NAME=PATH` gives them; the build
    /// context's is `None` and called [`CONTEXT`].
    pub locals: Vec<Option<String>>,
}

/// What `buildctl` is to call the build context.
pub const CONTEXT: &str = "context";

/// Why a graph cannot be written as LLB.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LlbError {
    /// Nothing is in the image.
    #[error("the image has no files: LLB cannot say so; add a FROM of an image, a COPY or a RUN")]
    Empty,
    /// A local layout is nothing a remote daemon can see.
    #[error(
        "{image} is on this machine, where a BuildKit daemon cannot read it; push the image, and name it instead"
    )]
    Layout {
        /// The image.
        image: String,
        /// Where it is named.
        place: Box<Place>,
    },
}

/// Writes a graph as LLB.
pub fn llb(graph: &Graph, options: &LlbOptions<'_>) -> Result<Llb, LlbError> {
    let mut writer = Writer {
        graph,
        options,
        definition: DefinitionWriter::new(options.platform, options.use_cache),
        outputs: Vec::with_capacity(graph.steps.len()),
        contexts: BTreeMap::new(),
    };
    for position in 0..graph.steps.len() {
        let output = writer.step(StepId::new(position))?;
        writer.outputs.push(output);
    }
    let result = writer.output(graph.result).ok_or(LlbError::Empty)?;
    let locals = writer.contexts.into_keys().collect();
    Ok(Llb { definition: writer.definition.finish(&result), locals })
}

/// The state of writing.
struct Writer<'a> {
    graph: &'a Graph,
    options: &'a LlbOptions<'a>,
    definition: DefinitionWriter,
    /// What each step yields; nothing for an empty file system, which is no vertex.
    outputs: Vec<Option<Output>>,
    /// The contexts used so far.
    contexts: BTreeMap<Option<String>, Output>,
}

/// An input index that means "none", of `solver/pb/const.go`.
const EMPTY: i64 = -1;

/// An output index that means "not kept".
const SKIP_OUTPUT: i64 = -1;

impl Writer<'_> {
    fn output(&self, step: StepId) -> Option<Output> {
        self.outputs.get(step.position()).cloned().flatten()
    }

    fn step(&mut self, id: StepId) -> Result<Option<Output>, LlbError> {
        let step = self.graph.step(id);
        let output = match &step.operation {
            Operation::Scratch => return Ok(None),
            Operation::Base(base) => self.image(base, step)?,
            Operation::Copy(copy) => self.copy(copy, step),
            Operation::WorkingDirectory(directory) => self.working_directory(directory, step),
            Operation::Run(run) => self.run(run, step),
        };
        Ok(Some(output))
    }

    fn working_directory(&mut self, directory: &WorkingDirectoryStep, step: &super::Step) -> Output {
        let inputs: Vec<Output> = self.output(directory.parent).into_iter().collect();
        let base = if inputs.is_empty() { EMPTY } else { 0 };
        let action = pb::file_action::Action::Mkdir(pb::FileActionMkDir {
            path: directory.path.to_string_lossy().into_owned(),
            mode: 0o755,
            make_parents: true,
            owner: (!directory.user.is_empty()).then(|| copy::owner(&directory.user, base)),
            timestamp: copy::NO_TIME,
        });
        let action = pb::FileAction { input: base, secondary_input: EMPTY, output: 0, action: Some(action) };
        let op = pb::op::Op::File(pb::FileOp { actions: vec![action] });
        self.definition.vertex(&inputs, op, &step.name, Some(&step.place))
    }
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
