//! What the steps of a graph are made from, before any of them is carried out.
//!
//! The *definition* of a step is the operation, the digests of the files it takes from contexts, and the definitions of
//! the steps it builds on. So all results of earlier builds can be asked for at once, and a step whose result is known
//! makes those unnecessary that only it needs. Where a definition changed and its inputs' results did not, the step is
//! found by those: see [`Solver::copy_key`] and [`Runner::key`](super::run::Runner).

use std::collections::BTreeMap;
use std::path::Path;

use super::copy_step::Selection;
use super::error::StepError;
use super::mounts;
use super::solve::Solver;
use crate::dockerfile::{BindMount, CacheMount, Mount};
use crate::graph::{
    Bases, CopyInput, CopyStep, Definition, Files, Graph, KeyWriter, Operation, RunMount, RunStep, StepId,
};
use crate::layer::Digest;
use crate::rootfs::{ContentSource, Node, walk_into};

/// More files than these are told apart by their directories only.
const MOST_FILES: usize = 1000;

/// The definitions of the steps so far, by position.
type Definitions = [Option<Definition>];

impl Solver {
    /// The definitions of all steps. A step has none where something in it is known only when it is carried out (what
    /// is behind a URL), or is wrong (which is told when it is carried out). Reads files; blocks.
    pub(super) fn define(&self, graph: &Graph, bases: &Bases) -> Vec<Option<Definition>> {
        let mut definitions = Vec::with_capacity(graph.steps.len());
        for id in StepId::all(graph) {
            if self.settings().cancel.is_cancelled() {
                definitions.push(None);
                continue;
            }
            let definition = match &graph.step(id).operation {
                Operation::Base(request) => {
                    let mut base = Definition::new("base");
                    let mut layers = KeyWriter::new("layers");
                    let found = bases.get(request).map(|base| base.layers.as_slice()).unwrap_or_default();
                    layers.list(found.iter().map(|layer| layer.diff_id.0.as_bytes()));
                    base.part("layers", layers.finish());
                    Some(base)
                }
                Operation::Scratch => Some(Definition::new("scratch")),
                Operation::Copy(copy) => self.define_copy(copy, &definitions).unwrap_or_default(),
                Operation::WorkingDirectory(directory) => {
                    self.on_parent(directory.parent, &definitions).map(|parent| {
                        let mut definition = Definition::new("working directory");
                        definition.text("path", directory.path.as_os_str().as_encoded_bytes());
                        definition.text("USER", &directory.user);
                        definition.part("form of layers", self.form());
                        definition.part(PARENT, parent);
                        definition
                    })
                }
                Operation::Run(run) => self.define_run(run, &definitions).unwrap_or_default(),
            };
            definitions.push(definition);
        }
        definitions
    }

    #[expect(clippy::unused_self, reason = "reads as the others")]
    fn on_parent(&self, parent: StepId, definitions: &Definitions) -> Option<Digest> {
        definitions[parent.position()].as_ref().map(Definition::key)
    }

    /// `Ok(None)` and an error both mean that there is no definition.
    fn define_copy(
        &self,
        copy: &CopyStep,
        definitions: &Definitions,
    ) -> Result<Option<Definition>, StepError> {
        let mut definition = Definition::new("copy");
        definition.part("instruction", copy_flags(copy)).part("form of layers", self.form());
        for source in &copy.sources {
            match source {
                CopyInput::Files { from: from @ Files::Context(_), pattern } => {
                    let mut selection = Selection::default();
                    let tree = self.source_tree(from, &BTreeMap::new(), &mut selection)?;
                    let files = super::copy::select(&tree, &pattern.value, copy.parents)
                        .map_err(|source| StepError::Copy { source, span: None })?;
                    let mut key = KeyWriter::new("selected");
                    key.number(files.len() as u64);
                    for file in &files {
                        file.write_names(&mut key);
                    }
                    definition.part(format!("paths of `{}`", pattern.value), key.finish());
                    for file in &files {
                        self.define_files(&mut definition, &file.path, &file.node, &selection)?;
                    }
                }
                CopyInput::Files { from: Files::Step(id), pattern } => {
                    let Some(from) = self.on_parent(*id, definitions) else { return Ok(None) };
                    let mut key = KeyWriter::new("from a step");
                    key.digest(from).field(&pattern.value);
                    definition.part(format!("`{}` of another stage", pattern.value), key.finish());
                }
                CopyInput::Remote { url, checksum, unpack } => {
                    // What a URL stands for is known when it is fetched, unless it is announced.
                    let Some(checksum) = checksum else { return Ok(None) };
                    let mut key = KeyWriter::new("download");
                    key.field(&url.value).digest(*checksum).number(u64::from(*unpack));
                    // Not the URL itself, in which there may be a password.
                    definition.part("download", key.finish());
                }
                // Which commit a name stands for is known when it is asked.
                CopyInput::Git(_) => return Ok(None),
                CopyInput::Inline { name, text } => {
                    definition.text(format!("here-document `{name}`"), text);
                }
            }
        }
        if copy.depends_on_parent() {
            let Some(parent) = self.on_parent(copy.parent, definitions) else { return Ok(None) };
            definition.part(PARENT, parent);
        }
        Ok(Some(definition))
    }

