//! Where there is only one id: owners that a command gives to files are recorded, and it is told what is recorded.
//!
//! In a user namespace with a single id, `chown` to anybody else fails, and so does becoming somebody else. Package
//! managers do both all the time. So these calls, and those that tell of their outcome, wait for an answer that the
//! helper gives (seccomp's user notifications):
//!
//! ```text
//! chown …               the owner is recorded with the file, see [`crate::rootfs::owner`]
//! chmod …               refused to whoever is neither root nor the owner; modes themselves are true
//! stat …                what is recorded is told
//! mknod of a device     a file that stands for it
//! mkdir, open(O_CREAT)… what somebody else than root makes is theirs, and made only where they may
//! setuid, getuid …      who a process believes to be is remembered
//! ```
//!
//! All processes go on to be root in truth: what a mode forbids to read, change or remove is not refused.

mod caller;
mod files;
mod filter;
mod people;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use caller::Caller;
use people::{Ids, People, Who};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::WaitOptions;
use rustix::thread::ThreadNameSpaceType;

use super::users::Identity;
use crate::exec::sandbox::Refusal;
use crate::exec::sandbox::sys::{self, Fork, Notification, Reply};
use crate::exec::sandbox::wire::{self, During as _, Failure};
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;

/// Has the calls of this process, and of whatever comes of it, wait for answers of whoever reads from the other end of
/// `channel`.
pub(super) fn submit(channel: &UnixStream, identity: &Identity) -> io::Result<()> {
    let listener = sys::listen_to_calls(&mut filter::program())?;
    let descriptors = [listener.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(channel, &[io::IoSlice::new(&[0])], &mut ancillary, SendFlags::empty())?;
    wire::send(channel, identity)
}

/// Tries whether owners can be recorded in `scratch`, and whether calls can be made to wait.
pub(super) fn probe(scratch: &Path) -> Result<(), Failure> {
    let refused = |what: &str, error: &io::Error| Failure::refused(Refusal::Ownership, what, error);
    let directory = beneath::open_to_read(CWD, scratch).during(|| "open the store")?;
    let recorded = [1, 0].into_iter().try_for_each(|id| Ownership::Recorded.give(&directory, id, id));
    recorded.map_err(|error| refused("recording owners in attributes of files is refused", &error))?;
    let child = match sys::fork().during(|| "start a process")? {
        Fork::Child => sys::exit(match sys::listen_to_calls(&mut filter::program()) {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        }),
        Fork::Parent(child) => child,
    };
    let status =
        rustix::process::waitpid(Some(child), WaitOptions::empty()).during(|| "wait for a process")?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        code => {
            let error = io::Error::from_raw_os_error(code.unwrap_or(libc::EIO));
            Err(refused("hearing of system calls (seccomp's user notifications) is refused", &error))
        }
    }
}

/// Two ends of a way for [`submit`], and what is needed to answer.
#[derive(Debug)]
pub(super) struct Recording {
    submitter: UnixStream,
    receiver: UnixStream,
    /// The pod's `/proc`.
    proc: OwnedFd,
}

impl Recording {
    /// For a process that sees the pod's `/proc`.
    pub(super) fn new() -> io::Result<Self> {
        let (submitter, receiver) = UnixStream::pair()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        Ok(Self { submitter, receiver, proc })
    }

    /// The end of the command.
    pub(super) fn submitter(self) -> UnixStream {
        self.submitter
    }

    /// The end of whoever answers.
    pub(super) fn receiver(self) -> Answering {
        Answering::Expecting { channel: self.receiver, proc: self.proc }
    }
}

/// What there is to answer.
#[derive(Debug)]
pub(super) enum Answering {
    /// The command has not started yet.
    Expecting { channel: UnixStream, proc: OwnedFd },
    /// It runs.
    Serving(Recorder),
}

impl Answering {
    /// Readable when there is something to do.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Expecting { channel, .. } => channel.as_fd(),
            Self::Serving(recorder) => recorder.listener.as_fd(),
        }
    }

    /// Does it. `process` is in the mount namespace of the command. Nothing is left to do if that did not start.
    pub(super) fn go_on(self, process: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        match self {
            Self::Expecting { channel, proc } => match Recorder::begin(&channel, process, proc) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                recorder => Ok(Some(Self::Serving(recorder?))),
            },
            Self::Serving(mut recorder) => {
                recorder.serve()?;
                Ok(Some(Self::Serving(recorder)))
            }
        }
    }
}

/// Answers the calls of one command.
#[derive(Debug)]
pub(super) struct Recorder {
    listener: OwnedFd,
    /// The mount namespace that this process came from, and goes back to.
    home: OwnedFd,
    /// The working directory that it had there.
    directory: OwnedFd,
    /// The pod's `/proc`, which is also this process's working directory.
    proc: OwnedFd,
    people: People,
}

