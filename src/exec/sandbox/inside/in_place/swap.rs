//! The pod's own `/` shows an image: its entries out of the way, those of the image in their place, and back again.
//!
//! The entries of three directories change places by renaming: `live` is what processes see, `stage` has the image's
//! while no command runs, `host` has the pod's while one does. What both have is exchanged at one moment, so that the
//! builder, which goes on resolving host names meanwhile, never misses `/etc`. A directory that has to stay because
//! of something in it is *merged*: its contents are swapped, it is dressed (mode, owner, time) as the image's, and
//! undressed afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::staying::{Role, Staying};
use super::transfer::{Dress, Place};
use crate::exec::sandbox::wire::{During as _, Failure};
use crate::rootfs::remove::{list, os_name};

/// The root of the pod while it shows an image.
#[derive(Debug)]
pub(super) struct Swap {
    root: Level,
    host: PathBuf,
}

/// A directory that all three trees have.
#[derive(Debug)]
struct Level {
    live: OwnedFd,
    stage: OwnedFd,
    host: OwnedFd,
    /// Names in `live` that are neither the image's nor renamed.
    stays: BTreeSet<OsString>,
    merged: BTreeMap<OsString, Merged>,
}

/// A directory that stays while its contents are swapped.
#[derive(Debug)]
struct Merged {
    level: Level,
    /// How it looks in the pod.
    pod: Dress,
    /// How it looked in the image.
    stage: Dress,
    /// Whether it looks as in the image.
    is_dressed: bool,
    /// Whether the image has none, so that one was made in `stage`.
    is_made: bool,
}

impl Swap {
    /// Shows the image in the directory `stage` where `live` is. `host` must not exist. An error leaves everything as
    /// it was.
    pub(super) fn begin(
        live: OwnedFd,
        stage: OwnedFd,
        host: &Path,
        staying: &Staying,
    ) -> Result<Self, Failure> {
        match rustix::fs::mkdirat(CWD, host, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => return Err(Failure::Interrupted),
            result => result.during(|| format!("make `{}`", host.display()))?,
        }
        let parked = open(CWD, host.as_os_str()).during(|| format!("open `{}`", host.display()))?;
        let mut swap = Self { root: Level::new(live, stage, parked), host: host.to_owned() };
        match swap.root.enter(Path::new(""), staying) {
            Ok(()) => Ok(swap),
            Err(failure) => {
                swap.end()?;
                Err(failure)
            }
        }
    }

    /// Shows the pod's own root again, and leaves in the stage what has become of the image.
    pub(super) fn end(self) -> Result<(), Failure> {
        self.root.leave(Path::new(""))?;
        rustix::fs::unlinkat(CWD, &self.host, AtFlags::REMOVEDIR)
            .during(|| format!("remove `{}`", self.host.display()))
    }
}

impl Level {
    fn new(live: OwnedFd, stage: OwnedFd, host: OwnedFd) -> Self {
        Self { live, stage, host, stays: BTreeSet::new(), merged: BTreeMap::new() }
    }

    /// Swaps the contents. After an error, [`Self::leave`] puts back what was swapped.
    fn enter(&mut self, path: &Path, staying: &Staying) -> Result<(), Failure> {
        let mut names = names(&self.live).during(|| format!("list `/{}`", path.display()))?.into_iter();
        for name in names.by_ref() {
            let inner = path.join(&name);
            let entered = self.enter_one(&name, &inner, staying);
            if entered.is_err() {
                self.stays.extend(names);
                if !self.merged.contains_key(&name) {
                    self.stays.insert(name);
                }
                return entered;
            }
        }
        let there = self::names(&self.live).during(|| format!("list `/{}`", path.display()))?;
        let there: BTreeSet<OsString> = there.into_iter().collect();
        for name in self::names(&self.stage).during(|| format!("list `{}` of the image", path.display()))? {
            if !there.contains(&name) {
                Place::new(&self.stage, &name)
                    .rename(Place::new(&self.live, &name))
                    .during(|| format!("put `/{}` into place", path.join(&name).display()))?;
            }
        }
        Ok(())
    }

    fn enter_one(&mut self, name: &OsStr, path: &Path, staying: &Staying) -> Result<(), Failure> {
        let role =
            staying.role(&self.live, name, path).during(|| format!("look at `/{}`", path.display()))?;
        match role {
            Role::Stays => {
                self.stays.insert(name.to_owned());
                Ok(())
            }
            Role::Merges => self.merge(name, path, staying),
            Role::Moves => match self.move_aside(name, staying.has_mounts(path)) {
                Ok(()) => Ok(()),
                // Something is mounted there after all.
                Err(Errno::BUSY) => {
                    self.stays.insert(name.to_owned());
                    Ok(())
                }
                Err(Errno::XDEV) => self.merge(name, path, staying),
                Err(Errno::NOBUFS) => Err(Failure::Crowded { path: format!("/{}", path.display()) }),
                Err(error) => Err(error).during(|| format!("move `/{}` out of the way", path.display())),
            },
        }
    }

