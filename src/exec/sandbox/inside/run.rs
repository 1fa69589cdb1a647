//! Executing a command: the part outside its PID namespace, which cleans up.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::overlay::Changes;
use super::record::{Answering, Recording};
use super::stubs::{Shape, Stubs};
use super::{enter_mounts, init, inline, overlay, root};
use crate::exec::sandbox::sys::{self, Fork};
use crate::exec::sandbox::wire::{self, Answer, During as _, Failure, Root, Run};
use crate::exec::sandbox::{Emulator, MountKind, Network, RunSpec};
use crate::rootfs::owner::Ownership;
use crate::rootfs::{beneath, diff};

/// Executes the command of `run`, waits until nothing of it is left, and removes what was made for its mounts.
pub(super) fn run(
    run: &Run,
    groups: bool,
    ownership: Ownership,
    socket: &UnixStream,
) -> Result<Answer, Failure> {
    let recording = match ownership {
        Ownership::Real => None,
        Ownership::Recorded => Some(Recording::new().during(|| "make a socket")?),
    };
    write_files(run, "")?;
    inline::prepare(&run.scratch)?;
    enter_mounts()?;
    let mut namespaces = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if run.spec.network == Network::None {
        namespaces |= UnshareFlags::NEWNET;
    }
    sys::unshare(namespaces).during(|| "make namespaces for the command")?;
    if run.spec.network == Network::None {
        sys::raise_loopback().during(|| "raise the loopback interface")?;
    }
    // Closing it would take the registration back.
    let _registered = run.spec.emulator.as_ref().and_then(register);
    let target = run.scratch.join("root");
    mount_root(&run.root, &target)?;
    // Nothing else is ever mounted in this namespace: through this descriptor the rootfs is seen bare.
    let bare = beneath::open_directory(CWD, &target).during(|| "open the rootfs")?;
    let mut stubs = Stubs::new(bare);
    for (path, shape) in mount_points(&run.spec)? {
        stubs.ensure(&path, shape).during(|| format!("make `{}` to mount on it", path.display()))?;
    }
    let ended = supervise(run, groups, recording, socket);
    stubs.clear().during(|| "remove what was made for mounts")?;
    ended
}

/// Registers an emulator for this user namespace. Without (before Linux 6.7) the node's own registrations count; if it
/// has none either, the command's start tells.
fn register(emulator: &Emulator) -> Option<OwnedFd> {
    let formats = root::new_mount("binfmt_misc", &[]).ok()?;
    let write = |flags: &str| -> io::Result<()> {
        let file = rustix::fs::openat(&formats, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        fs::File::from(file).write_all(emulator.registration(flags).as_bytes())
    };
    write("CF").or_else(|_| write("F")).ok()?;
    Some(formats)
}

/// How many mount points every root has.
pub(super) const OWN_POINTS: usize = 5;

/// What is mounted in a root, and so must be there.
pub(super) fn mount_points(spec: &RunSpec) -> Result<Vec<(PathBuf, Shape)>, Failure> {
    let mut points: Vec<(PathBuf, Shape)> =
        ["dev", "proc", "sys"].map(|name| (PathBuf::from(name), Shape::Directory)).into();
    points.extend(["etc/hosts", "etc/resolv.conf"].map(|name| (PathBuf::from(name), Shape::File)));
    debug_assert_eq!(points.len(), OWN_POINTS);
    for mount in &spec.mounts {
        let shape = match &mount.kind {
            MountKind::Tmpfs { .. } => Shape::Directory,
            MountKind::File(_) => Shape::File,
            MountKind::Bind { source, .. } => {
                let metadata = fs::metadata(source).during(|| format!("bind `{}`", source.display()))?;
                if metadata.is_dir() { Shape::Directory } else { Shape::File }
            }
        };
        points.push((Path::new(&spec.cwd).join(&mount.target), shape));
    }
    Ok(points)
}

fn mount_root(root: &Root, target: &Path) -> Result<(), Failure> {
    match root {
        Root::Overlay { lowers, upper, work } => {
            overlay::mount(lowers, Some(Changes { upper, work }), target).during(|| "mount the overlay")
        }
        Root::Plain { directory, baseline } => {
            diff::wait_until_later(baseline).during(|| "read the note of the rootfs")?;
            root::bind_itself(directory, target).during(|| "mount the rootfs")
        }
    }
}

/// Writes the files that are shown in the root. `known` are lines of `hosts` that come last.
pub(super) fn write_files(run: &Run, known: &str) -> Result<(), Failure> {
    let mut hosts =
        format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", run.spec.hostname);
    for (address, name) in &run.spec.extra_hosts {
        hosts.extend([address, "\t", name, "\n"]);
    }
    hosts.push_str(known);
    for (name, text) in [("hosts", &hosts), ("resolv.conf", &run.resolv_conf)] {
        let path = run.scratch.join(name);
        let written = || -> io::Result<()> {
            let mut file = fs::File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        };
        written().during(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

/// Starts the first process of the PID namespace and waits for its end. When the builder hangs up, it is killed, and
/// with it all others.
fn supervise(
    run: &Run,
    groups: bool,
    recording: Option<Recording>,
    socket: &UnixStream,
) -> Result<Answer, Failure> {
    let (report, reporter) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe")?;
    let child = match sys::fork().during(|| "start the first process")? {
        Fork::Child => init::main(run, groups, recording.map(Recording::submitter), &reporter),
        Fork::Parent(child) => child,
    };
    drop(reporter);
    let mut answering = recording.map(Recording::receiver);
    let cancelled = wait_or_hang_up(child, &mut answering, socket).during(|| "wait for the command")?;
    let status = wait(child).during(|| "wait for the command")?;
    // Back in the namespace in which the rootfs is bare.
    drop(answering);
    if cancelled {
        return Err(Failure::step("go on: the build was cancelled", &io::ErrorKind::Interrupted.into()));
    }
    match wire::receive(io::BufReader::new(fs::File::from(report))) {
        Ok(answer) => Ok(answer),
        Err(_) => Err(Failure::Killed(status.unwrap_or(0))),
    }
}

/// Whether the builder hung up before the child ended; then the child is killed.
fn wait_or_hang_up(child: Pid, answering: &mut Option<Answering>, socket: &UnixStream) -> io::Result<bool> {
    let process: OwnedFd = rustix::process::pidfd_open(child, PidfdFlags::empty())?;
    loop {
        let mut fds = vec![
            PollFd::new(&process, PollFlags::IN),
            // The builder says nothing more: whatever comes is the end.
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN | PollFlags::RDHUP),
        ];
        if let Some(answering) = &*answering {
            fds.push(PollFd::from_borrowed_fd(answering.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let called = fds.get(2).map_or(PollFlags::empty(), PollFd::revents);
        if !fds[0].revents().is_empty() {
            return Ok(false);
        }
        if !fds[1].revents().is_empty() {
            rustix::process::pidfd_send_signal(&process, Signal::KILL)?;
            return Ok(true);
        }
        if !called.is_empty() {
            // Whoever could call is gone.
            *answering = match answering.take() {
                Some(answering) if called.contains(PollFlags::IN) => answering.go_on(process.as_fd())?,
                _ => None,
            };
        }
    }
}

/// Waits for the end of a PID namespace: its first process can be waited for only when all others are gone. Gives
/// the signal that killed it, if one did.
fn wait(child: Pid) -> io::Result<Option<i32>> {
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.terminating_signal()),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
