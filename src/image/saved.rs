//! Images that were written to disk, read back to be pushed as they are: OCI layouts, and what `docker save` writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use tempfile::{NamedTempFile, TempDir};

use super::config::MAX_CONFIG;
use super::manifest::MAX_MANIFEST;
use super::{Descriptor, ImageFormat, Layout, LayoutError, Manifest, ManifestError, ManifestOrIndex};
use crate::layer::{Compression, Digest, Encoding, EntryKind, Hasher, LayerWriter, TarError, TarReader};

/// How many members an archive may have; images have a few hundred.
const MAX_MEMBERS: usize = 10_000;
/// How many bytes tell the compression of a blob.
const MAGIC: usize = 10;

/// An image that is all there.
#[derive(Debug)]
pub struct SavedImage {
    /// The manifest or index that names it, as bytes.
    pub root: (Descriptor, Vec<u8>),
    /// The manifests that an index names.
    pub manifests: Vec<(Descriptor, Vec<u8>)>,
    /// Configs and layers, and the files they are in.
    pub blobs: Vec<(Descriptor, PathBuf)>,
    /// Holds files that were unpacked.
    scratch: Option<TempDir>,
}

/// Why an image cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum SavedImageError {
    /// A layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its documents make no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is no archive.
    #[error("`{}` is neither a tar archive nor the directory of an OCI image layout", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TarError,
    },
    /// It is an archive of something else.
    #[error("`{}` is not what `docker save` writes: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
}

impl SavedImage {
    /// Reads the one image at `path`: a directory with an OCI layout, or an archive of `docker save`. What has to be
    /// unpacked goes to `scratch`. Blocks.
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, SavedImageError> {
        if path.is_dir() { Self::of_layout(path) } else { Self::of_archive(path, scratch) }
    }

    fn of_layout(path: &Path) -> Result<Self, SavedImageError> {
        let layout = Layout::open(path)?;
        let root = layout.resolve(None)?;
        let bytes = layout.read_blob(&root, MAX_MANIFEST as u64)?;
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        let mut add = |manifest: &Manifest| {
            let parts = manifest.layers.iter().chain([&manifest.config]);
            blobs.extend(parts.map(|part| (part.clone(), layout.blob_path(&part.digest))));
        };
        match ManifestOrIndex::parse(&bytes, Some(&root.media_type))? {
            ManifestOrIndex::Manifest(manifest) => add(&manifest),
            ManifestOrIndex::Index(index) => {
                for entry in index.manifests {
                    let bytes = layout.read_blob(&entry.descriptor, MAX_MANIFEST as u64)?;
                    add(&Manifest::parse(&bytes)?);
                    manifests.push((entry.descriptor, bytes));
                }
            }
        }
        Ok(Self { root: (root, bytes), manifests, blobs, scratch: None })
    }

    fn of_archive(path: &Path, scratch: &Path) -> Result<Self, SavedImageError> {
        let wrong =
            |reason: &str| SavedImageError::Archive { path: path.to_owned(), reason: reason.to_owned() };
        let read = |source| SavedImageError::Read { path: path.to_owned(), source };
        let directory = TempDir::new_in(scratch).map_err(read)?;
        let members = unpack(path, directory.path())?;
        let member = |name: &str| {
            members.get(Path::new(name)).ok_or_else(|| wrong(&format!("there is no `{name}` in it")))
        };
        let list = read_small(member("manifest.json")?, MAX_MANIFEST).map_err(read)?;
        let list: Vec<Listed> =
            serde_json::from_slice(&list).map_err(|_| wrong("its manifest.json is not the expected JSON"))?;
        let [image] = list.as_slice() else {
            return Err(wrong(&format!("it holds {} images, and one is wanted", list.len())));
        };
        let config_path = member(&image.config)?;
        let config = read_small(config_path, MAX_CONFIG).map_err(read)?;
        let format = ImageFormat::Docker;
        let config = Descriptor::new(format.config_type(), Digest::of(&config), config.len() as u64);
        let mut blobs = vec![(config.clone(), config_path.clone())];
        let mut layers = Vec::new();
        for name in &image.layers {
            let (descriptor, file) = layer(member(name)?, directory.path(), format).map_err(read)?;
            layers.push(descriptor.clone());
            blobs.push((descriptor, file));
        }
        let manifest = Manifest::build(format, config, layers, std::collections::BTreeMap::new())?;
        let bytes = manifest.to_bytes()?;
        let root = manifest.descriptor(&bytes);
        Ok(Self { root: (root, bytes), manifests: Vec::new(), blobs, scratch: Some(directory) })
    }

