//! Base images that Kaniko's warmer has kept in its cache directory.
//!
//! ```text
//! <digest>  <digest>.json      Google's: an archive as `docker save` makes it, with the compressed layers as
//!                              `<hex>.tar.gz` and the config as `<digest>`; and the manifest
//! <digest>/                    the fork's: an OCI image layout
//! ```
//!
//! `<digest>` is that of the manifest for one platform, as in `sha256:0123…`. Nothing is believed: what is taken over has
//! the digest by which it is asked for.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::image::config::MAX_CONFIG;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Descriptor, Manifest};
use crate::layer::{Digest, EntryKind, Hashing, TarError, TarReader};
use crate::store::{Store, StoreError};

/// A warmer's directory.
#[derive(Debug, Clone)]
pub(super) struct WarmedImages {
    directory: PathBuf,
}

/// Why a kept image is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum WarmedError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no archive.
    #[error("cannot read `{}`", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TarError,
    },
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WarmedImages {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where an image of this digest would be.
    fn place(&self, image: Digest) -> PathBuf {
        self.directory.join(image.to_string())
    }

    /// The manifest of this digest, if it is kept here. Its config is in the store then, if that is kept too. Blocks.
    pub(super) fn manifest(&self, image: Digest, store: &Store) -> Result<Option<Manifest>, WarmedError> {
        let place = self.place(image);
        let path = if place.is_dir() { blob(&place, image) } else { place.with_added_extension("json") };
        let mut bytes = Vec::new();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => {
                let file = file.map_err(failed(&path))?;
                file.take(MAX_MANIFEST as u64 + 1).read_to_end(&mut bytes).map_err(failed(&path))?;
            }
        }
        // What is longer has another digest, too.
        let manifest = Manifest::parse(&bytes).ok().filter(|_| Digest::of(&bytes) == image);
        if let Some(manifest) = &manifest {
            store.put_blob(&bytes)?;
            if manifest.config.size <= MAX_CONFIG as u64 {
                self.take_over(image, std::slice::from_ref(&manifest.config), store)?;
            }
        }
        Ok(manifest)
    }

    /// Takes these blobs of an image into the store, as far as the store lacks them and they are kept here. Blocks.
    pub(super) fn take_over(
        &self,
        image: Digest,
        blobs: &[Descriptor],
        store: &Store,
    ) -> Result<(), WarmedError> {
        let place = self.place(image);
        let is_layout = place.is_dir();
        if !is_layout && !place.is_file() {
            return Ok(());
        }
        let mut lacking = Vec::new();
        for descriptor in blobs {
            if !store.use_blob(descriptor)? {
                lacking.push(descriptor);
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        if !is_layout {
            return take_from_archive(&place, &lacking, store);
        }
        for descriptor in lacking {
            let path = blob(&place, descriptor.digest);
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => take(file.map_err(failed(&path))?, descriptor, store, &path)?,
            }
        }
        Ok(())
    }
}

/// A blob of a layout.
fn blob(layout: &Path, digest: Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn take_from_archive(path: &Path, lacking: &[&Descriptor], store: &Store) -> Result<(), WarmedError> {
    let tar = |source| WarmedError::Tar { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed(path))?;
    let mut archive = TarReader::of_archive(BufReader::with_capacity(1 << 18, file));
    while let Some((entry, contents)) = archive.next_entry().map_err(tar)? {
        let EntryKind::File { size, .. } = entry.kind else { continue };
        let wanted = lacking.iter().find(|descriptor| {
            let (hex, digest) = (descriptor.digest.hex(), descriptor.digest.to_string());
            let names = [format!("{hex}.tar.gz"), digest];
            size == descriptor.size && names.iter().any(|name| entry.path == Path::new(name))
        });
        if let Some(descriptor) = wanted {
            take(contents, descriptor, store, path)?;
        }
    }
    Ok(())
}

/// Takes a blob over, unless it turns out to be another one.
fn take(contents: impl Read, descriptor: &Descriptor, store: &Store, path: &Path) -> Result<(), WarmedError> {
    let incoming = store.receive_blob(descriptor)?;
    let mut contents = Hashing::new(contents.take(descriptor.size));
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = contents.read(&mut buffer).map_err(failed(path))?;
        if count == 0 {
            break;
        }
        incoming.append(&buffer[..count])?;
    }
    if contents.finish().1 == descriptor.digest {
        incoming.finish()?;
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WarmedError {
    move |source| WarmedError::Read { path: path.to_owned(), source }
}
