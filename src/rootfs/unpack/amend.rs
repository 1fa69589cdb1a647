//! What a layer directory can only learn from the layers below it.
//!
//! Layers are unpacked side by side, each into its own directory. Some say `bin/tool` without saying what `bin` is;
//! then the lower layers decide: a directory lends its mode, owner and time, a link (`bin -> usr/bin`) leads the
//! entry elsewhere. And a hard link may lead to a file of a lower layer, which is then copied up, as an overlay does.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::{Ownership, UnpackError, Unpacked, beneath, file_type, is_absence, list, os_name, remove};

/// How many links one resolution follows; Linux's own limit.
const MAX_LINKS: usize = 40;

/// Settles what `unpacked` says is open in `layer`, given the sum of its lower layers.
pub(crate) fn amend(
    layer: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    unpacked: &Unpacked,
    ownership: Ownership,
) -> Result<(), UnpackError> {
    let mut amendment = Amendment { layer, lower, ownership, moved: Vec::new() };
    for path in &unpacked.implied {
        let path = path.as_path();
        amendment.settle(path).map_err(|source| UnpackError::Make { path: path.to_owned(), source })?;
    }
    for (path, target) in &unpacked.borrowed {
        let (path, target) = (path.as_path(), target.as_path());
        amendment.borrow(path, target).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                UnpackError::DanglingHardlink { path: path.to_owned(), target: target.to_owned() }
            }
            _ => UnpackError::Make { path: path.to_owned(), source },
        })?;
    }
    Ok(())
}

