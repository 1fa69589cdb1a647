//! Descriptors: a blob's type, digest and size.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::{Deserialize, Serialize};

use crate::layer::{DiffId, Digest, ParseDigestError};

/// What is known of a blob before it is fetched. See the OCI image specification, `descriptor.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Free-form notes, in order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, annotations: BTreeMap::new() }
    }
}

impl TryFrom<&oci_spec::image::Descriptor> for Descriptor {
    type Error = ParseDigestError;

    fn try_from(descriptor: &oci_spec::image::Descriptor) -> Result<Self, Self::Error> {
        Ok(Self {
            media_type: descriptor.media_type().clone(),
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
            annotations: descriptor
                .annotations()
                .iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        })
    }
}

/// A finished layer of an image: what it is uncompressed, and the blob that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The compressed blob.
    pub descriptor: Descriptor,
}
