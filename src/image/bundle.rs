//! An image together with all its blobs, ready to be written somewhere.

use std::path::PathBuf;

use super::{Descriptor, Index, Manifest, ManifestError, Platform};
use crate::layer::Digest;

/// A blob and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Where it is.
    pub source: BlobSource,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobSource {
    /// Here: configs and manifests.
    Bytes(Vec<u8>),
    /// In a file that will not change: layers in the store.
    File(PathBuf),
}

/// One image, or an index over several, with everything it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    root: Descriptor,
    platform: Option<Platform>,
    manifest: Option<Manifest>,
    blobs: Vec<Blob>,
}

impl Bundle {
    /// A single image. `config` is what the manifest's config descriptor describes; `locate` tells in which file a
    /// layer is.
    pub fn of_image(
        manifest: Manifest,
        config: Vec<u8>,
        platform: Option<Platform>,
        mut locate: impl FnMut(&Digest) -> PathBuf,
    ) -> Result<Self, ManifestError> {
        let bytes = manifest.to_bytes()?;
        let root = manifest.descriptor(&bytes);
        let mut bundle = Self { root: root.clone(), platform, manifest: None, blobs: Vec::new() };
        for layer in &manifest.layers {
            bundle.add(Blob { source: BlobSource::File(locate(&layer.digest)), descriptor: layer.clone() });
        }
        bundle.add(Blob { descriptor: manifest.config.clone(), source: BlobSource::Bytes(config) });
        bundle.add(Blob { descriptor: root, source: BlobSource::Bytes(bytes) });
        bundle.manifest = Some(manifest);
        Ok(bundle)
    }

    /// An index over `images`, which it should list.
    pub fn of_index(index: &Index, images: Vec<Self>) -> Result<Self, ManifestError> {
        let bytes = index.to_bytes()?;
        let root = index.descriptor(&bytes);
        let mut bundle = Self { root: root.clone(), platform: None, manifest: None, blobs: Vec::new() };
        for blob in images.into_iter().flat_map(|image| image.blobs) {
            bundle.add(blob);
        }
        bundle.add(Blob { descriptor: root, source: BlobSource::Bytes(bytes) });
        Ok(bundle)
    }

    /// What was read somewhere, to be written as it is. `blobs` has the root too, and each blob after those it refers
    /// to; `manifest` and `platform` are those of a single image.
    pub fn verbatim(
        root: Descriptor,
        manifest: Option<Manifest>,
        platform: Option<Platform>,
        blobs: impl IntoIterator<Item = Blob>,
    ) -> Self {
        let mut bundle = Self { root, platform, manifest, blobs: Vec::new() };
        for blob in blobs {
            bundle.add(blob);
        }
        bundle
    }

    /// Each blob once: images share layers.
    fn add(&mut self, blob: Blob) {
        if !self.blobs.iter().any(|known| known.descriptor.digest == blob.descriptor.digest) {
            self.blobs.push(blob);
        }
    }

    /// The manifest or index that a name for this image stands for.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// What a single image runs on.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// The manifest of a single image.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Everything, each blob after those it refers to.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }
}
