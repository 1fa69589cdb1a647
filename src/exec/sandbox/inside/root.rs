//! What a command finds in its root besides the image: `/dev`, `/proc`, `/sys`, mounts.
//!
//! Every mount is made detached and then put in its place by descriptor, so that no link in the rootfs decides where
//! it goes. Where a new instance of a file system is refused, as a new `/proc` is in pods, the pod's own is bound.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::inline::InlineFiles;
use crate::exec::sandbox::wire::{During as _, Failure};
use crate::exec::sandbox::{Access, Mount, MountKind, RunSpec, sys};
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;

/// Devices that every command may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Parts of `/proc` through which root could change the node, though it is root of a namespace only.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Files that tell of the node what is nobody's business.
const MASKED_FILES: [&str; 5] =
    ["proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/sched_debug"];

/// Directories that do so.
const MASKED_DIRECTORIES: [&str; 4] = ["proc/acpi", "proc/asound", "proc/scsi", "sys/firmware"];

/// Most bytes in `/dev/shm` if nobody says; Docker's limit.
const SHM_SIZE: u64 = 64 << 20;

/// Tries the mounts without which nothing works, at `scratch`.
pub(super) fn probe(scratch: &Path) -> io::Result<()> {
    let place = beneath::open_directory(CWD, scratch)?;
    let copy = bind(scratch)?;
    put(&copy, &place)
}

/// Mounts `directory` on itself, since only a mount can become a root.
pub(super) fn bind_itself(directory: &Path, target: &Path) -> io::Result<()> {
    put(bind(directory)?, beneath::open_directory(CWD, target)?)
}

/// Mounts everything below `root`, which the stubs have prepared. `files` holds `hosts` and `resolv.conf`;
/// `prepare` sees to it that the target of the nth of the further mounts exists.
pub(super) fn assemble(
    root: &OwnedFd,
    files: &Path,
    spec: &RunSpec,
    ownership: Ownership,
    prepare: &mut dyn FnMut(usize) -> io::Result<()>,
) -> Result<(), Failure> {
    let root = root.as_fd();
    devices(root, spec.shm_size.unwrap_or(SHM_SIZE))?;
    processes(root)?;
    // What cannot be shown without being open to change is not shown.
    if let Ok(sys) = bind(Path::new("/sys"))
        && sys::make_read_only(&sys).is_ok()
    {
        put_at(&sys, root, "sys").during(|| "mount `/sys`")?;
    }
    protect(root)?;
    for name in ["hosts", "resolv.conf"] {
        let file = bind(&files.join(name)).during(|| format!("bind `{name}`"))?;
        sys::make_read_only(&file).during(|| format!("make `{name}` read-only"))?;
        put_at(&file, root, Path::new("etc").join(name)).during(|| format!("mount `/etc/{name}`"))?;
    }
    let inline = InlineFiles::write(files, &spec.mounts, ownership)?;
    for (index, mount) in spec.mounts.iter().enumerate() {
        prepare(index).during(|| format!("make `{}` to mount on it", mount.target.display()))?;
        further(root, mount, Path::new(&spec.cwd), &inline.path(index))?;
    }
    Ok(())
}

/// Makes `root` the root of this process, and lets go of the old one.
pub(super) fn enter(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).during(|| "enter the rootfs")?;
    if rustix::process::pivot_root(".", ".").is_ok() {
        // The old root lies on top of the new one now.
        rustix::mount::unmount(".", UnmountFlags::DETACH).during(|| "leave the builder's root")?;
    } else {
        // containerd's seccomp profile never lets it through.
        rustix::mount::mount_move(".", "/").during(|| "move the rootfs to `/`")?;
        rustix::process::chroot(".").during(|| "make the rootfs `/`")?;
    }
    rustix::process::chdir("/").during(|| "enter `/`")
}

