//! What happens in a helper: a single-threaded process in its own user namespace.

mod command;
mod in_place;
mod init;
mod inline;
mod overlay;
mod record;
mod root;
mod run;
mod stubs;
mod users;

use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::UnshareFlags;

use super::wire::{
    self, Answer, ChunkWriter, During as _, Failure, HELPER_NAME, OWN_IDS, Operation, Order, Root,
};
use super::{DiffSettings, Refusal, sys};
use crate::rootfs::owner::Ownership;
use crate::rootfs::unpack::{self, Form, UnpackError};
use crate::rootfs::{beneath, diff};

/// Whether this process was started as a sandbox helper, to be asked before anything else.
pub fn is_helper() -> bool {
    std::env::args_os().next().is_some_and(|name| name == HELPER_NAME)
}

/// Does what a helper is for. Only for a process of which [`is_helper`] is true.
pub fn helper_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The builder is gone, or was never there: there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let socket = wire::take_socket()?;
    let has_own_ids = std::env::args_os().nth(1).is_some_and(|argument| argument == OWN_IDS);
    if !has_own_ids && let Err(error) = sys::unshare(UnshareFlags::NEWUSER) {
        let failure = Failure::refused(Refusal::Namespaces, "making a user namespace is refused", &error);
        return wire::send(&socket, &Answer::Failed(failure));
    }
    if !has_own_ids {
        // A program with file capabilities belongs to nobody but root otherwise, and the builder could not write its
        // map.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    }
    wire::send(&socket, &Answer::Unshared)?;
    let order: Order = wire::receive(&socket)?;
    let answer = become_root(order.groups).and_then(|()| perform(order, &socket, Mounts::Builders));
    let answer = answer.unwrap_or_else(Answer::Failed);
    wire::send(&socket, &answer)?;
    if !matches!(answer, Answer::Exited(_)) {
        return Ok(());
    }
    // What the command has changed, if the builder wants to know; else it hangs up.
    let order: Order = wire::receive(&socket)?;
    let answer = perform(order, &socket, Mounts::Own);
    wire::send(&socket, &answer.unwrap_or_else(Answer::Failed))
}

/// Whose mount namespace a helper is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounts {
    /// The builder's.
    Builders,
    /// One of its own, if it is in a user namespace.
    Own,
}

/// Becomes root of the namespace, and ends with the builder.
fn become_root(groups: bool) -> Result<(), Failure> {
    let (user, group) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    if groups {
        rustix::thread::set_thread_groups(&[]).during(|| "drop the supplementary groups")?;
    }
    rustix::thread::set_thread_res_gid(group, group, group).during(|| "become the namespace's root group")?;
    rustix::thread::set_thread_res_uid(user, user, user).during(|| "become the namespace's root")?;
    rustix::process::umask(Mode::empty());
    // After the change of user, which would clear it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during(|| "be bound to the builder")
}

fn perform(order: Order, socket: &UnixStream, mounts: Mounts) -> Result<Answer, Failure> {
    let ownership = order.ownership;
    match order.operation {
        Operation::Enter => {}
        Operation::Probe { scratch, overlay } => probe(&scratch, overlay, ownership)?,
        Operation::ProbeInPlace { scratch, isolation } => in_place::probe(&scratch, isolation)?,
        Operation::Unpack { directory, form, fingerprints } => {
            return unpack_into(&directory, form, ownership, fingerprints.as_deref());
        }
        Operation::Amend { directory, lowers, unpacked, scratch } => {
            enter_mounts()?;
            let layer = open_directory(&directory)?;
            let lower = overlay::mount_lowers(&lowers, &scratch).during(|| "mount the lower layers")?;
            unpack::amend(layer.as_fd(), lower.as_fd(), &unpacked, ownership)
                .map_err(|error| layer_failure(&error))?;
        }
        Operation::Baseline { root, fingerprints, baseline } => {
            let root = open_directory(&root)?;
            diff::write_baseline(root.as_fd(), &fingerprints, &baseline, ownership)
                .during(|| "note what the rootfs holds")?;
        }
        Operation::Run(run) => {
            let answer = run::run(&run, order.groups, ownership, socket)?;
            return close_output().map(|()| answer);
        }
        Operation::RunInPlace(order) => {
            let answer = in_place::run(&order, socket)?;
            return close_output().map(|()| answer);
        }
        Operation::Diff { root, scratch, settings } => {
            if mounts == Mounts::Builders && matches!(root, Root::Overlay { .. }) {
                enter_mounts()?;
            }
            return send_diff(&root, &scratch, ownership, &settings, socket);
        }
        Operation::Give { path, owner: (uid, gid), mode } => {
            let place = open_directory(path.parent().unwrap_or(Path::new("")))?;
            let name = path.file_name().unwrap_or_default();
            let during = || format!("give `{}` to user {uid} and group {gid}", path.display());
            ownership.give_at(&place, name, uid, gid).during(during)?;
            rustix::fs::chmodat(&place, name, Mode::from_raw_mode(mode), AtFlags::empty()).during(during)?;
        }
        Operation::Remove { paths } => {
            for path in paths {
                crate::rootfs::remove::remove(CWD, &path)
                    .during(|| format!("remove `{}`", path.display()))?;
            }
        }
    }
    Ok(Answer::Done)
}

