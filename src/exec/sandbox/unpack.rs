//! Layers on their way into directories, seen from the builder.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::SandboxError;
use super::directory::{Build, Directory};
use super::process::Helpers;
use super::stream;
use super::wire::{Answer, Operation};
use crate::cancel::Cancel;
use crate::layer::Digest;
use crate::rootfs::unpack::{Form, Unpacked, Warning};

/// Opens the uncompressed tar of a layer.
pub type OpenLayer = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// One layer of a rootfs.
pub struct LayerSource {
    /// The chain id that ends with this layer: the name under which it is kept unpacked.
    pub chain: Digest,
    /// Opens its uncompressed tar; asked only if the layer is not unpacked already. The reader checks digests: an
    /// error at its end discards what was unpacked.
    pub open: OpenLayer,
}

impl fmt::Debug for LayerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerSource").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Unpacks layers for one build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacker<'a> {
    pub(super) helpers: &'a Helpers,
    pub(super) directory: &'a Directory,
    pub(super) build: &'a Build,
    pub(super) cancel: &'a Cancel,
}

/// A layer that is in a directory, but not yet under its name.
struct Raw {
    chain: Digest,
    /// Where it is, relative to the directory of unpacked layers.
    path: PathBuf,
    /// What it is at odds with; nothing, if the layer was kept already.
    unpacked: Unpacked,
}

impl Unpacker<'_> {
    /// Unpacks layers side by side, each into its own directory, on top of `lowers` (lowest first). Gives the
    /// directories in order.
    pub(super) fn separately(
        &self,
        layers: Vec<LayerSource>,
        lowers: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<PathBuf>, SandboxError> {
        let count = layers.len();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(count);
        let queue: Mutex<VecDeque<(usize, LayerSource)>> =
            Mutex::new(layers.into_iter().enumerate().collect());
        let done: Mutex<Vec<Option<Result<Raw, SandboxError>>>> =
            Mutex::new(std::iter::repeat_with(|| None).take(count).collect());
        let work = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((number, layer)) = next else { break };
                let is_bottom = number == 0 && lowers.is_empty();
                let result = self.one(number, layer, Form::Layer { bottom: is_bottom });
                let failed = result.is_err();
                done.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
                if failed {
                    queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        // One that failed leaves others undone: its error comes first, wherever it stands.
        let raw = done.into_iter().flatten().collect::<Result<Vec<Raw>, _>>()?;
        let mut found = lowers.to_vec();
        for layer in raw {
            found.push(self.settle(layer, &found, warnings)?);
        }
        Ok(found.split_off(lowers.len()))
    }

    /// Unpacks a layer, unless it is there.
    fn one(&self, number: usize, layer: LayerSource, form: Form) -> Result<Raw, SandboxError> {
        let chain = layer.chain;
        if let Some(path) = self.directory.find(&chain)? {
            return Ok(Raw { chain, path, unpacked: Unpacked::default() });
        }
        let path = self.build.join(format!("layer-{number}-{}", chain.hex()));
        let unpacked = self.into(layer, &path, form, None)?;
        let path = if unpacked.is_settled() { self.directory.keep(&path, &chain)? } else { path };
        Ok(Raw { chain, path, unpacked })
    }

    /// Settles what a layer could not know of those below it, and gives its directory its name.
    fn settle(
        &self,
        layer: Raw,
        lowers: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<PathBuf, SandboxError> {
        let Raw { chain, path, unpacked } = layer;
        warnings.extend(unpacked.warnings.iter().cloned());
        if unpacked.is_settled() {
            return Ok(path);
        }
        if !lowers.is_empty() {
            let lowers = lowers.iter().rev().cloned().collect();
            let scratch = self.build.join("run/root");
            self.helpers.perform(Operation::Amend { directory: path.clone(), lowers, unpacked, scratch })?;
        }
        self.directory.keep(&path, &chain)
    }

    /// Unpacks a layer over what is in the directory `root`, noting fingerprints.
    pub(super) fn onto(
        &self,
        layer: LayerSource,
        root: &Path,
        fingerprints: &Path,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), SandboxError> {
        let unpacked = self.into(layer, root, Form::Applied, Some(fingerprints.to_owned()))?;
        warnings.extend(unpacked.warnings);
        Ok(())
    }

    fn into(
        &self,
        layer: LayerSource,
        path: &Path,
        form: Form,
        fingerprints: Option<PathBuf>,
    ) -> Result<Unpacked, SandboxError> {
        let _span = tracing::info_span!("unpack").entered();
        let chain = layer.chain;
        let failed = |source| SandboxError::ReadLayer { chain, source };
        let mut source = (layer.open)().map_err(failed)?;
        let (reader, writer) = stream::pipe()?;
        let operation = Operation::Unpack { directory: path.to_owned(), form, fingerprints };
        let helper = self.helpers.start(operation, Stdio::from(reader), Stdio::inherit())?;
        stream::feed(&mut source, writer, self.cancel, failed)?;
        match helper.answer()? {
            Answer::Unpacked(unpacked) => Ok(unpacked),
            _ => Err(SandboxError::Protocol(io::ErrorKind::InvalidData.into())),
        }
    }
}
