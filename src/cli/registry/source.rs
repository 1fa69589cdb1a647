//! Reading images, wherever they are.

use std::io::{self, Read};

use futures_util::StreamExt as _;
use futures_util::stream::{self, TryStreamExt as _};
use serde::Serialize;
use tempfile::TempDir;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::error::CommandError;
use super::place::Place;
use crate::image::config::MAX_CONFIG;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{
    Descriptor, ImageConfig, Index, IndexEntry, Layout, Manifest, ManifestOrIndex, Platform, archive,
};
use crate::registry::{Registries, Repository};

/// How many indexes may lie between a name and an image.
const MAX_DEPTH: usize = 4;

/// Manifests and configs fetched at once.
const AT_ONCE: usize = 8;

/// A place that is open for reading.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    content: Content,
    /// Where an archive was unpacked to.
    _unpacked: Option<TempDir>,
}

#[derive(Debug)]
enum Content {
    Registry { repository: Repository, selector: String },
    Layout { layout: Layout, tag: Option<String> },
}

/// A document as it is written, with what describes it.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

/// An image or index with all documents behind it, and no layers.
#[derive(Debug)]
pub(super) struct Contents {
    /// What the name stands for.
    pub(super) root: Document,
    /// The indexes, the outermost first.
    pub(super) indexes: Vec<Document>,
    /// The images, and whatever else is listed among them.
    pub(super) images: Vec<PlatformImage>,
}

/// One image, or an artifact in the form of one.
#[derive(Debug)]
pub(super) struct PlatformImage {
    pub(super) document: Document,
    pub(super) manifest: Manifest,
    /// As the index, or else the config says.
    pub(super) platform: Option<Platform>,
    /// The config, as it is written.
    pub(super) config_bytes: Vec<u8>,
    /// The same, where this is an image.
    pub(super) config: Option<ImageConfig>,
}

impl Source {
    /// Opens a place. An archive is unpacked into a temporary directory.
    pub(super) async fn open(place: &Place, registries: &Registries) -> Result<Self, CommandError> {
        let name = place.to_string();
        let (content, unpacked) = match place {
            Place::Registry(image) => {
                let repository = registries.repository(image.repository())?;
                (Content::Registry { repository, selector: image.selector() }, None)
            }
            Place::Layout { path, tag } => {
                (Content::Layout { layout: Layout::open(path)?, tag: tag.clone() }, None)
            }
            Place::Archive { path, .. } => {
                let directory = tempfile::tempdir()
                    .map_err(|source| CommandError::Write { path: std::env::temp_dir(), source })?;
                let (from, to) = (path.clone(), directory.path().to_owned());
                let layout = blocking(move || archive::unpack(&from, &to)).await?;
                (Content::Layout { layout, tag: None }, Some(directory))
            }
        };
        Ok(Self { name, content, _unpacked: unpacked })
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The repository, where it is in a registry.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.content {
            Content::Registry { repository, .. } => Some(repository),
            Content::Layout { .. } => None,
        }
    }

    /// The layout, where it is in one.
    pub(super) fn layout(&self) -> Option<&Layout> {
        match &self.content {
            Content::Registry { .. } => None,
            Content::Layout { layout, .. } => Some(layout),
        }
    }

