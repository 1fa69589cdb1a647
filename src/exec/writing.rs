//! Writing a layer into the store, and its index, in one pass.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::error::StepError;
use super::layers::{Blocks, ImageLayer, Layers, Origin};
use crate::image::{Descriptor, Layer, MediaType};
use crate::layer::{Encoding, LayerIndex, LayerWriter, TarError};
use crate::store::BlobWriter;

/// How many blocks the tar may be ahead of who makes its index.
const BLOCKS_AHEAD: usize = 16;

/// Takes a layer's uncompressed tar.
#[must_use = "a layer that is not finished is thrown away"]
pub(super) struct NewLayer {
    layers: Layers,
    writer: LayerWriter<BlobWriter>,
    blocks: Option<SyncSender<Vec<u8>>>,
    thread: JoinHandle<Result<LayerIndex, TarError>>,
}

impl NewLayer {
    pub(super) fn begin(layers: &Layers) -> Result<Self, StepError> {
        let blob = layers.store().begin_blob()?;
        let writer = LayerWriter::new(blob, Encoding::default()).map_err(StepError::Write)?;
        let (blocks, receiver) = sync_channel(BLOCKS_AHEAD);
        let thread = std::thread::spawn(move || LayerIndex::read(Blocks::new(receiver)));
        Ok(Self { layers: layers.clone(), writer, blocks: Some(blocks), thread })
    }

    /// Keeps the layer and its index.
    pub(super) fn finish(mut self) -> Result<ImageLayer, StepError> {
        self.blocks = None;
        let (finished, blob) = self.writer.finish().map_err(StepError::Write)?;
        let index = match self.thread.join() {
            Ok(index) => index?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let (digest, size) = blob.finish()?;
        self.layers.keep_index(finished.diff_id, index)?;
        let descriptor = Descriptor::new(MediaType::ImageLayerGzip, digest, size);
        let layer = Layer { diff_id: finished.diff_id, descriptor };
        Ok(ImageLayer { layer, origin: Origin::Store })
    }
}

impl Write for NewLayer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        // When the other end is gone it has found something wrong, which `finish` reports.
        let gone = self.blocks.as_ref().is_some_and(|blocks| blocks.send(bytes[..count].to_vec()).is_err());
        if gone {
            self.blocks = None;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
