//! A build from end to end.
//!
//! ```text
//! request ─► context ─► Dockerfile ─► graph ─► layers ─► image ─► outputs
//! ```

mod bases;
mod caches;
mod check;
mod error;
mod export;
mod image;
mod inputs;
mod llb;
mod local;
mod push;
mod retry;
mod saved;
mod warm;
mod warmed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use check::{Checked, check};
pub use error::BuildError;
pub(crate) use error::error_line;
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
pub use llb::{LlbBuild, llb};
pub use local::{LocalInputs, local_inputs};

use crate::cancel::Cancel;
use crate::context::fetch::{Access, Fetcher, SshPlaces};
use crate::dockerfile::{Code, Diagnostic, Diagnostics, Dockerfile};
use crate::event::Events;
use crate::exec::{
    CacheWriter, Clock, FileSystem, ImageLayer, Layers, Runner, Solutions, Solver, SolverSettings,
    StepFailure, Supplies, squash,
};
use crate::graph::{Bases, Graph, HistoryItem, PlanRequest, Planned, global_argument, plan};
use crate::image::{ImageFormat, ImageRef, Platform, Time};
use crate::layer::{Compression, Digest};
use crate::registry::{Credentials, KnownPlaces, Registries, Traffic};
use crate::request::{BuildRequest, Output};
use crate::store::Store;
use bases::Resolver;
use image::{BuiltImage, Style, assemble};
use inputs::{FetchedMain, Inputs};
use push::Pushes;
pub use saved::{PushSaved, push_saved};
pub use warm::warm;

/// What a build yields.
#[derive(Debug, Clone)]
pub struct BuildResult {
    /// Digest of the manifest, or of the index of several platforms.
    pub digest: Digest,
    /// The descriptor of the same.
    pub descriptor: crate::image::Descriptor,
    /// Digest of the image's config; of the first platform's if there are several.
    pub config_digest: Digest,
    /// The names under which it was pushed.
    pub pushed: Vec<ImageRef>,
    /// How long it took.
    pub duration: Duration,
    /// What went over the network, per registry.
    pub traffic: BTreeMap<String, Traffic>,
}

/// What a build runs with, besides its request.
#[derive(Debug)]
pub struct Environment {
    /// Credentials for registries.
    pub credentials: Credentials,
    /// The program that becomes the sandbox's helper: Cooper itself.
    pub helper: PathBuf,
    /// Where events go.
    pub events: Events,
    /// Ends the build when thrown.
    pub cancel: Cancel,
}

/// One platform's build after planning.
struct PlatformBuild {
    graph: Arc<Graph>,
    bases: Arc<Bases>,
    solutions: Solutions,
}