impl Recorder {
    /// Receives what [`submit`] has sent, and goes to where the command is: `process` is in the same mount namespace,
    /// `proc` is the pod's `/proc`.
    fn begin(channel: &UnixStream, process: BorrowedFd<'_>, proc: OwnedFd) -> io::Result<Self> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(channel, &mut [io::IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
        let listener = ancillary
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let identity: Identity = wire::receive(channel)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let home = rustix::fs::openat(&proc, "self/ns/mnt", flags, Mode::empty())?;
        let directory = beneath::open_directory(CWD, Path::new("."))?;
        rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT)?;
        rustix::process::fchdir(&proc)?;
        Ok(Self { listener, home, directory, proc, people: People::new(Who::of(&identity)) })
    }

    /// Answers the next call.
    fn serve(&mut self) -> io::Result<()> {
        let Some(call) = sys::next_call(&self.listener)? else { return Ok(()) };
        let outcome = self
            .answer(&call)
            .unwrap_or_else(|error| Outcome::Reply(Reply::Error(error.raw_os_error().unwrap_or(libc::EIO))));
        match outcome {
            Outcome::Reply(reply) => sys::reply(&self.listener, call.id, reply),
            Outcome::Descriptor { file, on_exec } => {
                match sys::reply_with(&self.listener, call.id, &file, on_exec) {
                    Ok(()) => Ok(()),
                    // It may have no more descriptors.
                    Err(error) => {
                        let number = error.raw_os_error().unwrap_or(libc::EMFILE);
                        sys::reply(&self.listener, call.id, Reply::Error(number))
                    }
                }
            }
        }
    }

    fn answer(&mut self, call: &Notification) -> io::Result<Outcome> {
        #[cfg(target_arch = "x86_64")]
        if let Some(newer) = newer(call) {
            return self.answer(&newer);
        }
        let arguments = call.arguments;
        let caller = Caller { proc: self.proc.as_fd(), thread: call.thread };
        let (user, group) = (low(arguments[0]), low(arguments[1]));
        match call.number {
            libc::SYS_fchownat | libc::SYS_fchown => files::chown(caller, &self.who(call), call),
            libc::SYS_fchmodat | libc::SYS_fchmod | filter::FCHMODAT2 => {
                files::chmod(caller, &self.who(call), call)
            }
            libc::SYS_newfstatat | libc::SYS_fstat | libc::SYS_statx => {
                files::stat(caller, call, || sys::still_waits(&self.listener, call.id))
            }
            libc::SYS_mkdirat | libc::SYS_mknodat | libc::SYS_symlinkat | libc::SYS_openat => {
                files::make(caller, &self.who(call), call)
            }
            libc::SYS_execve => {
                let mut who = self.who(call);
                if files::changes_by_exec(caller, &mut who, arguments[0]) {
                    self.people.becomes(&self.proc, call.thread, who)?;
                }
                Ok(Reply::Continue.into())
            }
            libc::SYS_getuid => Ok(value(self.who(call).users[0])),
            // The calls for file access give the old effective id, whether they succeed or not.
            libc::SYS_geteuid | libc::SYS_setfsuid => Ok(value(self.who(call).users[1])),
            libc::SYS_getgid => Ok(value(self.who(call).groups[0])),
            libc::SYS_getegid | libc::SYS_setfsgid => Ok(value(self.who(call).groups[1])),
            libc::SYS_getresuid => self.tell_three(call, self.who(call).users),
            libc::SYS_getresgid => self.tell_three(call, self.who(call).groups),
            libc::SYS_getgroups => self.tell_groups(call),
            libc::SYS_setuid => self.change_users(call, |old, is_root| people::set(old, user, is_root)),
            libc::SYS_setgid => self.change_groups(call, |old, is_root| people::set(old, user, is_root)),
            libc::SYS_setreuid => {
                self.change_users(call, |old, is_root| people::set_two(old, user, group, is_root))
            }
            libc::SYS_setregid => {
                self.change_groups(call, |old, is_root| people::set_two(old, user, group, is_root))
            }
            libc::SYS_setresuid => {
                let new = [user, group, low(arguments[2])];
                self.change_users(call, |old, is_root| people::set_three(old, new, is_root))
            }
            libc::SYS_setresgid => {
                let new = [user, group, low(arguments[2])];
                self.change_groups(call, |old, is_root| people::set_three(old, new, is_root))
            }
            libc::SYS_setgroups => self.set_groups(call),
            _ => Ok(Reply::Continue.into()),
        }
    }

    fn who(&self, call: &Notification) -> Who {
        self.people.who(&self.proc, call.thread)
    }

    fn become_somebody(&mut self, call: &Notification, who: Who) -> io::Result<Outcome> {
        self.people.becomes(&self.proc, call.thread, who)?;
        Ok(Reply::Value(0).into())
    }

    fn change_users(
        &mut self,
        call: &Notification,
        change: impl FnOnce(Ids, bool) -> Result<Ids, Errno>,
    ) -> io::Result<Outcome> {
        let mut who = self.who(call);
        who.users = change(who.users, who.is_root())?;
        self.become_somebody(call, who)
    }

    fn change_groups(
        &mut self,
        call: &Notification,
        change: impl FnOnce(Ids, bool) -> Result<Ids, Errno>,
    ) -> io::Result<Outcome> {
        let mut who = self.who(call);
        who.groups = change(who.groups, who.is_root())?;
        self.become_somebody(call, who)
    }

    fn set_groups(&mut self, call: &Notification) -> io::Result<Outcome> {
        /// `NGROUPS_MAX`.
        const MOST: usize = 65_536;
        let mut who = self.who(call);
        if !who.is_root() {
            return Err(Errno::PERM.into());
        }
        let count = low(call.arguments[0]) as usize;
        if count > MOST {
            return Err(Errno::INVAL.into());
        }
        let caller = Caller { proc: self.proc.as_fd(), thread: call.thread };
        who.further_groups =
            if count == 0 { Vec::new() } else { caller.numbers(call.arguments[1], count)? };
        self.become_somebody(call, who)
    }

    fn tell_three(&self, call: &Notification, ids: Ids) -> io::Result<Outcome> {
        for (address, id) in call.arguments.iter().zip(ids) {
            self.write(call, *address, &id.to_ne_bytes())?;
        }
        Ok(value(0))
    }

    fn tell_groups(&self, call: &Notification) -> io::Result<Outcome> {
        let groups = self.who(call).further_groups;
        let count = u32::try_from(groups.len()).unwrap_or(0);
        let room = low(call.arguments[0]);
        if room > 0 {
            if room < count {
                return Err(Errno::INVAL.into());
            }
            let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
            self.write(call, call.arguments[1], &bytes)?;
        }
        Ok(value(count))
    }

    /// Writes to the memory of the caller.
    fn write(&self, call: &Notification, address: u64, bytes: &[u8]) -> io::Result<()> {
        let memory = Caller { proc: self.proc.as_fd(), thread: call.thread }.memory()?;
        // By now it is the memory of whoever made the call, and not of somebody who got its number.
        if !sys::still_waits(&self.listener, call.id) {
            return Err(Errno::SRCH.into());
        }
        memory.write_all_at(bytes, address).map_err(|_| Errno::FAULT.into())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // If this fails, so does removing what was made to be mounted on, or finding what has changed, which says so.
        let _ = rustix::thread::move_into_thread_name_spaces(self.home.as_fd(), ThreadNameSpaceType::MOUNT);
        let _ = rustix::process::fchdir(&self.directory);
    }
}

