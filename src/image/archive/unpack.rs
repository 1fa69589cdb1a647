//! Reading an archive: its image goes into a layout, from where it is read like any other.
//!
//! Newer archives of `docker save` and all OCI archives are a layout in a tar. Older ones have a directory per layer,
//! with the layer uncompressed in it; their images get a new manifest, and compressed layers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::image::config::MAX_CONFIG;
use crate::image::manifest::{MAX_ITEMS, MAX_MANIFEST};
use crate::image::{
    Bundle, ConfigError, Descriptor, ImageConfig, ImageFormat, ImageRef, Layout, LayoutError, Manifest,
    ManifestError, MediaType,
};
use crate::layer::{Digest, Encoding, EntryKind, LayerWriter, TarError, TarReader, decompress};

/// The most members of an archive that are looked at: images have a few hundred blobs at most.
const MAX_MEMBERS: usize = 100_000;

/// How many links may lie between a name and a file.
const MAX_LINKS: usize = 10;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive, or a file that it was unpacked to, cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no tar.
    #[error("`{}` is not a usable archive", path.display())]
    Tar {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: TarError,
    },
    /// There is no image in it.
    #[error("`{}` is no archive of an image: {reason}", path.display())]
    NoImage {
        /// The archive.
        path: PathBuf,
        /// What is missing or odd.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The image's config is none.
    #[error("the config in `{}` cannot be used", path.display())]
    Config {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// The image cannot be described.
    #[error("the image in `{}` cannot be used", path.display())]
    Manifest {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The layout cannot be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// An element of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: PathBuf,
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

/// Unpacks the archive at `path`, compressed or not, into a layout in the empty directory `into`.
pub fn unpack(path: &Path, into: &Path) -> Result<Layout, UnpackError> {
    let members = Members::extract(path, into)?;
    if members.files.contains_key(Path::new("index.json")) {
        return members.into_layout(path, into);
    }
    members.convert(path, into)
}

/// The regular files of an archive, each under a name of our own, so that theirs can do no harm.
struct Members {
    files: HashMap<PathBuf, PathBuf>,
    links: HashMap<PathBuf, PathBuf>,
}

impl Members {
    fn extract(path: &Path, into: &Path) -> Result<Self, UnpackError> {
        let read = |source| UnpackError::Read { path: path.to_owned(), source };
        let tar = |source| UnpackError::Tar { path: path.to_owned(), source };
        let file = BufReader::with_capacity(1 << 17, File::open(path).map_err(read)?);
        let mut reader = TarReader::of_archive(decompress(file).map_err(read)?);
        let mut members = Self { files: HashMap::new(), links: HashMap::new() };
        let directory = into.join("members");
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| UnpackError::Write { path, source }
        };
        std::fs::create_dir_all(&directory).map_err(write(&directory))?;
        let mut count = 0;
        while let Some((entry, mut contents)) = reader.next_entry().map_err(tar)? {
            count += 1;
            if count > MAX_MEMBERS {
                let reason = format!("it has more than {MAX_MEMBERS} members");
                return Err(UnpackError::NoImage { path: path.to_owned(), reason });
            }
            match entry.kind {
                EntryKind::File { .. } => {
                    let place = directory.join(count.to_string());
                    let mut target = File::create(&place).map_err(write(&place))?;
                    io::copy(&mut contents, &mut target).map_err(write(&place))?;
                    members.files.insert(entry.path, place);
                }
                // `docker save` lists a layer that two images share once, and links to it.
                EntryKind::Symlink(target) => {
                    let parent = entry.path.parent().unwrap_or(Path::new(""));
                    members.links.insert(entry.path.clone(), crate::rootfs::clean(&parent.join(target)));
                }
                EntryKind::Hardlink(target) => {
                    members.links.insert(entry.path, target);
                }
                _ => {}
            }
        }
        Ok(members)
    }

    /// Where the contents of a member are.
    fn find(&self, path: &Path, name: &Path) -> Result<&Path, UnpackError> {
        let mut wanted = name;
        for _ in 0..=MAX_LINKS {
            if let Some(file) = self.files.get(wanted) {
                return Ok(file);
            }
            match self.links.get(wanted) {
                Some(target) => wanted = target,
                None => break,
            }
        }
        let reason = format!("`{}` is missing", name.display());
        Err(UnpackError::NoImage { path: path.to_owned(), reason })
    }

    fn read(&self, path: &Path, name: &str, limit: usize) -> Result<Vec<u8>, UnpackError> {
        let place = self.find(path, Path::new(name))?;
        let failed = |source| UnpackError::Read { path: place.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(place)
            .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() > limit {
            let reason = format!("`{name}` is longer than {limit} bytes");
            return Err(UnpackError::NoImage { path: path.to_owned(), reason });
        }
        Ok(bytes)
    }

    /// Puts the files of a layout at their places.
    fn into_layout(self, path: &Path, into: &Path) -> Result<Layout, UnpackError> {
        let root = into.join("layout");
        // Makes the directories, and checks nothing: what is read from the layout is checked then.
        let layout = Layout::create(&root)?;
        for (name, place) in &self.files {
            let target = match name.strip_prefix("blobs/sha256") {
                Ok(blob) if format!("sha256:{}", blob.display()).parse::<Digest>().is_ok() => {
                    root.join("blobs/sha256").join(blob)
                }
                _ if name == Path::new("index.json") => root.join(name),
                _ => continue,
            };
            std::fs::rename(place, &target).map_err(|source| UnpackError::Write { path: target, source })?;
        }
        layout.index().map_err(|error| match error {
            LayoutError::Manifest { source, .. } => UnpackError::Manifest { path: path.to_owned(), source },
            error => error.into(),
        })?;
        Ok(layout)
    }

    /// Makes a layout of an archive in Docker's older form.
    fn convert(self, path: &Path, into: &Path) -> Result<Layout, UnpackError> {
        let odd = |reason: String| UnpackError::NoImage { path: path.to_owned(), reason };
        let list = self.read(path, "manifest.json", MAX_MANIFEST)?;
        let listed: Vec<Listed> =
            serde_json::from_slice(&list).map_err(|error| odd(format!("`manifest.json`: {error}")))?;
        let layout = Layout::create(into.join("layout"))?;
        if listed.len() > MAX_ITEMS {
            return Err(odd(format!("it lists {} images", listed.len())));
        }
        for image in listed {
            let name = image.config.to_string_lossy().into_owned();
            let bytes = self.read(path, &name, MAX_CONFIG)?;
            let config = ImageConfig::parse(&bytes)
                .map_err(|source| UnpackError::Config { path: path.to_owned(), source })?;
            if image.layers.len() != config.rootfs.diff_ids.len() || image.layers.len() > MAX_ITEMS {
                let listed = config.rootfs.diff_ids.len();
                return Err(odd(format!("it has {} layers, and a config of {listed}", image.layers.len())));
            }
            let mut layers = Vec::new();
            for (layer, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
                let (descriptor, found) = compress(self.find(path, layer)?, into)?;
                if found != *diff_id {
                    return Err(odd(format!(
                        "`{}` is not the layer {diff_id} of the config",
                        layer.display()
                    )));
                }
                layers.push(descriptor);
            }
            let failed = |source| UnpackError::Manifest { path: path.to_owned(), source };
            let descriptor = Descriptor::new(MediaType::ImageConfig, Digest::of(&bytes), bytes.len() as u64);
            let manifest = Manifest::build(ImageFormat::Docker, descriptor, layers, BTreeMap::new());
            let locate = |digest: &Digest| into.join(digest.hex());
            let bundle = Bundle::of_image(manifest.map_err(failed)?, bytes, Some(config.platform()), locate);
            let tags = image.repo_tags.unwrap_or_default();
            let names: Vec<ImageRef> = tags.iter().filter_map(|name| name.parse().ok()).collect();
            layout.write(&bundle.map_err(failed)?, &names)?;
        }
        Ok(layout)
    }
}

/// Compresses a layer into a file of `into` that is named by its digest.
fn compress(from: &Path, into: &Path) -> Result<(Descriptor, crate::layer::DiffId), UnpackError> {
    let read = |source| UnpackError::Read { path: from.to_owned(), source };
    let write = |source| UnpackError::Write { path: into.to_owned(), source };
    let file = tempfile::NamedTempFile::new_in(into).map_err(write)?;
    // Podman compresses the layers of its archives, Docker does not.
    let mut tar = decompress(BufReader::new(File::open(from).map_err(read)?)).map_err(read)?;
    let mut writer =
        LayerWriter::new(BufWriter::with_capacity(1 << 17, file), Encoding::default()).map_err(write)?;
    io::copy(&mut tar, &mut writer).map_err(write)?;
    let (layer, mut output) = writer.finish().map_err(write)?;
    output.flush().map_err(write)?;
    let file = output.into_inner().map_err(|error| write(error.into_error()))?;
    let place = into.join(layer.digest.hex());
    file.persist(&place).map_err(|error| write(error.error))?;
    Ok((Descriptor::new(MediaType::ImageLayerGzip, layer.digest, layer.size), layer.diff_id))
}
