//! What is to be executed, and how it ended.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Emulator, Ulimit};

/// One command to execute in a rootfs. `Debug` shows no value of the environment: some are secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunSpec {
    /// Program and arguments. A program without `/` is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment. `PATH`, `HOME` and `HOSTNAME` are added when they are missing: Docker's default path,
    /// the user's entry in the rootfs's `/etc/passwd`, and `hostname`. Of two entries of one name the last counts.
    pub env: Vec<(String, String)>,
    /// Working directory inside the rootfs, absolute; made (0755, root) when it does not exist.
    pub cwd: String,
    /// The text of `USER`: empty for root, else `user`, `uid`, `user:group`, `uid:gid`, …
    pub user: String,
    /// Host name inside.
    pub hostname: String,
    /// What of the network the command sees.
    pub network: Network,
    /// Further mounts, in order; a later one covers an earlier one.
    pub mounts: Vec<Mount>,
    /// More lines of `/etc/hosts`: address, then host name.
    pub extra_hosts: Vec<(String, String)>,
    /// Most bytes in `/dev/shm`; Docker's 64 MiB if not given. Without namespaces it is the pod's own.
    pub shm_size: Option<u64>,
    /// Limits of each process's resources.
    pub ulimits: Vec<Ulimit>,
    /// Who executes programs of another architecture. Without namespaces that is the node's affair.
    pub emulator: Option<Emulator>,
}

impl fmt::Debug for RunSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSpec")
            .field("argv", &self.argv)
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("network", &self.network)
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

/// What of the network a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Network {
    /// The builder's network.
    #[default]
    Host,
    /// A loopback interface and nothing else.
    None,
}

/// Something that a command sees at a path although no layer has it. What was mounted never becomes part of a layer,
/// nor do the empty files and directories that were made for it to be mounted on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Where; absolute, or relative to the working directory. Links are followed inside the rootfs only.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the builder. It must be readable for the namespace's root.
    Bind {
        /// Path outside: absolute, or one that the sandbox gave (see [`Files::source`](super::Files::source)).
        source: PathBuf,
        /// Whether the command may write to it.
        access: Access,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Most bytes it may hold; `None` for the kernel's own limit (half the memory).
        size: Option<u64>,
    },
    /// A read-only file that exists in memory only, and for this command only.
    File(InlineFile),
}

/// A file that is given by what is in it. `Debug` does not show that: it may be a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineFile {
    /// What is in it.
    pub contents: Vec<u8>,
    /// Whether it must not be on a disk, not even for a moment.
    pub is_secret: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the command knows it.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
}

impl fmt::Debug for InlineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineFile")
            .field("mode", &self.mode)
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .finish_non_exhaustive()
    }
}

/// Whether what is mounted can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// Which of its two streams a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code as a shell would say it: 128 and the signal's number for a command that was killed.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let file = InlineFile { contents: b"hidden".into(), is_secret: true, mode: 0o400, uid: 0, gid: 0 };
        let spec = RunSpec {
            argv: vec!["sh".into()],
            env: vec![("TOKEN".into(), "hidden".into())],
            cwd: "/".into(),
            user: String::new(),
            hostname: String::new(),
            network: Network::Host,
            mounts: vec![Mount { target: "/x".into(), kind: MountKind::File(file) }],
            extra_hosts: vec![],
            shm_size: None,
            ulimits: vec![],
            emulator: None,
        };
        let shown = format!("{spec:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hidden") && !shown.contains("104"), "{shown}");
    }
}
