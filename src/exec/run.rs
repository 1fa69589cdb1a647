//! RUN: a command in a sandbox, and the layer of what it changed.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::StepError;
use super::layers::{ImageLayer, Layers};
use super::result::{FileSystem, chain_ids};
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
    /// File systems that RUNs have left behind, by the chain id they stand for: the next RUN of the stage goes on
    /// in one instead of making it anew.
    idle: Mutex<Vec<(Vec<Digest>, Rootfs)>>,
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
        Self { choice, helper, sandbox: Mutex::default(), idle: Mutex::default() }
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
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((chain, rootfs));
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
        let found = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let best = idle
                .iter()
                .enumerate()
                .filter(|(_, (below, _))| chain.starts_with(below))
                .max_by_key(|(_, (below, _))| below.len())
                .map(|(position, _)| position);
            best.map(|position| idle.swap_remove(position))
        };
        if let Some((below, mut rootfs)) = found {
            for (layer, chain) in layers.iter().zip(chain).skip(below.len()) {
                rootfs.apply(layer_source(layer, *chain, &settings.layers), &settings.cancel)?;
            }
            return Ok(rootfs);
        }
        let sources =
            layers.iter().zip(chain).map(|(layer, chain)| layer_source(layer, *chain, &settings.layers));
        Ok(sandbox.rootfs(sources.collect(), &settings.cancel)?)
    }
}

fn layer_source(layer: &ImageLayer, chain: Digest, layers: &Layers) -> LayerSource {
    let (layer, layers) = (layer.clone(), layers.clone());
    LayerSource { chain, open: Box::new(move || layers.open_tar(&layer).map_err(std::io::Error::other)) }
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
