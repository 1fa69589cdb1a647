//! One block: deflated without the others, but knowing what came before.

use std::fmt;
use std::io;

use flate2::{Compress, Compression, FlushCompress};

use super::BLOCK;

/// How far back a deflate stream can refer, in bytes.
const WINDOW: usize = 32 << 10;

/// A piece of the input, with the end of the piece before it.
pub(super) struct Block {
    /// Dictionary, then data.
    bytes: Vec<u8>,
    dictionary: usize,
}

impl Block {
    /// The beginning of the input.
    pub(super) fn first() -> Self {
        Self { bytes: Vec::new(), dictionary: 0 }
    }

    /// An empty block that follows this one.
    pub(super) fn successor(&self) -> Self {
        let window = &self.bytes[self.bytes.len().saturating_sub(WINDOW)..];
        let mut bytes = Vec::with_capacity(WINDOW + BLOCK);
        bytes.extend_from_slice(window);
        Self { bytes, dictionary: window.len() }
    }

    pub(super) fn extend(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// Length of the data, without the dictionary.
    pub(super) fn length(&self) -> usize {
        self.bytes.len() - self.dictionary
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("length", &self.length()).finish_non_exhaustive()
    }
}

/// A compressed block that ends at a byte boundary.
#[derive(Debug)]
pub(super) struct Deflated {
    pub(super) bytes: Vec<u8>,
    /// CRC-32 of the data.
    pub(super) checksum: crc32fast::Hasher,
}

/// How many places of a block are looked at, and how many bytes at each.
const SAMPLES: (usize, usize) = (16, 4096);

/// Whether the bytes at every place that is looked at are spread as evenly as those of encrypted or compressed data.
///
/// The measure is the sum of the squared counts of the 256 values: for random bytes about `n²/256 + n`, for text many
/// times that. Whole numbers, so that every machine comes to the same.
fn looks_random(data: &[u8]) -> bool {
    let (count, length) = SAMPLES;
    let stride = data.len() / count;
    if stride < length {
        return false;
    }
    data.chunks_exact(stride).all(|piece| {
        let mut counts = [0_u32; 256];
        for byte in &piece[..length] {
            counts[usize::from(*byte)] += 1;
        }
        let sum: u32 = counts.iter().map(|count| count * count).sum();
        // Half as much again as what is expected: no text, no program and no picture comes near.
        sum < (1 << 24) / 256 * 3 / 2 + 4096
    })
}

/// Whether the quickest level makes at least a hundredth less of its first quarter: what looks random may be there
/// twice.
fn shrinks(data: &[u8]) -> io::Result<bool> {
    let data = &data[..data.len() / 4];
    let mut compress = Compress::new(Compression::fast(), false);
    let mut bytes = Vec::with_capacity(data.len() + data.len() / 8 + 1024);
    compress.compress_vec(data, &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
    Ok(bytes.len() < data.len() - data.len() / 100)
}

impl Block {
    /// Deflates the block; what would not become smaller is stored, which costs next to nothing. The result depends on nothing but the block and the level.
    pub(super) fn deflate(&self, level: u8) -> io::Result<Deflated> {
        let _span = tracing::info_span!("deflate").entered();
        let (dictionary, data) = self.bytes.split_at(self.dictionary);
        let level = if level > 0 && looks_random(data) && !shrinks(data)? { 0 } else { level };
        // A compressor that was reset still looks at remains of its last input beyond the end of the present one,
        // which changes its choices: zlib-rs clears all memory only for a new one.
        let mut compress = Compress::new(Compression::new(level.into()), false);
        if !dictionary.is_empty() {
            compress.set_dictionary(dictionary).map_err(io::Error::other)?;
        }
        // Enough for fixed codes of nine bits, the worst there is: one call does all.
        let mut bytes = Vec::with_capacity(data.len() + data.len() / 8 + 1024);
        compress.compress_vec(data, &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
        if compress.total_in() != data.len() as u64 || bytes.len() == bytes.capacity() {
            return Err(io::Error::other("deflate wants more room than its format can need"));
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(data);
        Ok(Deflated { bytes, checksum })
    }
}
