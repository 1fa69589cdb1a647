//! What a command changed in a rootfs, written down as a layer.
//!
//! Whatever the rootfs is made of, the same changes give the same bytes:
//!
//! - entries are sorted by path, parents of everything that changed among them, the root itself not;
//! - what is gone is one whiteout at the topmost missing level; there are no opaque markers;
//! - what was touched but is as before (type, mode, owner, size, time, capabilities, contents) is left out;
//! - the names of one file are kept together: if one changed, all that are known are written, the first as a file;
//! - what is to be ignored is left out, its parents are not: they are as the changes in them have left them;
//! - sockets count as nothing; of extended attributes, only `security.capability` is kept.

mod baseline;
mod capability;
mod entries;
mod overlay;
mod plain;
mod status;

use std::io;
use std::path::{Component, Path, PathBuf};

pub(crate) use baseline::wait_until_later;
pub(crate) use capability::set_capability;
pub(crate) use overlay::write_overlay;
pub(crate) use plain::{write_baseline, write_plain};
pub(crate) use status::fingerprint_with;

use serde::{Deserialize, Serialize};

use crate::layer::TarError;
use crate::layer::tar::MAX_PATH;

/// The extended attribute that makes a program privileged.
pub(crate) const CAPABILITY: &str = "security.capability";

/// How changes are written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffSettings {
    /// Times after this (seconds since 1970) are written as this.
    pub latest_mtime: Option<i64>,
    /// Paths whose changes, and those of all below them, are left out; absolute or relative to the root.
    pub ignored: Vec<PathBuf>,
}

impl DiffSettings {
    /// Whether changes of `path`, as a layer writes it, are left out.
    pub(crate) fn ignores(&self, path: &Path) -> bool {
        is_ignored(path, &self.ignored)
    }
}

/// Whether `path`, as a layer writes it, is one of `ignored` or below one.
pub(crate) fn is_ignored(path: &Path, ignored: &[PathBuf]) -> bool {
    ignored.iter().any(|ignored| {
        let names = ignored.components().filter(|part| matches!(part, Component::Normal(_)));
        let mut own = path.components();
        let mut names = names.peekable();
        // Ignoring `/` leaves out everything.
        names.all(|name| own.next() == Some(name))
    })
}

/// Why changes cannot be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiffError {
    /// Something cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The path in the rootfs.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Directories inside directories without end.
    #[error("`{}…` is longer than 4096 bytes, which no image can hold", path.display())]
    TooDeep {
        /// The beginning of the path.
        path: PathBuf,
    },
    /// The note of what was in the rootfs cannot be used.
    #[error("cannot use the note of what was in the rootfs")]
    Baseline(#[source] io::Error),
    /// A path cannot be in a layer, a file changed while it was read, or the receiver is gone.
    #[error(transparent)]
    Tar(#[from] TarError),
}

impl DiffError {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

/// Refuses paths that no image can hold, and with them endless depth.
fn check_length(path: &Path) -> Result<(), DiffError> {
    if path.as_os_str().len() > MAX_PATH {
        let path = path.iter().take(8).collect();
        return Err(DiffError::TooDeep { path });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
