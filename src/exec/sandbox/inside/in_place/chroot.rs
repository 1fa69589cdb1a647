//! Executing a command in a `chroot`, which containerd's root may.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::memory::Memory;
use super::substitutes::{Substitutes, Thing};
use super::{Source, copy, descendants, make_aside, mount, open_place, start, wait_for};
use crate::exec::sandbox::inside::init::reap_until;
use crate::exec::sandbox::inside::stubs::Shape;
use crate::exec::sandbox::sys::{self, Fork};
use crate::exec::sandbox::wire::{self, Answer, During as _, Failure, InPlace};
use crate::exec::sandbox::{Exit, Isolation, RunSpec};

/// Devices that every command may expect: name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Executes the command of `order` with `stage` as its root.
pub(super) fn run(
    order: &InPlace,
    stage: &OwnedFd,
    own: &mut Substitutes,
    socket: &UnixStream,
) -> Result<Exit, Failure> {
    let mounts = order.run.spec.mounts.iter().map(|mount| Source::of(mount, &order.store));
    let sources = mounts.collect::<Result<Vec<_>, _>>()?;
    let null = File::open("/dev/null").during(|| "open `/dev/null`")?;
    put_devices(own, &order.run.scratch).during(|| "make `/dev`")?;
    let mut mounts = Substitutes::new(copy(stage)?, make_aside(&order.run.scratch, "mounts")?);
    let exit = mount(&mut mounts, &Memory::new(), order, sources)
        .and_then(|()| supervise(&order.run.spec, stage, &null, socket));
    mounts.restore().during(|| "take away what was mounted")?;
    exit
}

/// Tries in a child to have another root, and a device in `scratch`.
pub(super) fn probe(scratch: &Path) -> io::Result<()> {
    let node = scratch.join("null");
    make_device(&node, 1, 3)?;
    File::open(&node)?;
    std::fs::remove_file(&node)?;
    let place = open_place(scratch)?;
    let child = match sys::fork()? {
        Fork::Child => {
            sys::exit(enter(&place).map_or_else(|error| error.raw_os_error().unwrap_or(1), |()| 0))
        }
        Fork::Parent(child) => child,
    };
    let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.unwrap_or(libc::EPERM))),
    }
}

fn enter(root: &OwnedFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")?;
    Ok(rustix::process::chdir("/")?)
}

/// A `/dev` made beside the image and lent to it.
fn put_devices(own: &mut Substitutes, scratch: &Path) -> io::Result<()> {
    let path = scratch.join("dev");
    crate::rootfs::remove::remove(CWD, &path)?;
    rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o755))?;
    for (name, major, minor) in DEVICES {
        make_device(&path.join(name), major, minor)?;
    }
    let shared = path.join("shm");
    rustix::fs::mkdirat(CWD, &shared, Mode::from_raw_mode(0o1777))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(scratch, flags, Mode::empty())?;
    own.put(Path::new("dev"), Shape::Directory, Thing::Borrowed { parent, name: "dev".into() })
}

fn make_device(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let number = rustix::fs::makedev(major, minor);
    Ok(rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?)
}

/// Starts a process that goes into the new root, and there the command.
fn supervise(spec: &RunSpec, root: &OwnedFd, null: &File, socket: &UnixStream) -> Result<Exit, Failure> {
    let (report, reporter) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe")?;
    let child = match sys::fork().during(|| "start a process")? {
        Fork::Child => {
            let started = enter(root)
                .during(|| "change the root")
                .and_then(|()| start(spec, root, null, Isolation::Chroot));
            let answer = match started.and_then(|command| reap_until(command).during(|| "wait")) {
                Ok(exit) => Answer::Exited(exit),
                Err(failure) => Answer::Failed(failure),
            };
            sys::exit(i32::from(wire::send(File::from(reporter), &answer).is_err()))
        }
        Fork::Parent(child) => child,
    };
    drop(reporter);
    let ended = wait_for(child, socket);
    descendants::kill_all().during(|| "kill what the command has left behind")?;
    let ended = ended?;
    match wire::receive(File::from(report)) {
        Ok(Answer::Exited(exit)) => Ok(exit),
        Ok(Answer::Failed(failure)) => Err(failure),
        Ok(_) | Err(_) => Err(Failure::Killed(ended.code())),
    }
}
