//! Files that are given by their contents, where nothing can be mounted: they are in a directory of the pod's `/dev`,
//! which runtimes keep in memory, and links lead to them. So no secret is ever on a disk.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::exec::sandbox::InlineFile;
use crate::exec::sandbox::inside::inline;

/// The kernel's number for `tmpfs`, see `linux/magic.h`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

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

    /// Writes the nth mount's file; gives its path.
    pub(super) fn write(&self, index: usize, file: &InlineFile) -> io::Result<PathBuf> {
        let kind = i64::try_from(rustix::fs::statfs(Path::new("/dev"))?.f_type);
        if kind.ok() != Some(TMPFS_MAGIC) {
            return Err(Errno::OPNOTSUPP.into());
        }
        // Any user may find a file whose path is known; who may read it is said by the file.
        DirBuilder::new().recursive(true).mode(0o711).create(&self.directory)?;
        let path = self.directory.join(index.to_string());
        inline::write(&path, file)?;
        Ok(path)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Nothing is there if there were no such files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
