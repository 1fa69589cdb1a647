//! Images in a tar file: as an OCI layout, and as `docker load` wants them.
//!
//! The Docker archive is an OCI layout too, with a `manifest.json` beside the index, as `docker save` writes it
//! since version 25. Entries are sorted, times are 0, so that equal images give equal files.

mod unpack;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use unpack::{UnpackError, unpack};

use super::layout::{INDEX, LayoutName, MARKER, index_document};
use super::{Blob, BlobSource, Bundle, Descriptor, ImageRef, ManifestError, canonical};
use crate::layer::{Entry, Metadata, TarError, TarWriter};

/// Which kind of archive to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An OCI image layout.
    Oci,
    /// What `docker load` reads; also an OCI image layout. Holds a single image.
    Docker,
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// An index over several images was to go into a Docker archive.
    #[error("a Docker archive holds a single image, not one for several platforms: write an OCI archive")]
    SeveralImages,
    /// A manifest or list cannot be written.
    #[error("the image cannot be listed in the archive")]
    Manifest(#[from] ManifestError),
    /// The file of a blob cannot be opened.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tar stream cannot be written.
    #[error("the archive cannot be written")]
    Tar(#[from] TarError),
    /// The file of the archive cannot be made.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Writes an image under `names` as a tar stream. Names without a tag are left out, as no archive can hold them.
pub fn write<W: Write>(
    target: W,
    kind: ArchiveKind,
    bundle: &Bundle,
    names: &[ImageRef],
) -> Result<W, ArchiveError> {
    let names: Vec<LayoutName> = names.iter().filter_map(LayoutName::of).collect();
    let mut tar = TarWriter::new(target);
    for directory in ["blobs", "blobs/sha256"] {
        tar.append(&Entry::directory(directory, Metadata::with_mode(0o755)), io::empty())?;
    }
    let mut blobs: Vec<&Blob> = bundle.blobs().iter().collect();
    blobs.sort_by_key(|blob| blob.descriptor.digest);
    for blob in blobs {
        append_blob(&mut tar, blob)?;
    }
    append_document(&mut tar, INDEX, &index_document(None, bundle, &names)?)?;
    if kind == ArchiveKind::Docker {
        append_document(&mut tar, "manifest.json", &docker_document(bundle, &names)?)?;
    }
    append_document(&mut tar, MARKER.0, MARKER.1.as_bytes())?;
    Ok(tar.finish()?)
}

/// Writes an image to a file, which appears when it is complete.
pub fn save(path: &Path, kind: ArchiveKind, bundle: &Bundle, names: &[ImageRef]) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".incomplete-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(failed)?;
    let writer = write(BufWriter::with_capacity(1 << 18, file), kind, bundle, names)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn append_blob<W: Write>(tar: &mut TarWriter<W>, blob: &Blob) -> Result<(), ArchiveError> {
    let entry = Entry::file(blob_path(&blob.descriptor), Metadata::with_mode(0o444), blob.descriptor.size);
    match &blob.source {
        BlobSource::Bytes(bytes) => tar.append(&entry, bytes.as_slice())?,
        BlobSource::File(path) => {
            let file =
                File::open(path).map_err(|source| ArchiveError::Read { path: path.clone(), source })?;
            tar.append(&entry, file)?;
        }
    }
    Ok(())
}

fn append_document<W: Write>(tar: &mut TarWriter<W>, name: &str, bytes: &[u8]) -> Result<(), TarError> {
    tar.append(&Entry::file(name, Metadata::with_mode(0o444), bytes.len() as u64), bytes)
}

fn blob_path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest.hex())
}

/// An element of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry<'a> {
    config: String,
    repo_tags: Vec<&'a str>,
    layers: Vec<String>,
}

fn docker_document(bundle: &Bundle, names: &[LayoutName]) -> Result<Vec<u8>, ArchiveError> {
    let manifest = bundle.manifest().ok_or(ArchiveError::SeveralImages)?;
    let entry = DockerEntry {
        config: blob_path(&manifest.config),
        repo_tags: names.iter().map(LayoutName::full).collect(),
        layers: manifest.layers.iter().map(blob_path).collect(),
    };
    canonical::to_vec(&[entry]).map_err(|source| ManifestError::Write(source).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageFormat;
    use crate::image::sample::{bundle, run};
    use crate::layer::Digest;

    #[test]
    fn skopeo_accepts_both_kinds() {
        let store = tempfile::tempdir().unwrap();
        let names: Vec<ImageRef> =
            ["app:1.0", "registry:5000/a/b:c"].map(|name| name.parse().unwrap()).to_vec();
        for (format, kind, transport) in [
            (ImageFormat::Oci, ArchiveKind::Oci, "oci-archive"),
            (ImageFormat::Oci, ArchiveKind::Docker, "oci-archive"),
            (ImageFormat::Oci, ArchiveKind::Docker, "docker-archive"),
            (ImageFormat::Docker, ArchiveKind::Docker, "docker-archive"),
        ] {
            let image = bundle(store.path(), format, "linux/amd64", "hello");
            let path = store.path().join("image.tar");
            save(&path, kind, &image, &names).unwrap();
            let name = if transport == "oci-archive" { "1.0" } else { "registry:5000/a/b:c" };
            let source = format!("{transport}:{}:{name}", path.display());
            let copy = store.path().join(format!("{transport}-{format:?}-{kind:?}"));
            run("skopeo", &["copy", &source, &format!("dir:{}", copy.display())]);
            let config = &image.manifest().unwrap().config.digest;
            assert_eq!(Digest::of(std::fs::read(copy.join(config.hex())).unwrap()), *config);
        }
        // Three copies more and the layer file, but nothing incomplete.
        let left = std::fs::read_dir(store.path()).unwrap();
        assert!(
            left.map(|entry| entry.unwrap().file_name()).all(|name| !name.to_string_lossy().starts_with('.'))
        );
    }

    #[test]
    fn writes_the_same_bytes_for_ever() {
        let store = tempfile::tempdir().unwrap();
        let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "hello");
        let names = ["app:1.0".parse().unwrap()];
        let bytes = write(Vec::new(), ArchiveKind::Docker, &image, &names).unwrap();
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "sha256:10837a5ad56a1c26bda17853f4b8c428a3ff3df7391e1de2fee246fb8df9c598"
        );
        let listing: Vec<_> = {
            let mut reader = crate::layer::TarReader::new(bytes.as_slice());
            let mut names = Vec::new();
            while let Some((entry, _)) = reader.next_entry().unwrap() {
                names.push(entry.path.to_string_lossy().into_owned());
            }
            names
        };
        assert_eq!(listing.len(), 8);
        assert!(listing.is_sorted(), "{listing:?}");
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let store = tempfile::tempdir().unwrap();
        let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "hello");
        let layer = image.manifest().unwrap().layers[0].digest;
        std::fs::write(store.path().join(layer.hex()), "changed").unwrap();
        let target = store.path().join("out");
        std::fs::create_dir(&target).unwrap();
        let result = save(&target.join("image.tar"), ArchiveKind::Oci, &image, &[]);
        assert!(matches!(result, Err(ArchiveError::Tar(TarError::SizeChanged { .. }))));
        assert_eq!(std::fs::read_dir(target).unwrap().count(), 0);
    }
}
