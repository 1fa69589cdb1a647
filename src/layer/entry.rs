//! What a layer says about one path.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One member of a layer, as its tar header (with PAX extensions applied) says, without the contents.
///
/// `path` is relative, normalised (no `.`, no `..`, no empty component, no leading `/`); the root itself is the
/// empty path. Readers refuse members that cannot be brought to that form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, relative to the root of the image.
    pub path: PathBuf,
    /// Mode, owner, time, extended attributes. Meaningless for whiteouts and hard links.
    pub metadata: Metadata,
    /// What is there.
    pub kind: EntryKind,
}

/// What a layer puts at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Length of the contents in bytes.
        size: u64,
        /// Where the contents begin in the uncompressed tar. Set by readers, ignored by writers.
        offset: u64,
    },
    /// A directory; merges with one that is there already, taking this entry's metadata.
    Directory,
    /// A symbolic link; the target is as written, it may point anywhere.
    Symlink(PathBuf),
    /// Another name of the file at this (normalised) path.
    Hardlink(PathBuf),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// `.wh.NAME`: what lower layers have at this path (already without the prefix) is gone.
    Whiteout,
    /// `.wh..wh..opq`: what lower layers have inside this directory is gone.
    OpaqueWhiteout,
}

/// Numbers of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What is known of a file besides its type and contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time in whole seconds since 1970; layers made here carry no fractions, as BuildKit's.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), in order.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// Metadata with a mode, owned by root, at time 0, without attributes.
    pub fn with_mode(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }
}

impl Entry {
    /// A directory entry.
    pub fn directory(path: impl Into<PathBuf>, metadata: Metadata) -> Self {
        Self { path: path.into(), metadata, kind: EntryKind::Directory }
    }

    /// A regular file of `size` bytes.
    pub fn file(path: impl Into<PathBuf>, metadata: Metadata, size: u64) -> Self {
        Self { path: path.into(), metadata, kind: EntryKind::File { size, offset: 0 } }
    }

    /// The removal of what lower layers have at `path`.
    pub fn whiteout(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), metadata: Metadata::default(), kind: EntryKind::Whiteout }
    }
}
