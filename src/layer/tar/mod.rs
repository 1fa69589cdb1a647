//! Tar streams: reading hostile ones, writing deterministic ones.
//!
//! ```text
//! bytes ─► header blocks ─► long names and PAX records applied ─► paths normalised ─► Entry + contents
//! ```
//!
//! The formats understood are ustar, PAX (POSIX.1-2001) and GNU; written is ustar, with PAX records where ustar
//! cannot say it. The `tar` crate lends the layout of the header block and nothing else.

mod error;
mod header;
mod member;
mod number;
mod path;
mod pax;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{ActualSize, PathProblem, TarError};
pub(super) use path::check_attribute;
pub use path::{MAX_PATH, normalise};
pub use reader::{Contents, TarLimits, TarReader};
pub use writer::TarWriter;

/// Length of a header, and what contents are padded to.
const BLOCK: usize = 512;

/// Marks the removal of a path of a lower layer. See the OCI image specification, `layer.md`.
const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Begins the names aufs kept for itself, which layers of old may hold and which mean nothing.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Marks that nothing of lower layers inside the directory remains.
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
