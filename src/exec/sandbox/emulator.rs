//! Programs of other architectures: who executes them.
//!
//! The kernel hands a program that it does not know to whoever is registered in `binfmt_misc` for how it begins. A node
//! may have registered somebody for all; since Linux 6.7, a user namespace can have registrations of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::is_static;
use crate::image::Platform;

/// The longest path that can be registered, in bytes; the kernel's `BINPRM_BUF_SIZE` allows for a little more.
const MAX_PATH: usize = 127;

/// A static program, and how what it executes begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    pub(super) program: PathBuf,
    class: u8,
    byte_order: u8,
    machine: u16,
}

/// Why an emulator that was named cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` cannot execute programs for {architecture}: it must be a static program with a path of at most 127 bytes, like \
     qemu-aarch64-static of Debian's qemu-user-static",
    path.display()
)]
pub struct EmulatorError {
    /// What was named.
    pub path: PathBuf,
    /// What it was named for.
    pub architecture: String,
}

/// Architecture in Go's naming, in qemu's, and in ELF: class, byte order, machine; see elf(5).
const ARCHITECTURES: [(&str, &str, u8, u8, u16); 9] = [
    ("386", "i386", 1, 1, 3),
    ("amd64", "x86_64", 2, 1, 62),
    ("arm", "arm", 1, 1, 40),
    ("arm64", "aarch64", 2, 1, 183),
    ("loong64", "loongarch64", 2, 1, 258),
    ("mips64le", "mips64el", 2, 1, 8),
    ("ppc64le", "ppc64le", 2, 1, 21),
    ("riscv64", "riscv64", 2, 1, 243),
    ("s390x", "s390x", 2, 2, 22),
];

/// Whether this machine may not be able to execute programs for `platform`.
pub(crate) fn is_foreign(platform: &Platform) -> bool {
    let host = Platform::host();
    match (host.architecture(), platform.architecture()) {
        (own, other) if own == other => false,
        ("amd64", "386") | ("arm64", "arm") => false,
        _ => platform.os() == host.os(),
    }
}

impl Emulator {
    /// The one that was named, or one on the path; none if there is none.
    pub(crate) fn find(platform: &Platform, named: Option<&Path>) -> Result<Option<Self>, EmulatorError> {
        let known = ARCHITECTURES.into_iter().find(|(name, ..)| *name == platform.architecture());
        let Some((_, qemu, class, byte_order, machine)) = known else { return Ok(None) };
        let usable = |path: &Path| {
            path.as_os_str().len() <= MAX_PATH && path.to_str().is_some() && is_static(path).unwrap_or(false)
        };
        let program = if let Some(path) = named {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            if !usable(&path) {
                let architecture = platform.architecture().to_owned();
                return Err(EmulatorError { path, architecture });
            }
            Some(path)
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
            let candidates = [format!("qemu-{qemu}-static"), format!("qemu-{qemu}")];
            candidates
                .iter()
                .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
                .find(|path| path.is_absolute() && usable(path))
        };
        Ok(program.map(|program| Self { program, class, byte_order, machine }))
    }

    /// What is written to `binfmt_misc/register`: see the kernel's admin-guide/binfmt-misc. `F` opens the program now, so
    /// that it need not be in the image; `C` heeds set-user-id bits.
    pub(super) fn registration(&self, flags: &str) -> String {
        let machine =
            if self.byte_order == 1 { self.machine.to_le_bytes() } else { self.machine.to_be_bytes() };
        // Executable, and position-independent: both are programs.
        let kind = if self.byte_order == 1 { [2, 0] } else { [0, 2] };
        let kind_mask = if self.byte_order == 1 { [0xfe, 0xff] } else { [0xff, 0xfe] };
        let mut magic = vec![0x7f, b'E', b'L', b'F', self.class, self.byte_order, 1];
        let mut mask = vec![0xff; 7];
        // The system's interface may be any.
        magic.extend([0; 9]);
        mask.push(0);
        mask.extend([0xff; 8]);
        for (end, end_mask) in [(kind, kind_mask), (machine, [0xff; 2])] {
            magic.extend(end);
            mask.extend(end_mask);
        }
        let escaped = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                // Writing to a string does not fail.
                let _ = write!(text, "\\x{byte:02x}");
                text
            })
        };
        format!(":cooper:M::{}:{}:{}:{flags}", escaped(&magic), escaped(&mask), self.program.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_those_of_qemu() {
        let emulator = Emulator { program: "/q".into(), class: 2, byte_order: 1, machine: 183 };
        assert_eq!(
            emulator.registration("F"),
            ":cooper:M::\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:/q:F"
        );
    }

    #[test]
    fn what_is_foreign() {
        assert!(!is_foreign(&Platform::host()));
        assert!(is_foreign(&Platform::new("linux", "s390x", None)));
    }

    #[test]
    fn a_named_emulator_must_be_static() {
        let platform = Platform::new("linux", "s390x", None);
        let error = Emulator::find(&platform, Some(Path::new("/etc/passwd"))).unwrap_err();
        assert!(error.to_string().starts_with("`/etc/passwd` cannot execute programs for s390x"), "{error}");
        let found = Emulator::find(&platform, Some(Path::new("/bin/busybox"))).unwrap().unwrap();
        assert_eq!((found.machine, found.byte_order), (22, 2));
    }
}