    /// What the name stands for.
    pub(super) async fn root(&self) -> Result<Document, CommandError> {
        match &self.content {
            Content::Registry { repository, selector } => {
                let fetched = repository.manifest(selector).await?;
                Ok(Document { descriptor: fetched.descriptor(), bytes: fetched.bytes.to_vec() })
            }
            Content::Layout { layout, tag } => {
                let descriptor = layout.resolve(tag.as_deref())?;
                let bytes = layout.read_blob(&descriptor, MAX_MANIFEST as u64)?;
                // How the layout calls it is no part of it.
                let descriptor = Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size);
                Ok(Document { descriptor, bytes })
            }
        }
    }

    /// A manifest or index by its descriptor.
    async fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CommandError> {
        let bytes = match &self.content {
            Content::Registry { repository, .. } => {
                repository.manifest(&descriptor.digest.to_string()).await?.bytes.to_vec()
            }
            Content::Layout { layout, .. } => layout.read_blob(descriptor, MAX_MANIFEST as u64)?,
        };
        Ok(Document { descriptor: descriptor.clone(), bytes })
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, CommandError> {
        Ok(match &self.content {
            Content::Registry { repository, .. } => {
                repository.blob_bytes(descriptor, MAX_CONFIG).await?.to_vec()
            }
            Content::Layout { layout, .. } => layout.read_blob(descriptor, MAX_CONFIG as u64)?,
        })
    }

    /// A blob, for blocking code. Reading fails at its end when it is not what the descriptor says.
    pub(super) async fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CommandError> {
        match &self.content {
            Content::Registry { repository, .. } => {
                let stream = repository.blob(descriptor).await?.map_err(io::Error::from);
                Ok(Box::new(SyncIoBridge::new(StreamReader::new(stream))))
            }
            Content::Layout { layout, .. } => Ok(Box::new(layout.open_blob(descriptor)?)),
        }
    }

    /// All documents. With `wanted`, only those of the image for this platform.
    pub(super) async fn contents(&self, wanted: Option<&Platform>) -> Result<Contents, CommandError> {
        let root = self.root().await?;
        let mut indexes = Vec::new();
        let mut manifests = Vec::new();
        let mut level = vec![(root.clone(), None)];
        for depth in 0.. {
            let mut entries: Vec<IndexEntry> = Vec::new();
            for (document, platform) in level {
                match self.parse(&document)? {
                    ManifestOrIndex::Manifest(manifest) => manifests.push((document, manifest, platform)),
                    ManifestOrIndex::Index(index) => {
                        if depth >= MAX_DEPTH {
                            let digest = document.descriptor.digest;
                            return Err(CommandError::TooDeep { image: self.name.clone(), digest });
                        }
                        entries.extend(self.select(&index, wanted)?);
                        indexes.push(document);
                    }
                }
            }
            if entries.is_empty() {
                break;
            }
            level = stream::iter(entries)
                .map(|entry| async move { Ok((self.manifest(&entry.descriptor).await?, entry.platform)) })
                .buffered(AT_ONCE)
                .try_collect::<Vec<_>>()
                .await
                .map_err(|error: CommandError| error)?;
        }
        let images = stream::iter(manifests)
            .map(|(document, manifest, platform)| self.image(document, manifest, platform))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Contents { root, indexes, images })
    }

    /// The one image for a platform.
    pub(super) async fn single(&self, platform: &Platform) -> Result<PlatformImage, CommandError> {
        let mut images = self.contents(Some(platform)).await?.images.into_iter();
        images.next().ok_or_else(|| CommandError::Usage(format!("{} lists no image", self.name)))
    }

    fn select(&self, index: &Index, wanted: Option<&Platform>) -> Result<Vec<IndexEntry>, CommandError> {
        let Some(wanted) = wanted else { return Ok(index.manifests.clone()) };
        let chosen = index.select(wanted).map_err(|source| CommandError::Platform {
            image: self.name.clone(),
            source: Box::new(source),
        })?;
        Ok(index.manifests.iter().find(|entry| entry.descriptor == *chosen).cloned().into_iter().collect())
    }

    fn parse(&self, document: &Document) -> Result<ManifestOrIndex, CommandError> {
        let Document { descriptor, bytes } = document;
        ManifestOrIndex::parse(bytes, Some(&descriptor.media_type)).map_err(|source| CommandError::Manifest {
            image: self.name.clone(),
            digest: descriptor.digest,
            source,
        })
    }

    async fn image(
        &self,
        document: Document,
        manifest: Manifest,
        platform: Option<Platform>,
    ) -> Result<PlatformImage, CommandError> {
        let config_bytes = self.config(&manifest.config).await?;
        let config = if manifest.is_image() {
            let parsed = ImageConfig::parse(&config_bytes).map_err(|source| CommandError::Config {
                image: self.name.clone(),
                digest: manifest.config.digest,
                source,
            })?;
            Some(parsed)
        } else {
            None
        };
        let platform = platform.or_else(|| config.as_ref().map(ImageConfig::platform));
        Ok(PlatformImage { document, manifest, platform, config_bytes, config })
    }
}

impl PlatformImage {
    /// What it is called in messages: its platform, or what else it is.
    pub(super) fn label(&self) -> String {
        match &self.platform {
            Some(platform) if platform.os() != "unknown" => platform.to_string(),
            _ if self.document.is_attestation() => "attestation".to_owned(),
            _ => "artifact".to_owned(),
        }
    }

    /// Bytes of config and layers.
    pub(super) fn size(&self) -> u64 {
        self.manifest
            .layers
            .iter()
            .map(|layer| layer.size)
            .fold(self.manifest.config.size, u64::saturating_add)
    }
}

impl Document {
    /// BuildKit marks provenance and bills of material so.
    fn is_attestation(&self) -> bool {
        let kind = self.descriptor.annotations.get("vnd.docker.reference.type");
        kind.is_some_and(|kind| kind == "attestation-manifest")
    }
}

/// A descriptor as it is shown in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownBlob {
    digest: String,
    size: u64,
    media_type: String,
}

impl From<&Descriptor> for ShownBlob {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            media_type: descriptor.media_type.to_string(),
        }
    }
}

/// Runs blocking code beside the asynchronous.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CommandError>
where
    T: Send + 'static,
    E: Send + 'static,
    CommandError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(CommandError::Start { source: io::Error::other(error) }),
    }
}
