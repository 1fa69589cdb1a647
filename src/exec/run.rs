//! RUN: a command in a sandbox, and the layer of what it changed.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::StepError;
use super::layers::{ImageLayer, Layers};
use super::result::{FileSystem, chain_ids};
use super::rootfs_pool::{Preparation, RootfsPool};
use super::sandbox::{
    Access, Exit, IsolationChoice, LayerSource, Mount, MountKind, Network as SandboxNetwork, OutputStream,
    Rootfs, RunSpec, Sandbox,
};
use super::solve::{Clock, SolverSettings};
use super::writing::{NewLayer, temporary_directory};
use crate::dockerfile::{Mount as Wanted, Network};
use crate::event::{self, Activity};
use crate::graph::{KeyWriter, RunMount, RunStep};
use crate::layer::Digest;

/// What a RUN finds as its host name; the same as with BuildKit, because some programs write it down.
const HOSTNAME: &str = "buildkitsandbox";

/// The longest line that is shown as one.
const MAX_LINE: usize = 64 << 10;

/// Executes the RUNs of one build. The sandbox is chosen when the first one needs it.
#[derive(Debug)]
pub struct Runner {
    choice: IsolationChoice,
    helper: std::path::PathBuf,
    sandbox: Mutex<Option<Arc<Sandbox>>>,
    /// The next RUN of a stage goes on in the file system that the one before has left, instead of making it anew.
    pool: Arc<RootfsPool>,
}

/// The key of a RUN on top of what has the key `below`.
pub(super) fn key(run: &RunStep, below: Digest, clock: Clock) -> Digest {
    let mut key = KeyWriter::new("run");
    key.digest(below);
    key.list(run.argv.iter());
    key.list(run.env.iter().map(|(name, value)| format!("{name}={value}")));
    key.field(&run.cwd).field(&run.user).field(format!("{:?}", run.network));
    key.optional(run.script.as_ref().map(|script| format!("{}\n{}", script.name, script.text)));
    key.list(run.mounts.iter().map(|mount| format!("{:?}", mount.mount)));
    clock.write_to(&mut key);
    key.finish()
}

impl Runner {
    /// A runner that will use this isolation; `helper` is the program that becomes the sandbox's helper.
    pub fn new(choice: IsolationChoice, helper: std::path::PathBuf) -> Self {
        Self { choice, helper, sandbox: Mutex::default(), pool: Arc::default() }
    }

    fn sandbox(&self, settings: &SolverSettings) -> Result<Arc<Sandbox>, StepError> {
        let mut sandbox = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = &*sandbox {
            return Ok(Arc::clone(sandbox));
        }
        let chosen = Sandbox::choose(self.choice, settings.layers.store().root(), &self.helper)?;
        settings.events.note(format!("isolation: {} ({})", chosen.isolation(), chosen.reason()));
        Ok(Arc::clone(sandbox.insert(Arc::new(chosen))))
    }

