//! Whose a file is, where there is only one user whom all files belong to.
//!
//! A pod that is not root, and has no range of ids, can map one id into a user namespace: its own. Nothing can be given
//! to anybody else there, so the owner that a file is to have is *recorded* in an attribute of the file, which renaming,
//! hard links and an overlay's copying up keep with it:
//!
//! - of files and directories in `user.cooper.owner`, which anybody may set on what belongs to them;
//! - of everything else, where no such attributes can be, in `security.capability`. The kernel takes it for any file
//!   from the root of a namespace, and heeds it for programs only.
//!
//! What has no record belongs to root. A device node, which no user namespace may make, is an empty file whose record
//! says which device it stands for.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::remove::file_type;

/// The attribute of files and directories: user, group, type (the bits of `st_mode`, 0 for the file's own), device;
/// little-endian.
const OWNER: &str = "user.cooper.owner";

/// The attribute of everything else: `struct vfs_cap_data` of `linux/capability.h`, version 2, whose permitted
/// capabilities 0 to 31 are the user, and whose inheritable ones are the group.
const CAPABILITY: &str = super::diff::CAPABILITY;

/// `VFS_CAP_REVISION_2`.
const REVISION: u32 = 0x0200_0000;

const OWNER_LENGTH: usize = 4 + 4 + 4 + 8;
const CAPABILITY_LENGTH: usize = 20;

/// The bits of `st_mode` that say what something is.
const TYPE: u32 = 0o170_000;

/// Where it is written whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ownership {
    /// In its inode, as everywhere.
    Real,
    /// In an attribute.
    Recorded,
}

/// What is recorded of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The type (as in `st_mode`) and the number of the device that the file stands for.
    pub(crate) node: Option<(u32, u64)>,
}

/// How to look at a path whose last component is a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// It is what is meant.
    Stay,
    /// It leads to what is meant, as the links in `/proc/PID/fd` do.
    Follow,
}

impl Ownership {
    /// Gives an open file or directory to somebody.
    pub(crate) fn give(self, file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
        match self {
            Self::Real => Ok(rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?),
            Self::Recorded => {
                let kind = file_type(rustix::fs::fstat(&file)?.st_mode);
                let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
                Record { uid, gid, node: None }.write(Path::new(&path), Links::Follow, kind)
            }
        }
    }

