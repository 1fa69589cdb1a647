//! Layers: tar streams with a digest before and after compression.
//!
//! ```text
//! entries + contents ─► tar ─► SHA-256 (diff id) ─► block-parallel gzip ─► SHA-256 (digest) ─► blob
//! ```

mod ahead;
mod decompress;
mod digest;
mod entry;
mod gzip;
mod index;
pub mod tar;
mod verify;
mod writer;

pub use ahead::Ahead;
pub use decompress::{Compression, LayerTypeError, decompress, decompress_ahead};
pub use digest::{DiffId, Digest, Hasher, Hashing, ParseDigestError};
pub use entry::{Device, Entry, EntryKind, Metadata};
pub use gzip::GzipWriter;
pub use index::{FileDigests, IndexError, LayerIndex};
pub use tar::{TarError, TarReader, TarWriter};
pub use verify::{Damage, Damaged, Verifying};
pub use writer::{Encoding, FinishedLayer, LayerWriter};
