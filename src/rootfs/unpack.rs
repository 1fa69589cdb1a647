//! Unpacking layers into directories.
//!
//! A layer is hostile: its paths are resolved beneath the directory by the kernel (see [`super::beneath`]), so that
//! no link it brings leads out. Modes, owners and times of directories are set last, when nothing is put into them
//! any more.

mod amend;
mod place;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use amend::amend;
pub(crate) use place::is_opaque;

use super::beneath;
use super::diff::{CAPABILITY, fingerprint_with, set_capability};
use super::owner::Ownership;
use super::remove::{file_type, list, os_name, remove};
use crate::layer::{Device, Entry, EntryKind, Metadata, TarError, TarReader};

/// Marks a directory of an overlay whose lower layers are hidden, where `userxattr` is in force.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// Bytes moved at once from a tar to a file.
const BUFFER: usize = 256 << 10;

/// What unpacking makes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// One directory of an overlay: removals become whiteout devices and opaque marks.
    Layer {
        /// Whether no layer is below it, so that removals mean nothing.
        bottom: bool,
    },
    /// The sum of this layer and what is in the directory already.
    Applied,
}

/// What is left to say or to do after unpacking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// What was left out.
    pub warnings: BTreeSet<Warning>,
    /// Directories that entries lie in but that the layer does not describe: lower layers decide what they are.
    /// Only for [`Form::Layer`], shortest first.
    pub implied: Vec<BytePath>,
    /// Hard links to names that only a lower layer can have, and their targets. Only for [`Form::Layer`].
    pub borrowed: Vec<(BytePath, BytePath)>,
}

impl Unpacked {
    /// Whether the layer needs nothing of its lower layers.
    pub(crate) fn is_settled(&self) -> bool {
        self.implied.is_empty() && self.borrowed.is_empty()
    }
}

/// A path of any bytes that can be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct BytePath(Vec<u8>);

