//! What a command sees at a path although no layer has it, where nothing can be mounted: the image's own is renamed
//! aside for the time being, and something else put there.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::transfer::Place;
use crate::exec::sandbox::inside::stubs::{Shape, Stubs, modified, set_modified};
use crate::rootfs::remove::remove;

/// The substitutes in one root.
#[derive(Debug)]
pub(super) struct Substitutes {
    stubs: Stubs,
    /// A directory for what is replaced.
    aside: OwnedFd,
    done: Vec<Substitute>,
}

/// What is put somewhere.
#[derive(Debug)]
pub(super) enum Thing {
    /// A copy of a file, with its mode and owner.
    Copy(std::fs::File),
    /// A link.
    Link(PathBuf),
    /// An empty directory that everybody may write to.
    Directory,
    /// The thing itself, until it is put back.
    Borrowed { parent: OwnedFd, name: OsString },
}

#[derive(Debug)]
struct Substitute {
    parent: OwnedFd,
    name: OsString,
    /// Where what was replaced is: in the directory for that, or beside the substitute.
    aside: (Option<OwnedFd>, OsString),
    /// Where it goes back to, and its inode.
    lender: Option<(OwnedFd, OsString, u64)>,
}

impl Substitutes {
    /// None yet, below `root`. `aside` is an empty directory on its file system.
    pub(super) fn new(root: OwnedFd, aside: OwnedFd) -> Self {
        Self { stubs: Stubs::new(root), aside, done: Vec::new() }
    }

    /// Puts `thing` at `target`. [`Self::restore`] is due also after an error.
    pub(super) fn put(&mut self, target: &Path, shape: Shape, thing: Thing) -> io::Result<()> {
        let (parent, name) = self.stubs.ensure(target, shape)?.ok_or(Errno::BUSY)?;
        let mtime = modified(&rustix::fs::fstat(&parent)?);
        let aside = self.put_aside(Place::new(&parent, &name))?;
        let parent_copy = parent.try_clone()?;
        self.done.push(Substitute { parent: parent_copy, name: name.clone(), aside, lender: None });
        let place = Place::new(&parent, &name);
        match thing {
            Thing::Copy(mut source) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?;
                let stat = rustix::fs::fstat(&source)?;
                rustix::fs::fchown(
                    &file,
                    Some(Uid::from_raw(stat.st_uid)),
                    Some(Gid::from_raw(stat.st_gid)),
                )?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                io::copy(&mut source, &mut std::fs::File::from(file))?;
            }
            Thing::Link(target) => rustix::fs::symlinkat(target, &parent, &name)?,
            Thing::Directory => {
                rustix::fs::mkdirat(&parent, &name, Mode::empty())?;
                rustix::fs::chmodat(&parent, &name, Mode::from_raw_mode(0o1777), AtFlags::empty())?;
            }
            Thing::Borrowed { parent: from, name: from_name } => {
                Place::new(&from, &from_name).rename(place)?;
                let inode = place.stat()?.map_or(0, |stat| stat.st_ino);
                if let Some(last) = self.done.last_mut() {
                    last.lender = Some((from, from_name, inode));
                }
            }
        }
        set_modified(parent.as_fd(), mtime)
    }

    /// Undoes what was put last.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        self.done.pop().map_or(Ok(()), Substitute::restore)
    }

    fn put_aside(&self, place: Place<'_>) -> io::Result<(Option<OwnedFd>, OsString)> {
        let name = OsString::from(format!(".cooper-aside-{}", self.done.len()));
        match place.rename(Place::new(&self.aside, &name)) {
            // On a file system of the pod's, like `/dev`.
            Err(Errno::XDEV) => {
                place.rename(Place { directory: place.directory, name: &name })?;
                Ok((None, name))
            }
            result => result.map(|()| Ok((Some(self.aside.try_clone()?), name)))?,
        }
    }

    /// Takes all substitutes away and puts back what was there. What the command has removed stays removed.
    pub(super) fn restore(mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        while let Some(substitute) = self.done.pop() {
            let restored = substitute.restore();
            if outcome.is_ok() {
                outcome = restored;
            }
        }
        outcome?;
        self.stubs.clear()
    }
}

impl Substitute {
    fn restore(self) -> io::Result<()> {
        let place = Place::new(&self.parent, &self.name);
        let mtime = modified(&rustix::fs::fstat(&self.parent)?);
        if let Some((parent, name, inode)) = &self.lender
            && place.stat()?.is_some_and(|stat| stat.st_ino == *inode)
        {
            place.rename(Place::new(parent, name))?;
        }
        remove(&self.parent, Path::new(&self.name))?;
        let (directory, name) = &self.aside;
        let aside = Place { directory: directory.as_ref().unwrap_or(&self.parent).as_fd(), name };
        match aside.rename(place) {
            // The command has removed the directory in which all this was.
            Err(Errno::NOENT) => return remove(aside.directory, Path::new(aside.name)),
            result => result?,
        }
        match set_modified(self.parent.as_fd(), mtime) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn what_was_replaced_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for path in ["root/etc", "root/run", "aside", "lent/cache"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("root/etc/hosts"), "image").unwrap();
        symlink("/run/resolv.conf", at("root/etc/resolv.conf")).unwrap();
        fs::write(at("source"), "pod").unwrap();
        fs::write(at("lent/cache/kept"), "").unwrap();
        let before = fs::metadata(at("root/etc")).unwrap();
        let open = |path: &str| OwnedFd::from(fs::File::open(at(path)).unwrap());
        let mut substitutes = Substitutes::new(open("root"), open("aside"));
        let mut put = |target: &str, shape, thing| substitutes.put(Path::new(target), shape, thing);
        put("/etc/hosts", Shape::File, Thing::Copy(open("source").into())).unwrap();
        put("etc/resolv.conf", Shape::File, Thing::Copy(open("source").into())).unwrap();
        put("tmp/new", Shape::Directory, Thing::Directory).unwrap();
        let lent = Thing::Borrowed { parent: open("lent"), name: "cache".into() };
        put("var/cache", Shape::Directory, lent).unwrap();
        assert!(put("etc/hosts/x", Shape::File, Thing::Directory).is_err());
        for path in ["root/etc/hosts", "root/run/resolv.conf"] {
            assert_eq!(fs::read_to_string(at(path)).unwrap(), "pod", "{path}");
        }
        // What a command does.
        fs::write(at("root/tmp/new/gone"), "").unwrap();
        fs::write(at("root/var/cache/more"), "").unwrap();
        fs::remove_file(at("root/etc/hosts")).unwrap();
        let during = fs::metadata(at("root/etc")).unwrap();
        substitutes.restore().unwrap();
        assert_eq!(fs::read_to_string(at("root/etc/hosts")).unwrap(), "image");
        for gone in ["root/tmp", "root/var", "root/run/resolv.conf"] {
            assert!(!at(gone).exists(), "{gone}");
        }
        assert!(at("lent/cache/kept").exists() && at("lent/cache/more").exists());
        let after = fs::metadata(at("root/etc")).unwrap();
        assert_eq!((during.mtime(), during.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        assert_ne!(before.mtime_nsec(), after.mtime_nsec());
        assert_eq!(fs::read_dir(at("aside")).unwrap().count(), 0);
    }
}
