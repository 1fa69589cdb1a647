//! What renaming the pod's root and executing commands in it takes, found out by doing it.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use rustix::io::Errno;

use super::transfer::Place;
use crate::exec::sandbox::sys::{self, Fork};
use crate::exec::sandbox::wire::{During as _, Failure};
use crate::exec::sandbox::{Isolation, Refusal};
use crate::rootfs::remove::remove;

/// Tries it with directories in the empty `scratch`.
pub(in crate::exec::sandbox::inside) fn probe(scratch: &Path, isolation: Isolation) -> Result<(), Failure> {
    let refused = |refusal, what: &str| {
        let what = what.to_owned();
        move |error: Errno| Failure::refused(refusal, what, &error.into())
    };
    let tried = scratch.join("tried");
    rustix::fs::mkdirat(CWD, &tried, Mode::from_raw_mode(0o700)).during(|| "write to the store")?;
    if isolation == Isolation::InPlace {
        let other = std::path::PathBuf::from(format!("/.cooper-{}", std::process::id()));
        let (tried, other) = (Place::new(&CWD, tried.as_os_str()), Place::new(&CWD, other.as_os_str()));
        tried.rename(other).map_err(|error| {
            let (refusal, what) = match error {
                Errno::XDEV => (Refusal::OtherFileSystem, "renaming from the store to `/` is refused"),
                _ => (Refusal::ReadOnlyRoot, "renaming a directory to `/` is refused"),
            };
            Failure::refused(refusal, what, &error.into())
        })?;
        other.rename(tried).during(|| "rename a directory from `/`")?;
    }
    if isolation == Isolation::Chroot {
        super::chroot::probe(&tried).map_err(|error| {
            Failure::refused(Refusal::Chroot, "changing the root, or making device nodes, is refused", &error)
        })?;
    }
    let one = (Some(Uid::from_raw(1)), Some(Gid::from_raw(1)));
    rustix::fs::chownat(CWD, &tried, one.0, one.1, AtFlags::empty())
        .map_err(refused(Refusal::Capability, "changing owners (CHOWN) is refused"))?;
    rustix::fs::mkdirat(CWD, tried.join("inner"), Mode::from_raw_mode(0o700)).map_err(refused(
        Refusal::Capability,
        "writing to directories of others (DAC_OVERRIDE) is refused",
    ))?;
    rustix::fs::chmodat(CWD, &tried, Mode::from_raw_mode(0o755), AtFlags::empty())
        .map_err(refused(Refusal::Capability, "changing modes of others' files (FOWNER) is refused"))?;
    become_other()?;
    remove(CWD, &tried).during(|| "remove what was tried")
}

/// Tries in a child to be another user.
fn become_other() -> Result<(), Failure> {
    let child = match sys::fork().during(|| "start a process")? {
        Fork::Child => {
            let (user, group) = (Uid::from_raw(1), Gid::from_raw(1));
            let groups = rustix::thread::set_thread_groups(&[group])
                .and_then(|()| rustix::thread::set_thread_res_gid(group, group, group));
            let user = rustix::thread::set_thread_res_uid(user, user, user);
            sys::exit(i32::from(groups.is_err()) + 2 * i32::from(user.is_err()))
        }
        Fork::Parent(child) => child,
    };
    let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
        .during(|| "wait for a process")?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(1) => Err("changing groups (SETGID) is refused"),
        Some(2) => Err("changing users (SETUID) is refused"),
        _ => Err("changing users and groups (SETUID, SETGID) is refused"),
    }
    .map_err(|what| Failure::refused(Refusal::Capability, what, &Errno::PERM.into()))
}
