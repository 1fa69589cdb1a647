//! Executing a command without namespaces: in the pod's own root, which shows the image meanwhile, or in a `chroot`.
//!
//! ```text
//! helper, a subreaper        image in its directory          `/`
//!   lock `/`                   resolv.conf, hosts put in       the pod's
//!   swap                       the pod's own are aside         the image's
//!   mounts by rename or link                                   with what is to be seen at their targets
//!   fork the command, wait; kill whatever descends from it
//!   mounts undone, swap back   as the command left it          the pod's
//! ```

mod chroot;
mod descendants;
mod memory;
mod probe;
mod staying;
mod substitutes;
mod swap;
mod transfer;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use memory::Memory;
pub(super) use probe::probe;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;
use staying::Staying;
use substitutes::{Substitutes, Thing};
use swap::Swap;

use super::command::Command;
use super::stubs::Shape;
use super::{open_directory, run as files, users};
use crate::exec::sandbox::wire::{Answer, During as _, Failure, InPlace, Root};
use crate::exec::sandbox::{Exit, Isolation, Mount, MountKind, Network, RunSpec};
use crate::rootfs::diff;

/// Where the pod's own entries are meanwhile, beside the builds; so nothing that removes a build gets at them.
const HOST: &str = "pod";

/// How often it is looked whether the builder is still there while nothing happens, in nanoseconds.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Executes the command of `order`, waits until nothing of it is left, and shows the pod's own root again.
pub(super) fn run(order: &InPlace, socket: &UnixStream) -> Result<Answer, Failure> {
    // It ends by itself when the builder has gone, but not before everything is in its place again.
    rustix::process::set_parent_process_death_signal(None).during(|| "outlive the builder")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).during(|| "become a subreaper")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .during(|| "hide from the command")?;
    let run = &order.run;
    if run.spec.network == Network::None {
        return Err(Failure::NoNetworkNamespace);
    }
    let Root::Plain { directory, baseline } = &run.root else {
        return Err(Failure::step("swap an overlay", &io::ErrorKind::InvalidInput.into()));
    };
    let _lock = match order.isolation {
        Isolation::Chroot => None,
        _ => Some(lock(socket)?),
    };
    files::write_files(run, &fs::read_to_string("/etc/hosts").unwrap_or_default())?;
    diff::wait_until_later(baseline).during(|| "read the note of the rootfs")?;
    let stage = open_directory(directory)?;
    let mut own = Substitutes::new(copy(&stage)?, make_aside(&run.scratch, "own")?);
    let exit = put_own_files(&mut own, &run.scratch).and_then(|()| match order.isolation {
        Isolation::Chroot => chroot::run(order, &stage, &mut own, socket),
        _ => swapped(order, stage, socket),
    });
    own.restore().during(|| "take `resolv.conf` and `hosts` back")?;
    exit.map(Answer::Exited)
}

/// Only one command at a time can have `/`, in all of the pod.
fn lock(socket: &UnixStream) -> Result<File, Failure> {
    let root = File::open("/").during(|| "open `/`")?;
    loop {
        match rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(root),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error).during(|| "lock `/`"),
        }
        if hung_up(socket).during(|| "wait for another RUN")? {
            return Err(cancelled());
        }
    }
}

fn put_own_files(own: &mut Substitutes, scratch: &Path) -> Result<(), Failure> {
    for name in ["hosts", "resolv.conf"] {
        let put = || -> io::Result<Thing> { Ok(Thing::Copy(File::open(scratch.join(name))?)) };
        put()
            .and_then(|thing| own.put(&Path::new("etc").join(name), Shape::File, thing))
            .during(|| format!("put `/etc/{name}` into the image"))?;
    }
    Ok(())
}

/// The pod's own root shows the image while the command runs.
fn swapped(order: &InPlace, stage: OwnedFd, socket: &UnixStream) -> Result<Exit, Failure> {
    let mounts = order.run.spec.mounts.iter().map(|mount| Source::of(mount, &order.store));
    let sources = mounts.collect::<Result<Vec<_>, _>>()?;
    let null = File::open("/dev/null").during(|| "open `/dev/null`")?;
    let staying = Staying::new(&order.keep).during(|| "read what is mounted")?;
    let aside = make_aside(&order.run.scratch, "mounts")?;
    let root = open_place(Path::new("/")).during(|| "open `/`")?;
    let live = File::open("/").during(|| "open `/`")?;
    let swap = Swap::begin(live.into(), stage, Path::new(HOST), &staying)?;
    let show = || {
        let mut mounts = Substitutes::new(copy(&root)?, aside);
        let memory = Memory::new();
        let exit = mount(&mut mounts, &memory, order, sources).and_then(|()| {
            let started = start(&order.run.spec, &root, &null, order.isolation);
            let exit = started.and_then(|command| wait_for(command, socket));
            descendants::kill_all().during(|| "kill what the command has left behind")?;
            exit
        });
        mounts.restore().during(|| "take away what was mounted")?;
        exit
    };
    let exit = show();
    swap.end()?;
    exit
}

