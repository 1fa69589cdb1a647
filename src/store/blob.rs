//! Blobs in the store.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Store, StoreError};
use crate::image::Descriptor;
use crate::layer::{Digest, Hashing};

impl Store {
    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is here, with its full length.
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        // The length catches what a power cut may leave of a file that was renamed before its data was written.
        std::fs::metadata(self.blob_path(descriptor.digest)).is_ok_and(|found| found.len() == descriptor.size)
    }

    /// Opens a blob.
    pub fn open_blob(&self, digest: Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(StoreError::io("open", path))
    }

    /// Reads a small blob, such as a manifest or a config, and checks its digest. `None` if it is not here.
    pub fn read_blob(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::Damaged { path, reason: format!("it is longer than {limit} bytes") });
        }
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(StoreError::Damaged { path, reason: format!("its digest is {actual}") });
        }
        Ok(Some(bytes))
    }

    /// Keeps `bytes` as a blob.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(digest);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(digest);
        }
        self.write_atomically(&path, bytes)?;
        Ok(digest)
    }

    /// Begins a blob whose digest is not known yet.
    pub fn begin_blob(&self) -> Result<BlobWriter, StoreError> {
        let file = NamedTempFile::new_in(self.scratch())
            .map_err(StoreError::io("create a file in", self.scratch()))?;
        Ok(BlobWriter { file: Hashing::new(file), directory: self.root.join("blobs/sha256") })
    }
}

/// A blob being written; it is in the store once [`BlobWriter::finish`] says so.
#[derive(Debug)]
#[must_use = "a blob that is not finished is thrown away"]
pub struct BlobWriter {
    file: Hashing<NamedTempFile>,
    directory: PathBuf,
}

impl BlobWriter {
    /// Keeps the blob under the digest of what was written.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let (file, digest, length) = self.file.finish();
        persist(file, &self.directory.join(digest.hex()))?;
        Ok((digest, length))
    }
}

/// Gives a finished temporary file its name in the store.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    // A sandbox with shifted ids reads blobs as a stranger.
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
        .map_err(StoreError::io("set the mode of", path))?;
    file.persist(path).map_err(|error| StoreError::io("write", path)(error.error))?;
    Ok(())
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MediaType;

    #[test]
    fn keeps_what_is_finished_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut abandoned = store.begin_blob().unwrap();
        abandoned.write_all(b"abandoned").unwrap();
        drop(abandoned);
        let mut writer = store.begin_blob().unwrap();
        writer.write_all(b"hello").unwrap();
        let (digest, length) = writer.finish().unwrap();
        assert_eq!((digest, length), (Digest::of("hello"), 5));
        assert_eq!(store.read_blob(digest, 5).unwrap().unwrap(), b"hello");
        assert_eq!(std::fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 1);
    }

    #[test]
    fn notices_damage() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = store.put_blob(b"hello").unwrap();
        let descriptor = Descriptor::new(MediaType::ImageLayer, digest, 5);
        assert!(store.has_blob(&descriptor));
        assert!(matches!(store.read_blob(digest, 4), Err(StoreError::Damaged { .. })));
        std::fs::write(store.blob_path(digest), "hell").unwrap();
        assert!(!store.has_blob(&descriptor));
        assert!(matches!(store.read_blob(digest, 9), Err(StoreError::Damaged { .. })));
        assert_eq!(store.read_blob(Digest::of("other"), 9).unwrap(), None);
    }
}
