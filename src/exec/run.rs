//! RUN: a command in a sandbox, and the layer of what it changed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::StepError;
use super::layers::{ImageLayer, Layers};
use super::mounts::{self, Preparation, Prepared, Renewed, Shown, Supplies};
use super::result::{FileSystem, chain_ids};
use super::rootfs_pool::{RootfsPool, Unpacking};
use super::sandbox::{
    DiffSettings, Emulator, Exit, InlineFile, Isolation, IsolationChoice, LayerSource, Mount, MountKind,
    Network as SandboxNetwork, OutputStream, Rootfs, RunSettings, RunSpec, Sandbox, SandboxError, is_foreign,
};
use super::solve::SolverSettings;
use super::writing::NewLayer;
use crate::dockerfile::Network;
use crate::event::{self, Activity};
use crate::graph::{Definition, KeyWriter, RunStep};
use crate::layer::Digest;

/// The longest line that is shown as one.
const MAX_LINE: usize = 64 << 10;

/// Executes the RUNs of one build. The sandbox is chosen when the first one needs it.
#[derive(Debug)]
pub struct Runner {
    choice: IsolationChoice,
    helper: std::path::PathBuf,
    supplies: Supplies,
    common: RunSettings,
    renewed: Renewed,
    sandbox: Mutex<Option<Arc<Sandbox>>>,
    /// The next RUN of a stage goes on in the file system that the one before has left, instead of making it anew.
    pool: Arc<RootfsPool>,
}

impl Runner {
    /// A runner that will use this isolation; `helper` is the program that becomes the sandbox's helper, and
    /// `supplies` is what RUNs may ask for, `common` is what all of them have.
    pub fn new(
        choice: IsolationChoice,
        helper: std::path::PathBuf,
        supplies: Supplies,
        common: RunSettings,
    ) -> Self {
        Self {
            choice,
            helper,
            supplies,
            common,
            renewed: Mutex::default(),
            sandbox: Mutex::default(),
            pool: Arc::default(),
        }
    }

    /// What a RUN with these mounts is, but for what is below it.
    pub(super) fn define(&self, run: &RunStep, mounts: &[String]) -> Definition {
        let mut definition = Definition::new("run");
        let mut command = KeyWriter::new("command");
        command.list(run.argv.iter());
        command.optional(run.script.as_ref().map(|script| format!("{}\n{}", script.name, script.text)));
        definition.part("command", command.finish());
        for (name, value) in &run.env {
            definition.text(format!("variable {name}"), value);
        }
        definition.text("WORKDIR", &run.cwd).text("USER", &run.user);
        definition.text("network", format!("{:?}", run.network)).text("host name", &run.hostname);
        for identity in mounts {
            definition.text("mount", identity);
        }
        let mut hosts = KeyWriter::new("hosts");
        hosts.list(self.supplies.hosts().iter().map(|(address, name)| format!("{address} {name}")));
        definition.part("hosts", hosts.finish());
        definition
    }

    /// The key of a RUN by what its inputs came to.
    pub(super) fn key(
        &self,
        run: &RunStep,
        shown: &[Option<Shown>],
        below: &FileSystem,
        form: Digest,
    ) -> Digest {
        let mounts = run.mounts.iter().zip(shown);
        let mounts: Vec<String> = mounts
            .map(|(mount, shown)| mounts::identity(mount, shown.as_ref().map(|shown| shown.key)))
            .collect();
        let mut key = KeyWriter::new("run by results");
        key.digest(self.define(run, &mounts).key()).digest(below.identity()).digest(form);
        key.finish()
    }

    fn sandbox(&self, settings: &SolverSettings) -> Result<Arc<Sandbox>, StepError> {
        let mut sandbox = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = &*sandbox {
            return Ok(Arc::clone(sandbox));
        }
        let chosen = Sandbox::choose(self.choice, settings.layers.store().root(), &self.helper)?;
        settings.events.note(format!("isolation: {} ({})", chosen.isolation(), chosen.reason()));
        if self.common.shm_size.is_some() && !chosen.isolation().has_namespaces() {
            let text = "`--shm-size` is without effect: `/dev/shm` is the pod's own";
            settings.events.warn(text.to_owned());
        }
        if chosen.isolation() == Isolation::InPlace {
            for file in settings.layers.registries().files_with_logins() {
                let text = format!(
                    "a RUN can read the logins in `{file}`, since it is executed in the pod's own root: give them as the \
                     variable DOCKER_AUTH_CONFIG instead"
                );
                settings.events.warn(text);
            }
        }
        Ok(Arc::clone(sandbox.insert(Arc::new(chosen))))
    }