    /// Adds what is at `path` in a context, file by file.
    fn define_files(
        &self,
        definition: &mut Definition,
        path: &Path,
        node: &Node,
        selection: &Selection,
    ) -> Result<(), StepError> {
        let mut inside = vec![(path.to_owned(), node.clone())];
        if let Node::Directory(directory) = node {
            walk_into(directory, path, &mut inside);
        }
        self.prepare_digests(&inside, selection);
        if inside.len() <= MOST_FILES {
            for (path, node) in &inside {
                let mut key = KeyWriter::new("file");
                self.write_node(&mut key, node, selection)?;
                definition.part(path.display().to_string(), key.finish());
            }
            return Ok(());
        }
        let mut directories: BTreeMap<&Path, KeyWriter> = BTreeMap::new();
        for (path, node) in &inside {
            let directory = path.parent().unwrap_or(Path::new(""));
            let key = directories.entry(directory).or_insert_with(|| KeyWriter::new("files"));
            key.field(path.as_os_str().as_encoded_bytes());
            self.write_node(key, node, selection)?;
        }
        if directories.len() <= MOST_FILES {
            for (directory, key) in directories {
                definition.part(format!("{}/", directory.display()), key.finish());
            }
        } else {
            let mut key = KeyWriter::new("all files");
            for (directory, files) in directories {
                key.field(directory.as_os_str().as_encoded_bytes()).digest(files.finish());
            }
            definition.part(format!("{}/", path.display()), key.finish());
        }
        Ok(())
    }

    /// Reads what must be read of these files, on all processors.
    fn prepare_digests(&self, files: &[(std::path::PathBuf, Node)], selection: &Selection) {
        let Some(context) = &selection.context else { return };
        let paths: Vec<&Path> = files
            .iter()
            .filter_map(|(_, node)| match &node.as_file()?.source {
                ContentSource::Context(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        self.digests().prepare(context, &paths);
    }

    fn define_run(&self, run: &RunStep, definitions: &Definitions) -> Result<Option<Definition>, StepError> {
        let Some(parent) = self.on_parent(run.parent, definitions) else { return Ok(None) };
        let mut mounts = Vec::new();
        for mount in &run.mounts {
            let shown = match (&mount.from, &mount.mount) {
                (
                    Some(Files::Step(id)),
                    Mount::Bind(BindMount { source, .. }) | Mount::Cache(CacheMount { source, .. }),
                ) => {
                    let Some(from) = self.on_parent(*id, definitions) else { return Ok(None) };
                    let mut key = KeyWriter::new("shown from a step");
                    key.digest(from).field(source);
                    Some(key.finish())
                }
                _ => self.shown_of_context(mount)?,
            };
            mounts.push(mounts::identity(mount, shown));
        }
        let mut definition = self.settings().runner.define(run, &mounts);
        definition.part("form of layers", self.form());
        definition.part(PARENT, parent);
        Ok(Some(definition))
    }

    /// Stands for what a mount shows of a context.
    fn shown_of_context(&self, mount: &RunMount) -> Result<Option<Digest>, StepError> {
        Ok(self.shown_by(mount, &BTreeMap::new())?.map(|shown| shown.key))
    }

    /// What has a say in every layer that is made: the latest time in it, how it is compressed, what is left out.
    pub(super) fn form(&self) -> Digest {
        let mut key = KeyWriter::new("form of layers");
        self.settings().clock.write_to(&mut key);
        key.field(format!("{:?}", self.settings().layers.encoding()));
        key.list(self.settings().ignored_paths.iter().map(|path| path.as_os_str().as_encoded_bytes()));
        key.finish()
    }
}

/// The name of the part that stands for the step below.
pub(super) const PARENT: &str = "the step before";

/// Everything that is written in a COPY, but its sources.
pub(super) fn copy_flags(copy: &CopyStep) -> Digest {
    let mut key = KeyWriter::new("flags of copy");
    key.field(copy.destination.as_os_str().as_encoded_bytes());
    key.number(u64::from(copy.into_directory)).number(u64::from(copy.parents)).number(u64::from(copy.link));
    key.optional(copy.owner.as_ref().map(|owner| &owner.value));
    key.optional(copy.mode.as_ref().map(|mode| format!("{mode:?}")));
    key.list(copy.exclude.iter().map(|pattern| &pattern.value));
    key.number(u64::from(copy.unpack_local)).number(copy.sources.len() as u64);
    key.finish()
}
