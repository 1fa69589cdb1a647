//! What a command changed in a rootfs, written down as a layer.
//!
//! Whatever the rootfs is made of, the same changes give the same bytes:
//!
//! - entries are sorted by path, parents of everything that changed among them, the root itself not;
//! - what is gone is one whiteout at the topmost missing level; there are no opaque markers;
//! - what was touched but is as before (type, mode, owner, size, time, capabilities, contents) is left out;
//! - the names of one file are kept together: if one changed, all that are known are written, the first as a file;
//! - sockets count as nothing; of extended attributes, only `security.capability` is kept.

mod baseline;
mod capability;
mod entries;
mod overlay;
mod plain;
mod status;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use baseline::wait_until_later;
pub(crate) use capability::set_capability;
pub(crate) use overlay::write_overlay;
pub(crate) use plain::{write_baseline, write_plain};
pub(crate) use status::fingerprint_with;

use crate::layer::TarError;
use crate::layer::tar::MAX_PATH;

/// The extended attribute that makes a program privileged.
pub(crate) const CAPABILITY: &str = "security.capability";

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
