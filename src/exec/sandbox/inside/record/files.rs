//! Calls that concern files.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::caller::Caller;
use super::filter::FCHMODAT2;
use super::people::{SAME, Who};
use super::{Outcome, low};
use crate::exec::sandbox::sys::{self, Notification, Reply};
use crate::rootfs::owner::{self, Links, Record};
use crate::rootfs::remove::file_type;

/// A path to an open file, for calls that take no descriptor. The working directory is the pod's `/proc`.
fn path_of(file: impl AsFd) -> PathBuf {
    format!("self/fd/{}", file.as_fd().as_raw_fd()).into()
}

/// A descriptor among the arguments.
fn descriptor(argument: u64) -> i32 {
    low(argument).cast_signed()
}

/// What is recorded of an open file, and what it is.
fn recorded(file: &OwnedFd) -> io::Result<(Stat, Option<Record>)> {
    let stat = rustix::fs::fstat(file)?;
    let record = Record::read(&path_of(file), Links::Follow, file_type(stat.st_mode))?;
    Ok((stat, record))
}

/// `fchown` and `fchownat`.
pub(super) fn chown(caller: Caller<'_>, who: &Who, call: &Notification) -> io::Result<Outcome> {
    let [directory, path, second, third, flags, _] = call.arguments;
    let (file, uid, gid) = if call.number == libc::SYS_fchown {
        (caller.place(descriptor(directory), Path::new(""), true)?, low(path), low(second))
    } else {
        let follow = low(flags) & libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() == 0;
        let path = caller.path(path)?;
        if path.as_os_str().is_empty() && low(flags) & libc::AT_EMPTY_PATH.cast_unsigned() == 0 {
            return Err(Errno::NOENT.into());
        }
        match caller.place(descriptor(directory), &path, follow) {
            // By way of a link in `/proc`, like `/dev/stdout`: nothing that a layer could have.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                return Ok(Reply::Value(0).into());
            }
            file => (file?, low(second), low(third)),
        }
    };
    let (stat, record) = recorded(&file)?;
    let mut record = record.unwrap_or_default();
    let is_allowed = who.is_root()
        || (who.users[1] == record.uid
            && (uid == SAME || uid == record.uid)
            && (gid == SAME || gid == record.gid || who.is_in(gid)));
    if !is_allowed {
        return Err(Errno::PERM.into());
    }
    // The true owner stays as it is, but bits and capabilities that a change of owner clears are cleared.
    let root = |id: u32| (id != SAME).then_some(0);
    rustix::fs::chownat(
        &file,
        "",
        root(uid).map(Uid::from_raw),
        root(gid).map(Gid::from_raw),
        AtFlags::EMPTY_PATH,
    )?;
    if uid != SAME {
        record.uid = uid;
    }
    if gid != SAME {
        record.gid = gid;
    }
    match record.write(&path_of(&file), Links::Follow, file_type(stat.st_mode)) {
        // A pipe, or something in a file system that keeps no attributes: nothing that a layer could have.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::ROFS)
            ) => {}
        result => result?,
    }
    Ok(Reply::Value(0).into())
}