    /// Executes the command on top of `below`.
    pub(super) fn run(
        &self,
        run: &RunStep,
        shown: &[Option<Shown>],
        below: &Arc<FileSystem>,
        settings: &SolverSettings,
        activity: &Activity,
    ) -> Result<ImageLayer, StepError> {
        let span = tracing::info_span!("prepare RUN").entered();
        let sandbox = self.sandbox(settings)?;
        let layers = below.layers();
        let mut chain = chain_ids(&layers);
        let mut rootfs = self.rootfs(&sandbox, &layers, &chain, settings)?;
        for warning in rootfs.take_warnings() {
            settings.events.warn(warning.to_string());
        }
        let (supplies, renewed) = (&self.supplies, &self.renewed);
        let mut prepared =
            Preparation { run, shown, sandbox: &sandbox, settings, supplies, renewed }.prepare()?;
        let emulator = if is_foreign(&run.platform) {
            Emulator::find(&run.platform, self.common.emulator.as_deref())?
        } else {
            None
        };
        let spec = RunSpec { emulator, ..self.specification(run, &mut prepared) };
        let mut lines = Lines::new(activity);
        drop(span);
        let span = tracing::info_span!("run").entered();
        let exit = rootfs
            .run(&spec, &mut |stream, bytes| lines.push(stream, bytes), &settings.cancel)
            .map_err(|error| explain(error, run, sandbox.isolation()))?;
        lines.finish();
        // Others may wait for a cache.
        drop(prepared);
        if exit != Exit::Code(0) {
            return Err(StepError::Failed { command: run.argv.join(" "), code: exit.code() });
        }
        drop(span);
        let _span = tracing::info_span!("diff").entered();
        let mut layer = NewLayer::begin(&settings.layers)?;
        let ignored = settings.ignored_paths.clone();
        let diff = DiffSettings { latest_mtime: settings.clock.epoch, ignored };
        rootfs.commit(diff, &mut layer, &settings.cancel)?;
        let layer = layer.finish()?;
        chain = chain_ids(&[layers, vec![layer.clone()]].concat());
        // What was left out of the layer is still in the directory, which others would take for the layer.
        if let Some(last) = chain.last().filter(|_| settings.ignored_paths.is_empty()) {
            rootfs.keep_as(last)?;
        }
        self.pool.put(chain, rootfs);
        Ok(layer)
    }

    /// What the sandbox is to do.
    fn specification(&self, run: &RunStep, prepared: &mut Prepared) -> RunSpec {
        let script = run.script.as_ref().map(|script| {
            let contents = script.text.clone().into_bytes();
            let file = InlineFile { contents, is_secret: false, mode: 0o755, uid: 0, gid: 0 };
            Mount { target: Path::new("/dev/pipes").join(&script.name), kind: MountKind::File(file) }
        });
        let mut env = run.env.clone();
        env.extend(run.proxies.iter().cloned());
        env.append(&mut prepared.env);
        RunSpec {
            argv: run.argv.clone(),
            env,
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            hostname: run.hostname.clone(),
            network: match run.network {
                Network::None => SandboxNetwork::None,
                Network::Default | Network::Host => SandboxNetwork::Host,
            },
            mounts: script.into_iter().chain(prepared.mounts.drain(..)).collect(),
            extra_hosts: self.supplies.hosts(),
            shm_size: self.common.shm_size,
            ulimits: self.common.ulimits.clone(),
            emulator: None,
        }
    }

