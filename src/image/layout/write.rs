//! Writing images into a layout.
//!
//! Blobs come first, each by renaming a finished file; `index.json` is replaced last. Whoever reads meanwhile sees
//! the old images or the new ones, and an interrupted write leaves nothing worse than blobs without a name.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::read::read_document;
use super::{Layout, LayoutError, LayoutName, MARKER, index_document};
use crate::image::{Blob, BlobSource, Bundle, ImageRef, ManifestError};

impl Layout {
    /// Opens a layout, or makes an empty one where there is none. A directory with other things in it becomes one.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into() };
        let blobs = layout.root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|source| LayoutError::Write { path: blobs, source })?;
        let marker = layout.root.join(MARKER.0);
        if marker.exists() {
            return Self::open(layout.root);
        }
        layout.replace(&marker, MARKER.1.as_bytes())?;
        Ok(layout)
    }

    /// Writes an image and lists it under `names`, each of which it takes over from the image that had it. Images
    /// under other names stay. Without names, or for a name without a tag, it is listed by its digest only.
    pub fn write(&self, bundle: &Bundle, names: &[ImageRef]) -> Result<(), LayoutError> {
        for blob in bundle.blobs() {
            self.add_blob(blob)?;
        }
        let names: Vec<LayoutName> = names.iter().filter_map(LayoutName::of).collect();
        self.list(bundle, &names)
    }

    /// Puts one blob into the layout, unless it is there.
    pub fn add_blob(&self, blob: &Blob) -> Result<(), LayoutError> {
        let path = self.blob_path(&blob.descriptor.digest);
        if path.metadata().is_ok_and(|metadata| metadata.len() == blob.descriptor.size) {
            return Ok(());
        }
        match &blob.source {
            BlobSource::Bytes(bytes) => self.replace(&path, bytes),
            BlobSource::File(source) => self.import(&path, source),
        }
    }

    /// Hard-links a file into the layout; where that is not possible, as between file systems, copies it, in the
    /// kernel if it can.
    fn import(&self, path: &Path, source: &Path) -> Result<(), LayoutError> {
        let temporary = self.temporary(path)?.into_temp_path();
        let failed = |source| LayoutError::Write { path: path.to_owned(), source };
        fs::remove_file(&temporary).map_err(failed)?;
        if fs::hard_link(source, &temporary).is_err() {
            match fs::copy(source, &temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(LayoutError::Read { path: source.to_owned(), source: error });
                }
                copied => copied.map_err(failed)?,
            };
        }
        temporary.persist(path).map_err(|error| failed(error.error))
    }

    fn list(&self, bundle: &Bundle, names: &[LayoutName]) -> Result<(), LayoutError> {
        let path = self.index_path();
        // Two builds may write to one layout: each must see the other's names. Released when the file is closed.
        let failed = |source| LayoutError::Write { path: self.root.clone(), source };
        let lock = File::open(&self.root).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let unusable = |source| LayoutError::Manifest { path: path.clone(), source };
        let existing = if path.exists() {
            let document = serde_json::from_slice(&read_document(&path)?);
            Some(document.map_err(|source| unusable(ManifestError::Malformed(source)))?)
        } else {
            None
        };
        let document = index_document(existing, bundle, names).map_err(unusable)?;
        self.replace(&path, &document)
    }

    /// Writes a file beside its place and renames it there.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
        let failed = |source| LayoutError::Write { path: path.to_owned(), source };
        let mut file = self.temporary(path)?;
        file.write_all(bytes).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// A temporary file on the file system of the layout, with the usual permissions.
    fn temporary(&self, path: &Path) -> Result<tempfile::NamedTempFile, LayoutError> {
        tempfile::Builder::new()
            .prefix(".incomplete-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(&self.root)
            .map_err(|source| LayoutError::Write { path: path.to_owned(), source })
    }
}
