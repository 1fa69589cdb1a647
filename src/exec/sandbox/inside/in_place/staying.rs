//! What stays where it is in the pod's `/`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags};

use crate::rootfs::remove::file_type;

/// What a command finds as the pod has it, mounted or not.
const KERNEL: [&str; 3] = ["dev", "proc", "sys"];

/// The paths that are never renamed, relative to `/`.
#[derive(Debug)]
pub(super) struct Staying {
    /// What the builder goes on using by its path.
    kept: Vec<PathBuf>,
    /// Where something is mounted.
    mounts: Vec<PathBuf>,
}

/// What becomes of an entry of the pod's tree while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is renamed out of the way.
    Moves,
    /// It stays, and hides what the image has at its place.
    Stays,
    /// It is a directory that stays because of something in it; the rest of its contents moves.
    Merges,
}

impl Staying {
    /// The builder's own paths, and all mounts there are.
    pub(super) fn new(kept: &[PathBuf]) -> io::Result<Self> {
        let kept = kept.iter().map(|path| relative(path)).collect();
        Ok(Self { kept, mounts: mount_points(&fs::read("/proc/self/mountinfo")?) })
    }

    /// These paths and no mounts.
    #[cfg(test)]
    pub(super) fn keeping(kept: &[&str]) -> Self {
        Self { kept: kept.iter().map(PathBuf::from).collect(), mounts: Vec::new() }
    }

    /// What becomes of `name` in `directory`; `path` is where that is.
    pub(super) fn role(&self, directory: impl AsFd, name: &OsStr, path: &Path) -> rustix::io::Result<Role> {
        let stays = KERNEL.iter().any(|name| path == Path::new(name))
            || self.kept.iter().any(|kept| kept == path)
            || self.is_mount(directory, name, path)?;
        Ok(match stays {
            true => Role::Stays,
            false if self.kept.iter().any(|kept| kept.starts_with(path)) => Role::Merges,
            false => Role::Moves,
        })
    }

    /// Whether something is mounted in there, so that it can be moved as a whole only.
    pub(super) fn has_mounts(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| mount.starts_with(path))
    }

    fn is_mount(&self, directory: impl AsFd, name: &OsStr, path: &Path) -> rustix::io::Result<bool> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(directory, name, flags, StatxFlags::TYPE)?;
        if FileType::Symlink == file_type(u32::from(found.stx_mode)) {
            return Ok(false);
        }
        // Linux 5.8 and later say so.
        if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        }
        Ok(self.mounts.iter().any(|mount| mount == path))
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

/// The fifth field of each line, in which blanks and backslashes are octal; see `proc_pid_mountinfo(5)`.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    let fields =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let paths = fields.map(|field| {
        let mut bytes = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((first, behind)) = rest.split_first() {
            let octal = behind.get(..3).filter(|_| *first == b'\\');
            let number = octal
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 8).ok());
            bytes.push(number.unwrap_or(*first));
            rest = &behind[if number.is_some() { 3 } else { 0 }..];
        }
        relative(Path::new(&std::ffi::OsString::from_vec(bytes)))
    });
    paths.filter(|path| !path.as_os_str().as_bytes().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let table = b"22 1 0:21 / / rw - overlay overlay rw\n\
            23 22 0:22 / /proc rw,nosuid - proc proc rw\n\
            24 22 8:1 /x /var/with\\040blank\\134 rw master:1 - ext4 /dev/sda rw\n";
        assert_eq!(mount_points(table), [Path::new("proc"), Path::new("var/with blank\\")]);
    }

    #[test]
    fn roles() {
        let place = tempfile::tempdir().unwrap();
        for name in ["usr", "proc", "root"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        let directory = fs::File::open(place.path()).unwrap();
        let staying = Staying {
            kept: vec!["root/.cache/cooper".into(), "store".into()],
            mounts: vec!["usr/x/y".into()],
        };
        for (name, role) in [("usr", Role::Moves), ("proc", Role::Stays), ("root", Role::Merges)] {
            assert_eq!(staying.role(&directory, OsStr::new(name), Path::new(name)), Ok(role), "{name}");
        }
        assert!(staying.has_mounts(Path::new("usr")) && !staying.has_mounts(Path::new("us")));
        let root = fs::File::open("/").unwrap();
        let real = Staying::new(&[]).unwrap();
        assert_eq!(real.is_mount(&root, OsStr::new("proc"), Path::new("proc")), Ok(true));
    }
}