    /// Puts the image's entry, or nothing, in the place of the pod's. An error leaves both where they were.
    fn move_aside(&self, name: &OsStr, has_mounts: bool) -> rustix::io::Result<()> {
        let (live, stage, host) =
            (Place::new(&self.live, name), Place::new(&self.stage, name), Place::new(&self.host, name));
        let transfer = |from: Place<'_>, to: Place<'_>| match from.rename(to) {
            Err(Errno::XDEV) if !has_mounts => from.transfer(to).map_err(|error| errno(&error)),
            result => result,
        };
        if stage.stat().map_err(|error| errno(&error))?.is_none() {
            return transfer(live, host);
        }
        stage.rename(host)?;
        let exchanged = live.exchange(host);
        if exchanged.is_ok() {
            return Ok(());
        }
        host.rename(stage)?;
        match exchanged {
            Err(Errno::XDEV) => {
                transfer(live, host)?;
                stage.rename(live)
            }
            result => result,
        }
    }

    fn merge(&mut self, name: &OsStr, path: &Path, staying: &Staying) -> Result<(), Failure> {
        let during = || format!("merge `/{}`", path.display());
        let live = match open(&self.live, name) {
            // No directory: it cannot be renamed, and nothing can be put in its place.
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::XDEV).during(during),
            result => result.during(during)?,
        };
        let (stage, is_made) = match open(&self.stage, name) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&self.stage, name, Mode::from_raw_mode(0o700)).during(during)?;
                (open(&self.stage, name).during(during)?, true)
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Failure::InTheWay { path: format!("/{}", path.display()) });
            }
            result => (result.during(during)?, false),
        };
        rustix::fs::mkdirat(&self.host, name, Mode::from_raw_mode(0o700)).during(during)?;
        let host = open(&self.host, name).during(during)?;
        let dress = |of: &OwnedFd| rustix::fs::fstat(of).map(|stat| Dress::of(&stat));
        let pod = dress(&live).during(during)?;
        let stage_dress = if is_made { pod } else { dress(&stage).during(during)? };
        let level = Level::new(live, stage, host);
        let merged = Merged { level, pod, stage: stage_dress, is_dressed: false, is_made };
        let merged = self.merged.entry(name.to_owned()).or_insert(merged);
        merged.level.enter(path, staying)?;
        merged.stage.put_on(&merged.level.live).during(during)?;
        merged.is_dressed = true;
        Ok(())
    }

    /// Swaps the contents back. Goes on after an error, and gives the first.
    fn leave(self, path: &Path) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let mut note = |result: Result<(), Failure>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        let there = names(&self.live).during(|| format!("list `/{}`", path.display()))?;
        for name in
            there.iter().filter(|name| !self.stays.contains(*name) && !self.merged.contains_key(*name))
        {
            note(self.move_back(name).during(|| format!("take `/{}` back", path.join(name).display())));
        }
        for name in names(&self.host).during(|| "list what was moved out of the way")? {
            if !self.merged.contains_key(&name) {
                note(
                    Place::new(&self.host, &name)
                        .transfer(Place::new(&self.live, &name))
                        .during(|| format!("restore `/{}`", path.join(&name).display())),
                );
            }
        }
        for (name, merged) in self.merged {
            let path = path.join(&name);
            note(merged.leave(&path).and_then(|is_empty| {
                let during = || format!("part with `/{}`", path.display());
                rustix::fs::unlinkat(&self.host, &name, AtFlags::REMOVEDIR).during(during)?;
                if is_empty {
                    rustix::fs::unlinkat(&self.stage, &name, AtFlags::REMOVEDIR).during(during)?;
                }
                Ok(())
            }));
        }
        outcome
    }

    fn move_back(&self, name: &OsStr) -> io::Result<()> {
        let (live, stage, host) =
            (Place::new(&self.live, name), Place::new(&self.stage, name), Place::new(&self.host, name));
        if host.stat()?.is_none() {
            return live.transfer(stage);
        }
        match live.exchange(host) {
            Err(Errno::XDEV) => {
                live.transfer(stage)?;
                host.transfer(live)
            }
            result => {
                result?;
                Ok(host.rename(stage)?)
            }
        }
    }
}

