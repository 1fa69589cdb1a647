//! The measuring itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::BenchError;
use super::aside::{self, renew};
use super::builder::{Address, BuildKit, Buildah, Builder, Cooper, Job, Kaniko, KanikoPod, find};
use super::case::{Case, Mode};
use super::compare::{self, Appearance};
use super::measure::measure;
use super::registry::Registry;
use super::report::{BuilderInfo, Machine, Measurement, Report, Row, Sample, Unmeasured};
use super::selection::Selection;
use crate::image::{Layout, Platform};

/// What is to be measured, and with what.
#[derive(Debug, Clone)]
pub struct BenchRequest {
    /// What is built, and how.
    pub selections: Vec<Selection>,
    /// How often each.
    pub runs: usize,
    /// The builders besides Cooper.
    pub peers: Peers,
    /// Where the registry listens.
    pub listen: IpAddr,
    /// What builders call the machine it listens at.
    pub registry_name: String,
    /// Cooper's program.
    pub cooper: PathBuf,
    /// The directory with the sample app and `bench/`.
    pub fixtures: PathBuf,
    /// The directory with the layouts of the bases, see `tests/tools/bench-bases.sh`.
    pub bases: PathBuf,
    /// Where all is kept while it runs. What is in there is overwritten.
    pub work: PathBuf,
}

/// The builders that Cooper is compared with.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Executors of Kaniko, by the names they have in the report.
    pub kaniko: Vec<(String, PathBuf)>,
    /// The image of Kaniko that is run in a pod, by this `kubectl`.
    pub kaniko_pod: Option<(PathBuf, String)>,
    /// Buildah.
    pub buildah: Option<PathBuf>,
    /// `buildctl`.
    pub buildctl: Option<PathBuf>,
    /// `buildkitd`, started anew whenever it is to forget.
    pub buildkitd: Option<PathBuf>,
    /// The address of a daemon that is there already.
    pub buildkit_address: Option<String>,
}

/// Measures. Says on standard error how far it is.
pub fn bench(request: &BenchRequest) -> Result<Report, BenchError> {
    let work = &request.work;
    std::fs::create_dir_all(work).map_err(|source| BenchError::io(work, source))?;
    let work = &work.canonicalize().map_err(|source| BenchError::io(work, source))?;
    let (mut builders, mut infos) = (Vec::new(), Vec::new());
    aside::clear(work)?;
    gather(request, work, &mut builders, &mut infos)?;
    if builders.is_empty() || request.selections.is_empty() || request.runs == 0 {
        return Err(BenchError::Nothing);
    }
    let registry = Registry::start(&work.join("registry"), request.listen, &request.registry_name)?;
    let mut bench = Bench { request, work, builders, registry, measurements: Vec::new() };
    let mut unmeasured = Vec::new();
    for selection in &request.selections {
        // What was measured before is worth a report.
        if let Err(error) = bench.case(selection) {
            say(&format!("{}: {}", selection.case, chain(&error)));
            unmeasured.push(Unmeasured { case: selection.case, reason: chain(&error) });
        }
    }
    let Bench { measurements, .. } = bench;
    aside::clear(work)?;
    Ok(Report::new(Machine::find(), request.runs, infos, measurements, unmeasured))
}

