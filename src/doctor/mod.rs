//! What is wrong here, and what to do about it: `cooper doctor`.
//!
//! ```text
//! isolation (tried) ─┐
//! store (measured)  ─┼─► Finding { level, code, found, advice, files } ─► Report ─► text, JSON, exit code
//! registry (asked)  ─┘        └─ node: what a cluster's nodes need for pulling
//! ```
//!
//! Nothing is changed that a build would not change: the store's directory is made, and an upload session is opened
//! and given up.

mod finding;
mod isolation;
mod node;
mod registry;
mod store;
mod tls;

use std::path::Path;

pub use finding::{Code, Finding, Level, NodeFile, Report};
pub use isolation::readable_credentials;
pub(crate) use registry::unreadable as unreadable_credentials;
pub use registry::{Examined, examine as examine_registry};

/// What can be said about this machine or pod. `helper` is the program that becomes the sandbox's helper.
pub fn examine_here(store: &Path, helper: &Path) -> Vec<Finding> {
    let mut findings = store::examine(store);
    // Without a store nothing can be tried in it.
    if findings.iter().all(|finding| finding.code != Code::StoreUnusable) {
        findings.extend(isolation::examine(store, helper));
    }
    findings
}
