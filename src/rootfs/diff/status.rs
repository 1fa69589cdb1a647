//! What the system says of a file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::DiffError;
use super::capability::capability;
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;
use crate::rootfs::remove::{file_type, list, os_name};

/// Seconds and nanoseconds.
pub(super) type Time = (i64, u32);

/// SHA-256 over the contents of a file and its capabilities, or over the target of a link.
pub(crate) type Fingerprint = [u8; 32];

/// `stat`, in the same types on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// Type, permissions, special bits, as in `st_mode`.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) inode: u64,
    pub(super) links: u32,
    /// Of a device node.
    pub(super) device: u64,
}

impl Status {
    /// Of `name` in `directory`, without following a link.
    pub(super) fn of(
        directory: impl AsFd,
        name: impl rustix::path::Arg,
        ownership: Ownership,
    ) -> io::Result<Self> {
        Ok(Self::from(&ownership.stat_at(directory, name)?))
    }

    pub(super) fn kind(&self) -> FileType {
        file_type(self.mode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Device 0:0 is an overlay's note that something is gone; sockets are no files to keep.
    pub(super) fn is_nothing(&self) -> bool {
        match self.kind() {
            FileType::Socket => true,
            FileType::CharacterDevice => self.device == 0,
            _ => false,
        }
    }

    /// Whether all is equal that a layer could say, but for contents and attributes.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.mtime == other.mtime
            && self.device == other.device
            && (self.is_directory() || self.size == other.size)
    }
}

impl From<&Stat> for Status {
    #[expect(clippy::unnecessary_cast, reason = "types differ between machines")]
    #[expect(clippy::cast_possible_truncation, reason = "nanoseconds are below 10^9, link counts below 2^32")]
    #[expect(clippy::cast_sign_loss, reason = "sizes and nanoseconds are not negative")]
    fn from(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            inode: stat.st_ino,
            links: stat.st_nlink as u32,
            device: match file_type(stat.st_mode) {
                FileType::CharacterDevice | FileType::BlockDevice => stat.st_rdev as u64,
                _ => 0,
            },
        }
    }
}

/// Names in the directory at `path`, sorted, with their status.
pub(super) fn read_directory(
    root: BorrowedFd<'_>,
    path: &Path,
    ownership: Ownership,
) -> Result<Vec<(OsString, Status)>, DiffError> {
    let read = || -> io::Result<Vec<(OsString, Status)>> {
        let directory = beneath::open_exactly(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut found = Vec::new();
        for (name, _) in list(&directory)? {
            let status = Status::of(&directory, name.as_c_str(), ownership)?;
            found.push((os_name(name), status));
        }
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    };
    read().map_err(DiffError::read(path))
}

/// Opens a regular file for reading.
pub(super) fn open_file(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    Ok(File::from(beneath::open_exactly(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?))
}

/// The target of a link.
pub(super) fn read_link(root: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<u8>> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let parent = beneath::open_exactly(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    let name = path.file_name().unwrap_or_default();
    Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
}

/// The fingerprint of a file whose contents went through `hasher`.
pub(crate) fn fingerprint_with(hasher: Sha256, file: impl AsFd) -> io::Result<Fingerprint> {
    let contents: Fingerprint = hasher.finalize().into();
    Ok(match capability(file)? {
        None => contents,
        Some(capability) => Sha256::new().chain_update(contents).chain_update(capability).finalize().into(),
    })
}

/// The fingerprint of what is at `path`; directories and nodes have none.
pub(super) fn fingerprint(
    root: BorrowedFd<'_>,
    path: &Path,
    status: &Status,
) -> io::Result<Option<Fingerprint>> {
    match status.kind() {
        FileType::Symlink => Ok(Some(Sha256::digest(read_link(root, path)?).into())),
        FileType::RegularFile => {
            let mut file = open_file(root, path)?;
            let mut hasher = Sha256::new();
            let mut buffer = vec![0; 128 << 10];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => hasher.update(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            fingerprint_with(hasher, &file).map(Some)
        }
        _ => Ok(None),
    }
}
