//! Which system calls are heard of before the kernel does them.
//!
//! The filter is a program for the kernel's classic BPF machine, see seccomp(2): it gets a `struct seccomp_data`, and
//! returns what is to become of the call.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF, c_long, sock_filter,
};

/// Where in `struct seccomp_data` the number of the call is, its architecture, and the lower half of its nth argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// `AUDIT_ARCH_X86_64` or `AUDIT_ARCH_AARCH64` of `linux/audit.h`: the ELF machine, 64 bit, little-endian.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0x3e | 0x8000_0000 | 0x4000_0000;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xb7 | 0x8000_0000 | 0x4000_0000;

/// `fchmodat` with flags (Linux 6.6), whose number is the same everywhere; not every C library knows it.
pub(super) const FCHMODAT2: c_long = 452;

/// Calls that are always heard of, besides the older ones that only some architectures have.
const CALLS: [c_long; 24] = [
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_mknodat,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_execve,
];

const MORE_CALLS: [c_long; 4] =
    [libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setfsuid, libc::SYS_setfsgid];

#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[c_long] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_chmod,
    libc::SYS_mknod,
    libc::SYS_mkdir,
    libc::SYS_symlink,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_creat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[c_long] = &[];

/// Calls that are heard of if this argument has the bit `O_CREAT`.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(c_long, u32)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(c_long, u32)] = &[(libc::SYS_openat, 2)];

/// The program. Calls of another architecture than this machine's own are not heard of.
pub(super) fn program() -> Vec<sock_filter> {
    let mut program = Vec::new();
    let mut say = |code: u32, k: u32, jt: u8, jf: u8| {
        // All codes of the machine have less than 16 bits.
        program.push(sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k });
    };
    let load = BPF_LD | BPF_W | BPF_ABS;
    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    let answer = BPF_RET | BPF_K;
    say(load, ARCHITECTURE, 0, 0);
    say(equal, NATIVE, 1, 0);
    say(answer, SECCOMP_RET_ALLOW, 0, 0);
    say(load, NUMBER, 0, 0);
    let number = |call: c_long| u32::try_from(call).unwrap_or(u32::MAX);
    for call in CALLS.iter().chain(&MORE_CALLS).chain(OLDER_CALLS) {
        say(equal, number(*call), 0, 1);
        say(answer, SECCOMP_RET_USER_NOTIF, 0, 0);
    }
    for (call, index) in OPENING {
        say(equal, number(*call), 0, 5);
        say(load, argument(*index), 0, 0);
        say(BPF_ALU | BPF_AND | BPF_K, libc::O_CREAT.cast_unsigned(), 0, 0);
        say(equal, 0, 0, 1);
        say(answer, SECCOMP_RET_ALLOW, 0, 0);
        say(answer, SECCOMP_RET_USER_NOTIF, 0, 0);
    }
    say(answer, SECCOMP_RET_ALLOW, 0, 0);
    program
}