fn devices(root: BorrowedFd<'_>, shm_size: u64) -> Result<(), Failure> {
    let dev = new_mount("tmpfs", &[("mode", "0755"), ("size", "65536k")]).during(|| "make `/dev`")?;
    put_at(&dev, root, "dev").during(|| "mount `/dev`")?;
    let dev = beneath::open_directory(root, Path::new("dev")).during(|| "open `/dev`")?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        let device = match bind(&source) {
            // A pod without a terminal may lack `/dev/tty`.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
            result => result.during(|| format!("bind `{}`", source.display()))?,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666))
            .during(|| format!("make `/dev/{name}`"))?;
        put_at(&device, dev.as_fd(), name).during(|| format!("mount `/dev/{name}`"))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).during(|| format!("make `/dev/{name}`"))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))
            .during(|| format!("make `/dev/{name}`"))?;
    }
    let terminals =
        new_mount("devpts", &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")])
            .or_else(|_| new_mount("devpts", &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")]))
            .or_else(|_| bind(Path::new("/dev/pts")));
    if let Ok(terminals) = terminals {
        put_at(&terminals, dev.as_fd(), "pts").during(|| "mount `/dev/pts`")?;
    }
    let shared = new_mount("tmpfs", &[("mode", "1777"), ("size", &shm_size.to_string())])
        .during(|| "make `/dev/shm`")?;
    put_at(&shared, dev.as_fd(), "shm").during(|| "mount `/dev/shm`")?;
    // A convenience that few commands miss.
    if let Ok(queues) = new_mount("mqueue", &[]) {
        put_at(&queues, dev.as_fd(), "mqueue").during(|| "mount `/dev/mqueue`")?;
    }
    Ok(())
}

fn processes(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let proc = new_mount("proc", &[]).or_else(|_| bind(Path::new("/proc"))).during(|| "mount `/proc`")?;
    put_at(&proc, root, "proc").during(|| "mount `/proc`")
}

/// Takes from `/proc` and `/sys` what Docker takes.
fn protect(root: BorrowedFd<'_>) -> Result<(), Failure> {
    for path in READ_ONLY {
        let Some(place) = existing(root, path).during(|| format!("open `/{path}`"))? else { continue };
        let during = || format!("make `/{path}` read-only");
        let copy = clone_tree(&place, "").during(during)?;
        sys::make_read_only(&copy).during(during)?;
        put(&copy, &place).during(during)?;
    }
    for path in MASKED_FILES {
        let Some(place) = existing(root, path).during(|| format!("open `/{path}`"))? else { continue };
        let nothing = bind(Path::new("/dev/null")).during(|| "bind `/dev/null`")?;
        put(&nothing, &place).during(|| format!("mask `/{path}`"))?;
    }
    for path in MASKED_DIRECTORIES {
        let Some(place) = existing(root, path).during(|| format!("open `/{path}`"))? else { continue };
        let nothing = new_mount("tmpfs", &[("mode", "0555"), ("size", "0")]).during(|| "make a mask")?;
        sys::make_read_only(&nothing).during(|| "make a mask")?;
        put(&nothing, &place).during(|| format!("mask `/{path}`"))?;
    }
    Ok(())
}

/// Mounts what the command wants besides; `inline` is where its contents are if it is a file given by them.
fn further(root: BorrowedFd<'_>, mount: &Mount, cwd: &Path, inline: &Path) -> Result<(), Failure> {
    let target = cwd.join(&mount.target);
    let during = || format!("mount `{}`", target.display());
    let fd = match &mount.kind {
        MountKind::Bind { source, access } => bound(source, *access, &target)?,
        MountKind::File(_) => bound(inline, Access::ReadOnly, &target)?,
        MountKind::Tmpfs { size } => {
            let size = size.map(|size| size.to_string());
            let mut options = vec![("mode", "1777")];
            options.extend(size.as_deref().map(|size| ("size", size)));
            new_mount("tmpfs", &options).during(during)?
        }
    };
    put_at(&fd, root, &target).during(during)
}

fn bound(source: &Path, access: Access, target: &Path) -> Result<OwnedFd, Failure> {
    let fd = bind(source).during(|| format!("bind `{}`", source.display()))?;
    if access == Access::ReadOnly {
        sys::make_read_only(&fd).during(|| format!("make `{}` read-only", target.display()))?;
    }
    Ok(fd)
}

/// A new instance of a file system, mounted nowhere yet. An option without a value is a flag.
pub(super) fn new_mount(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *key)?;
        } else {
            fsconfig_set_string(&context, *key, *value)?;
        }
    }
    fsconfig_create(&context)?;
    let attributes = match kind {
        "devpts" => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        "tmpfs" => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        _ => {
            MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC
        }
    };
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A copy of the mounts at and below a path of the builder's, mounted nowhere yet.
fn bind(source: &Path) -> io::Result<OwnedFd> {
    clone_tree(CWD, source)
}

fn clone_tree(at: impl AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(at, path, flags)?)
}

fn existing(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match beneath::open_exactly(root, Path::new(path), OFlags::PATH) {
        Ok(place) => Ok(Some(place)),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn put_at(mount: impl AsFd, root: BorrowedFd<'_>, target: impl AsRef<Path>) -> io::Result<()> {
    put(mount, beneath::open_place(root, target.as_ref())?)
}

pub(super) fn put(mount: impl AsFd, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", flags)?)
}
