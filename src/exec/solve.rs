//! From a graph to layers: every step once, independent ones side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use tokio::task::JoinError;

use super::cache_writer::{CacheWriter, Novelty};
use super::contents::Contents;
use super::context_digests::ContextDigests;
use super::copy::{self};
use super::error::{StepError, StepFailure};
use super::explain::{Explained, FoundBy, Reasons};
use super::layers::{ImageLayer, Layers, Origin};
pub use super::recall::Ages;
use super::recall::{Found, FoundIn, Needed, Recalled, StepRecord, ask_caches, in_caches, in_store};
use super::result::FileSystem;
use super::run::Runner;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::context::fetch::Fetcher;
use crate::event::{ActivityKind, Events, Subject};
use crate::graph::{
    BaseSource, Bases, Definition, Graph, KeyWriter, Operation, Step, StepId, WorkingDirectoryStep,
};
use crate::image::Time;
use crate::layer::Digest;
use crate::rootfs::Owner;
use crate::store::StepLock;

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
    /// The build context under `None`, the named ones under their names.
    pub contexts: BTreeMap<Option<String>, Arc<Context>>,
    /// What is left out of layers: absolute paths, with all that is below them.
    pub ignored_paths: Vec<PathBuf>,
    /// Executes the RUNs.
    pub runner: Runner,
    /// Which results are too old.
    pub ages: Ages,
    /// Where results are put besides the store.
    pub cache_writers: Vec<CacheWriter>,
    /// Whether it is told why each step was carried out or not.
    pub explain: bool,
    /// Gets what ADD adds from elsewhere.
    pub fetcher: Fetcher,
}

/// Carries out steps.
#[derive(Debug)]
pub struct Solver {
    settings: SolverSettings,
    digests: ContextDigests,
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

/// The solutions of a graph. None begins before it is waited for.
#[derive(Debug, Clone)]
pub struct Solutions {
    /// The file system of the image.
    pub result: Solution,
    /// Those that the image consists of, the base first, for whoever wants them one by one.
    pub image: Vec<Solution>,
}

/// A step at work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) step: &'a Step,
    /// Its definition's key, if it has a definition.
    pub(super) definition: Option<Digest>,
    /// What is to be said of it.
    pub(super) changes: &'a Reasons,
}

impl Solver {
    /// A solver.
    pub fn new(settings: SolverSettings) -> Arc<Self> {
        let digests = ContextDigests::new(Arc::clone(settings.layers.store()));
        Arc::new(Self { settings, digests, done: Mutex::default() })
    }

    pub(super) fn settings(&self) -> &SolverSettings {
        &self.settings
    }

    /// Keeps the digests of files of contexts for the next build.
    pub fn keep_digests(&self) {
        if let Err(error) = self.digests.keep() {
            self.settings.events.warn(crate::pipeline::describe(&error));
        }
    }

    /// Digests of the files of contexts.
    pub(super) fn digests(&self) -> &ContextDigests {
        &self.digests
    }

    /// Looks for what earlier builds have left, and says how to get at the rest. `scope` is what the definitions are
    /// remembered under, to be compared with those of the next build.
    pub async fn solve(
        self: &Arc<Self>,
        graph: &Arc<Graph>,
        bases: &Arc<Bases>,
        scope: &str,
    ) -> Result<Solutions, JoinError> {
        let Recollection { definitions, recalled, reasons, roots } = self.recall(graph, bases, scope).await?;
        let demanded = recalled.demanded(graph);
        let run_on = bases_to_run_on(graph, &demanded, &recalled);
        for root in run_on.iter().filter_map(|id| roots[id.position()].as_ref()) {
            self.settings.layers.expect(root.own_layers());
            self.unpack_early(root);
        }
        self.tell_known(graph, &demanded, &recalled, &definitions);
        let reasons = Arc::new(reasons);
        let mut solutions: Vec<Solution> = Vec::with_capacity(graph.steps.len());
        for id in StepId::all(graph) {
            if let Some(known) = &recalled.known[id.position()] {
                solutions.push(ready(Arc::clone(known)));
                continue;
            }
            if let Some(root) = &roots[id.position()] {
                solutions.push(ready(Arc::clone(root)));
                continue;
            }
            let inputs: BTreeMap<StepId, Solution> = graph
                .step(id)
                .operation
                .inputs()
                .into_iter()
                .map(|id| (id, solutions[id.position()].clone()))
                .collect();
            let (solver, graph, reasons) = (Arc::clone(self), Arc::clone(graph), Arc::clone(&reasons));
            let definition = definitions[id.position()];
            solutions.push(solver.solution(graph, id, definition, reasons, inputs).boxed().shared());
        }
        let chain = graph.chain(graph.result);
        let mut image: Vec<Solution> = recalled.image.iter().cloned().map(ready).collect();
        image.extend(chain.iter().skip(image.len()).map(|id| solutions[id.position()].clone()));
        Ok(Solutions { result: solutions[graph.result.position()].clone(), image })
    }

