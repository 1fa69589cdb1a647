//! The file system of a stage, seen from the builder.

use std::fmt;
use std::io::{self, Read, Write};

use super::{Exit, OutputStream, RunSpec, SandboxError};
use crate::cancel::Cancel;
use crate::layer::Digest;

/// Opens the uncompressed tar of a layer.
pub type OpenLayer = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// One layer of a rootfs.
pub struct LayerSource {
    /// The chain id that ends with this layer: the name under which it is kept unpacked.
    pub chain: Digest,
    /// Opens its uncompressed tar; asked only if the layer is not unpacked already. The reader checks digests; an
    /// error at its end discards what was unpacked.
    pub open: OpenLayer,
}

impl fmt::Debug for LayerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerSource").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// What [`Rootfs::commit`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// How many entries the layer has; with none, it need not be kept.
    pub entries: u64,
}

/// The file system of a stage, on which commands are executed. Dropping it removes what is not shared.
#[derive(Debug)]
pub struct Rootfs {
    warnings: Vec<String>,
}

impl Rootfs {
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
        let _ = (spec, output, cancel);
        Err(SandboxError::Cancelled)
    }

    /// Writes what the commands since the last commit (or since the beginning) changed, as an uncompressed tar.
    /// Later changes belong to the next layer. Times after `latest_mtime` are written as that.
    /// To be followed by [`Rootfs::keep_as`].
    pub fn commit(
        &mut self,
        latest_mtime: Option<i64>,
        tar: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<Committed, SandboxError> {
        let _ = (latest_mtime, tar, cancel);
        Err(SandboxError::Cancelled)
    }

    /// Names the layer that was committed last, so that later builds find it unpacked.
    pub fn keep_as(&mut self, chain: Digest) -> Result<(), SandboxError> {
        let _ = chain;
        Err(SandboxError::Cancelled)
    }

    /// Lays a layer that was not made by a command (a COPY) on top. Everything must be committed and kept before.
    pub fn apply(&mut self, layer: LayerSource, cancel: &Cancel) -> Result<(), SandboxError> {
        let _ = (layer, cancel);
        Err(SandboxError::Cancelled)
    }

    /// What could not be unpacked as the layers say, and was left out: devices, attributes. Each is said once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}