/// Goes into a mount namespace in which nothing mounted is seen elsewhere.
fn enter_mounts() -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWNS).map_err(|error| {
        Failure::refused(Refusal::Namespaces, "making a mount namespace is refused", &error)
    })?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| Failure::refused(Refusal::Mount, "changing mounts is refused", &error.into()))
}

/// Tries what a RUN will need.
fn probe(scratch: &Path, overlay: bool, ownership: Ownership) -> Result<(), Failure> {
    if ownership == Ownership::Recorded {
        record::probe(scratch)?;
    }
    enter_mounts()?;
    let namespaces = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    sys::unshare(namespaces).map_err(|error| {
        Failure::refused(Refusal::Namespaces, "making PID, IPC and UTS namespaces is refused", &error)
    })?;
    root::probe(scratch).map_err(|error| Failure::refused(Refusal::Mount, "mounting is refused", &error))?;
    if overlay {
        overlay::probe(scratch).map_err(|error| {
            Failure::refused(Refusal::Overlay, "mounting an overlay in the store is refused", &error)
        })?;
    }
    Ok(())
}

fn unpack_into(
    directory: &Path,
    form: Form,
    ownership: Ownership,
    fingerprints: Option<&Path>,
) -> Result<Answer, Failure> {
    match rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) if form == Form::Applied => {}
        result => result.during(|| format!("make `{}`", directory.display()))?,
    }
    let root = open_directory(directory)?;
    let tar = File::from(
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).during(|| "take over the layer")?,
    );
    let unpacked = match fingerprints {
        None => unpack::unpack(tar, root.as_fd(), form, ownership, None),
        Some(path) => {
            let noted = || format!("write `{}`", path.display());
            let file = File::options().create(true).append(true).open(path).during(noted)?;
            let mut out = BufWriter::new(file);
            let unpacked = unpack::unpack(tar, root.as_fd(), form, ownership, Some(&mut out));
            out.flush().during(noted)?;
            unpacked
        }
    };
    unpacked.map(Answer::Unpacked).map_err(|error| layer_failure(&error))
}

/// Lets go of the pipes that the command printed to, whose end the builder waits for.
fn close_output() -> Result<(), Failure> {
    let close = || -> io::Result<()> {
        let null = File::options().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(rustix::stdio::dup2_stderr(&null)?)
    };
    close().during(|| "close the output of the command")
}

fn send_diff(
    root: &Root,
    scratch: &Path,
    ownership: Ownership,
    settings: &DiffSettings,
    socket: &UnixStream,
) -> Result<Answer, Failure> {
    let mut out = BufWriter::with_capacity(128 << 10, ChunkWriter(socket));
    let entries = write_diff(root, scratch, ownership, settings, &mut out);
    let end = || out.into_inner().map_err(IntoInnerError::into_error)?.end();
    // The answer comes behind the end of the stream, also when it says that something has failed.
    end().during(|| "send the layer")?;
    entries.map(Answer::Written)
}

fn write_diff(
    root: &Root,
    scratch: &Path,
    ownership: Ownership,
    settings: &DiffSettings,
    out: impl Write,
) -> Result<u64, Failure> {
    let entries = match root {
        Root::Overlay { lowers, upper, .. } => {
            let lower = overlay::mount_lowers(lowers, scratch).during(|| "mount the lower layers")?;
            diff::write_overlay(open_directory(upper)?.as_fd(), lower.as_fd(), ownership, settings, out)
        }
        Root::Plain { directory, baseline } => {
            diff::write_plain(open_directory(directory)?.as_fd(), baseline, ownership, settings, out)
        }
    };
    entries.map_err(|error| Failure::Diff(chain(&error)))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    beneath::open_exactly(CWD, path, flags).during(|| format!("open `{}`", path.display()))
}

fn layer_failure(error: &UnpackError) -> Failure {
    match error {
        // The disk is full, or the like: not the layer's fault.
        UnpackError::Make { path, source } if source.raw_os_error().is_some() => {
            Failure::step(format!("unpack `{}`", path.display()), source)
        }
        UnpackError::Note(source) => Failure::step("note fingerprints", source),
        _ => Failure::Layer(chain(error)),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
