//! From a graph to layers: every step once, independent ones side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};

use super::contents::Contents;
use super::copy::{self};
use super::error::{StepError, StepFailure};
use super::layers::{ImageLayer, Layers, Origin};
use super::result::{FileSystem, StepRecord};
use super::run::Runner;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::context::fetch::Fetcher;
use crate::event::{ActivityKind, Events, Subject};
use crate::graph::{
    BaseRequest, BaseSource, Bases, CopyInput, Files, Graph, KeyWriter, Operation, Step, StepId,
    WorkingDirectoryStep,
};
use crate::image::Time;
use crate::layer::{Digest, Encoding};
use crate::rootfs::Owner;

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
    /// Whether those of RUN are.
    pub use_cached_runs: bool,
    /// Results that were made before this are not used.
    pub oldest: Option<Time>,
    /// The build context under `None`, the named ones under their names.
    pub contexts: BTreeMap<Option<String>, Arc<Context>>,
    /// What is left out of layers: absolute paths, with all that is below them.
    pub ignored_paths: Vec<PathBuf>,
    /// Executes the RUNs.
    pub runner: Runner,
    /// Gets what ADD adds from elsewhere.
    pub fetcher: Fetcher,
}

/// Carries out steps.
#[derive(Debug)]
pub struct Solver {
    settings: SolverSettings,
    /// Digests of files of contexts that were read already.
    digests: Mutex<HashMap<(Option<String>, PathBuf), Digest>>,
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

    pub(super) fn settings(&self) -> &SolverSettings {
        &self.settings
    }

    /// Digests of files of contexts that were read already, by context and path.
    pub(super) fn digests(&self) -> &Mutex<HashMap<(Option<String>, PathBuf), Digest>> {
        &self.digests
    }

    /// The solutions of all steps; none begins before it is waited for.
    pub fn solve(self: &Arc<Self>, graph: &Arc<Graph>, bases: &Arc<Bases>) -> Vec<Solution> {
        let mut solutions: Vec<Solution> = Vec::with_capacity(graph.steps.len());
        let run_on = bases_that_are_run_on(graph);
        for (position, step) in graph.steps.iter().enumerate() {
            let inputs: BTreeMap<StepId, Solution> =
                inputs(step).into_iter().map(|id| (id, solutions[id.position()].clone())).collect();
            let (solver, graph, bases) = (Arc::clone(self), Arc::clone(graph), Arc::clone(bases));
            let is_run_on = matches!(&step.operation, Operation::Base(request) if run_on.contains(request));
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
                    // A graph is planned only when all of its bases are known.
                    let base = Arc::new(base_file_system(&request.source, &bases[request].layers));
                    if is_run_on {
                        solver.unpack_early(&base);
                    }
                    return Ok(base);
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

    /// Begins to unpack a base for a RUN. A base that was seen before may have RUNs whose results are known, and is
    /// unpacked when one turns out not to be.
    fn unpack_early(self: &Arc<Self>, base: &FileSystem) {
        let layers = &self.settings.layers;
        if base.own_layers().iter().all(|layer| layers.store().has_layer_index(layer.layer.diff_id)) {
            return;
        }
        let Some(early) = self.settings.runner.announce(base, layers) else { return };
        let solver = Arc::clone(self);
        tokio::task::spawn_blocking(move || solver.settings.runner.unpack(early, &solver.settings));
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
                let below = input(inputs, run.parent);
                let shown = self.shown(run, inputs)?;
                let key = self.settings.runner.key(run, &shown, below.key(), self.settings.clock);
                self.layer_on(step, below, key, |below, activity| {
                    self.settings.runner.run(run, &shown, below, &self.settings, activity)
                })
            }
        }
    }

    /// The layer of this key on top of `below`: the one that is known, or the one that `make` makes.
    pub(super) fn layer_on(
        &self,
        step: &Step,
        below: &Arc<FileSystem>,
        key: Digest,
        make: impl FnOnce(&Arc<FileSystem>, &crate::event::Activity) -> Result<ImageLayer, StepError>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let key = self.key_of_form(key);
        let activity = self.settings.events.begin_about(subject(step), ActivityKind::Step, step.name.clone());
        let slot = Arc::clone(lock(&self.done).entry(key).or_default());
        // Held until the step is done: who has the same one waits for it here.
        let mut done = lock(&slot);
        let known = match &*done {
            Some(known) => Some(known.clone()),
            None if self.may_recall(step) => self.kept(key)?,
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

    /// Whether a result of an earlier build will do for this step.
    fn may_recall(&self, step: &Step) -> bool {
        let is_run = matches!(step.operation, Operation::Run(_));
        self.settings.use_cache && (self.settings.use_cached_runs || !is_run)
    }

    /// The key of a layer that is written in the form this build wants: the same files may also have been written
    /// in full, or compressed otherwise. In the usual form it is the step's own.
    fn key_of_form(&self, key: Digest) -> Digest {
        let (encoding, ignored) = (self.settings.layers.encoding(), &self.settings.ignored_paths);
        if encoding == Encoding::default() && ignored.is_empty() {
            return key;
        }
        let mut form = KeyWriter::new("form");
        form.digest(key).field(format!("{encoding:?}"));
        form.list(ignored.iter().map(|path| path.as_os_str().as_encoded_bytes()));
        form.finish()
    }

    /// What an earlier build has left of the step with this key.
    fn kept(&self, key: Digest) -> Result<Option<Done>, StepError> {
        let store = self.settings.layers.store();
        let is_good = |record: &StepRecord| {
            let is_young = self.settings.oldest.is_none_or(|oldest| record.created >= oldest);
            is_young && store.has_blob(&record.layer.descriptor)
        };
        let record = store.step::<StepRecord>(key)?.filter(is_good);
        Ok(record.map(|StepRecord { layer, created }| (ImageLayer { layer, origin: Origin::Store }, created)))
    }

    fn make_directory(
        &self,
        step: &Step,
        directory: &WorkingDirectoryStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let below = input(inputs, directory.parent);
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
            let contents = Contents {
                context: None,
                layers: &self.settings.layers,
                sources: HashMap::new(),
                archives: HashMap::new(),
            };
            self.write(&placed, &contents)
        })
    }
}

impl Clock {
    /// The moment that was `age` ago, to the second. `None` before the years that can be written.
    pub fn before(self, age: std::time::Duration) -> Option<Time> {
        let age = i64::try_from(age.as_secs()).ok()?;
        Time::from_epoch(self.now.epoch_seconds().checked_sub(age)?).ok()
    }

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

/// What is said of a step: its instruction, without the stage it is in.
fn subject(step: &Step) -> Subject {
    let text = step.name.split_once("] ").map_or(step.name.as_str(), |(_, text)| text);
    Subject::Instruction { text: text.to_owned(), executes: matches!(step.operation, Operation::Run(_)) }
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

/// One of a step's inputs. All are there: [`inputs`] lists what a step may ask for.
pub(super) fn input(inputs: &BTreeMap<StepId, Arc<FileSystem>>, id: StepId) -> &Arc<FileSystem> {
    &inputs[&id]
}

/// The base images on which something is executed, in whatever stage.
fn bases_that_are_run_on(graph: &Graph) -> BTreeSet<&BaseRequest> {
    let ids = (0..graph.steps.len()).map(StepId::new);
    ids.filter(|id| matches!(graph.step(*id).operation, Operation::Run(_)))
        .filter_map(|id| graph.chain(id).first().copied())
        .filter_map(|id| match &graph.step(id).operation {
            Operation::Base(request) => Some(request),
            _ => None,
        })
        .collect()
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
