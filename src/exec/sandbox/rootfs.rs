//! The file system of a stage, seen from the builder.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;

use super::choose::Kept;
use super::directory::{Build, Directory};
use super::process::{Helper, Helpers};
use super::unpack::{LayerSource, Unpacker};
use super::wire::{Answer, InPlace, Operation, Root, Run};
use super::{DiffSettings, Exit, Isolation, OutputStream, RunSpec, Sandbox, SandboxError, stream};
use crate::cancel::Cancel;
use crate::layer::Digest;
use crate::rootfs::unpack::Warning;

/// What [`Rootfs::commit`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// How many entries the layer has, with those that were left out; with none, nothing has changed.
    pub entries: u64,
}

/// The file system of a stage, on which commands are executed. Dropping it removes what is not shared.
#[derive(Debug)]
pub struct Rootfs {
    helpers: Helpers,
    directory: Directory,
    build: Build,
    form: RootForm,
    resolv_conf: String,
    isolation: Isolation,
    kept: Kept,
    warnings: Vec<Warning>,
    /// The helper that has executed the last command, until somebody asks what that has changed: it has all it takes
    /// to tell at hand.
    last_run: Option<Helper>,
}

/// What a rootfs is made of. Paths are relative to the directory of unpacked layers.
#[derive(Debug)]
enum RootForm {
    /// Layer directories, lowest first, and the number of the directory that takes the changes.
    Overlay { lowers: Vec<PathBuf>, upper: u32 },
    /// One directory.
    Plain,
}

impl Rootfs {
    pub(super) fn new(
        sandbox: &Sandbox,
        layers: Vec<LayerSource>,
        cancel: &Cancel,
    ) -> Result<Self, SandboxError> {
        let build = sandbox.directory.begin()?;
        let form = match sandbox.isolation {
            Isolation::Overlay => RootForm::Overlay { lowers: Vec::new(), upper: 0 },
            Isolation::Userns | Isolation::InPlace | Isolation::Chroot => RootForm::Plain,
        };
        let mut rootfs = Self {
            helpers: sandbox.helpers.clone(),
            directory: sandbox.directory.clone(),
            build,
            form,
            resolv_conf: sandbox.resolv_conf.clone(),
            isolation: sandbox.isolation,
            kept: sandbox.kept.clone(),
            warnings: Vec::new(),
            last_run: None,
        };
        for name in ["run", "run/root", "empty", "upper-0", "root"] {
            rootfs.directory.make(rootfs.build.join(name))?;
        }
        rootfs.lay(layers, cancel)?;
        Ok(rootfs)
    }

    /// Executes a command, giving its output as it comes, and waits until it and all its descendants are gone.
    ///
    /// A command that fails is no error. When `cancel` is thrown, everything is killed and
    /// [`SandboxError::Cancelled`] returned; the rootfs is then of no more use.
    pub fn run(
        &mut self,
        spec: &RunSpec,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError> {
        self.last_run = None;
        let run = Run {
            root: self.root(),
            spec: spec.clone(),
            scratch: self.build.join("run"),
            resolv_conf: self.resolv_conf.clone(),
        };
        let (stdout, stdout_writer) = stream::output_pipe()?;
        let (stderr, stderr_writer) = stream::output_pipe()?;
        let operation = match self.isolation {
            Isolation::Overlay | Isolation::Userns => Operation::Run(Box::new(run)),
            isolation @ (Isolation::InPlace | Isolation::Chroot) => {
                Operation::RunInPlace(Box::new(InPlace {
                    run,
                    isolation,
                    keep: self.kept.paths.clone(),
                    store: self.kept.store.clone(),
                }))
            }
        };
        let mut helper =
            self.helpers.start(operation, Stdio::from(stdout_writer), Stdio::from(stderr_writer))?;
        if let Err(error) = stream::listen(&helper, stdout, stderr, output, cancel) {
            helper.stop();
            // What it says to that does not matter; that it is gone does.
            let _ = helper.answer();
            return Err(error);
        }
        match helper.interim_answer()? {
            Answer::Exited(exit) => {
                self.last_run = Some(helper);
                Ok(exit)
            }
            _ => Err(SandboxError::Protocol(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Writes what the commands since the last commit (or since the beginning) changed, as an uncompressed tar.
    /// Later changes belong to the next layer.
    pub fn commit(
        &mut self,
        settings: DiffSettings,
        tar: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<Committed, SandboxError> {
        let operation = Operation::Diff { root: self.root(), scratch: self.build.join("run/root"), settings };
        let mut helper = match self.last_run.take() {
            Some(mut helper) => {
                self.helpers.order(&mut helper, operation)?;
                helper
            }
            None => self.helpers.start(operation, Stdio::null(), Stdio::inherit())?,
        };
        stream::drain(&mut helper, tar, cancel)?;
        let Answer::Written(entries) = helper.answer()? else {
            return Err(SandboxError::Protocol(io::ErrorKind::InvalidData.into()));
        };
        if let RootForm::Overlay { lowers, upper } = &mut self.form {
            // Also without entries: what was copied up for nothing must not cover a later layer.
            if entries > 0 {
                lowers.push(self.build.join(format!("upper-{upper}")));
            }
            *upper += 1;
            self.directory.make(self.build.join(format!("upper-{upper}")))?;
        }
        Ok(Committed { entries })
    }

    /// Names the layer that was committed last (it had entries), so that later builds find it unpacked.
    pub fn keep_as(&mut self, chain: &Digest) -> Result<(), SandboxError> {
        if let RootForm::Overlay { lowers, .. } = &mut self.form
            && let Some(last) = lowers.last_mut()
            && last.starts_with(self.build.join(""))
        {
            *last = self.directory.keep(last, chain)?;
        }
        Ok(())
    }

    /// Lays a layer that was not made by a command (a COPY) on top. What commands changed must be committed before.
    pub fn apply(&mut self, layer: LayerSource, cancel: &Cancel) -> Result<(), SandboxError> {
        self.lay(vec![layer], cancel)
    }

    /// What could not be unpacked as the layers say, and so is not there for a command.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn lay(&mut self, layers: Vec<LayerSource>, cancel: &Cancel) -> Result<(), SandboxError> {
        let unpacker =
            Unpacker { helpers: &self.helpers, directory: &self.directory, build: &self.build, cancel };
        match &mut self.form {
            RootForm::Overlay { lowers, .. } => {
                let new = unpacker.separately(layers, lowers, &mut self.warnings)?;
                lowers.extend(new);
            }
            RootForm::Plain => {
                let (root, fingerprints) = (self.build.join("root"), self.build.join("fingerprints"));
                for layer in layers {
                    unpacker.onto(layer, &root, &fingerprints, &mut self.warnings)?;
                }
                let baseline = self.build.join("baseline");
                self.helpers.perform(Operation::Baseline { root, fingerprints, baseline })?;
            }
        }
        Ok(())
    }

    fn root(&self) -> Root {
        match &self.form {
            RootForm::Overlay { lowers, upper } => {
                let mut lowers: Vec<PathBuf> = lowers.iter().rev().cloned().collect();
                if lowers.is_empty() {
                    lowers.push(self.build.join("empty"));
                }
                Root::Overlay {
                    lowers,
                    upper: self.build.join(format!("upper-{upper}")),
                    work: self.build.join("work"),
                }
            }
            RootForm::Plain => {
                Root::Plain { directory: self.build.join("root"), baseline: self.build.join("baseline") }
            }
        }
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        self.last_run = None;
        // What remains is removed when the next sandbox is chosen.
        let _ = self.build.end(&self.helpers);
    }
}