impl Merged {
    /// Whether there is nothing that the image would have to have this directory for.
    fn leave(self, path: &Path) -> Result<bool, Failure> {
        let during = || format!("undress `/{}`", path.display());
        let copy = |fd: &OwnedFd| fd.try_clone().during(during);
        let (live, stage) = (copy(&self.level.live)?, copy(&self.level.stage)?);
        let now = Dress::of(&rustix::fs::fstat(&live).during(during)?);
        self.level.leave(path)?;
        self.pod.put_on(&live).during(during)?;
        let is_empty = self.is_made && names(&stage).during(during)?.is_empty();
        let dress = if self.is_dressed { now } else { self.stage };
        dress.put_on(&stage).during(during)?;
        Ok(is_empty)
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn open(parent: impl std::os::fd::AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    Ok(list(directory)?.into_iter().map(|(name, _)| os_name(name)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    /// A pod's root, an image, a place for the pod's own files.
    struct Trees {
        directory: tempfile::TempDir,
    }

    impl Trees {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at = |path: &str| directory.path().join(path);
            for path in [
                "live/etc",
                "live/root/.cache/cooper",
                "live/root/own",
                "live/only",
                "stage/etc",
                "stage/bin",
            ] {
                fs::create_dir_all(at(path)).unwrap();
            }
            for path in
                ["live/etc/pod", "live/root/.cache/cooper/blob", "live/file", "stage/etc/image", "stage/file"]
            {
                fs::write(at(path), path).unwrap();
            }
            fs::set_permissions(at("live/root"), fs::Permissions::from_mode(0o711)).unwrap();
            Self { directory }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn begin(&self) -> Result<Swap, Failure> {
            let open = |path: &str| fs::File::open(self.at(path)).unwrap().into();
            let staying = Staying::keeping(&["root/.cache/cooper"]);
            Swap::begin(open("live"), open("stage"), &self.at("host"), &staying)
        }

        /// The paths below a directory.
        fn list(&self, path: &str) -> Vec<String> {
            let walk = walkdir::WalkDir::new(self.at(path)).min_depth(1).sort_by_file_name();
            let paths = walk.into_iter().map(|entry| {
                let entry = entry.unwrap();
                entry.path().strip_prefix(self.at(path)).unwrap().display().to_string()
            });
            paths.collect()
        }
    }

    #[test]
    fn entries_change_places_and_come_back() {
        let trees = Trees::new();
        let pod = trees.list("live");
        fs::create_dir_all(trees.at("stage/root")).unwrap();
        fs::write(trees.at("stage/root/.profile"), "").unwrap();
        fs::set_permissions(trees.at("stage/root"), fs::Permissions::from_mode(0o700)).unwrap();
        let swap = trees.begin().unwrap();
        let shown = [
            "bin",
            "etc",
            "etc/image",
            "file",
            "root",
            "root/.cache",
            "root/.cache/cooper",
            "root/.cache/cooper/blob",
            "root/.profile",
        ];
        assert_eq!(trees.list("live"), shown);
        assert_eq!(fs::metadata(trees.at("live/root")).unwrap().mode() & 0o777, 0o700);
        assert!(matches!(trees.begin(), Err(Failure::Interrupted)));
        // What a command does.
        fs::remove_dir_all(trees.at("live/etc")).unwrap();
        symlink("bin", trees.at("live/sbin")).unwrap();
        fs::write(trees.at("live/root/.cache/other"), "").unwrap();
        fs::set_permissions(trees.at("live/root"), fs::Permissions::from_mode(0o750)).unwrap();
        swap.end().unwrap();
        assert_eq!(trees.list("live"), pod);
        assert_eq!(fs::metadata(trees.at("live/root")).unwrap().mode() & 0o777, 0o711);
        let left = ["bin", "file", "root", "root/.cache", "root/.cache/other", "root/.profile", "sbin"];
        assert_eq!(trees.list("stage"), left);
        assert_eq!(fs::metadata(trees.at("stage/root")).unwrap().mode() & 0o777, 0o750);
        assert!(!trees.at("host").exists());
    }

    #[test]
    fn a_directory_that_the_image_lacks_leaves_no_trace() {
        let trees = Trees::new();
        let (pod, image) = (trees.list("live"), trees.list("stage"));
        trees.begin().unwrap().end().unwrap();
        assert_eq!((trees.list("live"), trees.list("stage")), (pod, image));
    }

    #[test]
    fn what_cannot_be_swapped_leaves_everything_as_it_was() {
        let trees = Trees::new();
        symlink("etc", trees.at("stage/root")).unwrap();
        let (pod, image) = (trees.list("live"), trees.list("stage"));
        let Err(Failure::InTheWay { path }) = trees.begin() else { panic!("it was swapped") };
        assert_eq!(path, "/root");
        assert_eq!((trees.list("live"), trees.list("stage")), (pod, image));
        assert!(!trees.at("host").exists());
    }
}