/// Finds the builders; those that are not there are named with the reason.
fn gather(
    request: &BenchRequest,
    work: &Path,
    builders: &mut Vec<Box<dyn Builder>>,
    infos: &mut Vec<BuilderInfo>,
) -> Result<(), BenchError> {
    let mut add = |builder: Box<dyn Builder>| -> Result<(), BenchError> {
        let version = builder.version()?;
        infos.push(BuilderInfo::Measured { name: builder.name().to_owned(), version });
        builders.push(builder);
        Ok(())
    };
    let mut missing = Vec::new();
    let peers = &request.peers;
    add(Box::new(Cooper { program: request.cooper.clone(), store: work.join("cooper") }))?;
    match (&peers.buildkitd, &peers.buildkit_address, &peers.buildctl) {
        (Some(daemon), _, Some(buildctl)) => match (find(daemon), find(buildctl)) {
            (Some(program), Some(buildctl)) => {
                let address = Address::Own { program, directory: work.join("buildkit") };
                add(Box::new(BuildKit::new(buildctl, address)))?;
            }
            _ => missing.push(("buildkit", "its programs are not there".to_owned())),
        },
        (None, Some(address), Some(buildctl)) => match find(buildctl) {
            Some(buildctl) => add(Box::new(BuildKit::new(buildctl, Address::Given(address.clone()))))?,
            None => missing.push(("buildkit", format!("there is no `{}`", buildctl.display()))),
        },
        _ => missing
            .push(("buildkit", "no `--buildkitd` or `--buildkit`, and `--buildctl`, was given".to_owned())),
    }
    match &peers.buildah {
        Some(program) => match find(program) {
            Some(program) => add(Box::new(Buildah { program, directory: work.join("buildah") }))?,
            None => missing.push(("buildah", format!("there is no `{}`", program.display()))),
        },
        None => missing.push(("buildah", "no `--buildah` was given".to_owned())),
    }
    for (name, executor) in &peers.kaniko {
        match find(executor) {
            Some(executor) => {
                let root = work.join("kaniko-root");
                add(Box::new(Kaniko { name: name.clone(), executor, root }))?;
            }
            None => missing.push((name, format!("there is no `{}`", executor.display()))),
        }
    }
    if let Some((kubectl, image)) = &peers.kaniko_pod {
        match find(kubectl) {
            Some(kubectl) => add(Box::new(KanikoPod { kubectl, image: image.clone() }))?,
            None => missing.push(("kaniko-pod", format!("there is no `{}`", kubectl.display()))),
        }
    }
    if peers.kaniko.is_empty() && peers.kaniko_pod.is_none() {
        missing.push(("kaniko", "no `--kaniko` was given".to_owned()));
    }
    let absent =
        missing.into_iter().map(|(name, reason)| BuilderInfo::NotRun { name: name.to_owned(), reason });
    infos.extend(absent);
    Ok(())
}

struct Bench<'a> {
    request: &'a BenchRequest,
    work: &'a Path,
    builders: Vec<Box<dyn Builder>>,
    registry: Registry,
    measurements: Vec<Measurement>,
}

/// What one builder came to in one mode of one case.
struct Turn {
    /// Which of the builders.
    builder: usize,
    samples: Vec<Sample>,
    failure: Option<String>,
    /// The image of the last run.
    image: String,
}

