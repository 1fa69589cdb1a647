//! Reading images from a layout. What is read may be hostile: every blob is checked against its digest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::index::{find, list};
use super::{Layout, LayoutError, MARKER};
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Descriptor, Index, Manifest, ManifestOrIndex, MediaType, Platform};
use crate::layer::Verifying;

/// How many indexes may lie between a name and an image.
const MAX_DEPTH: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a layout that is there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let root = root.into();
        let bytes = match read_document(&root.join(MARKER.0)) {
            Err(LayoutError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        match serde_json::from_slice::<Marker>(&bytes) {
            Ok(marker) if marker.image_layout_version.starts_with("1.") => Ok(Self { root }),
            _ => Err(LayoutError::NotALayout { path: root }),
        }
    }

    /// The list of images.
    pub fn index(&self) -> Result<Index, LayoutError> {
        let path = self.index_path();
        let bytes = read_document(&path)?;
        let index = ManifestOrIndex::parse(&bytes, Some(&MediaType::ImageIndex));
        match index.and_then(ManifestOrIndex::into_index) {
            Ok(index) => Ok(index),
            Err(source) => Err(LayoutError::Manifest { path, source }),
        }
    }

    /// What a name stands for: a tag, or a full image name. Without a name: the only image there is, under however
    /// many names.
    pub fn resolve(&self, name: Option<&str>) -> Result<Descriptor, LayoutError> {
        let index = self.index()?;
        let path = || self.root.clone();
        let available = || list(&index);
        let entry = match (name, index.manifests.as_slice()) {
            (Some(name), _) => find(&index, name).ok_or_else(|| LayoutError::NoSuchImage {
                path: path(),
                name: name.to_owned(),
                available: available(),
            })?,
            (None, [first, rest @ ..])
                if rest.iter().all(|other| other.descriptor.digest == first.descriptor.digest) =>
            {
                first
            }
            (None, several) => {
                let count = several.len();
                return Err(LayoutError::NotSingle { path: path(), count, available: available() });
            }
        };
        Ok(entry.descriptor.clone())
    }

    /// The manifest for a platform behind a descriptor from [`Layout::resolve`], through indexes if need be, and
    /// what describes it.
    pub fn image(
        &self,
        descriptor: &Descriptor,
        platform: &Platform,
    ) -> Result<(Descriptor, Manifest), LayoutError> {
        let mut descriptor = descriptor.clone();
        for _ in 0..=MAX_DEPTH {
            let path = self.blob_path(&descriptor.digest);
            let bytes = self.read_blob(&descriptor, MAX_MANIFEST as u64)?;
            let document = ManifestOrIndex::parse(&bytes, Some(&descriptor.media_type));
            match document.map_err(|source| LayoutError::Manifest { path, source })? {
                ManifestOrIndex::Manifest(manifest) => return Ok((descriptor, manifest)),
                ManifestOrIndex::Index(index) => {
                    let path = self.root.clone();
                    let chosen = index.select(platform).map_err(Box::new);
                    descriptor = chosen.map_err(|source| LayoutError::Platform { path, source })?.clone();
                }
            }
        }
        Err(LayoutError::TooDeep { digest: descriptor.digest })
    }

    /// Opens a blob. Reading fails at its end when it is not what the descriptor says.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<Verifying<File>, LayoutError> {
        let path = self.blob_path(&descriptor.digest);
        let file = open_regular(&path)?;
        Ok(Verifying::new(file, descriptor.digest, descriptor.size))
    }

    /// Reads a whole blob of at most `limit` bytes: a manifest or config.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let path = self.blob_path(&descriptor.digest);
        if descriptor.size > limit {
            return Err(LayoutError::TooLarge { path, size: descriptor.size, limit });
        }
        let mut bytes = Vec::new();
        match self.open_blob(descriptor)?.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(LayoutError::Read { path, source }),
        }
    }
}

/// Opens what is a regular file, so that a pipe in a hostile layout cannot make us wait.
fn open_regular(path: &Path) -> Result<File, LayoutError> {
    let failed = |source| LayoutError::Read { path: path.to_owned(), source };
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    File::open(path).map_err(failed)
}

/// Reads a document at the top of a layout.
pub(super) fn read_document(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let limit = MAX_MANIFEST as u64;
    let mut bytes = Vec::new();
    let read = open_regular(path)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| LayoutError::Read { path: path.to_owned(), source })?;
    match bytes.len() as u64 {
        size if size > limit => Err(LayoutError::TooLarge { path: path.to_owned(), size, limit }),
        _ => Ok(bytes),
    }
}
