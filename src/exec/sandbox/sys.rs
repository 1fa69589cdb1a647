//! The few system calls that no safe wrapper offers, and the only `unsafe` of the crate.
#![expect(unsafe_code, reason = "fork, exec, mount attributes and answers to system calls have no safe form")]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
#[derive(Debug)]
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the identifier of the new.
    Parent(Pid),
}

/// Puts this process into new namespaces. The caller must be single-threaded, as helpers are.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: only `FILES` could part a thread from descriptors it holds, and it is never asked for.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Makes a copy of this process. Only for helpers, which have one thread: in the child every lock is free.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: helpers never start a thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent)),
    }
}

/// Replaces this process by `program`. Returns only if that fails.
pub(super) fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> io::Result<Infallible> {
    let terminated = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (terminated(argv), terminated(env));
    // SAFETY: all three point to zero-terminated strings that outlive the call, both arrays end with null.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Ends this process at once, running nothing that the process it was forked from has left to be run at its end.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Gives signals their default action again (Rust ignores SIGPIPE, whoever started the builder perhaps others) and
/// blocks none.
pub(super) fn reset_signals() {
    // SAFETY: the default action replaces handlers of which a helper has none; the set lives on this stack.
    unsafe {
        for signal in 1..=31 {
            // Two of them cannot be changed, and never are.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Lets every descriptor but the first three be closed by the next exec, whoever opened it.
pub(super) fn close_on_exec() -> io::Result<()> {
    // SAFETY: changes a flag of descriptors; none is closed under its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a (detached or attached) mount and all mounts below it read-only.
pub(super) fn make_read_only(mount: impl AsFd) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a zero-terminated empty string, the structure has the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of a new network namespace up.
pub(super) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed() as libc::c_char;
    }
    // Up is bit 0, running is bit 6.
    request.ifr_ifru.ifru_flags = 1 | (1 << 6);
    // SAFETY: the request is the structure that SIOCSIFFLAGS reads, and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the C library from loading modules for names of hosts and users.
///
/// A static glibc has what it needs for files and DNS. For whatever else `/etc/nsswitch.conf` names it loads a library
/// from `/lib`: in a pod whose `/` is an image for the time of a RUN (`in-place`) that would be the image's code, in the
/// builder. To be called before there is a second thread.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub(super) fn forbid_name_modules() {
    unsafe extern "C" {
        // See glibc, `nss/nss.h`.
        fn __nss_configure_lookup(
            database: *const libc::c_char,
            services: *const libc::c_char,
        ) -> libc::c_int;
    }
    for (database, services) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
        // SAFETY: both are zero-terminated texts that live for ever. Both names are known, so it does not fail.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Other C libraries load nothing, and a dynamic one is not for pods.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(super) fn forbid_name_modules() {}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    /// Names it in the answer.
    pub(super) id: u64,
    /// The thread that made it, as this process's PID namespace knows it.
    pub(super) thread: u32,
    /// Its number, on this machine's own architecture.
    pub(super) number: libc::c_long,
    /// What it was called with.
    pub(super) arguments: [u64; 6],
}

/// What becomes of a system call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The kernel does it.
    Continue,
    /// It has returned this.
    Value(i64),
    /// It has failed with this error number.
    Error(i32),
}

/// Has calls that `program` sends on wait for an answer, in this process and whatever comes of it. Gives where they are
/// heard of. Needs root of the user namespace.
pub(super) fn listen_to_calls(program: &mut [libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // A call that waits is not interrupted by signals, as the call itself would not be, where Linux (5.19) knows that.
    let patient = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    for flags in [patient, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER] {
        // SAFETY: the program is copied by the kernel during the call.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        if let Ok(fd) = i32::try_from(result)
            && fd >= 0
        {
            // SAFETY: it is new, and nobody else's.
            let listener = unsafe { OwnedFd::from_raw_fd(fd) };
            // One process wakes the other on the same processor (Linux 6.6): only faster.
            // SAFETY: takes a number.
            unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, 1_u64) };
            return Ok(listener);
        }
    }
    Err(io::Error::last_os_error())
}

/// The next call that waits. Nothing if it was given up meanwhile.
pub(super) fn next_call(listener: impl AsFd) -> io::Result<Option<Notification>> {
    // SAFETY: all-zero is valid, and what the kernel wants.
    let mut found: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel writes the structure that this request is for.
    if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut found) } != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        };
    }
    Ok(Some(Notification {
        id: found.id,
        thread: found.pid,
        number: libc::c_long::from(found.data.nr),
        arguments: found.data.args,
    }))
}

/// Whether the call still waits: if so, its thread has been what it is since it was heard of.
pub(super) fn still_waits(listener: impl AsFd, id: u64) -> bool {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel reads a number.
    unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) == 0 }
}

/// Answers a call. That it has been given up is no error.
pub(super) fn reply(listener: impl AsFd, id: u64, reply: Reply) -> io::Result<()> {
    let (val, error, flags) = match reply {
        Reply::Continue => (0, 0, u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1)),
        Reply::Value(value) => (value, 0, 0),
        Reply::Error(number) => (0, -number, 0),
    };
    let answer = libc::seccomp_notif_resp { id, val, error, flags };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the structure that this request is for.
    given_up(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const answer) })
}

/// Answers a call with a descriptor, which its process gets a copy of.
pub(super) fn reply_with(listener: impl AsFd, id: u64, given: impl AsFd, on_exec: bool) -> io::Result<()> {
    let answer = libc::seccomp_notif_addfd {
        id,
        flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SEND).unwrap_or(2),
        srcfd: given.as_fd().as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
    };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the structure that this request is for.
    let result = unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const answer) };
    given_up(result.min(0))
}

fn given_up(result: i32) -> io::Result<()> {
    let error = io::Error::last_os_error();
    if result == 0 || error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) }
}

/// Size of the kernel's `struct stat`, in bytes.
pub(super) const STAT_LENGTH: usize = size_of::<libc::stat>();

/// Size of `struct statx`, in bytes.
pub(super) const STATX_LENGTH: usize = size_of::<libc::statx>();

/// What the kernel says of an open file, as it says it.
pub(super) fn raw_stat(file: impl AsFd) -> io::Result<[u8; STAT_LENGTH]> {
    let mut bytes = [0; STAT_LENGTH];
    // SAFETY: the path is an empty string, the buffer has the size of the structure; of 64-bit machines, the C
    // library's is the kernel's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            bytes.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    if result == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// The same, as `statx` says it to somebody who asks with these flags and for this.
pub(super) fn raw_statx(file: impl AsFd, flags: u32, mask: u32) -> io::Result<[u8; STATX_LENGTH]> {
    let mut bytes = [0; STATX_LENGTH];
    // SAFETY: the path is an empty string, the buffer has the size of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH.cast_unsigned(),
            mask,
            bytes.as_mut_ptr(),
        )
    };
    if result == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}
