//! Files that are given by their contents, where nothing can be mounted: they are in a directory of the pod's `/dev`,
//! which runtimes keep in memory, and links lead to them. So no secret is ever on a disk.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::substitutes::Thing;
use crate::exec::sandbox::InlineFile;
use crate::exec::sandbox::inside::inline;
use crate::rootfs::owner::Ownership;

/// The kernel's number for `tmpfs`, see `linux/magic.h`.
const TMPFS_MAGIC: i128 = 0x0102_1994;

/// The files of one command; they end with this.
#[derive(Debug)]
pub(super) struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// No files yet.
    pub(super) fn new() -> Self {
        Self { directory: PathBuf::from(format!("/dev/.cooper-{}", std::process::id())) }
    }

    /// Writes the nth mount's file; gives a link to it.
    pub(super) fn link(&self, index: usize, file: &InlineFile) -> io::Result<Thing> {
        if i128::from(rustix::fs::statfs(Path::new("/dev"))?.f_type) != TMPFS_MAGIC {
            return Err(Errno::OPNOTSUPP.into());
        }
        // Any user may find a file whose path is known; who may read it is said by the file.
        DirBuilder::new().recursive(true).mode(0o711).create(&self.directory)?;
        let path = self.directory.join(index.to_string());
        inline::fill(&mut File::create_new(&path)?, file, Ownership::Real)?;
        Ok(Thing::Link(path))
    }
}

/// A file that is to be copied, for a root in which no link leads to memory. Not for secrets.
pub(super) fn copy(file: &InlineFile) -> io::Result<Thing> {
    if file.is_secret {
        return Err(Errno::OPNOTSUPP.into());
    }
    let mut copy = File::from(rustix::fs::memfd_create("inline", MemfdFlags::CLOEXEC)?);
    inline::fill(&mut copy, file, Ownership::Real)?;
    copy.rewind()?;
    Ok(Thing::Copy(copy))
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Nothing is there if there were no such files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
