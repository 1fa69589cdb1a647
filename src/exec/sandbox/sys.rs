//! The few system calls that no safe wrapper offers, and the only `unsafe` of the crate.
#![expect(unsafe_code, reason = "fork, exec and mount attributes have no safe form")]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

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
