//! The blob of a layer as something to send: from the store, on its way there, or straight from its registry.

use std::io::{self, Read as _};

use bytes::Bytes;
use futures_util::stream;

use super::layers::{BlobPlace, ImageLayer, Layers};
use crate::registry::{BlobSource, ByteStream, RemoteBlob};
use crate::store::IncomingReader;

/// Bytes that are read at once while a blob arrives.
const PIECE: usize = 128 << 10;

/// A layer's blob. Nothing is fetched before the first byte of it is asked for, and what need not be kept here never
/// touches the disk.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    layers: Layers,
    layer: ImageLayer,
}

impl LayerBlob {
    /// The blob of this layer.
    pub fn new(layers: &Layers, layer: &ImageLayer) -> Self {
        Self { layers: layers.clone(), layer: layer.clone() }
    }
}

impl BlobSource for LayerBlob {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        let (layers, layer) = (self.layers.clone(), self.layer.clone());
        let place = tokio::task::spawn_blocking(move || layers.locate(&layer)).await?;
        match place.map_err(io::Error::other)? {
            BlobPlace::File(path) => path.open(offset, length).await,
            BlobPlace::Elsewhere(repository) => {
                let repository = self.layers.registries().repository(&repository);
                let repository = repository.map_err(io::Error::other)?;
                RemoteBlob::new(repository, self.layer.layer.descriptor.clone()).open(offset, length).await
            }
            BlobPlace::Arriving(incoming) => {
                let reader = incoming.follow().map_err(io::Error::other)?;
                Ok(following(reader, offset, length))
            }
        }
    }
}

/// The `length` bytes from `offset` on of a blob that is arriving.
fn following(reader: IncomingReader, offset: u64, length: u64) -> ByteStream {
    let first = (reader, offset, length);
    Box::pin(stream::try_unfold(first, |(mut reader, skip, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || {
            if skip > 0 && io::copy(&mut reader.by_ref().take(skip), &mut io::sink())? < skip {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            let count = reader.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(count);
            Ok(Some((Bytes::from(piece), (reader, 0, left - count as u64))))
        })
        .await?
    }))
}
