//! Manifests and indexes, in the OCI format and in Docker's schema 2, which differ in media types only.
//!
//! See the OCI image specification, `manifest.md` and `image-index.md`. The `Platform` of oci-spec 0.10 loses
//! `os.version`, so the documents are read and written through types of our own.

mod error;
mod format;
mod select;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use oci_spec::image::MediaType;

pub use error::{ManifestError, NoSuchPlatform};
pub use format::ImageFormat;

use super::{Descriptor, Platform, canonical};
use crate::layer::Digest;

/// Longest manifest or index that is accepted, in bytes: what registries accept.
pub const MAX_MANIFEST: usize = 4 << 20;

/// The most layers of an image, and the most images of an index. No runtime can mount as many.
pub const MAX_ITEMS: usize = 1000;

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The type of this document itself.
    pub media_type: MediaType,
    /// The blob of the image config.
    pub config: Descriptor,
    /// The blobs of the layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form notes.
    pub annotations: BTreeMap<String, String>,
}

/// Images for several platforms under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The type of this document itself.
    pub media_type: MediaType,
    /// The images, in order.
    pub manifests: Vec<IndexEntry>,
    /// Free-form notes.
    pub annotations: BTreeMap<String, String>,
}

/// One image of an [`Index`], or something that belongs to one, like an attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or a further index.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platform: Option<Platform>,
}

/// What a name in a registry or layout stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestOrIndex {
    /// A single image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl ManifestOrIndex {
    /// Reads a document whose type is not known for sure. `announced` is what the registry or a descriptor says it
    /// is; a document that says otherwise itself is refused, and so is one that could be taken for both.
    pub fn parse(bytes: &[u8], announced: Option<&MediaType>) -> Result<Self, ManifestError> {
        wire::parse(bytes, announced)
    }

    /// The manifest, where nothing else will do.
    pub fn into_manifest(self) -> Result<Manifest, ManifestError> {
        match self {
            Self::Manifest(manifest) => Ok(manifest),
            Self::Index(index) => {
                Err(ManifestError::Type { found: index.media_type.to_string(), wanted: "an image manifest" })
            }
        }
    }

    /// The index, where nothing else will do.
    pub fn into_index(self) -> Result<Index, ManifestError> {
        match self {
            Self::Index(index) => Ok(index),
            Self::Manifest(manifest) => {
                Err(ManifestError::Type { found: manifest.media_type.to_string(), wanted: "an image index" })
            }
        }
    }
}

impl Manifest {
    /// A manifest in the given format. The media types of config and layers are brought to it.
    pub fn build(
        format: ImageFormat,
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, ManifestError> {
        if layers.len() > MAX_ITEMS {
            return Err(ManifestError::TooMany { count: layers.len() });
        }
        if format == ImageFormat::Docker && !annotations.is_empty() {
            return Err(ManifestError::Annotations);
        }
        let config = Descriptor { media_type: format.config_type(), ..config };
        let layers = layers.into_iter().map(|layer| format.convert_layer(layer)).collect::<Result<_, _>>()?;
        Ok(Self { media_type: format.manifest_type(), config, layers, annotations })
    }

    /// Whether it is of a container image: other artifacts have configs of other types.
    pub fn is_image(&self) -> bool {
        let mut formats = [ImageFormat::Oci, ImageFormat::Docker].into_iter();
        formats.any(|format| format.config_type() == self.config.media_type)
    }

    /// Reads a manifest, and nothing but a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        ManifestOrIndex::parse(bytes, None)?.into_manifest()
    }

    /// The bytes whose digest names the image: JSON with an indent of two blanks.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        canonical::to_vec_pretty(&wire::WireManifest::of(self)).map_err(ManifestError::Write)
    }

    /// Describes the given bytes, which should be those of [`Manifest::to_bytes`].
    pub fn descriptor(&self, bytes: &[u8]) -> Descriptor {
        Descriptor::new(self.media_type.clone(), Digest::of(bytes), bytes.len() as u64)
    }
}

impl Index {
    /// An index in the given format over manifests that were made in that format.
    pub fn build(format: ImageFormat, manifests: Vec<IndexEntry>) -> Result<Self, ManifestError> {
        if manifests.len() > MAX_ITEMS {
            return Err(ManifestError::TooMany { count: manifests.len() });
        }
        Ok(Self { media_type: format.index_type(), manifests, annotations: BTreeMap::new() })
    }

    /// Reads an index, and nothing but an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        ManifestOrIndex::parse(bytes, None)?.into_index()
    }

    /// The bytes whose digest names the index.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        canonical::to_vec_pretty(&wire::WireIndex::of(self)).map_err(ManifestError::Write)
    }

    /// Describes the given bytes, which should be those of [`Index::to_bytes`].
    pub fn descriptor(&self, bytes: &[u8]) -> Descriptor {
        Descriptor::new(self.media_type.clone(), Digest::of(bytes), bytes.len() as u64)
    }

    /// The image for a platform. See [`Platform`] for the normal form in which platforms are compared; where there
    /// is no exact match, an older variant of the same architecture will do, the newest first, as in containerd.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, NoSuchPlatform> {
        select::select(self, wanted)
    }
}