/// What becomes of a call.
#[derive(Debug)]
enum Outcome {
    Reply(Reply),
    /// It has opened this.
    Descriptor {
        file: OwnedFd,
        on_exec: bool,
    },
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

fn value(value: u32) -> Outcome {
    Reply::Value(i64::from(value)).into()
}

/// An argument that has 32 bits.
fn low(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(0)
}

/// An older call as the newer one that can do the same.
#[cfg(target_arch = "x86_64")]
fn newer(call: &Notification) -> Option<Notification> {
    let [first, second, third, ..] = call.arguments;
    let here = i64::from(libc::AT_FDCWD).cast_unsigned();
    let stay = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
    let create = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    let (number, arguments) = match call.number {
        libc::SYS_chown => (libc::SYS_fchownat, [here, first, second, third, 0, 0]),
        libc::SYS_lchown => (libc::SYS_fchownat, [here, first, second, third, stay, 0]),
        libc::SYS_chmod => (libc::SYS_fchmodat, [here, first, second, 0, 0, 0]),
        libc::SYS_mknod => (libc::SYS_mknodat, [here, first, second, third, 0, 0]),
        libc::SYS_mkdir => (libc::SYS_mkdirat, [here, first, second, 0, 0, 0]),
        libc::SYS_symlink => (libc::SYS_symlinkat, [first, here, second, 0, 0, 0]),
        libc::SYS_stat => (libc::SYS_newfstatat, [here, first, second, 0, 0, 0]),
        libc::SYS_lstat => (libc::SYS_newfstatat, [here, first, second, stay, 0, 0]),
        libc::SYS_open => (libc::SYS_openat, [here, first, second, third, 0, 0]),
        libc::SYS_creat => (libc::SYS_openat, [here, first, u64::from(create.cast_unsigned()), second, 0, 0]),
        _ => return None,
    };
    Some(Notification { number, arguments, ..*call })
}