/// A path of the builder's as a place.
fn open_place(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Something to be mounted, found before its path leads elsewhere.
#[derive(Debug)]
struct Source {
    shape: Shape,
    /// Nothing for a file system in memory.
    fd: Option<OwnedFd>,
    /// Its directory and name, if it is the builder's and can be lent.
    lent: Option<(OwnedFd, OsString)>,
}

impl Source {
    fn of(mount: &Mount, store: &Path) -> Result<Self, Failure> {
        let MountKind::Bind { source, .. } = &mount.kind else {
            return Ok(Self { shape: Shape::Directory, fd: None, lent: None });
        };
        let find = || -> io::Result<Self> {
            let fd = open_place(source)?;
            let is_directory = fs::metadata(source)?.is_dir();
            let is_own = source.is_relative() || source.starts_with(store);
            let lent = match (is_own, source.parent(), source.file_name()) {
                (true, Some(parent), Some(name)) => {
                    let parent = open_place(parent)?;
                    Some((parent, name.to_owned()))
                }
                _ => None,
            };
            let shape = if is_directory { Shape::Directory } else { Shape::File };
            Ok(Self { shape, fd: Some(fd), lent })
        };
        find().during(|| format!("bind `{}`", source.display()))
    }
}

/// Shows what is to be seen at the targets of mounts: lends what is the builder's own, else copies files and links to
/// directories. What is copied or linked is the same for the command, but nothing can be read-only for root.
fn mount(
    mounts: &mut Substitutes,
    memory: &Memory,
    order: &InPlace,
    sources: Vec<Source>,
) -> Result<(), Failure> {
    let spec = &order.run.spec;
    for (index, (mount, source)) in spec.mounts.iter().zip(sources).enumerate() {
        let target = Path::new(&spec.cwd).join(&mount.target);
        let during = || format!("show something at `{}`", target.display());
        if let MountKind::File(file) = &mount.kind {
            let thing = match order.isolation {
                Isolation::Chroot => memory::copy(file),
                _ => memory.link(index, file),
            };
            if file.is_secret && is_unsupported(&thing) {
                return Err(Failure::SecretFile { target: target.display().to_string() });
            }
            mounts.put(&target, Shape::File, thing.during(during)?).during(during)?;
            continue;
        }
        let Some(fd) = source.fd else {
            mounts.put(&target, source.shape, Thing::Directory).during(during)?;
            continue;
        };
        if let Some((parent, name)) = source.lent {
            match mounts.put(&target, source.shape, Thing::Borrowed { parent, name }) {
                // Not on the root's file system.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => mounts.take_back(),
                result => {
                    result.during(during)?;
                    continue;
                }
            }
            .during(during)?;
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let is_file = fs::metadata(&path).during(during)?.is_file();
        let thing = if is_file {
            Thing::Copy(File::open(&path).during(during)?)
        } else if order.isolation == Isolation::Chroot {
            // A link would lead nowhere.
            return Err(Errno::XDEV).during(during);
        } else {
            Thing::Link(fs::read_link(&path).during(during)?)
        };
        mounts.put(&target, source.shape, thing).during(during)?;
    }
    Ok(())
}

fn is_unsupported<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::OPNOTSUPP))
}

/// Starts the command in the root that this process has.
fn start(spec: &RunSpec, root: &OwnedFd, null: &File, isolation: Isolation) -> Result<Pid, Failure> {
    let cwd = Path::new("/").join(&spec.cwd);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&cwd)
        .during(|| format!("make `{}`", cwd.display()))?;
    let identity = users::identify(root, &spec.user)?;
    let command = Command::new(spec, identity, true, cwd)?;
    let command = match isolation {
        // Whoever may change the root once more gets out of it.
        Isolation::Chroot => command.without(CapabilitySet::SYS_CHROOT),
        _ => command,
    };
    command.spawn(null, None)
}

/// Waits for the end of the command, or of the builder. Reaps whoever ends meanwhile.
fn wait_for(command: Pid, socket: &UnixStream) -> Result<Exit, Failure> {
    let process = rustix::process::pidfd_open(command, rustix::process::PidfdFlags::empty())
        .during(|| "watch the command")?;
    loop {
        let mut fds = [
            PollFd::new(&process, PollFlags::IN),
            // The builder says nothing more: whatever comes is the end.
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN | PollFlags::RDHUP),
        ];
        match poll(&mut fds, Some(&PATIENCE)) {
            Err(Errno::INTR) => continue,
            result => result.during(|| "wait for the command")?,
        };
        let is_over = !fds[1].revents().is_empty();
        while let Some((pid, status)) =
            rustix::process::wait(WaitOptions::NOHANG).during(|| "wait for the command")?
        {
            if pid == command {
                return exit(status).ok_or(Failure::Killed(0));
            }
        }
        if is_over {
            return Err(cancelled());
        }
    }
}

fn exit(status: WaitStatus) -> Option<Exit> {
    let signal = status.terminating_signal().map(Exit::Signal);
    signal.or_else(|| status.exit_status().map(Exit::Code))
}

/// Whether the builder hangs up within some time.
fn hung_up(socket: &UnixStream) -> rustix::io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN | PollFlags::RDHUP)];
    match poll(&mut fds, Some(&PATIENCE)) {
        Err(Errno::INTR) => Ok(false),
        result => result.map(|count| count > 0),
    }
}

fn cancelled() -> Failure {
    Failure::step("go on: the build was cancelled", &io::ErrorKind::Interrupted.into())
}

fn make_aside(scratch: &Path, name: &str) -> Result<OwnedFd, Failure> {
    let path = scratch.join(format!("aside-{name}"));
    match rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => {}
        result => result.during(|| format!("make `{}`", path.display()))?,
    }
    open_directory(&path)
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    fd.try_clone().during(|| "copy a descriptor")
}
