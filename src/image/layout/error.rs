//! What can be wrong with a layout.

use std::io;
use std::path::PathBuf;

use crate::image::{ManifestError, NoSuchPlatform};
use crate::layer::Digest;

/// Why an image layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The directory has no `oci-layout` file of a known version.
    #[error("`{path}` is not an OCI image layout: its `oci-layout` file is missing or of an unknown version")]
    NotALayout {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read, or is not what its name says.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said, or [`Damaged`](crate::layer::Damaged).
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A document is longer than accepted.
    #[error("`{path}` has {size} bytes: more than {limit} are not accepted")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// A manifest or index cannot be understood.
    #[error("`{path}` cannot be used")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// No image has the name.
    #[error("there is no image `{name}` in `{path}`: there is {available}")]
    NoSuchImage {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        available: String,
    },
    /// No name was given, and there is not exactly one image.
    #[error("`{path}` holds {count} images: say which one, there is {available}")]
    NotSingle {
        /// The directory.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// The names there are.
        available: String,
    },
    /// No image for the platform.
    #[error("`{path}` has no suitable image")]
    Platform {
        /// The directory.
        path: PathBuf,
        /// What was asked for and what there is.
        #[source]
        source: Box<NoSuchPlatform>,
    },
    /// Indexes that list indexes, deeper than any honest ones.
    #[error("the index {digest} is nested too deeply")]
    TooDeep {
        /// The innermost index that was looked at.
        digest: Digest,
    },
}
