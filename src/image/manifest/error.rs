//! What can be wrong with manifests and indexes.

use std::fmt;

use crate::image::Platform;
use crate::layer::LayerTypeError;

/// Why a manifest or index cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than any honest one.
    #[error("the manifest has {size} bytes: more than {} are not accepted", super::MAX_MANIFEST)]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// No JSON, or not of the form of a manifest.
    #[error("the manifest is malformed")]
    Malformed(#[source] serde_json::Error),
    /// Docker's first format.
    #[error(
        "the image is in Docker's schema 1 format, which was given up in 2017: push it again with a current tool"
    )]
    Schema1,
    /// A document of an unknown version.
    #[error("manifests of schema version {version} are not known")]
    Version {
        /// What the document says.
        version: u64,
    },
    /// The document has the marks of a manifest and of an index, or says something else than what was announced.
    #[error("the manifest is ambiguous: it says to be `{document}` but {evidence}")]
    Ambiguous {
        /// The media type in the document; empty when it has none.
        document: String,
        /// What speaks against it.
        evidence: String,
    },
    /// The document is of another type than what is needed.
    #[error("`{found}` is not {wanted}")]
    Type {
        /// The media type found.
        found: String,
        /// What was needed.
        wanted: &'static str,
    },
    /// More layers or images than accepted.
    #[error("the manifest lists {count} items: more than {} are not accepted", super::MAX_ITEMS)]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A layer whose type cannot be used.
    #[error("a layer of the image cannot be used")]
    Layer(#[from] LayerTypeError),
    /// A zstd layer in Docker's format.
    #[error("Docker's image format knows no zstd layers: choose the OCI format or gzip")]
    ZstdInDocker,
    /// Annotations in Docker's format.
    #[error("Docker's image format knows no annotations: choose the OCI format")]
    Annotations,
    /// It cannot be written as JSON.
    #[error("the manifest cannot be written")]
    Write(#[source] serde_json::Error),
}

/// An index has no image for a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no image for {wanted}: there is {}", List(.available))]
pub struct NoSuchPlatform {
    /// What was asked for.
    pub wanted: Platform,
    /// What there is.
    pub available: Vec<Platform>,
}

struct List<'a>(&'a [Platform]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none with a platform");
        }
        for (index, platform) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{platform}")?;
        }
        Ok(())
    }
}
