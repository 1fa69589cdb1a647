//! Paths that never leave a directory, whatever links lie on the way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Opens a directory as a place: good for looking up names in it, not for listing it. Links are followed, inside
/// `root` only, as by a process whose root it is.
pub(crate) fn open_directory(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)
}

/// Opens a directory for listing it or changing its metadata, following links inside `root` only.
pub(crate) fn open_to_read(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)
}

/// Opens what is at `path` as a place, following links inside `root` only.
pub(crate) fn open_place(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open(root, path, OFlags::PATH, ResolveFlags::IN_ROOT)
}

/// Opens exactly `path`: no component of it may be a link.
pub(crate) fn open_exactly(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open(root, path, flags | OFlags::NOFOLLOW, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn open(root: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename somewhere raced with the look-up; the kernel asks to try again.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(outside.path().join("secret")).unwrap();
        for (name, target) in [("absolute", "/etc"), ("up", "../../../etc"), ("out", "../secret")] {
            symlink(target, root.join(name)).unwrap();
        }
        symlink(outside.path().join("secret"), root.join("far")).unwrap();
        let root = std::fs::File::open(root).unwrap();
        let inode = |path: &str| {
            open_directory(&root, Path::new(path)).map(|fd| rustix::fs::fstat(fd).unwrap().st_ino)
        };
        assert_eq!(inode("absolute").unwrap(), inode("etc").unwrap());
        assert_eq!(inode("up").unwrap(), inode("etc").unwrap());
        for path in ["out", "far", "../secret", "etc/../../secret"] {
            assert_eq!(inode(path).unwrap_err().kind(), io::ErrorKind::NotFound, "{path}");
        }
        assert!(open_exactly(&root, Path::new("absolute"), OFlags::PATH | OFlags::DIRECTORY).is_err());
    }
}