struct Amendment<'a> {
    layer: BorrowedFd<'a>,
    lower: BorrowedFd<'a>,
    ownership: Ownership,
    /// Directories of the layer that links of the lower layers have led elsewhere.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Amendment<'_> {
    /// Where `path` of the layer is by now.
    fn place_of(&self, path: &Path) -> PathBuf {
        self.moved.iter().fold(path.to_owned(), |path, (from, to)| {
            path.strip_prefix(from).map_or(path.clone(), |rest| to.join(rest))
        })
    }

    /// Makes an implied directory what the lower layers say it is.
    fn settle(&mut self, path: &Path) -> io::Result<()> {
        let path = self.place_of(path);
        let Some(found) = self.lower_stat(&path)? else { return Ok(()) };
        match file_type(found.st_mode) {
            FileType::Directory => self.describe(&path, &found),
            FileType::Symlink => {
                let Some(target) = self.resolve(&path)? else { return Ok(()) };
                self.make_directories(&target)?;
                let to = beneath::open_directory(self.layer, &target)?;
                let before = self.ownership.stat_at(&to, ".")?;
                let (parent, name) = split(&path);
                let parent = beneath::open_directory(self.layer, parent)?;
                merge(parent.as_fd(), name, &to)?;
                self.describe(&target, &before)?;
                self.moved.push((path, target));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Copies a file of the lower layers up and gives it another name.
    fn borrow(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let (target_parent, name) = split(target);
        let target_parent = self.resolve(target_parent)?.ok_or(io::ErrorKind::NotFound)?;
        let target = target_parent.join(name);
        self.make_directories(&target_parent)?;
        let to = beneath::open_directory(self.layer, &target_parent)?;
        if let Err(Errno::NOENT) = rustix::fs::statat(&to, name, AtFlags::SYMLINK_NOFOLLOW) {
            let mtime = modified(&rustix::fs::fstat(&to)?);
            let from = beneath::open_directory(self.lower, &target_parent)?;
            copy_up(&from, &to, name, self.ownership)?;
            set_modified(self.layer, &target_parent, mtime)?;
        }
        let path = self.place_of(path);
        let (parent, new_name) = split(&path);
        let mtime = beneath::open_directory(self.layer, parent)
            .and_then(|parent| Ok(modified(&rustix::fs::fstat(parent)?)))?;
        let place = beneath::open_directory(self.layer, parent)?;
        remove(&place, Path::new(new_name))?;
        let (_, name) = split(&target);
        rustix::fs::linkat(&to, name, &place, new_name, AtFlags::empty())?;
        set_modified(self.layer, parent, mtime)
    }

    fn lower_stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let (parent, name) = split(path);
        let found = beneath::open_exactly(self.lower, parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|parent| self.ownership.stat_at(parent, name));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory of the lower layers that `path` leads to, without links; `None` if it leads to none.
    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut pending: Vec<OsString> = parts(path);
        let mut real = PathBuf::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let Some(stat) = self.lower_stat(&real.join(&name))? else { return Ok(None) };
            match file_type(stat.st_mode) {
                FileType::Directory => real.push(name),
                FileType::Symlink if links < MAX_LINKS => {
                    links += 1;
                    let parent = beneath::open_directory(self.lower, &real)?;
                    let target = rustix::fs::readlinkat(parent, &name, Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        real.clear();
                    }
                    pending.extend(parts(target));
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(real))
    }

    /// Makes what is missing of `path` in the layer, as the lower layers have it.
    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut reached = PathBuf::new();
        for name in path.components() {
            let parent = reached.clone();
            reached.push(name);
            let place = beneath::open_exactly(self.layer, &parent, OFlags::PATH | OFlags::DIRECTORY)?;
            let mtime = modified(&rustix::fs::fstat(&place)?);
            match rustix::fs::mkdirat(&place, name.as_os_str(), Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => continue,
                result => result?,
            }
            set_modified(self.layer, &parent, mtime)?;
            if let Some(stat) = self.lower_stat(&reached)? {
                self.describe(&reached, &stat)?;
            }
        }
        Ok(())
    }

    /// Gives a directory of the layer the metadata in `stat`.
    fn describe(&self, path: &Path, stat: &Stat) -> io::Result<()> {
        let directory = match beneath::open_exactly(self.layer, path, OFlags::RDONLY | OFlags::DIRECTORY) {
            // It was replaced or moved by what came after.
            Err(error) if is_absence(&error) => {
                return Ok(());
            }
            result => result?,
        };
        self.ownership.give(&directory, stat.st_uid, stat.st_gid)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        let mtime = modified(stat);
        Ok(rustix::fs::futimens(&directory, &Timestamps { last_access: mtime, last_modification: mtime })?)
    }
}

/// Moves all that is in `name` to `to`, and removes `name`.
fn merge(parent: BorrowedFd<'_>, name: &OsStr, to: &OwnedFd) -> io::Result<()> {
    let from = beneath::open_exactly(parent, Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)?;
    for (child, _) in list(&from)? {
        let child = os_name(child);
        let both_directories = |place: &OwnedFd| {
            beneath::open_exactly(place, Path::new(&child), OFlags::PATH | OFlags::DIRECTORY).ok()
        };
        if let (Some(_), Some(there)) = (both_directories(&from), both_directories(to)) {
            merge(from.as_fd(), &child, &there)?;
            continue;
        }
        remove(to, Path::new(&child))?;
        rustix::fs::renameat(&from, &child, to, &child)?;
    }
    remove(parent, Path::new(name))
}

fn copy_up(from: &OwnedFd, to: &OwnedFd, name: &OsStr, ownership: Ownership) -> io::Result<()> {
    let stat = ownership.stat_at(from, name)?;
    let mtime = modified(&stat);
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    match file_type(stat.st_mode) {
        FileType::RegularFile => {
            let source = beneath::open_exactly(from, Path::new(name), OFlags::RDONLY)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            let (mut source, mut copy) = (File::from(source), File::from(copy));
            io::copy(&mut source, &mut copy)?;
            ownership.give(&copy, stat.st_uid, stat.st_gid)?;
            rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            let mut value = [0; 64];
            if let Ok(length) = rustix::fs::fgetxattr(&source, "security.capability", &mut value[..]) {
                rustix::fs::fsetxattr(&copy, "security.capability", &value[..length], XattrFlags::empty())?;
            }
            Ok(rustix::fs::futimens(&copy, &times)?)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target, to, name)?;
            ownership.give_at(to, name, stat.st_uid, stat.st_gid)?;
            Ok(rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn modified(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() }
}

fn set_modified(root: impl AsFd, path: &Path, mtime: Timespec) -> io::Result<()> {
    let directory = beneath::open_exactly(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(rustix::fs::futimens(directory, &Timestamps { last_access: mtime, last_modification: mtime })?)
}

fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default())
}

/// The names in a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}
