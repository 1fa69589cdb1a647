//! Digests of files outside of the store, by what tells a changed file from an unchanged one.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::layer::Digest;

/// What a file is recognised by. Every write changes the ctime, and nobody but the kernel can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Device, inode, size, ctime and mtime in seconds and nanoseconds.
    numbers: [u64; 7],
}

/// Length of a record: the numbers, and a digest.
const RECORD: usize = 7 * 8 + 32;

/// The first bytes of a file of records.
const MAGIC: &[u8] = b"cooper known files 1\n";

/// The most files that are remembered for one directory.
const MOST: usize = 200_000;

impl FileIdentity {
    /// That of the file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            numbers: [
                metadata.dev(),
                metadata.ino(),
                metadata.size(),
                metadata.ctime().cast_unsigned(),
                metadata.ctime_nsec().cast_unsigned(),
                metadata.mtime().cast_unsigned(),
                metadata.mtime_nsec().cast_unsigned(),
            ],
        }
    }
}

/// The files below one directory whose digests are known.
#[derive(Debug)]
pub struct KnownFiles {
    path: PathBuf,
    files: HashMap<FileIdentity, Digest>,
    is_changed: bool,
    is_from_earlier: bool,
}

impl KnownFiles {
    /// The digest of a file.
    pub fn find(&self, file: &FileIdentity) -> Option<Digest> {
        self.files.get(file).copied()
    }

    /// Whether an earlier build left something.
    pub fn is_from_earlier(&self) -> bool {
        self.is_from_earlier
    }

    /// Adds a digest.
    pub fn add(&mut self, file: FileIdentity, digest: Digest) {
        if self.files.len() >= MOST {
            self.files.clear();
        }
        self.files.insert(file, digest);
        self.is_changed = true;
    }
}

impl Store {
    /// What is remembered of the files below `root`. Whatever cannot be read is not remembered.
    pub fn known_files(&self, root: &Path) -> KnownFiles {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let path = self.root.join("files").join(Digest::of(root.as_os_str().as_bytes()).hex());
        let files = std::fs::read(&path).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        KnownFiles { path, is_from_earlier: !files.is_empty(), files, is_changed: false }
    }

    /// Keeps what was added. Of two builds that do so at the same time, one prevails.
    pub fn keep_known_files(&self, known: &mut KnownFiles) -> Result<(), StoreError> {
        if !std::mem::take(&mut known.is_changed) {
            return Ok(());
        }
        let mut bytes = MAGIC.to_vec();
        for (file, digest) in &known.files {
            bytes.extend(file.numbers.iter().flat_map(|number| number.to_le_bytes()));
            bytes.extend(digest.as_bytes());
        }
        bytes.extend(Digest::of(&bytes).as_bytes());
        self.write_atomically(&known.path, &bytes)
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<FileIdentity, Digest>> {
    let (text, digest) = bytes.split_last_chunk::<32>()?;
    if Digest::of(text).as_bytes() != digest {
        return None;
    }
    let records = text.strip_prefix(MAGIC)?.chunks_exact(RECORD);
    let parsed = records.map(|record| {
        let mut numbers = [0; 7];
        for (number, bytes) in numbers.iter_mut().zip(record.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let digest: [u8; 32] = record.get(7 * 8..)?.try_into().ok()?;
        Some((FileIdentity { numbers }, Digest::from_bytes(digest)))
    });
    parsed.collect()
}
