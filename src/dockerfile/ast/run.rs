//! `RUN` and what is mounted for it.

use super::{Heredoc, Word};
use crate::dockerfile::source::Span;

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is executed.
    pub command: RunCommand,
    /// `--mount`, in order.
    pub mounts: Vec<RunMount>,
    /// `--network`.
    pub network: Network,
}

/// What a `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunCommand {
    /// JSON form: the arguments.
    Exec(Vec<Word>),
    /// Shell form: one argument for the `SHELL`. This is also a single here-document's body, and a line with
    /// several or used here-documents together with their bodies, which the shell reads.
    Shell(Word),
    /// A single here-document that begins with `#!`: it becomes an executable file `/dev/pipes/NAME`, and that
    /// path is the argument for the `SHELL`.
    Script(Heredoc),
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// As the build.
    #[default]
    Default,
    /// Only a loopback interface.
    None,
    /// The host's.
    Host,
}

/// `--mount`, unexpanded. Every value but `from` may use variables, so that even the type is known only when they
/// are: see [`RunMount::resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// The flag's value as written.
    pub flag: Word,
    /// `from`: a stage's name, a named context or an image. Has no `$`.
    pub from: Option<Word>,
    /// The comma-separated options in order, `from` among them.
    pub options: Vec<MountOption>,
}

/// `key` or `key=value` of a `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOption {
    /// The key, in lower case.
    pub key: Word,
    /// The value, unexpanded.
    pub value: Option<Word>,
}

/// A `--mount` with its variables expanded, complete with its type's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say their types")]
pub enum Mount {
    Bind(BindMount),
    Cache(CacheMount),
    Tmpfs(TmpfsMount),
    Secret(SecretMount),
    Ssh(SshMount),
}

/// `type=bind`: a view of the context, a stage or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Whose files; the build context if `None`.
    pub from: Option<String>,
    /// Path in there; `/` by default.
    pub source: String,
    /// Where, absolute or relative to the working directory.
    pub target: String,
    /// Whether it may be written to; what is written is discarded.
    pub read_write: bool,
}

/// `type=cache`: a directory that outlives the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// What the directory is found by; the cleaned target by default.
    pub id: Option<String>,
    /// Where, absolute or relative to the working directory.
    pub target: String,
    /// Who may use it at the same time.
    pub sharing: CacheSharing,
    /// What a new directory begins with; empty if `None`.
    pub from: Option<String>,
    /// Path in `from`; `/` by default.
    pub source: String,
    /// Mode of a new directory; 0755 if `None`.
    pub mode: Option<u32>,
    /// Owner of a new directory; 0 if `None`.
    pub uid: Option<u32>,
    /// Group of a new directory; 0 if `None`.
    pub gid: Option<u32>,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// Who may use a cache directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CacheSharing {
    /// Any number of steps.
    #[default]
    Shared,
    /// One step; a second one gets a directory of its own.
    Private,
    /// One step; a second one waits.
    Locked,
}

/// `type=tmpfs`: an empty directory in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Where, absolute or relative to the working directory.
    pub target: String,
    /// Limit in bytes; none if `None`.
    pub size: Option<u64>,
}

/// `type=secret`: a secret of the request as a file, an environment variable, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Name of the secret.
    pub id: String,
    /// Where the file is; `None` only when there is an `env`.
    pub target: Option<String>,
    /// The variable.
    pub env: Option<String>,
    /// Whether a missing secret is an error.
    pub required: bool,
    /// Mode of the file.
    pub mode: u32,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

/// `type=ssh`: a socket to an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    /// Name of the agent.
    pub id: String,
    /// Where the socket is; `/run/buildkit/ssh_agent.N` if `None`.
    pub target: Option<String>,
    /// Whether a missing agent is an error.
    pub required: bool,
    /// Mode of the socket.
    pub mode: u32,
    /// Owner of the socket.
    pub uid: u32,
    /// Group of the socket.
    pub gid: u32,
}

impl RunMount {
    /// Where it was written.
    pub fn span(&self) -> Span {
        self.flag.span
    }
}
