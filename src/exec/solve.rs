//! From a graph to layers: every step once, independent ones side by side.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};

use super::contents::Contents;
use super::copy::{self, Arrangement, CopyError, CopyRules, Selected};
use super::error::{StepError, StepFailure};
use super::layers::{ImageLayer, Layers, Origin};
use super::result::{FileSystem, StepRecord};
use super::run::Runner;
use super::writing::NewLayer;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::context::ignore::Ignore;
use crate::event::{ActivityKind, Events};
use crate::graph::{
    BaseSource, Bases, CopyInput, CopyStep, Files, Graph, KeyWriter, Operation, Step, StepId,
    WorkingDirectoryStep,
};
use crate::image::Time;
use crate::layer::{Digest, Hasher, Metadata, TarWriter};
use crate::rootfs::{Content, ContentSource, Leaf, LeafKind, Node, Owner, Tree};

/// The times of a build.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What counts as now.
    pub now: Time,
    /// `SOURCE_DATE_EPOCH`: no time in what is made here is later.
    pub epoch: Option<i64>,
}

/// What a build's steps are carried out with.
#[derive(Debug)]
pub struct SolverSettings {
    /// The layers.
    pub layers: Layers,
    /// Where events go.
    pub events: Events,
    /// The end of all.
    pub cancel: Cancel,
    /// Times.
    pub clock: Clock,
    /// Whether results of earlier builds are used.
    pub use_cache: bool,
    /// The build context under `None`, the named ones under their names.
    pub contexts: BTreeMap<Option<String>, Arc<Context>>,
    /// Executes the RUNs.
    pub runner: Runner,
}

/// Carries out steps.
#[derive(Debug)]
pub struct Solver {
    settings: SolverSettings,
    /// Digests of files of contexts that were read already.
    digests: Mutex<HashMap<(Option<String>, std::path::PathBuf), Digest>>,
    /// What the steps of this build came to, by key: stages often begin alike, and what they have in common is to be
    /// done once, and at one time.
    done: Mutex<HashMap<Digest, Arc<Mutex<Option<Done>>>>>,
}

/// A step's layer, and when it was made.
type Done = (ImageLayer, Time);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks protect is only ever replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step that is being carried out: clones wait for the same result.
pub type Solution = Shared<BoxFuture<'static, Result<Arc<FileSystem>, StepFailure>>>;

impl Solver {
    /// A solver.
    pub fn new(settings: SolverSettings) -> Arc<Self> {
        Arc::new(Self { settings, digests: Mutex::default(), done: Mutex::default() })
    }

    /// The solutions of all steps; none begins before it is waited for.
    pub fn solve(self: &Arc<Self>, graph: &Arc<Graph>, bases: &Arc<Bases>) -> Vec<Solution> {
        let mut solutions: Vec<Solution> = Vec::with_capacity(graph.steps.len());
        for (position, step) in graph.steps.iter().enumerate() {
            let inputs: BTreeMap<StepId, Solution> =
                inputs(step).into_iter().map(|id| (id, solutions[id.position()].clone())).collect();
            let (solver, graph, bases) = (Arc::clone(self), Arc::clone(graph), Arc::clone(bases));
            let solution = async move {
                let step = &graph.steps[position];
                let fail = |error| StepFailure {
                    place: step.place.clone(),
                    name: step.name.clone(),
                    error: Arc::new(error),
                };
                let mut results = BTreeMap::new();
                let waiting = inputs.into_iter().map(|(id, solution)| async move { (id, solution.await) });
                for (id, result) in join_all(waiting).await {
                    results.insert(id, result?);
                }
                if let Operation::Base(request) = &step.operation {
                    return bases
                        .get(request)
                        .map(|base| Arc::new(base_file_system(&request.source, &base.layers)))
                        .ok_or_else(|| fail(StepError::NoContext { name: request.source.to_string() }));
                }
                let (worker, work) = (Arc::clone(&solver), Arc::clone(&graph));
                let done = tokio::task::spawn_blocking(move || {
                    let done = worker.carry_out(&work.steps[position], &results);
                    done.map_err(|error| worker.cause(error, &results))
                });
                match done.await {
                    Ok(result) => result.map_err(fail),
                    Err(error) => Err(fail(error.into())),
                }
            };
            solutions.push(solution.boxed().shared());
        }
        solutions
    }

