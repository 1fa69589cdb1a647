//! Mounting overlays in a user namespace.
//!
//! `userxattr` is a must there: without it the kernel would keep its notes in attributes that the namespace's root
//! may not set, and removing a lower directory would fail. `volatile` leaves out what nobody needs of a build that can
//! be repeated: synchronising with the disk, also when a command asks for it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::rootfs::beneath;
use crate::rootfs::remove::remove;

/// Options of `mount(2)` must fit a page.
const MAX_OPTIONS: usize = 4095;

/// Where an overlay keeps what changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    pub(super) upper: &'a Path,
    /// For the kernel's own use, on the same file system; made anew for each mount.
    pub(super) work: &'a Path,
}

/// A way to mount: lower directories, changes, whether `volatile`, target.
type Attempt = fn(&[PathBuf], Option<Changes<'_>>, bool, &Path) -> io::Result<()>;

/// Mounts an overlay of `lowers` (topmost first) at `target`.
pub(super) fn mount(lowers: &[PathBuf], changes: Option<Changes<'_>>, target: &Path) -> io::Result<()> {
    if let Some(changes) = changes {
        renew(changes.work)?;
    }
    let attempts: [(bool, Attempt); 4] =
        [(true, mount_new), (true, mount_old), (false, mount_new), (false, mount_old)];
    let mut refused = io::Error::from(Errno::INVAL);
    for (volatile, attempt) in attempts {
        if changes.is_none() && volatile {
            continue;
        }
        match attempt(lowers, changes, volatile, target) {
            Ok(()) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The sum of `lowers` (topmost first), to be read only: a mount at `scratch`, or the directory itself if there is
/// only one.
pub(super) fn mount_lowers(lowers: &[PathBuf], scratch: &Path) -> io::Result<OwnedFd> {
    if let [only] = lowers {
        return beneath::open_directory(CWD, only);
    }
    mount(lowers, None, scratch)?;
    beneath::open_directory(CWD, scratch)
}

/// Tries an overlay whose directories are in `scratch`.
pub(super) fn probe(scratch: &Path) -> io::Result<()> {
    let [lower, upper, work, target] = ["lower", "upper", "work", "root"].map(|name| scratch.join(name));
    for directory in [&lower, &upper, &target] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o700))?;
    }
    mount(&[lower], Some(Changes { upper: &upper, work: &work }), &target)?;
    // Some file systems can be mounted over but cannot hold the kernel's notes.
    rustix::fs::mkdirat(CWD, target.join("made"), Mode::from_raw_mode(0o700))?;
    Ok(())
}

fn renew(work: &Path) -> io::Result<()> {
    remove(CWD, work)?;
    Ok(rustix::fs::mkdirat(CWD, work, Mode::from_raw_mode(0o700))?)
}

/// With the API of Linux 5.2, which takes up to 500 lower directories since 6.8.
fn mount_new(
    lowers: &[PathBuf],
    changes: Option<Changes<'_>>,
    volatile: bool,
    target: &Path,
) -> io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in lowers {
        fsconfig_set_string(&context, "lowerdir+", lower)?;
    }
    if let Some(changes) = changes {
        fsconfig_set_string(&context, "upperdir", changes.upper)?;
        fsconfig_set_string(&context, "workdir", changes.work)?;
    }
    fsconfig_set_flag(&context, "userxattr")?;
    if volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// With `mount(2)`, for older kernels.
fn mount_old(
    lowers: &[PathBuf],
    changes: Option<Changes<'_>>,
    volatile: bool,
    target: &Path,
) -> io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    let lowers: Vec<&[u8]> = lowers.iter().map(|lower| lower.as_os_str().as_bytes()).collect();
    options.extend_from_slice(&lowers.join(&b':'));
    if let Some(changes) = changes {
        options.extend_from_slice(b",upperdir=");
        options.extend_from_slice(changes.upper.as_os_str().as_bytes());
        options.extend_from_slice(b",workdir=");
        options.extend_from_slice(changes.work.as_os_str().as_bytes());
    }
    options.extend_from_slice(b",userxattr");
    if volatile {
        options.extend_from_slice(b",volatile");
    }
    if options.len() > MAX_OPTIONS {
        return Err(Errno::TOOBIG.into());
    }
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    Ok(())
}
