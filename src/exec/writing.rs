//! Writing a layer into the store, and its index, in one pass.

use std::io::{self, Write};

use super::error::StepError;
use super::layers::{ImageLayer, Layers, Origin};
use super::listing::Listing;
use crate::image::{Descriptor, Layer, MediaType};
use crate::layer::{Encoding, FileDigests, LayerWriter};
use crate::store::BlobWriter;

/// Takes a layer's uncompressed tar.
#[must_use = "a layer that is not finished is thrown away"]
pub(super) struct NewLayer {
    layers: Layers,
    writer: LayerWriter<BlobWriter>,
    listing: Listing,
}

impl NewLayer {
    pub(super) fn begin(layers: &Layers) -> Result<Self, StepError> {
        let blob = layers.store().begin_blob()?;
        let writer = LayerWriter::new(blob, layers.encoding()).map_err(StepError::Write)?;
        Ok(Self { layers: layers.clone(), writer, listing: Listing::begin(FileDigests::Taken) })
    }

    /// Keeps the layer and its index.
    pub(super) fn finish(self) -> Result<ImageLayer, StepError> {
        let (finished, blob) = self.writer.finish().map_err(StepError::Write)?;
        let index = self.listing.finish()?;
        let (digest, size) = blob.finish()?;
        self.layers.keep_index(finished.diff_id, index)?;
        let media_type = match self.layers.encoding() {
            Encoding::Uncompressed => MediaType::ImageLayer,
            Encoding::Gzip { .. } => MediaType::ImageLayerGzip,
            Encoding::Zstd { .. } => MediaType::ImageLayerZstd,
        };
        let descriptor = Descriptor::new(media_type, digest, size);
        let layer = Layer { diff_id: finished.diff_id, descriptor };
        Ok(ImageLayer { layer, origin: Origin::Store })
    }
}

impl Write for NewLayer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        // What the listing does not want any more, `finish` tells.
        self.listing.take(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
