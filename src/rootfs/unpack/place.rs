//! Where entries are put: parents, directories, removals.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, XattrFlags};
use rustix::io::Errno;

use super::{Fate, Form, OPAQUE, Place, Unpacker, beneath, file_type, is_absence, list, os_name, remove};

/// How many dangling links are followed to the place they name.
const MAX_LINKS: usize = 40;

impl Unpacker<'_> {
    /// The directory entries are being put into.
    pub(super) fn here(&self) -> io::Result<&Place> {
        self.place.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes `path` the directory that entries are put into, and makes it if it is missing.
    pub(super) fn enter(&mut self, path: &Path) -> io::Result<()> {
        if self.place.as_ref().is_some_and(|place| place.path == path) {
            return Ok(());
        }
        self.place = None;
        let fd = match beneath::open_directory(self.root, path) {
            Err(error) if is_absence(&error) => {
                self.make_parents(path, 0)?;
                self.place = None;
                beneath::open_directory(self.root, path)?
            }
            result => result?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        // A directory that links lead to has several paths; the first sight of it counts.
        if !path.as_os_str().is_empty()
            && !self.directories.contains_key(path)
            && self.touched.insert(stat.st_ino)
        {
            let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
            self.directories.insert(path.to_owned(), Fate::Touched(mtime));
        }
        if self.form == Form::Applied && self.occupied.insert(stat.st_ino) {
            for ancestor in path.ancestors().skip(1) {
                let ancestor = beneath::open_directory(self.root, ancestor)?;
                if !self.occupied.insert(rustix::fs::fstat(ancestor)?.st_ino) {
                    break;
                }
            }
        }
        let setgid = stat.st_mode & 0o2000 != 0;
        self.place = Some(Place { path: path.to_owned(), fd, inode: stat.st_ino, setgid });
        Ok(())
    }

    /// Makes every directory on the way to `path`: in the place of files, and where dangling links point to.
    fn make_parents(&mut self, path: &Path, links: usize) -> io::Result<()> {
        let mut reached = PathBuf::new();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let parent = reached.clone();
            reached.push(name);
            match beneath::open_directory(self.root, &reached) {
                Ok(_) => continue,
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error),
            }
            self.enter(&parent)?;
            let place = self.here()?;
            match rustix::fs::readlinkat(&place.fd, name, Vec::new()) {
                Ok(target) if links < MAX_LINKS && target.as_bytes() != b"" => {
                    let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                    let target = lexical(&parent, &target);
                    self.make_parents(&target, links + 1)?;
                    if beneath::open_directory(self.root, &reached).is_ok() {
                        continue;
                    }
                    self.enter(&parent)?;
                }
                _ => {}
            }
            self.make_directory(name)?;
            if matches!(self.form, Form::Layer { .. }) {
                self.implied.insert(reached.clone());
            } else {
                let inode = self.here()?.inode;
                self.written.insert((inode, name.to_owned()));
            }
            self.directories.insert(reached.clone(), Fate::Touched(Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
        Ok(())
    }

    /// Makes a directory where entries are being put, unless there is one. One that takes the place of something
    /// else hides what lower layers have there.
    pub(super) fn make_directory(&mut self, name: &OsStr) -> io::Result<()> {
        let place = self.here()?;
        let mode = Mode::from_raw_mode(0o755);
        match rustix::fs::mkdirat(&place.fd, name, mode) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if file_type(stat.st_mode) == FileType::Directory {
                    return Ok(());
                }
                remove(&place.fd, Path::new(name))?;
                rustix::fs::mkdirat(&place.fd, name, mode)?;
                if self.form == (Form::Layer { bottom: false }) {
                    mark_opaque(place.fd.as_fd(), name)?;
                }
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Removes what lower layers have under `name`.
    pub(super) fn white_out(&mut self, name: &OsStr) -> io::Result<()> {
        let place = self.here()?;
        match self.form {
            Form::Layer { bottom: true } => Ok(()),
            Form::Layer { bottom: false } => {
                match rustix::fs::statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if file_type(stat.st_mode) == FileType::Directory => {
                        mark_opaque(place.fd.as_fd(), name)
                    }
                    // A file of this layer hides what is below it anyway.
                    Ok(_) => Ok(()),
                    Err(Errno::NOENT) => {
                        Ok(rustix::fs::mknodat(&place.fd, name, FileType::CharacterDevice, Mode::empty(), 0)?)
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Form::Applied => self.remove_lower(self.here()?.fd.as_fd(), self.here()?.inode, name, 0),
        }
    }

    /// Removes what lower layers have in `path`.
    pub(super) fn make_opaque(&mut self, path: &Path) -> io::Result<()> {
        if self.form == (Form::Layer { bottom: true }) {
            return Ok(());
        }
        self.enter(path)?;
        let place = self.here()?;
        if self.form != Form::Applied {
            return mark_opaque(place.fd.as_fd(), OsStr::new("."));
        }
        self.remove_lower_in(place.fd.as_fd(), place.inode, 0)
    }

    /// Removes `name` but for what this layer has put there.
    fn remove_lower(
        &self,
        parent: BorrowedFd<'_>,
        parent_inode: u64,
        name: &OsStr,
        depth: usize,
    ) -> io::Result<()> {
        let is_own = self.written.contains(&(parent_inode, name.to_owned()));
        match beneath::open_exactly(parent, Path::new(name), OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => {
                let inode = rustix::fs::fstat(&directory)?.st_ino;
                if is_own || self.occupied.contains(&inode) {
                    return self.remove_lower_in(directory.as_fd(), inode, depth + 1);
                }
                remove(parent, Path::new(name))
            }
            // Not a directory: this layer's own file, or a lower one.
            Err(error) if is_absence(&error) && is_own => Ok(()),
            Err(error) if is_absence(&error) => remove(parent, Path::new(name)),
            Err(error) => Err(error),
        }
    }

    fn remove_lower_in(&self, directory: BorrowedFd<'_>, inode: u64, depth: usize) -> io::Result<()> {
        // As deep as this layer's own paths go, whose length is limited.
        debug_assert!(depth <= crate::layer::tar::MAX_PATH);
        let listed = beneath::open_exactly(directory, Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY)?;
        for (name, _) in list(&listed)? {
            self.remove_lower(directory, inode, &os_name(name), depth)?;
        }
        Ok(())
    }
}

/// Hides what lower layers have in this directory.
fn mark_opaque(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let directory = beneath::open_exactly(parent, Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())?)
}

/// Whether a directory of a layer hides what lower layers have in it.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0_u8; 4];
    match rustix::fs::fgetxattr(directory, OPAQUE, &mut value) {
        Ok(length) => Ok(value[..length.min(4)] == *b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where a link in `parent` points, without looking; `..` stops at the root.
fn lexical(parent: &Path, target: &Path) -> PathBuf {
    let mut path = if target.is_absolute() { PathBuf::new() } else { parent.to_owned() };
    for component in target.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}
