//! Removing directories, however deep they are.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, ResolveFlags};
use rustix::io::Errno;

/// How deep directories are gone down into before they are brought to the top, so that neither the stack nor the
/// descriptors are used up by what a command made on purpose.
const MAX_DEPTH: usize = 100;

/// Removes `name` in `parent` with all that is in it. Links are removed, not followed. That nothing is there is fine;
/// that something is mounted in there is an error, before anything of it is touched.
pub(crate) fn remove(parent: impl AsFd, name: &Path) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Which of the two is said to a directory depends on the file system.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open(parent, name)?;
    let mut brought_up = 0_u64;
    loop {
        let before = brought_up;
        empty(&top, &top, 0, &mut brought_up)?;
        if brought_up == before {
            break;
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(&parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Without CAP_DAC_OVERRIDE a directory must be made readable first.
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
                return Ok(rustix::fs::openat2(&parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV)?);
            }
            result => return Ok(result?),
        }
    }
}

/// Removes everything in `directory`; what lies too deep is renamed into `top` under a new name.
fn empty(top: &OwnedFd, directory: &OwnedFd, depth: usize, brought_up: &mut u64) -> io::Result<()> {
    for (name, kind) in list(directory)? {
        let name = name.as_c_str();
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if depth < MAX_DEPTH {
            let child = open(directory, name)?;
            empty(top, &child, depth + 1, brought_up)?;
            rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        } else {
            loop {
                *brought_up += 1;
                let new_name = format!(".deep-{brought_up}");
                match rustix::fs::renameat_with(
                    directory,
                    name,
                    top,
                    &*new_name,
                    rustix::fs::RenameFlags::NOREPLACE,
                ) {
                    Err(Errno::EXIST) => {}
                    result => break result?,
                }
            }
        }
    }
    Ok(())
}

/// The names in a directory, without `.` and `..`, unsorted.
pub(crate) fn list(directory: impl AsFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// The type in the mode of a `stat`.
pub(crate) fn file_type(mode: RawMode) -> FileType {
    FileType::from_raw_mode(mode)
}

/// A name from a directory as the text of a path.
pub(crate) fn os_name(name: CString) -> OsString {
    OsString::from_vec(name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_is_deep_and_follows_no_link() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("kept")).unwrap();
        std::fs::write(base.path().join("kept/file"), "x").unwrap();
        let base_fd = std::fs::File::open(base.path()).unwrap();
        rustix::fs::mkdirat(&base_fd, "deep", Mode::from_raw_mode(0o755)).unwrap();
        let mut here = open(&base_fd, "deep").unwrap();
        std::os::unix::fs::symlink("../kept", base.path().join("deep/link")).unwrap();
        for _ in 0..350 {
            rustix::fs::mkdirat(&here, "d", Mode::from_raw_mode(0o755)).unwrap();
            rustix::fs::symlinkat("/", &here, "l").unwrap();
            here = open(&here, "d").unwrap();
        }
        remove(&base_fd, Path::new("deep")).unwrap();
        remove(&base_fd, Path::new("deep")).unwrap();
        assert!(!base.path().join("deep").exists());
        assert!(base.path().join("kept/file").exists());
    }
}
