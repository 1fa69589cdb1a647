//! Renaming, also where the file system cannot.
//!
//! On an overlay, a directory that comes from the image (here: the builder's) cannot be renamed: `EXDEV`. Its files
//! can, so it is made anew at the other place and its contents follow. From then on it can be renamed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::rootfs::remove::{list, os_name};

/// The most entries that are moved one by one. A builder's image has one directory, which stays, and at most a few
/// small ones; more than that should not be copied up with each build.
const MAX_ENTRIES: u32 = 10_000;

/// The deepest directory that is moved so.
const MAX_DEPTH: u32 = 100;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
}

impl<'a> Place<'a> {
    pub(super) fn new(directory: &'a impl AsFd, name: &'a OsStr) -> Self {
        Self { directory: directory.as_fd(), name }
    }

    /// What is there; nothing if nothing is.
    pub(super) fn stat(self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames to a place where nothing is.
    pub(super) fn rename(self, to: Place<'_>) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(self.directory, self.name, to.directory, to.name, RenameFlags::NOREPLACE)
    }

    /// Puts each of two in the other's place, at one moment.
    pub(super) fn exchange(self, other: Place<'_>) -> rustix::io::Result<()> {
        let flags = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(self.directory, self.name, other.directory, other.name, flags)
    }

    /// Renames, or moves a directory that cannot be renamed. It must not have mounts in it then. `NOBUFS` says that
    /// it has too much in it; nothing was moved then.
    pub(super) fn transfer(self, to: Place<'_>) -> io::Result<()> {
        match self.rename(to) {
            Err(Errno::XDEV) => {
                self.count(&mut MAX_ENTRIES.clone(), 0)?;
                self.move_tree(to)
            }
            result => Ok(result?),
        }
    }

    /// Takes what is in this directory off the budget.
    fn count(self, budget: &mut u32, depth: u32) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(Errno::NOBUFS.into());
        }
        let directory = self.open()?;
        for (name, kind) in list(&directory)? {
            *budget = budget.checked_sub(1).ok_or(Errno::NOBUFS)?;
            if kind == FileType::Directory {
                Place::new(&directory, &os_name(name)).count(budget, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Only for what was counted, which limits the depth.
    fn move_tree(self, to: Place<'_>) -> io::Result<()> {
        let from_directory = self.open()?;
        let dress = Dress::of(&rustix::fs::fstat(&from_directory)?);
        rustix::fs::mkdirat(to.directory, to.name, Mode::from_raw_mode(0o700))?;
        let to_directory = to.open()?;
        for (name, _) in list(&from_directory)? {
            let name = os_name(name);
            let (from, to) = (Place::new(&from_directory, &name), Place::new(&to_directory, &name));
            match from.rename(to) {
                Err(Errno::XDEV) => from.move_tree(to)?,
                result => result?,
            }
        }
        dress.put_on(&to_directory)?;
        Ok(rustix::fs::unlinkat(self.directory, self.name, AtFlags::REMOVEDIR)?)
    }

    /// Opens the directory that is here.
    pub(super) fn open(self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.directory, self.name, flags, Mode::empty()) {
            // A file that cannot be renamed cannot be moved either.
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Errno::XDEV),
            result => result,
        }
    }
}

/// What is seen of a directory besides its contents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dress {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: Timespec,
}

impl Dress {
    pub(super) fn of(stat: &Stat) -> Self {
        let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
        Self { mode: stat.st_mode, uid: stat.st_uid, gid: stat.st_gid, modified }
    }

    pub(super) fn put_on(self, directory: impl AsFd) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(&directory, Some(user), Some(group))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(self.mode & 0o7777))?;
        let times = Timestamps { last_access: self.modified, last_modification: self.modified };
        Ok(rustix::fs::futimens(&directory, &times)?)
    }
}