    /// Executes the command on top of `below`.
    pub(super) fn run(
        &self,
        run: &RunStep,
        below: &Arc<FileSystem>,
        settings: &SolverSettings,
        activity: &Activity,
    ) -> Result<ImageLayer, StepError> {
        let sandbox = self.sandbox(settings)?;
        let layers = below.layers();
        let mut chain = chain_ids(&layers);
        let mut rootfs = self.rootfs(&sandbox, &layers, &chain, settings)?;
        for warning in rootfs.take_warnings() {
            settings.events.warn(warning.to_string());
        }
        let scripts = temporary_directory(&settings.layers)?;
        let spec = specification(run, scripts.path())?;
        let mut lines = Lines::new(activity);
        let exit = rootfs.run(&spec, &mut |stream, bytes| lines.push(stream, bytes), &settings.cancel)?;
        lines.finish();
        if exit != Exit::Code(0) {
            return Err(StepError::Failed { command: run.argv.join(" "), code: exit.code() });
        }
        let mut layer = NewLayer::begin(&settings.layers)?;
        rootfs.commit(settings.clock.epoch, &mut layer, &settings.cancel)?;
        let layer = layer.finish()?;
        chain = chain_ids(&[layers, vec![layer.clone()]].concat());
        if let Some(last) = chain.last() {
            rootfs.keep_as(last)?;
        }
        self.pool.put(chain, rootfs);
        Ok(layer)
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
                rootfs.apply(layer_source(layer, *chain, &settings.layers)?, &settings.cancel)?;
            }
            return Ok(rootfs);
        }
        let sources = layer_sources(layers, chain, &settings.layers)?;
        Ok(sandbox.rootfs(sources, &settings.cancel)?)
    }

    /// Announces that a base will be unpacked, before anybody asks what is in it: then that is found out on the way,
    /// and nothing is inflated twice. To be followed by [`Runner::unpack`].
    /// Nothing if somebody has announced it before.
    pub(super) fn announce(
        &self,
        base: &FileSystem,
        layers: &Layers,
    ) -> Result<Option<EarlyUnpack>, StepError> {
        let own = base.layers();
        let chain = chain_ids(&own);
        let Some(preparation) = RootfsPool::prepare(&self.pool, &chain) else { return Ok(None) };
        Ok(Some(EarlyUnpack { sources: layer_sources(&own, &chain, layers)?, preparation }))
    }

    /// Unpacks a base for the RUNs to come. Blocks.
    pub(super) fn unpack(&self, early: EarlyUnpack, settings: &SolverSettings) {
        let made = self
            .sandbox(settings)
            .and_then(|sandbox| sandbox.rootfs(early.sources, &settings.cancel).map_err(StepError::from));
        // An error comes again, at its place in the Dockerfile, when the RUN tries.
        if let Ok(rootfs) = made {
            early.preparation.done(rootfs);
        }
    }
}

/// A base that is about to be unpacked.
#[derive(Debug)]
pub(super) struct EarlyUnpack {
    sources: Vec<LayerSource>,
    preparation: Preparation,
}

fn layer_sources(
    layers: &[ImageLayer],
    chain: &[Digest],
    pool: &Layers,
) -> Result<Vec<LayerSource>, StepError> {
    layers.iter().zip(chain).map(|(layer, chain)| layer_source(layer, *chain, pool)).collect()
}

fn layer_source(layer: &ImageLayer, chain: Digest, layers: &Layers) -> Result<LayerSource, StepError> {
    let tar = layers.claim_tar(layer)?;
    Ok(LayerSource { chain, open: Box::new(move || tar.open().map_err(std::io::Error::other)) })
}

/// What the sandbox is to do.
fn specification(run: &RunStep, scripts: &std::path::Path) -> Result<RunSpec, StepError> {
    let mut mounts = Vec::new();
    if let Some(script) = &run.script {
        use std::os::unix::fs::PermissionsExt as _;
        let source = scripts.join("script");
        std::fs::write(&source, &script.text).map_err(StepError::Write)?;
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755))
            .map_err(StepError::Write)?;
        // The sandbox may be a stranger to the builder's user.
        std::fs::set_permissions(scripts, std::fs::Permissions::from_mode(0o755))
            .map_err(StepError::Write)?;
        mounts.push(Mount {
            target: std::path::Path::new("/dev/pipes").join(&script.name),
            kind: MountKind::Bind { source, access: Access::ReadOnly },
        });
    }
    for mount in &run.mounts {
        mounts.push(sandbox_mount(mount)?);
    }
    let mut env = run.env.clone();
    env.extend(run.proxies.iter().cloned());
    Ok(RunSpec {
        argv: run.argv.clone(),
        env,
        cwd: run.cwd.clone(),
        user: run.user.clone(),
        hostname: HOSTNAME.to_owned(),
        network: match run.network {
            Network::None => SandboxNetwork::None,
            Network::Default | Network::Host => SandboxNetwork::Host,
        },
        mounts,
        extra_hosts: Vec::new(),
    })
}

fn sandbox_mount(mount: &RunMount) -> Result<Mount, StepError> {
    let what = match &mount.mount {
        Wanted::Tmpfs(tmpfs) => {
            let kind = MountKind::Tmpfs { size: tmpfs.size };
            return Ok(Mount { target: tmpfs.target.clone().into(), kind });
        }
        Wanted::Bind(_) => "RUN --mount=type=bind",
        Wanted::Cache(_) => "RUN --mount=type=cache",
        Wanted::Secret(_) => "RUN --mount=type=secret",
        Wanted::Ssh(_) => "RUN --mount=type=ssh",
    };
    Err(StepError::Unsupported { what, span: mount.span })
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
