//! Git repositories, fetched without a `git` program.
//!
//! ```text
//! GitSource ─► connect (http(s), git://, ssh) ─► list references ─► a commit
//!                                            └─► fetch, as shallow as may be ─► check out ─► submodules, the same way
//! ```
//!
//! Repositories are hostile: their paths are checked where they are checked out, links are written and never followed,
//! no configuration, hook or filter program of anybody is run.

mod checkout;
mod error;
mod names;
mod remote;
mod transport;

pub use error::GitError;
pub(crate) use remote::{Asker, Repositories, Resolved};
pub(crate) use transport::Received;
pub use transport::SshError;
