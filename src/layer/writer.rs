//! From a tar stream to a layer blob in one pass.

use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::gzip::{self, GzipWriter};
use super::{Compression, DiffId, Digest, Hasher, Hashing};

/// How the blob of a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Plain tar.
    Uncompressed,
    /// Gzip.
    Gzip {
        /// 0 stores, 1 is fastest, 9 is smallest.
        level: u8,
    },
    /// Zstandard.
    Zstd {
        /// 1 is fastest, 22 is smallest.
        level: u8,
    },
}

impl Encoding {
    /// About the size that other builders reach, in less time.
    pub const DEFAULT_GZIP_LEVEL: u8 = gzip::DEFAULT_LEVEL;

    /// Zstandard's own choice of level.
    pub const DEFAULT_ZSTD_LEVEL: u8 = 3;
}

impl Encoding {
    /// What the result is to be recognised as.
    pub fn compression(self) -> Compression {
        match self {
            Self::Uncompressed => Compression::Uncompressed,
            Self::Gzip { .. } => Compression::Gzip,
            Self::Zstd { .. } => Compression::Zstd,
        }
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Self::Gzip { level: Self::DEFAULT_GZIP_LEVEL }
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
    compressor: Compressor<Hashing<W>>,
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
    /// Writes a blob to `output`, compressing on as many threads as the machine offers. Fails when the level does
    /// not exist or the output cannot be written to.
    pub fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::with_threads(output, encoding, threads)
    }

    /// The same with a chosen number of threads. The bytes do not depend on it.
    pub fn with_threads(output: W, encoding: Encoding, threads: NonZeroUsize) -> io::Result<Self> {
        let output = Hashing::new(output);
        let compressor = match encoding {
            Encoding::Uncompressed => Compressor::Uncompressed(output),
            Encoding::Gzip { level } => Compressor::Gzip(GzipWriter::new(output, level, threads)?),
            Encoding::Zstd { level: level @ 1..=22 } => {
                Compressor::Zstd(zstd::stream::write::Encoder::new(output, level.into())?)
            }
            Encoding::Zstd { .. } => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "zstd levels go from 1 to 22"));
            }
        };
        Ok(Self { uncompressed: Hasher::new(), compressor })
    }

    /// Completes the blob. Gives the output back, for instance to sync and rename the file it is.
    pub fn finish(self) -> io::Result<(FinishedLayer, W)> {
        let output = match self.compressor {
            Compressor::Uncompressed(output) => output,
            Compressor::Gzip(writer) => writer.finish()?,
            Compressor::Zstd(encoder) => encoder.finish()?,
        };
        let (output, digest, size) = output.finish();
        let uncompressed_size = self.uncompressed.length();
        let diff_id = DiffId(self.uncompressed.finish());
        Ok((FinishedLayer { diff_id, digest, size, uncompressed_size }, output))
    }
}

impl<W: Write> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.compressor.as_write().write(bytes)?;
        self.uncompressed.update(&bytes[..count]);
        Ok(count)
    }

    /// Does nothing: a flush inside the stream would change the bytes of the blob.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Compressor<W: Write> {
    Uncompressed(W),
    Gzip(GzipWriter<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Uncompressed(output) => output,
            Self::Gzip(writer) => writer,
            Self::Zstd(encoder) => encoder,
        }
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncompressed(_) => "Uncompressed",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::layer::decompress::decompress;
    use crate::layer::{Entry, Metadata, TarWriter};

    fn layer(encoding: Encoding) -> (FinishedLayer, Vec<u8>) {
        let mut tar = TarWriter::new(LayerWriter::new(Vec::new(), encoding).unwrap());
        let text = "hello\n".repeat(200_000);
        tar.append(&Entry::file("hello", Metadata::with_mode(0o644), text.len() as u64), text.as_bytes())
            .unwrap();
        tar.finish().unwrap().finish().unwrap()
    }

    #[test]
    fn names_what_it_wrote() {
        let (plain, tar) = layer(Encoding::Uncompressed);
        assert_eq!(plain.diff_id.0, plain.digest);
        for encoding in [
            Encoding::default(),
            Encoding::Gzip { level: 0 },
            Encoding::Gzip { level: 9 },
            Encoding::Zstd { level: Encoding::DEFAULT_ZSTD_LEVEL },
            Encoding::Zstd { level: 19 },
        ] {
            let (finished, blob) = layer(encoding);
            assert_eq!(Compression::detect(&blob), encoding.compression());
            assert_eq!((finished.digest, finished.size), (Digest::of(&blob), blob.len() as u64));
            assert_eq!(finished.diff_id, plain.diff_id);
            assert_eq!(finished.uncompressed_size, tar.len() as u64);
            let mut output = Vec::new();
            decompress(blob.as_slice()).unwrap().read_to_end(&mut output).unwrap();
            assert!(output == tar, "{encoding:?}");
        }
    }

    #[test]
    fn refuses_levels_that_do_not_exist() {
        for encoding in
            [Encoding::Gzip { level: 10 }, Encoding::Zstd { level: 0 }, Encoding::Zstd { level: 23 }]
        {
            let error = LayerWriter::new(Vec::new(), encoding).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{encoding:?}");
        }
    }
}