impl BytePath {
    /// As a path.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for BytePath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

/// Something in a layer that could not be unpacked and is not there for a RUN. The layer itself stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Warning {
    /// Device nodes cannot be made here.
    Device {
        /// The first such path.
        path: String,
    },
    /// An extended attribute cannot be set here.
    Attribute {
        /// The name of the attribute.
        name: String,
        /// The first such path.
        path: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { path } => {
                write!(
                    f,
                    "device nodes of the base cannot be made here, RUN will not see them (first: `{path}`)"
                )
            }
            Self::Attribute { name, path } => {
                write!(f, "the attribute `{name}` cannot be set here, RUN will not see it (first: `{path}`)")
            }
        }
    }
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is no valid tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A hard link leads nowhere.
    #[error("hard link `{}` to `{}`, which does not exist", path.display(), target.display())]
    DanglingHardlink {
        /// The link.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// Something cannot be made.
    #[error("cannot make `{}`", path.display())]
    Make {
        /// The path in the layer.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was unpacked cannot be noted.
    #[error("cannot note fingerprints")]
    Note(#[source] io::Error),
}

/// Receives, for each regular file unpacked, its inode number and its fingerprint, 40 bytes in all.
pub(crate) type Fingerprints<'a> = Option<&'a mut (dyn Write + 'a)>;

/// Unpacks `tar` into the directory `root`. The process's umask must be 0.
pub(crate) fn unpack<'a>(
    tar: impl Read,
    root: BorrowedFd<'a>,
    form: Form,
    ownership: Ownership,
    fingerprints: Fingerprints<'a>,
) -> Result<Unpacked, UnpackError> {
    let mut unpacker = Unpacker { fingerprints, ..Unpacker::new(root, form, ownership) };
    let mut reader = TarReader::new(tar);
    while let Some((entry, mut contents)) = reader.next_entry()? {
        unpacker.put(&entry, &mut contents)?;
    }
    unpacker.finish()
}

/// Unpacks `tar`, an archive that is no layer, into the directory `root`: everything belongs to this process, devices
/// and extended attributes are left out, and `.wh.` names mean nothing. The process's umask does not matter.
pub(crate) fn unpack_archive(tar: impl Read, root: BorrowedFd<'_>) -> Result<(), UnpackError> {
    let mut unpacker = Unpacker { has_umask: true, ..Unpacker::new(root, Form::Applied, Ownership::Real) };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut reader = TarReader::of_archive(tar);
    while let Some((entry, mut contents)) = reader.next_entry()? {
        if matches!(entry.kind, EntryKind::CharDevice(_) | EntryKind::BlockDevice(_)) {
            continue;
        }
        let metadata = Metadata { uid, gid, xattrs: BTreeMap::new(), ..entry.metadata };
        unpacker.put(&Entry { metadata, ..entry }, &mut contents)?;
    }
    unpacker.finish().map(|_| ())
}

/// A directory that entries are being put into.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    fd: OwnedFd,
    inode: u64,
    /// New files would inherit its group.
    setgid: bool,
}

/// What a directory will be when all is unpacked.
#[derive(Debug, Clone)]
enum Fate {
    /// As an entry says.
    Described(Metadata),
    /// As it was, but for its modification time, which changed when something was put into it.
    Touched(Timespec),
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    form: Form,
    ownership: Ownership,
    place: Option<Place>,
    directories: BTreeMap<PathBuf, Fate>,
    /// Inodes of the directories whose fate is [`Fate::Touched`].
    touched: HashSet<u64>,
    /// Parent inode and name of all that this layer put there, which its removals do not concern.
    written: HashSet<(u64, OsString)>,
    /// Inodes of the directories on the way to all that, which stay too.
    occupied: HashSet<u64>,
    implied: BTreeSet<PathBuf>,
    unpacked: Unpacked,
    fingerprints: Fingerprints<'a>,
    /// Whether modes must be set, because creating a file does not give it all of them.
    has_umask: bool,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(root: BorrowedFd<'a>, form: Form, ownership: Ownership) -> Self {
        Self {
            root,
            form,
            ownership,
            place: None,
            directories: BTreeMap::new(),
            touched: HashSet::new(),
            written: HashSet::new(),
            occupied: HashSet::new(),
            implied: BTreeSet::new(),
            unpacked: Unpacked::default(),
            fingerprints: None,
            has_umask: false,
            buffer: vec![0; BUFFER],
        }
    }
}

impl Unpacker<'_> {
    fn put(&mut self, entry: &Entry, contents: &mut impl Read) -> Result<(), UnpackError> {
        let failed = |source: io::Error| UnpackError::Make { path: entry.path.clone(), source };
        let Some(name) = entry.path.file_name() else {
            // The root: its metadata is the runtime's affair. It may be opaque, though.
            return match entry.kind {
                EntryKind::OpaqueWhiteout => self.make_opaque(&entry.path).map_err(failed),
                _ => Ok(()),
            };
        };
        if entry.kind == EntryKind::OpaqueWhiteout {
            return self.make_opaque(&entry.path).map_err(failed);
        }
        self.enter(entry.path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
        let Some(place) = &self.place else { return Ok(()) };
        if entry.kind == EntryKind::Whiteout {
            return self.white_out(name).map_err(failed);
        }
        let written = (place.inode, name.to_owned());
        match &entry.kind {
            EntryKind::Directory => {
                self.make_directory(name).map_err(failed)?;
                self.implied.remove(&entry.path);
                self.directories.insert(entry.path.clone(), Fate::Described(entry.metadata.clone()));
            }
            EntryKind::File { .. } => self.write_file(name, entry, contents)?,
            EntryKind::Symlink(target) => self.make_symlink(name, entry, target).map_err(failed)?,
            EntryKind::Hardlink(target) => self.make_hardlink(name, entry, target)?,
            EntryKind::CharDevice(device) => {
                self.make_node(name, entry, FileType::CharacterDevice, *device).map_err(failed)?;
            }
            EntryKind::BlockDevice(device) => {
                self.make_node(name, entry, FileType::BlockDevice, *device).map_err(failed)?;
            }
            EntryKind::Fifo => {
                self.make_node(name, entry, FileType::Fifo, Device { major: 0, minor: 0 }).map_err(failed)?;
            }
            EntryKind::Whiteout | EntryKind::OpaqueWhiteout => {}
        }
        if self.form == Form::Applied {
            self.written.insert(written);
        }
        Ok(())
    }

    /// Makes, and if something else is there, makes room and makes again.
    fn make<T>(&self, name: &OsStr, make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
        let place = self.here()?;
        match make(place.fd.as_fd()) {
            Err(Errno::EXIST) => {
                remove(&place.fd, Path::new(name))?;
                Ok(make(place.fd.as_fd())?)
            }
            result => Ok(result?),
        }
    }

    fn write_file(
        &mut self,
        name: &OsStr,
        entry: &Entry,
        contents: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let failed = |source: io::Error| UnpackError::Make { path: entry.path.clone(), source };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.metadata.mode & 0o777);
        let file = self.make(name, |place| rustix::fs::openat(place, name, flags, mode)).map_err(failed)?;
        let mut hasher = self.fingerprints.is_some().then(Sha256::new);
        loop {
            let count = match contents.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TarError::from_contents(error).into()),
            };
            let bytes = &self.buffer[..count];
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
            write_all(&file, bytes).map_err(failed)?;
        }
        if self.changes_owner(&entry.metadata) {
            self.ownership.give(&file, entry.metadata.uid, entry.metadata.gid).map_err(failed)?;
        }
        // Writing and changing the owner take these bits away.
        if self.has_umask || entry.metadata.mode & 0o7000 != 0 {
            let mode = Mode::from_raw_mode(entry.metadata.mode & 0o7777);
            rustix::fs::fchmod(&file, mode).map_err(|e| failed(e.into()))?;
        }
        rustix::fs::futimens(&file, &times(entry.metadata.mtime)).map_err(|e| failed(e.into()))?;
        for (attribute, value) in &entry.metadata.xattrs {
            self.set_attribute(&file, &entry.path, attribute, value);
        }
        if let (Some(hasher), Some(out)) = (hasher, &mut self.fingerprints) {
            let inode = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?.st_ino;
            let fingerprint = fingerprint_with(hasher, &file).map_err(failed)?;
            out.write_all(&inode.to_le_bytes())
                .and_then(|()| out.write_all(&fingerprint))
                .map_err(UnpackError::Note)?;
        }
        Ok(())
    }

    fn make_symlink(&mut self, name: &OsStr, entry: &Entry, target: &Path) -> io::Result<()> {
        self.make(name, |place| rustix::fs::symlinkat(target, place, name))?;
        self.finish_node(name, &entry.metadata)
    }

    fn make_node(&mut self, name: &OsStr, entry: &Entry, kind: FileType, device: Device) -> io::Result<()> {
        let skipped = Warning::Device { path: entry.path.display().to_string() };
        // Device 0:0 is how overlays say that something is gone: never a device that anybody could mean.
        if kind == FileType::CharacterDevice && device == (Device { major: 0, minor: 0 }) {
            self.warn(skipped);
            return Ok(());
        }
        let mode = Mode::from_raw_mode(entry.metadata.mode & 0o777);
        let number = rustix::fs::makedev(device.major, device.minor);
        match self.make(name, |place| rustix::fs::mknodat(place, name, kind, mode, number)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && kind != FileType::Fifo => {
                self.warn(skipped);
                return Ok(());
            }
            result => result?,
        }
        if entry.metadata.mode & 0o7000 != 0 {
            let mode = Mode::from_raw_mode(entry.metadata.mode & 0o7777);
            rustix::fs::chmodat(&self.here()?.fd, name, mode, AtFlags::empty())?;
        }
        self.finish_node(name, &entry.metadata)
    }

    /// Owner and time of what has no descriptor to set them by.
    fn finish_node(&mut self, name: &OsStr, metadata: &Metadata) -> io::Result<()> {
        let place = self.here()?;
        if self.changes_owner(metadata) {
            self.ownership.give_at(&place.fd, name, metadata.uid, metadata.gid)?;
        }
        Ok(rustix::fs::utimensat(&place.fd, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn make_hardlink(&mut self, name: &OsStr, entry: &Entry, target: &Path) -> Result<(), UnpackError> {
        let failed = |source: io::Error| UnpackError::Make { path: entry.path.clone(), source };
        let dangling =
            || UnpackError::DanglingHardlink { path: entry.path.clone(), target: target.to_owned() };
        let target_name = target.file_name().ok_or_else(dangling)?;
        let found =
            beneath::open_directory(self.root, target.parent().unwrap_or(Path::new(""))).and_then(|place| {
                Ok((rustix::fs::statat(&place, target_name, AtFlags::SYMLINK_NOFOLLOW)?, place))
            });
        let (target_place, target_stat) = match found {
            Ok((stat, place)) if !is_whiteout(&stat) => (place, stat),
            Ok(_) => return Err(dangling()),
            Err(error) if is_absence(&error) => {
                if self.form != (Form::Layer { bottom: false }) {
                    return Err(dangling());
                }
                // Something must be there, so that later entries see the name taken.
                let borrowed = (entry.path.as_path().into(), target.into());
                self.unpacked.borrowed.push(borrowed);
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let place = self.here().map_err(failed)?;
        if let Ok(present) = rustix::fs::statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            && (present.st_dev, present.st_ino) == (target_stat.st_dev, target_stat.st_ino)
        {
            return Ok(());
        }
        self.make(name, |place| rustix::fs::linkat(&target_place, target_name, place, name, AtFlags::empty()))
            .map_err(failed)
    }

    /// Sets an attribute, or warns. Overlays and Cooper keep notes in attributes, which no layer may forge.
    fn set_attribute(&mut self, file: impl AsFd, path: &Path, name: &str, value: &[u8]) {
        if name.starts_with("user.overlay.")
            || name.starts_with("user.cooper.")
            || name.starts_with("trusted.overlay.")
            || name == "security.selinux"
        {
            return;
        }
        let set = match name {
            CAPABILITY => set_capability(file, value),
            _ => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()).map_err(io::Error::from),
        };
        if set.is_err() {
            self.warn(Warning::Attribute { name: name.to_owned(), path: path.display().to_string() });
        }
    }

    /// Keeps the first warning of its sort.
    fn warn(&mut self, warning: Warning) {
        let known = self.unpacked.warnings.iter().any(|known| match (known, &warning) {
            (Warning::Device { .. }, Warning::Device { .. }) => true,
            (Warning::Attribute { name: known, .. }, Warning::Attribute { name, .. }) => known == name,
            _ => false,
        });
        if !known {
            self.unpacked.warnings.insert(warning);
        }
    }

    fn changes_owner(&self, metadata: &Metadata) -> bool {
        metadata.uid != 0 || metadata.gid != 0 || self.place.as_ref().is_some_and(|place| place.setgid)
    }

    /// Gives directories what belongs to them.
    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let (described, touched): (Vec<_>, Vec<_>) = std::mem::take(&mut self.directories)
            .into_iter()
            .partition(|(_, fate)| matches!(fate, Fate::Described(_)));
        // A directory may have been touched by another path than it is described by.
        for (path, fate) in touched.into_iter().chain(described) {
            self.settle(&path, &fate).map_err(|source| UnpackError::Make { path, source })?;
        }
        self.unpacked.implied = self.implied.iter().map(|path| path.as_path().into()).collect();
        Ok(self.unpacked)
    }

    fn settle(&mut self, path: &Path, fate: &Fate) -> io::Result<()> {
        let found = match fate {
            Fate::Touched(_) => beneath::open_to_read(self.root, path),
            Fate::Described(_) => beneath::open_directory(self.root, path.parent().unwrap_or(Path::new("")))
                .and_then(|parent| {
                    let name = Path::new(path.file_name().unwrap_or_default());
                    beneath::open_exactly(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
                }),
        };
        let directory = match found {
            Ok(directory) => directory,
            // A later entry has put something else in its place.
            Err(error) if is_absence(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mtime = match fate {
            Fate::Touched(mtime) => *mtime,
            Fate::Described(metadata) => {
                self.ownership.give(&directory, metadata.uid, metadata.gid)?;
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(metadata.mode & 0o7777))?;
                for (name, value) in &metadata.xattrs {
                    self.set_attribute(&directory, path, name, value);
                }
                seconds(metadata.mtime)
            }
        };
        let times = Timestamps { last_access: mtime, last_modification: mtime };
        Ok(rustix::fs::futimens(&directory, &times)?)
    }
}

/// Whether there is nothing, or nothing of the expected type, at a path that was looked for.
fn is_absence(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// Whether this is how an overlay notes that something is gone.
pub(crate) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    file_type(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn seconds(mtime: i64) -> Timespec {
    Timespec { tv_sec: mtime, tv_nsec: 0 }
}

fn times(mtime: i64) -> Timestamps {
    Timestamps { last_access: seconds(mtime), last_modification: seconds(mtime) }
}

#[cfg(test)]
mod tests;