/// Runs a build.
pub async fn build(request: &BuildRequest, environment: Environment) -> Result<BuildResult, BuildError> {
    request.validate()?;
    let Environment { credentials, helper, events, cancel } = environment;
    let store = Arc::new(Store::open(&request.store)?);
    let registries = Registries::new(request.registry_settings(), credentials)?;
    let caches = caches::sources(request, &registries)?;
    let layers = Layers::with_caches(store, registries, events.clone(), request.encoding, caches);
    let known = KnownPlaces::default();
    let writers = caches::writers(request, &layers, &known)?;
    let cancelled = async || {
        // The async side of the switch: polled, because it may be thrown from a signal handler's thread.
        while !cancel.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let result = tokio::select! {
        result = run(request, &layers, &events, &cancel, helper, &writers, &known) => result,
        () = cancelled() => Err(BuildError::Cancelled),
    };
    if result.is_ok() {
        return result;
    }
    // What was done before the failure is of use to the next attempt.
    tokio::select! {
        () = caches::finish(&writers, &[]) => {}
        () = cancelled() => {}
    }
    // What a cancelled step says of its end is not the reason.
    let result = if cancel.is_cancelled() { Err(BuildError::Cancelled) } else { result };
    // What ran beside the step that failed is of no use any more.
    cancel.cancel();
    layers.abandon();
    result
}

async fn run(
    request: &BuildRequest,
    layers: &Layers,
    events: &Events,
    cancel: &Cancel,
    helper: PathBuf,
    writers: &[CacheWriter],
    known: &KnownPlaces,
) -> Result<BuildResult, BuildError> {
    let supplies = Supplies::gather(&request.secrets, &request.ssh_agents, &request.extra_hosts)?;
    let fetcher = fetcher(request, layers, events, &supplies);
    let mut inputs = Inputs::read(request, FetchedMain::fetch(request, &fetcher).await?, events)?;
    let resolver = Resolver::new(layers, events, request);
    let platforms = match request.platforms.as_slice() {
        [] => vec![Platform::host()],
        platforms => platforms.to_vec(),
    };
    if inputs::has_remote_names(request) {
        let names = needed_contexts(request, &inputs, &resolver, &platforms).await?;
        inputs.fetch_named(request, &names, &fetcher).await?;
    }
    let clock = clock(request, &inputs.dockerfile, &platforms[0])?;
    let solver = Solver::new(SolverSettings {
        layers: layers.clone(),
        events: events.clone(),
        cancel: cancel.clone(),
        clock,
        use_cache: request.use_cache,
        use_cached_runs: request.use_cached_runs,
        ages: caches::ages(request, clock),
        contexts: inputs.contexts()?,
        ignored_paths: request.ignored_paths.clone(),
        runner: Runner::new(request.isolation, helper, supplies, request.run.clone()),
        cache_writers: writers.to_vec(),
        explain: request.explain_cache,
        fetcher,
    });
    let mut pushes = Pushes::begin(request, layers, events, known)?;
    pushes.check().await?;

    let (mut images, mut bases) = (Vec::new(), Vec::new());
    for platform in &platforms {
        let target = request.target.as_deref();
        let build = plan_platform(request, target, &inputs, &resolver, &solver, platform).await?;
        expect_layers(request, layers, &build.solutions);
        pushes.follow(&build.solutions, request.single_layer);
        let (image, squashed) = tokio::select! {
            image = finish_platform(request, &build, layers, clock) => image?,
            // What cannot be pushed need not be built.
            error = pushes.failure() => return Err(error),
        };
        pushes.send(&squashed);
        image.tell(events);
        images.push(image);
        bases.push(build.bases);
        for target in &request.further_targets {
            let build = plan_platform(request, Some(target), &inputs, &resolver, &solver, platform).await?;
            build.solutions.result.await?;
            bases.push(build.bases);
        }
    }
    let image = image::combine(images, &platforms, request)?;
    // Names come last: what has one is complete, and so is every file that was asked for.
    pushes.complete(&image).await?;
    export::write(request, layers, events, &image).await?;
    let names = pushes.name(&image).await?;
    solver.keep_digests();
    caches::finish(writers, &bases).await;
    Ok(BuildResult {
        digest: image.descriptor.digest,
        descriptor: image.descriptor.clone(),
        config_digest: image.platforms[0].config_digest(),
        pushed: names,
        duration: events.elapsed(),
        traffic: layers.registries().statistics(),
    })
}

/// Plans, and has the steps carried out as they are waited for.
async fn plan_platform(
    request: &BuildRequest,
    target: Option<&str>,
    inputs: &Inputs,
    resolver: &Resolver<'_>,
    solver: &Arc<Solver>,
    platform: &Platform,
) -> Result<PlatformBuild, BuildError> {
    let (graph, bases) = plan_graph(request, target, inputs, resolver, platform).await?;
    let (graph, bases) = (Arc::new(graph), Arc::new(bases));
    let solutions = solver.solve(&graph, &bases, &scope(request, target, platform)).await?;
    Ok(PlatformBuild { graph, bases, solutions })
}

/// The named contexts that the stages to build need.
async fn needed_contexts(
    request: &BuildRequest,
    inputs: &Inputs,
    resolver: &Resolver<'_>,
    platforms: &[Platform],
) -> Result<BTreeSet<String>, BuildError> {
    let mut names = BTreeSet::new();
    let further = request.further_targets.iter().map(|target| Some(target.as_str()));
    for target in std::iter::once(request.target.as_deref()).chain(further) {
        for platform in platforms {
            let (graph, _) = plan_graph(request, target, inputs, resolver, platform).await?;
            names.extend(graph.named_contexts().into_iter().map(str::to_owned));
        }
    }
    Ok(names)
}

/// Plans until every base image that planning asks for is known.
async fn plan_graph(
    request: &BuildRequest,
    target: Option<&str>,
    inputs: &Inputs,
    resolver: &Resolver<'_>,
    platform: &Platform,
) -> Result<(Graph, Bases), BuildError> {
    let build_platform = Platform::host();
    let mut bases = Bases::new();
    let graph = loop {
        let known = plan_request(request, &inputs.dockerfile, platform, &build_platform, &bases);
        let planned = plan(PlanRequest { target, ..known }).map_err(BuildError::Dockerfile)?;
        match planned {
            Planned::Graph(graph) => break graph,
            Planned::Needs(needs) => {
                let found = try_join_all(needs.iter().map(|need| resolver.resolve(need))).await?;
                bases.extend(needs.into_iter().zip(found));
            }
        }
    };
    inputs.check_bases(&graph, &bases, resolver.events())?;
    Ok((*graph, bases))
}

/// What planning looks at for a platform; `bases` are those that are known so far.
fn plan_request<'a>(
    request: &'a BuildRequest,
    dockerfile: &'a Dockerfile,
    platform: &'a Platform,
    build_platform: &'a Platform,
    bases: &'a Bases,
) -> PlanRequest<'a> {
    PlanRequest {
        dockerfile,
        build_args: &request.build_args,
        target: request.target.as_deref(),
        numbered_targets: request.numbered_targets,
        platform,
        is_platform_given: !request.platforms.is_empty(),
        build_platform,
        contexts: &request.contexts,
        labels: &request.labels,
        bases,
    }
}