    /// The reason behind an error: what looks like nonsense in a layer may be a download that went wrong.
    fn cause(&self, error: StepError, inputs: &BTreeMap<StepId, Arc<FileSystem>>) -> StepError {
        if !error.is_about_layers() || self.settings.cancel.is_cancelled() {
            return error;
        }
        let layers: Vec<ImageLayer> = inputs.values().flat_map(|input| input.layers()).collect();
        self.settings.layers.damage(&layers).map_or(error, StepError::Layer)
    }

    /// Carries out one step whose inputs are known. Blocks.
    fn carry_out(
        &self,
        step: &Step,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        if self.settings.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        match &step.operation {
            Operation::Base(_) | Operation::Scratch => {
                Ok(Arc::new(FileSystem::base(KeyWriter::new("scratch").finish(), Vec::new())))
            }
            Operation::Copy(copy) => self.copy(step, copy, inputs),
            Operation::WorkingDirectory(directory) => self.make_directory(step, directory, inputs),
            Operation::Run(run) => {
                let below = input(inputs, run.parent)?;
                let key = super::run::key(run, below.key(), self.settings.clock);
                self.layer_on(step, below, key, |below, activity| {
                    self.settings.runner.run(run, below, &self.settings, activity)
                })
            }
        }
    }

    /// The layer of this key on top of `below`: the one that is known, or the one that `make` makes.
    fn layer_on(
        &self,
        step: &Step,
        below: &Arc<FileSystem>,
        key: Digest,
        make: impl FnOnce(&Arc<FileSystem>, &crate::event::Activity) -> Result<ImageLayer, StepError>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let activity = self.settings.events.begin(ActivityKind::Step, step.name.clone());
        let slot = Arc::clone(lock(&self.done).entry(key).or_default());
        // Held until the step is done: who has the same one waits for it here.
        let mut done = lock(&slot);
        let known = match &*done {
            Some(known) => Some(known.clone()),
            None if self.settings.use_cache => self.kept(key)?,
            None => None,
        };
        let (layer, created) = match known {
            Some(known) => {
                activity.cached();
                known
            }
            None => match make(below, &activity) {
                Ok(layer) => {
                    let created = self.settings.clock.created()?;
                    let record = StepRecord { layer: layer.layer.clone(), created };
                    self.settings.layers.store().keep_step(key, &record)?;
                    activity.done();
                    (layer, created)
                }
                Err(error) => {
                    // A cancelled build takes away what steps stand on; that is not their failure.
                    if !self.settings.cancel.is_cancelled() {
                        activity.failed();
                    }
                    return Err(error);
                }
            },
        };
        *done = Some((layer.clone(), created));
        Ok(Arc::new(FileSystem::on_top(Arc::clone(below), key, layer, created)))
    }

    /// What an earlier build has left of the step with this key.
    fn kept(&self, key: Digest) -> Result<Option<Done>, StepError> {
        let store = self.settings.layers.store();
        let record = store.step::<StepRecord>(key)?.filter(|record| store.has_blob(&record.layer.descriptor));
        Ok(record.map(|StepRecord { layer, created }| (ImageLayer { layer, origin: Origin::Store }, created)))
    }

    fn make_directory(
        &self,
        step: &Step,
        directory: &WorkingDirectoryStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let below = input(inputs, directory.parent)?;
        let mut key = KeyWriter::new("working-directory");
        key.digest(below.key());
        key.field(directory.path.as_os_str().as_encoded_bytes()).field(&directory.user);
        self.settings.clock.write_to(&mut key);
        self.layer_on(step, below, key.finish(), |below, _| {
            let tree = below.tree(&self.settings.layers)?;
            let owner = if directory.user.is_empty() {
                Owner::default()
            } else {
                Owner::parse(&directory.user, &tree)
                    .map_err(|source| StepError::Owner { source, span: None })?
            };
            let now = self.settings.clock.now.epoch_seconds();
            let placed = copy::make_working_directory(&tree, &directory.path, owner, now)
                .map_err(|source| StepError::Copy { source, span: None })?;
            let contents = Contents { context: None, layers: &self.settings.layers, sources: HashMap::new() };
            self.write(&placed, &contents)
        })
    }

