//! Files that are given by their contents. They exist in memory only: in a file system of their own, of which the
//! command sees single files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::root::{new_mount, put};
use crate::exec::sandbox::wire::{During as _, Failure};
use crate::exec::sandbox::{InlineFile, Mount, MountKind};
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;

/// Where in a run's scratch directory they are.
const DIRECTORY: &str = "inline";

/// The largest page of any machine, in bytes: a file takes up whole pages.
const PAGE: u64 = 64 << 10;

/// The inline files of one command.
#[derive(Debug)]
pub(super) struct InlineFiles {
    directory: PathBuf,
}

/// Makes the directory on which the file system is mounted.
pub(super) fn prepare(scratch: &Path) -> Result<(), Failure> {
    let path = scratch.join(DIRECTORY);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .during(|| format!("make `{}`", path.display()))
}

impl InlineFiles {
    /// Writes those among `mounts`. Only for a process in a mount namespace of its own.
    pub(super) fn write(scratch: &Path, mounts: &[Mount], ownership: Ownership) -> Result<Self, Failure> {
        let directory = scratch.join(DIRECTORY);
        let files: Vec<(usize, &Mount, &InlineFile)> = mounts
            .iter()
            .enumerate()
            .filter_map(|(index, mount)| match &mount.kind {
                MountKind::File(file) => Some((index, mount, file)),
                _ => None,
            })
            .collect();
        let inline = Self { directory };
        if files.is_empty() {
            return Ok(inline);
        }
        let size: u64 =
            files.iter().map(|(_, _, file)| (file.contents.len() as u64).next_multiple_of(PAGE) + PAGE).sum();
        let mount = || -> io::Result<()> {
            let memory = new_mount("tmpfs", &[("mode", "0700"), ("size", &(size + PAGE).to_string())])?;
            put(&memory, beneath::open_directory(CWD, &inline.directory)?)
        };
        mount().during(|| "mount a file system for secrets")?;
        for (index, mount, file) in files {
            let made =
                File::create_new(inline.path(index)).and_then(|mut made| fill(&mut made, file, ownership));
            made.during(|| {
                format!("write `{}` for user {} and group {}", mount.target.display(), file.uid, file.gid)
            })?;
        }
        Ok(inline)
    }

    /// Where the nth mount's file is, if it is one of them.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.directory.join(index.to_string())
    }
}

/// Makes a new file what it is to be.
pub(super) fn fill(file: &mut File, inline: &InlineFile, ownership: Ownership) -> io::Result<()> {
    file.write_all(&inline.contents)?;
    match ownership.give(&*file, inline.uid, inline.gid) {
        // Memory keeps no attributes before Linux 6.6. All users are one then, so this one can read it.
        Err(error)
            if ownership == Ownership::Recorded && Errno::from_io_error(&error) == Some(Errno::NOTSUP) => {}
        result => result?,
    }
    // After the change of owner, which would clear some bits.
    file.set_permissions(fs::Permissions::from_mode(inline.mode))
}
