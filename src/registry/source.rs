//! Where the bytes of an upload come from.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::repository::Repository;
use crate::image::Descriptor;

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Content that can be read from any place as often as needed, so that a broken upload can go on.
pub trait BlobSource: Send + Sync {
    /// The `length` bytes from `offset` on.
    fn open(&self, offset: u64, length: u64) -> impl Future<Output = io::Result<ByteStream>> + Send;
}

impl<S: BlobSource> BlobSource for &S {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        (**self).open(offset, length).await
    }
}

impl BlobSource for Bytes {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        let range = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(length)).ok());
        let bytes = range
            .filter(|(_, end)| *end <= self.len())
            .map(|(start, end)| self.slice(start..end))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Box::pin(stream::iter([Ok(bytes)])))
    }
}

/// 128 KiB: few system calls, and still little memory with many uploads at once.
const READ_SIZE: usize = 128 << 10;

impl BlobSource for Path {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        let mut file = tokio::fs::File::open(self).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(Box::pin(ReaderStream::with_capacity(file.take(length), READ_SIZE)))
    }
}

impl BlobSource for PathBuf {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        self.as_path().open(offset, length).await
    }
}

/// A blob in another registry: piped, never stored in between.
#[derive(Clone)]
pub struct RemoteBlob {
    repository: Repository,
    blob: Descriptor,
}

impl RemoteBlob {
    /// The blob of this descriptor in `repository`.
    pub fn new(repository: Repository, blob: Descriptor) -> Self {
        Self { repository, blob }
    }
}

impl fmt::Debug for RemoteBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteBlob({}@{})", self.repository.name(), self.blob.digest)
    }
}

impl BlobSource for RemoteBlob {
    /// A part of a blob cannot be verified here; the registry it goes to checks the digest of the whole.
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        let stream = self.repository.blob_part(&self.blob, offset, length).await?;
        Ok(Box::pin(stream.map(|item| item.map_err(io::Error::from))))
    }
}
