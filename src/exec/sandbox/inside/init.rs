//! The first process of a command's PID namespace. When it ends, the kernel kills every other process there.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::command::Command;
use super::{enter_mounts, root, run, stubs::Stubs, users};
use crate::exec::sandbox::Exit;
use crate::exec::sandbox::sys;
use crate::exec::sandbox::wire::{self, Answer, During as _, Failure, Run};
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;

/// Executes the command and reports how that went.
pub(super) fn main(run: &Run, groups: bool, submitter: Option<UnixStream>, reporter: &OwnedFd) -> ! {
    let answer = match execute(run, groups, submitter, reporter) {
        Ok(exit) => Answer::Exited(exit),
        Err(failure) => Answer::Failed(failure),
    };
    let told = reporter.try_clone().and_then(|pipe| wire::send(File::from(pipe), &answer));
    sys::exit(i32::from(told.is_err()))
}

fn execute(
    run: &Run,
    groups: bool,
    submitter: Option<UnixStream>,
    reporter: &OwnedFd,
) -> Result<Exit, Failure> {
    let ownership = if submitter.is_some() { Ownership::Recorded } else { Ownership::Real };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(|| "be bound to the helper")?;
    // Had the helper died before that line, nobody would read what is reported.
    let mut fds = [PollFd::new(reporter, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).during(|| "look for the helper")?;
    if fds[0].revents().contains(PollFlags::ERR) {
        sys::exit(1);
    }
    // A namespace of its own, so that the helper goes on to see the rootfs bare.
    enter_mounts()?;
    match rustix::system::sethostname(run.spec.hostname.as_bytes()) {
        // Podman's seccomp profile allows namespaces, and refuses this one thing to whoever has no SYS_ADMIN outside.
        Err(rustix::io::Errno::PERM) => {}
        named => named.during(|| "set the host name")?,
    }
    let null = File::open("/dev/null").during(|| "open `/dev/null`")?;
    let root = beneath::open_directory(CWD, &run.scratch.join("root")).during(|| "open the rootfs")?;
    let copy = root.try_clone().during(|| "open the rootfs")?;
    let mut seen = Stubs::new(copy);
    let points = run::mount_points(&run.spec)?;
    root::assemble(&root, &run.scratch, &run.spec, ownership, &mut |index| {
        // What lies inside an earlier mount has to be made there; that vanishes by itself.
        let (path, shape) = &points[run::OWN_POINTS + index];
        seen.ensure(path, *shape).map(drop)
    })?;
    root::enter(&root)?;
    let cwd = Path::new("/").join(&run.spec.cwd);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&cwd)
        .during(|| format!("make `{}`", cwd.display()))?;
    let identity = users::identify(&root, &run.spec.user)?;
    let command = Command::new(&run.spec, identity, groups, cwd)?;
    let child = command.spawn(&null, submitter.as_ref())?;
    // The helper sees its end when nobody of the command has it any more.
    drop(submitter);
    reap_until(child).during(|| "wait for the command")
}

/// Waits for whatever ends, as the first process must, until the command has.
pub(super) fn reap_until(command: Pid) -> io::Result<Exit> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => {
                if let Some(signal) = status.terminating_signal() {
                    return Ok(Exit::Signal(signal));
                }
                if let Some(code) = status.exit_status() {
                    return Ok(Exit::Code(code));
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
