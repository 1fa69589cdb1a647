//! OCI image layouts: images in a directory.
//!
//! ```text
//! oci-layout                  {"imageLayoutVersion":"1.0.0"}
//! index.json                  names ─► manifests
//! blobs/sha256/<hex>          manifests, configs, layers
//! ```
//!
//! See the OCI image specification, `image-layout.md`.

mod error;
mod index;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

pub use error::LayoutError;
pub(super) use index::{LayoutName, index_document};

use crate::layer::Digest;

/// The annotation that holds the tag of an image.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which containerd, BuildKit and Docker keep the full name of an image.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// Name and contents of the file that marks a layout.
pub(super) const MARKER: (&str, &str) = ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);

/// Name of the file that lists the images.
pub(super) const INDEX: &str = "index.json";

/// An image layout in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn index_path(&self) -> PathBuf {
        self.root.join(INDEX)
    }
}
