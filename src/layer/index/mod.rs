//! What a layer says, without the contents of its files.

mod error;
mod format;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

pub use error::IndexError;

use super::{Digest, Entry, EntryKind, Hashing, TarError, TarReader};

/// Files whose text is kept: what names of users and groups are resolved with.
const KEPT_TEXTS: [&str; 2] = ["etc/passwd", "etc/group"];

/// Longest text that is kept, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// All entries of a layer in their order, and the few texts that a build needs to read.
///
/// Made once per layer by streaming its blob, then kept in the store, so that the tree of an image is known
/// without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerIndex {
    /// The members of the layer in the order of the tar stream.
    pub entries: Vec<Entry>,
    /// Contents of `etc/passwd` and `etc/group` where the layer has them as regular files of at most 1 MiB.
    pub texts: BTreeMap<PathBuf, Vec<u8>>,
    /// Digests of the contents of regular files, by where they begin in the tar. Complete for layers that were made
    /// here, empty for those of base images.
    pub digests: BTreeMap<u64, Digest>,
}

/// Whether the contents of files are hashed while a layer is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDigests {
    /// Each file's.
    Taken,
    /// None.
    Omitted,
}

impl LayerIndex {
    /// Reads the uncompressed tar of a layer to its end, so that a digest taken on the way covers all of it.
    pub fn read(tar: impl Read) -> Result<Self, TarError> {
        Self::read_with(tar, FileDigests::Omitted)
    }

    /// The same, with digests of the files' contents if wanted.
    pub fn read_with(tar: impl Read, digests: FileDigests) -> Result<Self, TarError> {
        let mut reader = TarReader::new(tar);
        let mut index = Self::default();
        while let Some((entry, mut contents)) = reader.next_entry()? {
            if KEPT_TEXTS.iter().any(|kept| entry.path == Path::new(kept)) {
                // A later member of the same name replaces an earlier one.
                index.texts.remove(&entry.path);
                if matches!(entry.kind, EntryKind::File { size, .. } if size <= MAX_TEXT) {
                    let mut text = Vec::new();
                    contents.read_to_end(&mut text).map_err(TarError::from_contents)?;
                    if digests == FileDigests::Taken
                        && let EntryKind::File { offset, .. } = entry.kind
                    {
                        index.digests.insert(offset, Digest::of(&text));
                    }
                    index.texts.insert(entry.path.clone(), text);
                }
            } else if digests == FileDigests::Taken
                && let EntryKind::File { offset, .. } = entry.kind
            {
                let mut hashing = Hashing::new(contents);
                io::copy(&mut hashing, &mut io::sink()).map_err(TarError::from_contents)?;
                index.digests.insert(offset, hashing.finish().1);
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Writes the form that [`LayerIndex::read_from`] reads: a line of JSON per entry. Give a buffered writer.
    pub fn write_to(&self, writer: impl Write) -> Result<(), IndexError> {
        format::write(self, writer)
    }

    /// Reads what [`LayerIndex::write_to`] wrote. The source may be hostile: sizes are limited, paths are checked.
    pub fn read_from(reader: impl BufRead) -> Result<Self, IndexError> {
        format::read(reader)
    }
}