    fn copy(
        &self,
        step: &Step,
        copy: &CopyStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let below = input(inputs, copy.parent)?;
        let selection = self.select(copy, inputs)?;
        let key = self.copy_key(copy, below, &selection)?;
        self.layer_on(step, below, key, |below, _| {
            let base = if copy.link && copy.owner.is_none() {
                Tree::empty()
            } else {
                below.tree(&self.settings.layers)?
            };
            let rules = self.rules(copy, &base)?;
            let over = if copy.link { Tree::empty() } else { base };
            let mut arrangement = Arrangement::new(&over);
            if selection.files.iter().map(|(_, files)| files.len()).sum::<usize>() > 1
                && !rules.into_directory
            {
                arrangement
                    .require_directory(&rules.destination)
                    .map_err(|source| StepError::Copy { source, span: None })?;
            }
            for (span, files) in &selection.files {
                copy::arrange(&mut arrangement, files, &rules)
                    .map_err(|source| StepError::Copy { source, span: *span })?;
            }
            let mut placed = arrangement.finish();
            if let Some(epoch) = self.settings.clock.epoch {
                for placed in &mut placed {
                    placed.entry.metadata.mtime = placed.entry.metadata.mtime.min(epoch);
                }
            }
            let contents = Contents {
                context: selection.context.as_deref(),
                layers: &self.settings.layers,
                sources: selection.layers.clone(),
            };
            self.write(&placed, &contents)
        })
    }

    fn rules(&self, copy: &CopyStep, base: &Tree) -> Result<CopyRules, StepError> {
        let owner = copy.owner.as_ref().map(|owner| {
            Owner::parse(&owner.value, base)
                .map_err(|source| StepError::Owner { source, span: Some(owner.span) })
        });
        Ok(CopyRules {
            destination: copy.destination.clone(),
            into_directory: copy.into_directory,
            owner: owner.transpose()?,
            mode: copy.mode.clone(),
            parents: copy.parents,
            exclude: exclusions(copy)?,
            now: self.settings.clock.now.epoch_seconds(),
        })
    }

