//! Sandboxes: where a RUN executes without seeing the builder, and what it changed.
//!
//! The builder holds credentials and many threads, so it enters no namespace itself. It re-executes its own binary as
//! a single-threaded *helper* ([`helper_main`]) that enters a user namespace and does one thing there: unpack a layer,
//! execute a command and write down what that changed, or remove a directory.
//!
//! ```text
//! builder                                   helper, in a new user namespace
//!   spawn ─────────── fd 0: a socket ─────►   unshare(NEWUSER)
//!   write /proc/PID/{uid,gid}_map  ◄────────  "unshared"
//!   the order  ────────────────────────────►  becomes root there, does it
//!   tar in or out, a command's output ◄ fd 1, 2
//!   the answer  ◄───────────────────────────  and exits
//!                                             (after a command: waits for the order of the diff, or the end)
//! ```
//!
//! Where a pod may make no namespaces, the helper keeps the builder's ids, and commands are executed in the pod's own
//! root, whose entries are renamed: see [`Isolation::InPlace`].
//!
//! For a command in namespaces there are two more processes: the helper keeps to a mount namespace in which the rootfs is bare; its
//! child, the first process of a PID namespace, mounts the rest, pivots, and forks the command; when that has ended,
//! so does the child, and the kernel kills whatever the command has left behind.

mod choose;
mod container;
mod directory;
mod emulator;
mod error;
mod files;
mod idmap;
mod inside;
mod isolation;
mod limits;
mod pod;
mod process;
mod rootfs;
mod spec;
mod stream;
mod sys;
mod unpack;
mod wire;

pub use crate::rootfs::diff::DiffSettings;
pub use crate::rootfs::unpack::Warning;
use choose::Kept;
pub(crate) use container::is_container;
use directory::Directory;
pub(crate) use emulator::is_foreign;
pub use emulator::{Emulator, EmulatorError};
pub use error::{Refusal, SandboxError};
pub use files::Files;
pub use inside::{helper_main, is_helper};
pub use isolation::{Isolation, IsolationChoice, ParseIsolationError};
pub use limits::{ParseUlimitError, RunSettings, Ulimit};
use process::Helpers;
pub use rootfs::{Committed, Rootfs};
pub use spec::{Access, Exit, InlineFile, Mount, MountKind, Network, OutputStream, RunSpec};
pub use unpack::{LayerSource, OpenLayer};

use crate::cancel::Cancel;

/// Keeps code of images out of this process: names of hosts and users are looked up in files and by DNS, whatever an
/// image's `/etc/nsswitch.conf` says. To be called when the program starts.
pub fn forbid_name_modules() {
    sys::forbid_name_modules();
}

/// A way to execute commands that was tried and found to work.
#[derive(Debug)]
pub struct Sandbox {
    isolation: Isolation,
    reason: String,
    helpers: Helpers,
    directory: Directory,
    resolv_conf: String,
    /// Without namespaces: what must stay where it is in `/` while a command runs.
    kept: Kept,
}

impl Sandbox {
    /// The isolation that was chosen.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Why, in words for the user.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Makes the file system of `layers`, lowest first. Layers that are unpacked already are not opened.
    pub fn rootfs(&self, layers: Vec<LayerSource>, cancel: &Cancel) -> Result<Rootfs, SandboxError> {
        Rootfs::new(self, layers, cancel)
    }
}