    /// Where its unpacked files are, while there are any.
    pub fn scratch(&self) -> Option<&Path> {
        self.scratch.as_ref().map(TempDir::path)
    }
}

/// Writes the regular members of the archive to files of `directory` with names of our own, by their paths. Links to
/// members, as old archives have for layers that occur twice, are followed.
fn unpack(path: &Path, directory: &Path) -> Result<HashMap<PathBuf, PathBuf>, SavedImageError> {
    let tar = |source| SavedImageError::Tar { path: path.to_owned(), source };
    let read = |source| SavedImageError::Read { path: path.to_owned(), source };
    let mut archive = TarReader::of_archive(File::open(path).map_err(read)?);
    let (mut members, mut links) = (HashMap::new(), Vec::new());
    while let Some((entry, mut contents)) = archive.next_entry().map_err(tar)? {
        if members.len() + links.len() == MAX_MEMBERS {
            let reason = format!("it has more than {MAX_MEMBERS} members");
            return Err(SavedImageError::Archive { path: path.to_owned(), reason });
        }
        match entry.kind {
            EntryKind::File { .. } => {
                let file = directory.join(members.len().to_string());
                let mut output = File::create_new(&file).map_err(read)?;
                io::copy(&mut contents, &mut output).map_err(read)?;
                members.insert(entry.path, file);
            }
            EntryKind::Symlink(target) => {
                let beside = entry.path.parent().unwrap_or(Path::new("")).join(target);
                links.push((entry.path, beside));
            }
            EntryKind::Hardlink(target) => links.push((entry.path, target)),
            _ => {}
        }
    }
    for (link, target) in links {
        let target = within(&target).ok_or_else(|| SavedImageError::Archive {
            path: path.to_owned(),
            reason: format!("`{}` links out of it", link.display()),
        })?;
        if let Some(file) = members.get(&target).cloned() {
            members.insert(link, file);
        }
    }
    Ok(members)
}

/// A path inside the archive without `.` and `..`; `None` if it leads out of it.
fn within(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

fn read_small(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("a document in it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// A layer as a blob: as it is if it is compressed, else compressed as layers usually are.
fn layer(path: &Path, directory: &Path, format: ImageFormat) -> io::Result<(Descriptor, PathBuf)> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    file.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let compression = Compression::detect(&magic);
    let media_type = |compression| format.layer_type(compression).map_err(io::Error::other);
    if compression != Compression::Uncompressed {
        let mut hasher = Hasher::new();
        let size = io::copy(&mut file, &mut HashOnly(&mut hasher))?;
        let descriptor = Descriptor::new(media_type(compression)?, hasher.finish(), size);
        return Ok((descriptor, path.to_owned()));
    }
    let output = NamedTempFile::new_in(directory)?;
    let mut writer = LayerWriter::new(output, Encoding::default())?;
    io::copy(&mut file, &mut writer)?;
    let (finished, output) = writer.finish()?;
    let (_, path) = output.keep().map_err(|error| error.error)?;
    Ok((Descriptor::new(media_type(Compression::Gzip)?, finished.digest, finished.size), path))
}

struct HashOnly<'a>(&'a mut Hasher);

impl io::Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
