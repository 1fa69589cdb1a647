//! What must exist in a rootfs for something to be mounted on it, and is no part of the image.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::rootfs::beneath;
use crate::rootfs::remove::file_type;

/// How many links one path may go through; Linux's own limit.
const MAX_LINKS: usize = 40;

/// What a mount needs beneath it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    File,
}

/// Empty files and directories that were made, to be removed afterwards.
#[derive(Debug)]
pub(super) struct Stubs {
    root: OwnedFd,
    made: Vec<Stub>,
}

#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
    inode: u64,
    shape: Shape,
}

impl Stubs {
    /// None yet, below `root`, which must show the rootfs without anything mounted in it.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, made: Vec::new() }
    }

    /// Sees to it that there is something of this shape at `path`, and gives the directory and the name that it is
    /// really at (none for the root). Links are followed as a process with this root would follow them, also to where nothing is yet. What
    /// is in the way is an error.
    pub(super) fn ensure(&mut self, path: &Path, shape: Shape) -> io::Result<Option<(OwnedFd, OsString)>> {
        let mut pending = parts(path);
        let mut real = PathBuf::new();
        let mut links = 0;
        let mut last = None;
        while let Some(name) = pending.pop() {
            if name == ".." {
                last = None;
                real.pop();
                continue;
            }
            let parent = beneath::open_exactly(&self.root, &real, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let is_last = pending.is_empty();
            match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match file_type(stat.st_mode) {
                    FileType::Symlink => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP.into());
                        }
                        let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
                        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                        if target.is_absolute() {
                            real.clear();
                        }
                        pending.extend(parts(target));
                        continue;
                    }
                    FileType::Directory if is_last && shape == Shape::File => return Err(Errno::ISDIR.into()),
                    FileType::Directory => {}
                    _ if is_last && shape == Shape::File => {}
                    _ => return Err(Errno::NOTDIR.into()),
                },
                Err(Errno::NOENT) => {
                    let shape = if is_last { shape } else { Shape::Directory };
                    self.make(parent.try_clone()?, &name, shape)?;
                }
                Err(error) => return Err(error.into()),
            }
            real.push(&name);
            last = Some((parent, name));
        }
        Ok(last)
    }

    fn make(&mut self, parent: OwnedFd, name: &OsStr, shape: Shape) -> io::Result<()> {
        let parent_mtime = modified(&rustix::fs::fstat(&parent)?);
        match shape {
            Shape::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?,
            Shape::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
            }
        }
        let inode = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
        // A command that sees the stub sees its parent as it was.
        set_modified(parent.as_fd(), parent_mtime)?;
        self.made.push(Stub { parent, name: name.to_owned(), inode, shape });
        Ok(())
    }

    /// Removes the stubs that are as they were made.
    pub(super) fn clear(self) -> io::Result<()> {
        for stub in self.made.into_iter().rev() {
            let stat = match rustix::fs::statat(&stub.parent, &stub.name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                result => result?,
            };
            let (kind, flags) = match stub.shape {
                Shape::Directory => (FileType::Directory, AtFlags::REMOVEDIR),
                Shape::File => (FileType::RegularFile, AtFlags::empty()),
            };
            let untouched = stat.st_ino == stub.inode
                && file_type(stat.st_mode) == kind
                && (stub.shape == Shape::Directory || stat.st_size == 0);
            if !untouched {
                continue;
            }
            let mtime = modified(&rustix::fs::fstat(&stub.parent)?);
            match rustix::fs::unlinkat(&stub.parent, &stub.name, flags) {
                // The command has put something into it.
                Err(Errno::NOTEMPTY | Errno::EXIST) => continue,
                result => result?,
            }
            match set_modified(stub.parent.as_fd(), mtime) {
                // The parent itself was removed by the command.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
                result => result?,
            }
        }
        Ok(())
    }
}

pub(super) fn modified(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() }
}

pub(super) fn set_modified(directory: BorrowedFd<'_>, mtime: Timespec) -> io::Result<()> {
    Ok(rustix::fs::futimens(directory, &Timestamps { last_access: mtime, last_modification: mtime })?)
}

/// The names in a path, last first; a leading `/` means nothing.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}