    /// A file system of these layers: one that an earlier RUN has left, brought up to date, or a new one.
    fn rootfs(
        &self,
        sandbox: &Sandbox,
        layers: &[ImageLayer],
        chain: &[Digest],
        settings: &SolverSettings,
    ) -> Result<Rootfs, StepError> {
        if let Some((known, mut rootfs)) = self.pool.take(chain) {
            for (layer, chain) in layers.iter().zip(chain).skip(known) {
                rootfs.apply(layer_source(layer, *chain, &settings.layers), &settings.cancel)?;
            }
            return Ok(rootfs);
        }
        let sources = layer_sources(layers, chain, &settings.layers);
        Ok(sandbox.rootfs(sources, &settings.cancel)?)
    }

    /// Announces that a base will be unpacked, before anybody asks what is in it: then that is found out on the way,
    /// and nothing is inflated twice. To be followed by [`Runner::unpack`].
    /// Nothing if somebody has announced it before.
    pub(super) fn announce(&self, base: &FileSystem, layers: &Layers) -> Option<EarlyUnpack> {
        let own = base.layers();
        let chain = chain_ids(&own);
        let unpacking = RootfsPool::prepare(&self.pool, &chain)?;
        Some(EarlyUnpack { sources: layer_sources(&own, &chain, layers), unpacking })
    }

    /// Unpacks a base for the RUNs to come. Blocks.
    pub(super) fn unpack(&self, early: EarlyUnpack, settings: &SolverSettings) {
        let made = self
            .sandbox(settings)
            .and_then(|sandbox| sandbox.rootfs(early.sources, &settings.cancel).map_err(StepError::from));
        // An error comes again, at its place in the Dockerfile, when the RUN tries.
        if let Ok(rootfs) = made {
            early.unpacking.done(rootfs);
        }
    }
}

/// A program of another architecture that nobody executes is told from one that is damaged.
fn explain(error: SandboxError, run: &RunStep, isolation: Isolation) -> StepError {
    match &error {
        SandboxError::Program { program, source }
            if source.raw_os_error() == Some(libc::ENOEXEC) && is_foreign(&run.platform) =>
        {
            StepError::Foreign {
                program: program.clone(),
                platform: Box::new(run.platform.clone()),
                advice: if isolation.has_namespaces() {
                    "give a static emulator with `--emulator PATH` (needs Linux 6.7), or build on a node that has one \
                     registered (binfmt_misc, with the flag F)"
                } else {
                    "build on a node that has an emulator registered (binfmt_misc, with the flag F)"
                },
            }
        }
        _ => error.into(),
    }
}

/// A base that is about to be unpacked.
#[derive(Debug)]
pub(super) struct EarlyUnpack {
    sources: Vec<LayerSource>,
    unpacking: Unpacking,
}

fn layer_sources(layers: &[ImageLayer], chain: &[Digest], pool: &Layers) -> Vec<LayerSource> {
    layers.iter().zip(chain).map(|(layer, chain)| layer_source(layer, *chain, pool)).collect()
}

fn layer_source(layer: &ImageLayer, chain: Digest, layers: &Layers) -> LayerSource {
    let tar = layers.claim_tar(layer);
    if let Err(error) = layers.store().use_unpacked(chain) {
        layers.events().warn(crate::pipeline::describe(&error));
    }
    LayerSource { chain, open: Box::new(move || tar.open().map_err(std::io::Error::other)) }
}

/// Makes lines of a command's output, one stream independent of the other.
struct Lines<'a> {
    activity: &'a Activity,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(activity: &'a Activity) -> Self {
        Self { activity, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn push(&mut self, stream: OutputStream, bytes: &[u8]) {
        let (pending, stream) = match stream {
            OutputStream::Stdout => (&mut self.stdout, event::OutputStream::Stdout),
            OutputStream::Stderr => (&mut self.stderr, event::OutputStream::Stderr),
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            pending.extend_from_slice(piece);
            if pending.last() == Some(&b'\n') {
                pending.pop();
            } else if pending.len() < MAX_LINE {
                continue;
            }
            self.activity.output(stream, pending);
            pending.clear();
        }
    }

    /// Says what was printed without a line's end.
    fn finish(self) {
        for (stream, rest) in
            [(event::OutputStream::Stdout, self.stdout), (event::OutputStream::Stderr, self.stderr)]
        {
            if !rest.is_empty() {
                self.activity.output(stream, &rest);
            }
        }
    }
}