    /// Finds the files that a COPY means.
    fn select(
        &self,
        copy: &CopyStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Selection, StepError> {
        let mut selection = Selection::default();
        for source in &copy.sources {
            match source {
                CopyInput::Inline { name, text } => {
                    let content = Content {
                        size: text.len() as u64,
                        source: ContentSource::Inline(Arc::clone(text)),
                        text: None,
                    };
                    let metadata = Metadata {
                        mtime: self.settings.clock.now.epoch_seconds(),
                        ..Metadata::with_mode(0o644)
                    };
                    let leaf = Leaf { metadata, kind: LeafKind::File(content) };
                    let selected = Selected::file(name, Node::Leaf(Arc::new(leaf)));
                    selection.files.push((None, vec![selected]));
                }
                CopyInput::Files { from, pattern } => {
                    let tree = match from {
                        Files::Context(name) => {
                            let context = self.context(name.as_ref())?;
                            selection.context = Some(Arc::clone(context));
                            selection.context_name.clone_from(name);
                            context.tree().clone()
                        }
                        Files::Step(id) => {
                            let files = input(inputs, *id)?;
                            let layers = files.layers().into_iter();
                            selection.layers.extend(layers.map(|layer| (layer.layer.diff_id, layer)));
                            files.tree(&self.settings.layers)?
                        }
                    };
                    let files =
                        copy::select(&tree, &pattern.value, copy.parents).map_err(|source| {
                            match (&source, from) {
                                (CopyError::NotFound { path, .. }, Files::Context(_))
                                    if selection.context.as_ref().is_some_and(|found| found.hides(path)) =>
                                {
                                    StepError::Ignored { path: path.clone(), span: pattern.span }
                                }
                                _ => StepError::Copy { source, span: Some(pattern.span) },
                            }
                        })?;
                    selection.files.push((Some(pattern.span), files));
                }
            }
        }
        Ok(selection)
    }

    fn context(&self, name: Option<&String>) -> Result<&Arc<Context>, StepError> {
        let found = self.settings.contexts.get(&name.cloned());
        found.ok_or_else(|| StepError::NoContext { name: name.cloned().unwrap_or_default() })
    }

    fn copy_key(
        &self,
        copy: &CopyStep,
        below: &Arc<FileSystem>,
        selection: &Selection,
    ) -> Result<Digest, StepError> {
        let mut key = KeyWriter::new("copy");
        // What `--link` makes does not depend on what is below, except for the names of owners.
        let depends = !copy.link || copy.owner.is_some();
        key.optional(depends.then(|| *below.key().as_bytes()));
        key.field(copy.destination.as_os_str().as_encoded_bytes());
        key.number(u64::from(copy.into_directory))
            .number(u64::from(copy.parents))
            .number(u64::from(copy.link));
        key.number(u64::from(copy.unpack_local));
        key.optional(copy.owner.as_ref().map(|owner| &owner.value));
        key.optional(copy.mode.as_ref().map(|mode| format!("{mode:?}")));
        key.list(copy.exclude.iter().map(|pattern| &pattern.value));
        self.settings.clock.write_to(&mut key);
        for (_, files) in &selection.files {
            key.number(files.len() as u64);
            for file in files {
                key.field(file.path.as_os_str().as_encoded_bytes()).number(u64::from(file.is_pivot));
                key.number(file.parents.len() as u64);
                for (name, metadata) in &file.parents {
                    key.field(name.as_encoded_bytes());
                    write_metadata(&mut key, metadata);
                }
                self.write_node(&mut key, &file.node, selection)?;
                if let Node::Directory(directory) = &file.node {
                    let mut inside = Vec::new();
                    crate::rootfs::walk_into(directory, std::path::Path::new(""), &mut inside);
                    key.number(inside.len() as u64);
                    for (path, node) in &inside {
                        key.field(path.as_os_str().as_encoded_bytes());
                        self.write_node(&mut key, node, selection)?;
                    }
                }
            }
        }
        Ok(key.finish())
    }

    /// Adds what a node is, but for its times.
    fn write_node(&self, key: &mut KeyWriter, node: &Node, selection: &Selection) -> Result<(), StepError> {
        write_metadata(key, node.metadata());
        let Node::Leaf(leaf) = node else {
            key.field("directory");
            return Ok(());
        };
        match &leaf.kind {
            LeafKind::Symlink(target) => {
                key.field("link").field(target.as_os_str().as_encoded_bytes());
            }
            LeafKind::CharDevice(device) => {
                key.field("char").number(device.major.into()).number(device.minor.into());
            }
            LeafKind::BlockDevice(device) => {
                key.field("block").number(device.major.into()).number(device.minor.into());
            }
            LeafKind::Fifo => {
                key.field("fifo");
            }
            LeafKind::File(content) => {
                key.field("file").number(content.size);
                match &content.source {
                    ContentSource::Inline(bytes) => key.digest(Digest::of(bytes)),
                    ContentSource::Layer { diff_id, offset } => key.digest(diff_id.0).number(*offset),
                    ContentSource::Context(path) => key.digest(self.digest_of(path, selection)?),
                    ContentSource::File { path, offset } => {
                        key.field(path.as_os_str().as_encoded_bytes()).number(*offset)
                    }
                };
            }
        }
        Ok(())
    }

    /// The digest of a file of the context; every file is read for it once per build.
    fn digest_of(&self, path: &std::path::Path, selection: &Selection) -> Result<Digest, StepError> {
        let known = (selection.context_name.clone(), path.to_owned());
        if let Some(digest) = lock(&self.digests).get(&known) {
            return Ok(*digest);
        }
        let context = self.context(selection.context_name.as_ref())?;
        let mut file = context.open(path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = std::io::Read::read(&mut file, &mut buffer)
                .map_err(|source| crate::context::ContextError::Read { path: path.to_owned(), source })?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
        let digest = hasher.finish();
        lock(&self.digests).insert(known, digest);
        Ok(digest)
    }

    /// Writes a layer.
    fn write(&self, placed: &[copy::Placed], contents: &Contents<'_>) -> Result<ImageLayer, StepError> {
        let mut tar = TarWriter::new(NewLayer::begin(&self.settings.layers)?);
        contents.write(placed, &mut tar)?;
        tar.finish()?.finish()
    }
}

/// The patterns of `--exclude`; as with BuildKit, one that begins with `/` matches nothing.
fn exclusions(copy: &CopyStep) -> Result<Ignore, StepError> {
    let mut patterns = Vec::new();
    for pattern in copy.exclude.iter().filter(|pattern| !pattern.value.starts_with('/')) {
        Ignore::parse(&pattern.value).map_err(|error| StepError::Pattern {
            pattern: pattern.value.clone(),
            reason: error.to_string(),
            span: pattern.span,
        })?;
        patterns.push(pattern.value.as_str());
    }
    let text = patterns.join("\n");
    let span = copy.exclude.first().map(|pattern| pattern.span).unwrap_or_default();
    Ignore::parse(&text).map_err(|error| StepError::Pattern {
        pattern: text,
        reason: error.to_string(),
        span,
    })
}

/// What the sources of a COPY turned out to be.
#[derive(Debug, Default)]
struct Selection {
    /// Per source: where it is written, and the files.
    files: Vec<(Option<crate::dockerfile::Span>, Vec<Selected>)>,
    context: Option<Arc<Context>>,
    context_name: Option<String>,
    layers: HashMap<crate::layer::DiffId, ImageLayer>,
}

impl Clock {
    /// When something that is made now was made.
    fn created(self) -> Result<Time, StepError> {
        let time = match self.epoch {
            Some(epoch) => Time::from_epoch(epoch),
            None => Ok(Time::now()),
        };
        time.map_err(|error| StepError::Write(std::io::Error::other(error)))
    }

    /// Layers made with another limit on their times are other layers.
    pub(super) fn write_to(self, key: &mut KeyWriter) {
        key.optional(self.epoch.map(i64::to_be_bytes));
    }
}

fn write_metadata(key: &mut KeyWriter, metadata: &Metadata) {
    key.number(metadata.mode.into()).number(metadata.uid.into()).number(metadata.gid.into());
    key.optional(metadata.xattrs.get("security.capability"));
}

/// The steps whose results a step needs.
fn inputs(step: &Step) -> Vec<StepId> {
    let mut inputs: Vec<StepId> = step.operation.parent().into_iter().collect();
    match &step.operation {
        Operation::Copy(copy) => {
            for source in &copy.sources {
                if let CopyInput::Files { from: Files::Step(id), .. } = source {
                    inputs.push(*id);
                }
            }
        }
        Operation::Run(run) => {
            inputs.extend(run.mounts.iter().filter_map(|mount| match mount.from {
                Some(Files::Step(id)) => Some(id),
                _ => None,
            }));
        }
        _ => {}
    }
    inputs
}

fn input(inputs: &BTreeMap<StepId, Arc<FileSystem>>, id: StepId) -> Result<&Arc<FileSystem>, StepError> {
    inputs.get(&id).ok_or_else(|| StepError::NoContext { name: format!("step {}", id.position()) })
}

/// An image's file system; its key is what it contains, not what it is called.
fn base_file_system(source: &BaseSource, layers: &[crate::image::Layer]) -> FileSystem {
    let mut key = KeyWriter::new("base");
    key.list(layers.iter().map(|layer| *layer.diff_id.0.as_bytes()));
    let origin = match source {
        BaseSource::Registry(image) => Origin::Registry(image.repository().clone()),
        BaseSource::Layout { path, .. } => Origin::Layout(path.clone()),
    };
    let layers =
        layers.iter().map(|layer| ImageLayer { layer: layer.clone(), origin: origin.clone() }).collect();
    FileSystem::base(key.finish(), layers)
}

impl From<CopyError> for StepError {
    fn from(source: CopyError) -> Self {
        Self::Copy { source, span: None }
    }
}