    /// Gives what is called `name` in `directory` to somebody; a link itself, not what it leads to.
    pub(crate) fn give_at(self, directory: impl AsFd, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        match self {
            Self::Real => {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                Ok(rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Self::Recorded => {
                let kind =
                    file_type(rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
                Record { uid, gid, node: None }.write(&path(&directory, name), Links::Stay, kind)
            }
        }
    }

    /// What is called `name` in `directory`, as it is to be seen; a link itself.
    pub(crate) fn stat_at(self, directory: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Stat> {
        let name = name.into_c_str()?;
        let mut stat = rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self == Self::Recorded {
            let path = path(&directory, OsStr::from_bytes(name.to_bytes()));
            if let Some(record) = Record::read(&path, Links::Stay, file_type(stat.st_mode))? {
                record.apply(&mut stat);
            }
        }
        Ok(stat)
    }
}

fn path(directory: impl AsFd, name: &OsStr) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).join(name)
}

impl Record {
    /// What is recorded of the file at `path`, which is of this type.
    pub(crate) fn read(path: &Path, links: Links, kind: FileType) -> io::Result<Option<Self>> {
        let mut value = [0_u8; 64];
        let name = attribute(kind);
        let found = match links {
            Links::Stay => rustix::fs::lgetxattr(path, name, &mut value[..]),
            Links::Follow => rustix::fs::getxattr(path, name, &mut value[..]),
        };
        match found {
            Ok(length) => Ok(value.get(..length).and_then(|value| Self::parse(value, kind))),
            // There is none, the file system keeps none, or it is nothing of ours.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records it of the file at `path`, which is of this type.
    pub(crate) fn write(self, path: &Path, links: Links, kind: FileType) -> io::Result<()> {
        let name = attribute(kind);
        if self == Self::default() {
            // Root's need no record; there may be an older one.
            let removed = match links {
                Links::Stay => rustix::fs::lremovexattr(path, name),
                Links::Follow => rustix::fs::removexattr(path, name),
            };
            return match removed {
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                result => Ok(result?),
            };
        }
        let value = self.value(kind);
        match links {
            Links::Stay => rustix::fs::lsetxattr(path, name, &value, XattrFlags::empty()),
            Links::Follow => rustix::fs::setxattr(path, name, &value, XattrFlags::empty()),
        }?;
        Ok(())
    }

    /// Changes `stat` to what is to be seen.
    pub(crate) fn apply(self, stat: &mut Stat) {
        stat.st_uid = self.uid;
        stat.st_gid = self.gid;
        if let Some((kind, device)) = self.node {
            stat.st_mode = (stat.st_mode & !TYPE) | kind;
            stat.st_rdev = device;
            stat.st_size = 0;
        }
    }

    fn value(self, kind: FileType) -> Vec<u8> {
        let mut value = Vec::with_capacity(CAPABILITY_LENGTH);
        let (uid, gid) = (self.uid.to_le_bytes(), self.gid.to_le_bytes());
        if keeps_attributes(kind) {
            let (kind, device) = self.node.unwrap_or_default();
            value.extend(uid.into_iter().chain(gid).chain(kind.to_le_bytes()).chain(device.to_le_bytes()));
        } else {
            value.extend(REVISION.to_le_bytes().into_iter().chain(uid).chain(gid).chain([0; 8]));
        }
        value
    }

    fn parse(value: &[u8], kind: FileType) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
        if !keeps_attributes(kind) {
            let is_ours = value.len() == CAPABILITY_LENGTH && number(0)? == REVISION;
            return is_ours.then_some(Self { uid: number(4)?, gid: number(8)?, node: None });
        }
        if value.len() != OWNER_LENGTH {
            return None;
        }
        let device = u64::from_le_bytes(value.get(12..20)?.try_into().ok()?);
        let node = (number(8)? & TYPE, device);
        // A device 0:0 is an overlay's note that something is gone.
        let is_node = kind == FileType::RegularFile
            && device != 0
            && matches!(file_type(node.0), FileType::CharacterDevice | FileType::BlockDevice);
        Some(Self { uid: number(0)?, gid: number(4)?, node: is_node.then_some(node) })
    }
}

/// Whether attributes whose names begin with `user.` can be set.
fn keeps_attributes(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// The attribute in which the owner of something of this type is recorded.
pub(crate) fn attribute(kind: FileType) -> &'static str {
    if keeps_attributes(kind) { OWNER } else { CAPABILITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", place.path().join("link")).unwrap();
        let directory = std::fs::File::open(place.path()).unwrap();
        let before = |name: &str| Ownership::Real.stat_at(&directory, name).unwrap();
        let seen = |name: &str| {
            let stat = Ownership::Recorded.stat_at(&directory, name).unwrap();
            (stat.st_uid, stat.st_gid, stat.st_mode, stat.st_rdev)
        };
        for name in ["file", "link"] {
            // Only root of some namespace can record the owner of a link.
            if name == "link" && !rustix::process::geteuid().is_root() {
                continue;
            }
            let mode = before(name).st_mode;
            Ownership::Recorded.give_at(&directory, OsStr::new(name), 1234, u32::MAX - 1).unwrap();
            assert_eq!(seen(name), (1234, u32::MAX - 1, mode, 0), "{name}");
            std::fs::rename(place.path().join(name), place.path().join("other")).unwrap();
            assert_eq!(seen("other"), (1234, u32::MAX - 1, mode, 0), "{name}");
            Ownership::Recorded.give_at(&directory, OsStr::new("other"), 0, 0).unwrap();
            let stat = before("other");
            assert_eq!(seen("other"), (stat.st_uid, stat.st_gid, mode, 0), "{name}");
            std::fs::rename(place.path().join("other"), place.path().join(name)).unwrap();
        }
        let node = Record { uid: 0, gid: 6, node: Some((0o060_000, rustix::fs::makedev(8, 1))) };
        node.write(&place.path().join("file"), Links::Stay, FileType::RegularFile).unwrap();
        assert_eq!(seen("file").2 & TYPE, 0o060_000);
        assert_eq!(seen("file").3, rustix::fs::makedev(8, 1));
    }

    #[test]
    fn what_is_nobodys_record_is_none() {
        for value in [&[][..], &[1; 19], &[1; 21]] {
            assert_eq!(Record::parse(value, FileType::RegularFile), None);
            assert_eq!(Record::parse(value, FileType::Symlink), None);
        }
        let whiteout = Record { uid: 1, gid: 1, node: Some((0o020_000, 0)) };
        let value = whiteout.value(FileType::RegularFile);
        assert_eq!(Record::parse(&value, FileType::RegularFile).unwrap().node, None);
    }
}