/// What gets things that are neither here nor in a registry.
fn fetcher(request: &BuildRequest, layers: &Layers, events: &Events, supplies: &Supplies) -> Fetcher {
    let access = Access::new(supplies, SshPlaces::from_environment());
    let (store, registries) = (Arc::clone(layers.store()), layers.registries().clone());
    Fetcher::new(store, registries, events.clone(), access, request.offline)
}

/// Plans without building: base images are looked up; nothing else is fetched, run or pushed.
async fn plan_alone(
    request: &BuildRequest,
    environment: Environment,
    supplies: &Supplies,
    platform: &Platform,
) -> Result<(Inputs, Graph), BuildError> {
    let Environment { credentials, events, .. } = environment;
    let store = Arc::new(Store::open(&request.store)?);
    let registries = Registries::new(request.registry_settings(), credentials)?;
    let layers = Layers::new(store, registries, events.clone(), request.encoding);
    let fetcher = fetcher(request, &layers, &events, supplies);
    let mut inputs = Inputs::read(request, FetchedMain::fetch(request, &fetcher).await?, &events)?;
    let resolver = Resolver::new(&layers, &events, request);
    let (graph, _) = plan_graph(request, request.target.as_deref(), &inputs, &resolver, platform).await?;
    let names = graph.named_contexts().into_iter().map(str::to_owned).collect();
    inputs.fetch_named(request, &names, &fetcher).await?;
    Ok((inputs, graph))
}

/// The steps that a build would have, by name, in an order in which they could be done. Base images are looked up;
/// nothing else is fetched, run or pushed.
pub async fn outline(request: &BuildRequest, environment: Environment) -> Result<Vec<String>, BuildError> {
    request.validate()?;
    let supplies = Supplies::gather(&request.secrets, &request.ssh_agents, &request.extra_hosts)?;
    let platform = request.platforms.first().cloned().unwrap_or_else(Platform::host);
    let (_, graph) = plan_alone(request, environment, &supplies, &platform).await?;
    Ok(graph.steps.into_iter().map(|step| step.name).collect())
}