/// `fchmod`, `fchmodat` and `fchmodat2`: a mode is kept in the inode, as everywhere, but who may change it is asked here.
pub(super) fn chmod(caller: Caller<'_>, who: &Who, call: &Notification) -> io::Result<Outcome> {
    // What root does, and whatever is wrong with the call, the kernel knows best.
    let kernels = Ok(Reply::Continue.into());
    if who.is_root() {
        return kernels;
    }
    let [directory, second, third, fourth, ..] = call.arguments;
    let (path, mode, flags) = match call.number {
        libc::SYS_fchmod => (PathBuf::new(), low(second), libc::AT_EMPTY_PATH.cast_unsigned()),
        number => {
            let Ok(path) = caller.path(second) else { return kernels };
            (path, low(third), if number == FCHMODAT2 { low(fourth) } else { 0 })
        }
    };
    if path.as_os_str().is_empty() && flags & libc::AT_EMPTY_PATH.cast_unsigned() == 0 {
        return kernels;
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() == 0;
    let Ok(file) = caller.place(descriptor(directory), &path, follow) else { return kernels };
    let (stat, record) = recorded(&file)?;
    let kind = file_type(stat.st_mode);
    if kind == FileType::Symlink || !keeps_records(&file, kind) {
        return kernels;
    }
    let owner = record.unwrap_or_default();
    if who.users[1] != owner.uid {
        return Err(Errno::PERM.into());
    }
    let mut mode = Mode::from_raw_mode(mode & 0o7777);
    if !who.is_in(owner.gid) {
        mode.remove(Mode::SGID);
    }
    rustix::fs::chmod(path_of(&file), mode)?;
    Ok(Reply::Value(0).into())
}

/// Whether there are records where this file is: if not, nobody knows whose it is.
fn keeps_records(file: &OwnedFd, kind: FileType) -> bool {
    let found = rustix::fs::getxattr(path_of(file), owner::attribute(kind), &mut [0_u8; 64][..]);
    !matches!(found, Err(Errno::NOTSUP))
}

/// `fstat`, `newfstatat` and `statx`.
pub(super) fn stat(
    caller: Caller<'_>,
    call: &Notification,
    still_waits: impl FnOnce() -> bool,
) -> io::Result<Outcome> {
    // Whatever is wrong with the call, the kernel says best.
    let kernels = Ok(Reply::Continue.into());
    let [directory, path, second, third, fourth, _] = call.arguments;
    let (flags, buffer) = match call.number {
        libc::SYS_fstat => (libc::AT_EMPTY_PATH.cast_unsigned(), path),
        libc::SYS_newfstatat => (low(third), second),
        _ => (low(second), fourth),
    };
    let is_empty_allowed = flags & libc::AT_EMPTY_PATH.cast_unsigned() != 0;
    let path = match call.number {
        libc::SYS_fstat => PathBuf::new(),
        // No path means an empty one since Linux 6.11.
        _ if path == 0 && is_empty_allowed => PathBuf::new(),
        _ => match caller.path(path) {
            Ok(path) => path,
            Err(_) => return kernels,
        },
    };
    if path.as_os_str().is_empty() && !is_empty_allowed {
        return kernels;
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() == 0;
    let Ok(file) = caller.place(descriptor(directory), &path, follow) else { return kernels };
    let Ok((stat, Some(record))) = recorded(&file) else { return kernels };
    let bytes = if call.number == libc::SYS_statx {
        let mut bytes = sys::raw_statx(&file, flags, low(third))?;
        change_statx(&mut bytes, &record);
        bytes.to_vec()
    } else {
        let mut bytes = sys::raw_stat(&file)?;
        change_stat(&mut bytes, &stat, &record);
        bytes.to_vec()
    };
    let memory = caller.memory()?;
    // By now it is the memory of whoever made the call, and not of somebody who got its number.
    if !still_waits() {
        return Err(Errno::SRCH.into());
    }
    memory.write_all_at(&bytes, buffer).map_err(|_| Errno::FAULT)?;
    Ok(Reply::Value(0).into())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn change_stat(bytes: &mut [u8; sys::STAT_LENGTH], stat: &Stat, record: &Record) {
    put(bytes, offset_of!(libc::stat, st_uid), &record.uid.to_ne_bytes());
    put(bytes, offset_of!(libc::stat, st_gid), &record.gid.to_ne_bytes());
    if record.node.is_some() {
        let mut seen = *stat;
        record.apply(&mut seen);
        put(bytes, offset_of!(libc::stat, st_mode), &seen.st_mode.to_ne_bytes());
        put(bytes, offset_of!(libc::stat, st_rdev), &seen.st_rdev.to_ne_bytes());
    }
}

fn change_statx(bytes: &mut [u8; sys::STATX_LENGTH], record: &Record) {
    put(bytes, offset_of!(libc::statx, stx_uid), &record.uid.to_ne_bytes());
    put(bytes, offset_of!(libc::statx, stx_gid), &record.gid.to_ne_bytes());
    if let Some((kind, device)) = record.node {
        let at = offset_of!(libc::statx, stx_mode);
        let mode = u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let kind = u16::try_from(kind).unwrap_or(0);
        put(bytes, at, &((mode & 0o7777) | kind).to_ne_bytes());
        put(bytes, offset_of!(libc::statx, stx_rdev_major), &rustix::fs::major(device).to_ne_bytes());
        put(bytes, offset_of!(libc::statx, stx_rdev_minor), &rustix::fs::minor(device).to_ne_bytes());
    }
}

/// `mkdirat`, `mknodat`, `symlinkat`, and `openat` of a file that may not be there.
pub(super) fn make(caller: Caller<'_>, who: &Who, call: &Notification) -> io::Result<Outcome> {
    // Whatever is wrong with the call, the kernel says best.
    let kernels = Ok(Reply::Continue.into());
    let [first, second, third, fourth, ..] = call.arguments;
    let (directory, path) =
        if call.number == libc::SYS_symlinkat { (second, third) } else { (first, second) };
    let Ok(path) = caller.path(path) else { return kernels };
    let Ok((parent, name)) = caller.new_place(descriptor(directory), &path) else { return kernels };
    let there = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW);
    if !matches!(there, Err(Errno::NOENT)) {
        return kernels;
    }
    let Ok((stat, above)) = recorded(&parent) else { return kernels };
    let above = above.unwrap_or_default();
    if !who.may_write(stat.st_mode, above.uid, above.gid) {
        return Err(Errno::ACCESS.into());
    }
    let gid = if stat.st_mode & libc::S_ISGID != 0 { above.gid } else { who.groups[1] };
    let mut record = Record { uid: who.users[1], gid, node: None };
    let asked = low(third);
    if call.number == libc::SYS_mknodat
        && matches!(file_type(asked), FileType::CharacterDevice | FileType::BlockDevice)
    {
        // 32 bits say all of it. Device 0:0 is an overlay's note that something is gone.
        let device = u64::from(low(fourth));
        if device == 0 {
            return kernels;
        }
        record.node = Some((asked & libc::S_IFMT, device));
    }
    if record == Record::default() {
        return kernels;
    }
    let umask = caller.status()?.umask;
    let mode = |asked: u32| Mode::from_raw_mode(asked & 0o7777 & !umask);
    let named = path_of(&parent).join(&name);
    match call.number {
        libc::SYS_mkdirat => {
            rustix::fs::mkdirat(&parent, &name, mode(asked))?;
            record.write(&named, Links::Stay, FileType::Directory)?;
        }
        libc::SYS_symlinkat => {
            rustix::fs::symlinkat(caller.path(first)?, &parent, &name)?;
            record.write(&named, Links::Stay, FileType::Symlink)?;
        }
        libc::SYS_mknodat => {
            let kind = match file_type(asked) {
                FileType::Socket => return kernels,
                FileType::Fifo => FileType::Fifo,
                _ => FileType::RegularFile,
            };
            rustix::fs::mknodat(&parent, &name, kind, mode(asked), 0)?;
            record.write(&named, Links::Stay, kind)?;
        }
        _ => {
            let asked = OFlags::from_bits_retain(asked);
            let flags = asked | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, &name, flags, mode(low(fourth)))?;
            record.write(&path_of(&file), Links::Follow, FileType::RegularFile).or_else(|error| {
                // A file system that keeps no attributes is none that layers are made of.
                if Errno::from_io_error(&error) == Some(Errno::NOTSUP) { Ok(()) } else { Err(error) }
            })?;
            return Ok(Outcome::Descriptor { file, on_exec: asked.contains(OFlags::CLOEXEC) });
        }
    }
    Ok(Reply::Value(0).into())
}

/// Whether executing the program at this address makes somebody else of the caller: it is set-user-id or set-group-id.
pub(super) fn changes_by_exec(caller: Caller<'_>, who: &mut Who, path: u64) -> bool {
    let found = caller
        .path(path)
        .and_then(|path| caller.place(libc::AT_FDCWD, &path, true))
        .and_then(|file| recorded(&file));
    // What cannot be executed is told by the kernel.
    let Ok((stat, record)) = found else { return false };
    if stat.st_mode & (libc::S_ISUID | libc::S_ISGID) == 0 {
        return false;
    }
    let (before, owner) = (who.clone(), record.unwrap_or_default());
    if stat.st_mode & libc::S_ISUID != 0 {
        who.users = [who.users[0], owner.uid, owner.uid];
    }
    if stat.st_mode & libc::S_ISGID != 0 && stat.st_mode & libc::S_IXGRP != 0 {
        who.groups = [who.groups[0], owner.gid, owner.gid];
    }
    *who != before
}
