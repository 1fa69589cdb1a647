//! Whether renaming what is in `/` can hurt nobody else.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::{Refusal, SandboxError};

/// The PID namespace that a machine starts with; a fixed number, `PROC_PID_INIT_INO` in Linux's `proc_ns.h`.
const INITIAL: &str = "pid:[4026531836]";

/// Files that container runtimes make.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// An overlay's number in `statfs`.
const OVERLAY: i128 = 0x794c_7630;

/// Refuses what is not surely a container of our own, and a program that would not find its libraries.
pub(super) fn check(program: &Path) -> Result<(), SandboxError> {
    if !is_container() {
        let refused = "this is no container, so the entries of `/` are not renamed".to_owned();
        return Err(SandboxError::Refused { refused, refusal: Refusal::Container });
    }
    match is_static(program) {
        Ok(false) => {
            let refused =
                "this build of Cooper needs shared libraries, which would be out of the way".to_owned();
            Err(SandboxError::Refused { refused, refusal: Refusal::Libraries })
        }
        Ok(true) => Ok(()),
        Err(source) => Err(SandboxError::Spawn { helper: program.to_owned(), source }),
    }
}

/// A machine's own processes are in the PID namespace that it started with. Another one could be a mere `unshare` in
/// somebody's shell: something else must say "container" too.
pub(crate) fn is_container() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid");
    if namespace.is_ok_and(|name| name == Path::new(INITIAL)) {
        return false;
    }
    let is_overlay = rustix::fs::statfs("/").is_ok_and(|found| i128::from(found.f_type) == OVERLAY);
    is_overlay
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || MARKS.iter().any(|mark| Path::new(mark).exists())
}

/// Whether the program names no loader (a `PT_INTERP` segment). See elf(5); of the machines that there are builds for, all are
/// 64-bit and little-endian.
pub(super) fn is_static(program: &Path) -> io::Result<bool> {
    const INTERPRETER: u32 = 3;
    let mut head = Vec::new();
    // The table of segments follows the header.
    File::open(program)?.take(64 << 10).read_to_end(&mut head)?;
    // An identification, 64 bit, little-endian.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let number = |at: usize, length: usize| -> Option<u64> {
        let mut bytes = [0; 8];
        bytes.get_mut(..length)?.copy_from_slice(head.get(at..at + length)?);
        Some(u64::from_le_bytes(bytes))
    };
    let loader = || -> Option<bool> {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut found = false;
        for index in 0..count {
            let at = usize::try_from(table + index * size).ok()?;
            found |= number(at, 4)? == u64::from(INTERPRETER);
        }
        Some(found)
    };
    loader().map(|found| !found).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_are_seen() {
        assert!(!is_static(Path::new("/proc/self/exe")).unwrap());
        assert!(is_static(Path::new("/bin/busybox")).unwrap());
        assert!(is_static(Path::new("/etc/passwd")).is_err());
    }
}