/// Waits for the steps of the image, and makes its config and manifest. Gives with it the layers that belong to no
/// step.
async fn finish_platform(
    request: &BuildRequest,
    build: &PlatformBuild,
    layers: &Layers,
    clock: Clock,
) -> Result<(BuiltImage, Vec<ImageLayer>), BuildError> {
    let graph = &build.graph;
    let chain = graph.chain(graph.result);
    let solved: Vec<Arc<FileSystem>> = build.solutions.result.clone().await?.chain();
    let format = request.image_format.unwrap_or_else(|| {
        let is_oci_only =
            !request.annotations.is_empty() || request.encoding.compression() == Compression::Zstd;
        if is_oci_only { ImageFormat::Oci } else { base_format(build) }
    });
    let style = Style { format, annotations: &request.annotations, clock };
    if !request.single_layer || chain.len() < 2 {
        return Ok((assemble(graph, &chain, &solved, &style)?, Vec::new()));
    }
    let (first, last) = (0, chain.len() - 1);
    let (base, top) = (Arc::clone(&solved[first]), Arc::clone(&solved[last]));
    let squashed = {
        let (base, layers) = (Arc::clone(&base), layers.clone());
        tokio::task::spawn_blocking(move || squash(&base, &top, clock.now, &layers)).await?
    };
    let squashed = squashed.map_err(|error| StepFailure {
        place: graph.step(chain[last]).place.clone(),
        name: "make one layer".to_owned(),
        error: Arc::new(error),
    })?;
    let mut graph = Graph::clone(graph);
    for item in &mut graph.history {
        if let HistoryItem::Made { step, .. } = item {
            *step = step.filter(|step| *step == chain[last]);
        }
    }
    let own = squashed.own_layers().to_vec();
    Ok((assemble(&graph, &[chain[first], chain[last]], &[base, squashed], &style)?, own))
}

/// What the builds have in common whose steps are compared by `--explain-cache`.
fn scope(request: &BuildRequest, target: Option<&str>, platform: &Platform) -> String {
    let dockerfile = match &request.dockerfile {
        crate::request::DockerfileSource::Text(_) => None,
        named => Some(named),
    };
    format!("{:?} {dockerfile:?} {target:?} {platform}", request.context)
}

/// Says which layers are wanted here too, when the image does not only go to registries.
fn expect_layers(request: &BuildRequest, layers: &Layers, solutions: &Solutions) {
    if !request.single_layer && request.outputs.iter().all(|output| *output == Output::Push) {
        return;
    }
    // What is known already is somewhere else, perhaps; new layers are here anyway.
    let known = solutions.image.iter().map_while(|solution| solution.clone().now_or_never());
    for known in known.filter_map(Result::ok) {
        layers.expect(known.own_layers());
    }
}

/// The format of the image that the result is based on; OCI if it is based on none.
fn base_format(build: &PlatformBuild) -> ImageFormat {
    let chain = build.graph.chain(build.graph.result);
    let base = chain.first().and_then(|step| match &build.graph.step(*step).operation {
        crate::graph::Operation::Base(request) => build.bases.get(request),
        _ => None,
    });
    match base {
        Some(base) if base.is_docker => ImageFormat::Docker,
        _ => ImageFormat::Oci,
    }
}

/// What counts as now: `SOURCE_DATE_EPOCH`, which an ARG before the first FROM may set too, or the clock.
fn clock(request: &BuildRequest, dockerfile: &Dockerfile, platform: &Platform) -> Result<Clock, BuildError> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let epoch = match request.source_date_epoch {
        Some(epoch) => Some(epoch),
        // An empty value says that there is none.
        None if request.build_args.contains_key(NAME) => None,
        None => default_epoch(request, dockerfile, platform, NAME)?,
    };
    let now = match epoch {
        None => Time::now(),
        Some(epoch) => Time::from_epoch(epoch).map_err(BuildError::Epoch)?,
    };
    Ok(Clock { now, epoch })
}

/// The value of an ARG before the first FROM, as a time.
fn default_epoch(
    request: &BuildRequest,
    dockerfile: &Dockerfile,
    platform: &Platform,
    name: &str,
) -> Result<Option<i64>, BuildError> {
    let (host, bases) = (Platform::host(), Bases::new());
    let planning = plan_request(request, dockerfile, platform, &host, &bases);
    let found = global_argument(&planning, name).map_err(BuildError::Dockerfile)?;
    let Some((text, span)) = found.filter(|(text, _)| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let message = format!("{name} is `{text}`; it must be a whole number of seconds");
        let diagnostic = Diagnostic::error(Code::InvalidArguments, message, span.unwrap_or_default());
        BuildError::Dockerfile(Diagnostics::one(Arc::clone(&dockerfile.source), diagnostic))
    })
}

/// An error and its causes in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    error::chain(error)
}