impl Bench<'_> {
    fn case(&mut self, selection: &Selection) -> Result<(), BenchError> {
        let case = selection.case;
        self.registry.renew()?;
        let base_layers = self.load_bases(case)?;
        let context = self.work.join("context");
        renew(&context)?;
        let host = self.registry.proxy().host();
        case.write(&self.request.fixtures, &host, &context)
            .map_err(|source| BenchError::io(&context, source))?;
        let mut with_cache = BTreeSet::new();
        for mode in &selection.modes {
            self.mode(selection, *mode, &context, &base_layers, &mut with_cache)?;
        }
        Ok(())
    }

    /// Copies the bases of a case into the registry. Yields their layers' digests.
    fn load_bases(&self, case: Case) -> Result<BTreeSet<String>, BenchError> {
        let mut layers = BTreeSet::new();
        for base in case.bases() {
            let (name, tag) = base.split_once(':').unwrap_or((base, "latest"));
            let path = self.request.bases.join(name);
            let digests = || {
                let layout = Layout::open(&path)?;
                let (_, manifest) = layout.image(&layout.resolve(Some(tag))?, &Platform::host())?;
                Ok(manifest.layers.into_iter().map(|layer| layer.digest.to_string()).collect::<Vec<_>>())
            };
            layers.extend(digests().map_err(|source| BenchError::Base { path: path.clone(), source })?);
            self.registry.load(&path, base)?;
        }
        Ok(layers)
    }

    fn mode(
        &mut self,
        selection: &Selection,
        mode: Mode,
        context: &Path,
        base_layers: &BTreeSet<String>,
        with_cache: &mut BTreeSet<usize>,
    ) -> Result<(), BenchError> {
        let case = selection.case;
        let mut absent = BTreeMap::new();
        let mut turns = Vec::new();
        for builder in 0..self.builders.len() {
            let name = self.builders[builder].name().to_owned();
            if !selection.includes(&name) {
                continue;
            }
            if let Some(reason) = self.builders[builder].refusal(mode) {
                absent.insert(builder, reason);
                continue;
            }
            let mut turn = Turn { builder, samples: Vec::new(), failure: None, image: String::new() };
            let wants_priming =
                mode.keeps_state() || (mode.has_cache_repository() && with_cache.insert(builder));
            if wants_priming {
                let image = format!("{case}-{name}:{mode}-before");
                let primed =
                    self.forget(builder).and_then(|()| self.build(builder, mode, context, &image, true));
                turn.failure = primed.err().map(|error| chain(&error));
            }
            turns.push(turn);
        }
        for run in 1..=self.request.runs {
            if mode == Mode::Edited {
                case.edit(context, run).map_err(|source| BenchError::io(context, source))?;
            }
            for turn in turns.iter_mut().filter(|turn| turn.failure.is_none()) {
                let name = self.builders[turn.builder].name().to_owned();
                // The first push of a new repository, or a further one of a known repository.
                turn.image = match mode {
                    Mode::Cold => format!("{case}-{name}-{run}:cold"),
                    _ => format!("{case}-{name}:{mode}-{run}"),
                };
                let sample = self.sample(turn.builder, mode, context, &turn.image, base_layers);
                let said = match &sample {
                    Ok(sample) => format!("{:.3} s", sample.wall),
                    Err(error) => chain(error),
                };
                say(&format!("{case} {mode} {run}/{} {name}: {said}", self.request.runs));
                match sample {
                    Ok(sample) => turn.samples.push(sample),
                    Err(error) => turn.failure = Some(chain(&error)),
                }
            }
        }
        let appearances = self.appearances(&turns)?;
        let mut rows = Vec::new();
        for (builder, instance) in self.builders.iter().enumerate() {
            let name = instance.name().to_owned();
            if let Some(reason) = absent.remove(&builder) {
                rows.push(Row::absent(name, reason));
            } else if let Some(turn) = turns.iter_mut().find(|turn| turn.builder == builder) {
                let samples = std::mem::take(&mut turn.samples);
                let image_bytes = appearances.get(&builder).map(|found| found.size);
                let differences = match (appearances.get(&0), appearances.get(&builder)) {
                    (Some(ours), Some(theirs)) if builder > 0 => Some(ours.differences(theirs)),
                    _ => None,
                };
                let absent = turn.failure.take();
                let has_failed = absent.is_some();
                rows.push(Row { builder: name, samples, absent, has_failed, image_bytes, differences });
            }
        }
        self.measurements.push(Measurement { case, mode, rows });
        Ok(())
    }

    fn forget(&mut self, builder: usize) -> Result<(), BenchError> {
        let host = self.registry.proxy().host();
        self.builders[builder].forget(&host)
    }

    fn sample(
        &mut self,
        builder: usize,
        mode: Mode,
        context: &Path,
        image: &str,
        base_layers: &BTreeSet<String>,
    ) -> Result<Sample, BenchError> {
        if !mode.keeps_state() {
            self.forget(builder)?;
        }
        self.build(builder, mode, context, image, false).map(|(measured, counted)| {
            let is_base = |line: &&String| {
                line.starts_with("GET ") && base_layers.iter().any(|digest| line.contains(digest.as_str()))
            };
            Sample {
                wall: measured.wall.as_secs_f64(),
                cpu: measured.usage.cpu.as_secs_f64(),
                memory: measured.memory,
                written: measured.usage.written,
                received: counted.received,
                sent: counted.sent,
                requests: counted.requests.len(),
                base_layers: counted.requests.iter().filter(is_base).count(),
            }
        })
    }

    fn build(
        &self,
        builder: usize,
        mode: Mode,
        context: &Path,
        image: &str,
        is_priming: bool,
    ) -> Result<(super::measure::Measured, super::proxy::Counted), BenchError> {
        let proxy = self.registry.proxy();
        let host = proxy.host();
        let builder = &self.builders[builder];
        let image = format!("{host}/{image}");
        let cache = format!("{}-cache", image.rsplit_once(':').map_or(image.as_str(), |(name, _)| name));
        let job = Job {
            context,
            host: &host,
            image: &image,
            cache: mode.has_cache_repository().then_some(cache.as_str()),
            anew: mode == Mode::Warm && !is_priming,
        };
        let commands = builder.commands(&job)?;
        // What others have left to be written is not this one's business.
        rustix::fs::sync();
        proxy.take();
        let log = self.work.join(format!("{}.log", builder.name()));
        let measured = measure(commands, builder.daemon(), &log)?;
        Ok((measured, proxy.take()))
    }

    /// Reads the images of the last runs back.
    fn appearances(&self, turns: &[Turn]) -> Result<BTreeMap<usize, Appearance>, BenchError> {
        let host = self.registry.proxy().host();
        let mut appearances = BTreeMap::new();
        for turn in turns.iter().filter(|turn| turn.failure.is_none()) {
            let directory = self.work.join("read-back");
            let appearance = compare::read(&format!("{host}/{}", turn.image), &directory)?;
            // Blobs of different builders have nothing in common but the base.
            renew(&directory)?;
            appearances.insert(turn.builder, appearance);
        }
        Ok(appearances)
    }
}

fn chain(error: &BenchError) -> String {
    crate::pipeline::describe(error)
}

fn say(text: &str) {
    // Nobody may be reading any more; the report tells all the same.
    let _ = writeln!(anstream::stderr(), "{text}");
}
