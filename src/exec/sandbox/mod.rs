//! Sandboxes: where a RUN executes without seeing the builder, and what it changed.
//!
//! The builder holds credentials and many threads, so it enters no namespace itself. It re-executes its own binary as
//! a single-threaded *helper* ([`helper_main`]) that enters a user namespace and does one thing there: unpack a layer,
//! execute a command, write down what changed, or remove a directory.
//!
//! ```text
//! builder                                   helper, in a new user namespace
//!   spawn ─────────── fd 0: a socket ─────►   unshare(NEWUSER)
//!   write /proc/PID/{uid,gid}_map  ◄────────  "unshared"
//!   the order  ────────────────────────────►  becomes root there, does it
//!   tar in or out, a command's output ◄ fd 1, 2
//!   the answer  ◄───────────────────────────  and exits
//! ```
//!
//! For a command there are two more processes: the helper keeps to a mount namespace in which the rootfs is bare; its
//! child, the first process of a PID namespace, mounts the rest, pivots, and forks the command; when that has ended,
//! so does the child, and the kernel kills whatever the command has left behind.

mod directory;
mod error;
mod files;
mod idmap;
mod inside;
mod isolation;
mod process;
mod rootfs;
mod spec;
mod stream;
mod sys;
mod unpack;
mod wire;

use std::path::Path;

pub use crate::rootfs::unpack::Warning;
use directory::Directory;
pub use error::{Refusal, SandboxError};
pub use files::Files;
pub use inside::{helper_main, is_helper};
pub use isolation::{Isolation, IsolationChoice, ParseIsolationError};
use process::Helpers;
pub use rootfs::{Committed, Rootfs};
pub use spec::{Access, Exit, InlineFile, Mount, MountKind, Network, OutputStream, RunSpec};
pub use unpack::{LayerSource, OpenLayer};
use wire::Operation;

use crate::cancel::Cancel;

/// A way to execute commands that was tried and found to work.
#[derive(Debug)]
pub struct Sandbox {
    isolation: Isolation,
    reason: String,
    helpers: Helpers,
    directory: Directory,
    resolv_conf: String,
}

impl Sandbox {
    /// Finds out, by trying in child processes (some milliseconds), what this machine permits, and takes the best
    /// of it or the one asked for. Unpacked layers will live below `store`; `helper` is the program to re-execute,
    /// usually `/proc/self/exe`: it must call [`helper_main`] when [`is_helper`] says so.
    ///
    /// Also removes what earlier builds that were killed have left below `store`.
    pub fn choose(choice: IsolationChoice, store: &Path, helper: &Path) -> Result<Self, SandboxError> {
        let map = Helpers::find_map(helper)?;
        let directory = Directory::open(store, map)?;
        let helpers = Helpers { program: helper.to_owned(), map, directory: directory.path().to_owned() };
        let overlay = choice != IsolationChoice::Only(Isolation::Userns);
        let build = directory.begin()?;
        let probed = helpers.perform(Operation::Probe { scratch: build.join(""), overlay });
        build.end(&helpers)?;
        directory.sweep(&helpers)?;
        let (isolation, reason) = match (probed, choice) {
            (Ok(_), IsolationChoice::Only(isolation)) => (isolation, "as asked for".to_owned()),
            (Ok(_), IsolationChoice::Auto) => {
                (Isolation::Overlay, "overlays can be mounted in the store".to_owned())
            }
            (Err(SandboxError::Refused { refusal: Refusal::Overlay, refused }), IsolationChoice::Auto) => {
                (Isolation::Userns, refused)
            }
            (Err(error), _) => return Err(error),
        };
        let reason = format!("{reason}; user namespace with {}", map.description());
        // Without one there is nothing that names could be asked of.
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Ok(Self { isolation, reason, helpers, directory, resolv_conf })
    }

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