    /// One step, after its inputs.
    async fn solution(
        self: Arc<Self>,
        graph: Arc<Graph>,
        id: StepId,
        definition: Option<Digest>,
        reasons: Arc<Vec<Reasons>>,
        inputs: BTreeMap<StepId, Solution>,
    ) -> Result<Arc<FileSystem>, StepFailure> {
        let step = graph.step(id);
        let fail = |error| StepFailure {
            place: step.place.clone(),
            name: step.name.clone(),
            error: Arc::new(error),
        };
        // The first failure is the one that counts, whatever else goes on.
        let waiting = inputs.into_iter().map(|(id, solution)| async move { Ok((id, solution.await?)) });
        let results: BTreeMap<StepId, Arc<FileSystem>> = try_join_all(waiting).await?.into_iter().collect();
        let (worker, work) = (Arc::clone(&self), Arc::clone(&graph));
        let done = tokio::task::spawn_blocking(move || {
            let work = Work { step: work.step(id), definition, changes: &reasons[id.position()] };
            worker.carry_out(work, &results).map_err(|error| worker.cause(error, &results))
        });
        match done.await {
            Ok(result) => result.map_err(fail),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Finds out what the steps are made from, and what is known of them.
    async fn recall(
        self: &Arc<Self>,
        graph: &Arc<Graph>,
        bases: &Arc<Bases>,
        scope: &str,
    ) -> Result<Recollection, JoinError> {
        let roots: Vec<Option<Arc<FileSystem>>> = StepId::all(graph)
            .map(|id| match &graph.step(id).operation {
                Operation::Base(request) => {
                    let layers = bases.get(request).map(|base| base.layers.as_slice()).unwrap_or_default();
                    Some(Arc::new(base_file_system(&request.source, layers)))
                }
                Operation::Scratch => Some(Arc::new(FileSystem::base(Vec::new()))),
                _ => None,
            })
            .collect();
        let (solver, work, bases, scope) =
            (Arc::clone(self), Arc::clone(graph), Arc::clone(bases), scope.to_owned());
        let (definitions, mut found, reasons) = tokio::task::spawn_blocking(move || {
            let definitions = solver.define(&work, &bases);
            let reasons = solver.compare(&work, &definitions, &scope);
            let keys: Vec<Option<Digest>> =
                definitions.iter().map(|known| known.as_ref().map(Definition::key)).collect();
            let found =
                StepId::all(&work).map(|id| solver.find_in_store(&work, id, &keys)).collect::<Vec<_>>();
            (keys, found, reasons)
        })
        .await?;
        let mut recalled = Recalled::new(graph, &roots, &found);
        if self.settings.use_cache && !self.settings.layers.caches().is_empty() {
            let demanded = recalled.demanded(graph);
            let wanted = StepId::all(graph).filter_map(|id| {
                let is_open = demanded[id.position()]
                    && recalled.known[id.position()].is_none()
                    && roots[id.position()].is_none();
                let key = definitions[id.position()].filter(|_| is_open && self.may_recall_all(graph, id))?;
                Some((id, key, Needed::All(graph.chain(id).len() - 1)))
            });
            let layers = &self.settings.layers;
            for (id, hit) in ask_caches(layers, wanted.collect(), &self.settings.ages).await {
                found[id.position()] = Some(hit);
            }
            recalled = Recalled::new(graph, &roots, &found);
        }
        Ok(Recollection { definitions, recalled, reasons, roots })
    }

    /// What the store has of a step, by its definition.
    fn find_in_store(&self, graph: &Graph, id: StepId, keys: &[Option<Digest>]) -> Option<Found> {
        let is_made = graph.step(id).operation.parent().is_some();
        let key = keys[id.position()].filter(|_| is_made && self.may_recall_all(graph, id))?;
        let needed = Needed::All(graph.chain(id).len() - 1);
        match in_store(&self.settings.layers, key, needed, &self.settings.ages) {
            Ok(found) => found,
            Err(error) => {
                self.settings.events.warn(crate::pipeline::describe(&error));
                None
            }
        }
    }

    /// Says which steps need not be carried out, and puts into the caches what they lack of these.
    fn tell_known(
        &self,
        graph: &Graph,
        demanded: &[bool],
        recalled: &Recalled,
        definitions: &[Option<Digest>],
    ) {
        let mut told = vec![false; graph.steps.len()];
        for id in StepId::all(graph).filter(|id| demanded[id.position()]) {
            if recalled.known[id.position()].is_some() {
                graph.chain(id).into_iter().for_each(|id| told[id.position()] = true);
            }
        }
        for id in StepId::all(graph) {
            let step = graph.step(id);
            if step.operation.parent().is_none() {
                continue;
            }
            let (known, place) = (&recalled.known[id.position()], &recalled.places[id.position()]);
            match (known, place) {
                (Some(known), Some(place)) if told[id.position()] => {
                    self.settings
                        .events
                        .begin_about(subject(step), ActivityKind::Step, step.name.clone())
                        .cached();
                    self.explain(step, &Explained::Found { place, by: FoundBy::Definition });
                    if let Some(key) = definitions[id.position()] {
                        self.write_to_caches(step, known, &[key], Novelty::Old, Some(place));
                    }
                }
                _ if !demanded[id.position()] => self.explain(step, &Explained::Unneeded),
                _ => {}
            }
        }
    }

    /// Puts a result into the caches that are written to, but not into the one it is from.
    fn write_to_caches(
        &self,
        step: &Step,
        result: &Arc<FileSystem>,
        keys: &[Digest],
        novelty: Novelty,
        from: Option<&FoundIn>,
    ) {
        let is_run = matches!(step.operation, Operation::Run(_));
        for writer in &self.settings.cache_writers {
            if !matches!(from, Some(FoundIn::Cache(place)) if place == writer.place()) {
                writer.write(is_run, result, keys.to_vec(), novelty);
            }
        }
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
        work: Work<'_>,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        if self.settings.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        match &work.step.operation {
            Operation::Base(_) | Operation::Scratch => Ok(Arc::new(FileSystem::base(Vec::new()))),
            Operation::Copy(copy) => self.copy(work, copy, inputs),
            Operation::WorkingDirectory(directory) => self.make_directory(work, directory, inputs),
            Operation::Run(run) => {
                let below = input(inputs, run.parent);
                let shown = self.shown(run, inputs)?;
                let key = self.settings.runner.key(run, &shown, below, self.form());
                self.layer_on(work, below, key, |below, activity| {
                    self.settings.runner.run(run, &shown, below, &self.settings, activity)
                })
            }
        }
    }

    /// The layer of this key on top of `below`: the one that is known, or the one that `make` makes.
    pub(super) fn layer_on(
        &self,
        work: Work<'_>,
        below: &Arc<FileSystem>,
        key: Digest,
        make: impl FnOnce(&Arc<FileSystem>, &crate::event::Activity) -> Result<ImageLayer, StepError>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let activity =
            self.settings.events.begin_about(subject(work.step), ActivityKind::Step, work.step.name.clone());
        let slot = Arc::clone(lock(&self.done).entry(key).or_default());
        // Held until the step is done: who has the same one waits for it here.
        let mut done = lock(&slot);
        let store = self.settings.layers.store();
        let on_top = |(layer, created): Done| Arc::new(FileSystem::on_top(Arc::clone(below), layer, created));
        let keys: Vec<Digest> = [Some(key), work.definition].into_iter().flatten().collect();
        let keep = |result: &Arc<FileSystem>| {
            let record = StepRecord::of(result);
            store.keep_step(key, &record)?;
            // A definition also stands for the layers below. Those that a cache gave are not for builds without it.
            let is_own = result.made().iter().all(|(layer, _)| layer.origin == Origin::Store);
            work.definition.filter(|_| is_own).map_or(Ok(()), |key| store.keep_step(key, &record))
        };
        if let Some(known) = &*done {
            activity.cached();
            let result = on_top(known.clone());
            keep(&result)?;
            return Ok(result);
        }
        let mut found = self.find_by_inputs(work.step, key)?;
        // Another build may be at it: its result will do.
        let turn = if found.is_none() { Some(store.lock_step(key, &self.settings.cancel)?) } else { None };
        let has_waited = turn.as_ref().is_some_and(StepLock::has_waited);
        if found.is_none() && has_waited && self.may_recall(work.step) {
            found = in_store(&self.settings.layers, key, Needed::Last, &self.settings.ages)?;
        }
        if let Some((known, place)) = found.and_then(Found::into_last) {
            activity.cached();
            *done = Some(known.clone());
            let result = on_top(known);
            let by = FoundBy::Inputs { changes: work.changes };
            self.explain(work.step, &Explained::Found { place: &place, by });
            match &place {
                FoundIn::Store => keep(&result)?,
                // What a cache says is not for builds that do not use it.
                FoundIn::Cache(_) => {}
            }
            self.write_to_caches(work.step, &result, &keys, Novelty::Old, None);
            return Ok(result);
        }
        self.explain(work.step, &Explained::Missed { changes: work.changes });
        match make(below, &activity) {
            Ok(layer) => {
                let made = (layer, self.settings.clock.created()?);
                *done = Some(made.clone());
                let result = on_top(made);
                keep(&result)?;
                drop(turn);
                activity.done();
                self.write_to_caches(work.step, &result, &keys, Novelty::New, None);
                Ok(result)
            }
            Err(error) => {
                // A cancelled build takes away what steps stand on; that is not their failure.
                if !self.settings.cancel.is_cancelled() {
                    activity.failed();
                }
                Err(error)
            }
        }
    }

    /// Whether a result of an earlier build will do for this step.
    fn may_recall(&self, step: &Step) -> bool {
        let is_run = matches!(step.operation, Operation::Run(_));
        self.settings.use_cache && (self.settings.use_cached_runs || !is_run)
    }

    /// Whether a result of an earlier build will do for this step and all those that it stands on or takes from.
    fn may_recall_all(&self, graph: &Graph, id: StepId) -> bool {
        if !self.settings.use_cache || self.settings.use_cached_runs {
            return self.settings.use_cache;
        }
        let mut pending = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = pending.pop() {
            let step = graph.step(id);
            if !self.may_recall(step) {
                return false;
            }
            if seen.insert(id) {
                pending.extend(step.operation.inputs());
            }
        }
        true
    }

    /// What earlier builds have left of the step with this key, which stands for what its inputs came to.
    fn find_by_inputs(&self, step: &Step, key: Digest) -> Result<Option<Found>, StepError> {
        let SolverSettings { layers, ages, .. } = &self.settings;
        if !self.may_recall(step) {
            return Ok(None);
        }
        if let Some(found) = in_store(layers, key, Needed::Last, ages)? {
            return Ok(Some(found));
        }
        Ok(layers.runtime().block_on(in_caches(layers, key, Needed::Last, ages)))
    }

    fn make_directory(
        &self,
        work: Work<'_>,
        directory: &WorkingDirectoryStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let below = input(inputs, directory.parent);
        let mut key = KeyWriter::new("working directory by results");
        key.digest(below.identity()).digest(self.form());
        key.field(directory.path.as_os_str().as_encoded_bytes()).field(&directory.user);
        self.layer_on(work, below, key.finish(), |below, _| {
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

/// One of a step's inputs. All are there: [`Operation::inputs`] lists what a step may ask for.
pub(super) fn input(inputs: &BTreeMap<StepId, Arc<FileSystem>>, id: StepId) -> &Arc<FileSystem> {
    &inputs[&id]
}

/// What is known before anything is carried out.
struct Recollection {
    /// The keys of the steps' definitions.
    definitions: Vec<Option<Digest>>,
    recalled: Recalled,
    reasons: Vec<Reasons>,
    /// The file systems that stages begin with.
    roots: Vec<Option<Arc<FileSystem>>>,
}

fn ready(known: Arc<FileSystem>) -> Solution {
    futures_util::future::ready(Ok(known)).boxed().shared()
}

/// The first steps of stages in which something will most likely be executed.
fn bases_to_run_on(graph: &Graph, demanded: &[bool], recalled: &Recalled) -> BTreeSet<StepId> {
    StepId::all(graph)
        .filter(|id| matches!(graph.step(*id).operation, Operation::Run(_)))
        .filter(|id| demanded[id.position()] && recalled.known[id.position()].is_none())
        .filter_map(|id| graph.chain(id).first().copied())
        .collect()
}

/// An image's file system.
fn base_file_system(source: &BaseSource, layers: &[crate::image::Layer]) -> FileSystem {
    let origin = match source {
        BaseSource::Registry(image) => Origin::Registry(image.repository().clone()),
        BaseSource::Layout { path, .. } => Origin::Layout(path.clone()),
    };
    let layers =
        layers.iter().map(|layer| ImageLayer { layer: layer.clone(), origin: origin.clone() }).collect();
    FileSystem::base(layers)
}
