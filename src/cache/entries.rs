//! Reading and writing the entries of one cache.

use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::artifact::{self, CachedStep, EntryError, MAX_INDEX};
use super::place::CachePlace;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Bundle, Descriptor, ImageRef, Layout, LayoutError, Manifest, ManifestError, RepoName};
use crate::layer::{DiffId, Digest, IndexError, LayerIndex};
use crate::registry::{BlobSource, KnownPlaces, Registries, RegistryError, Repository, SettingsError};

/// Longest list of a layer that is accepted, uncompressed, in bytes: a million files and more.
const MAX_LIST: u64 = 512 << 20;

/// How much lists are compressed: they are small, and wanted soon.
const LIST_LEVEL: i32 = 3;

/// The name of all entries in a layout; the tag is what tells them apart.
const NAME: &str = "cache";

/// A cache that can be read and written.
#[derive(Debug, Clone)]
pub struct Entries {
    place: CachePlace,
    repository: Option<Repository>,
    is_given_up: Arc<AtomicBool>,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Its registry says no, or nothing.
    #[error("cannot use the cache in {repository}")]
    Registry {
        /// The repository.
        repository: RepoName,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// Its directory cannot be used.
    #[error("cannot use the cache in `{}`", path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// An entry is not one.
    #[error("entry {tag} of the cache {place} is passed over")]
    Entry {
        /// Its tag.
        tag: String,
        /// The cache.
        place: CachePlace,
        /// Why.
        #[source]
        source: EntryError,
    },
    /// The list of a layer is none.
    #[error("the list of a layer in the cache {place}, {digest}, is not usable")]
    Index {
        /// The blob.
        digest: Digest,
        /// The cache.
        place: CachePlace,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// Bytes cannot be read or written on this side.
    #[error("cannot read or write what is for the cache {place}")]
    Io {
        /// The cache.
        place: CachePlace,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry cannot be written.
    #[error("cannot write an entry of the cache {place}")]
    Manifest {
        /// The cache.
        place: CachePlace,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl Entries {
    /// The cache at this place. Nothing is asked yet.
    pub fn open(place: CachePlace, registries: &Registries) -> Result<Self, SettingsError> {
        let repository = match &place {
            CachePlace::Registry(name) => Some(registries.repository(name)?),
            CachePlace::Layout(_) => None,
        };
        Ok(Self { place, repository, is_given_up: Arc::default() })
    }

    /// Where it is.
    pub fn place(&self) -> &CachePlace {
        &self.place
    }

    /// Says that it is of no use to ask again. True the first time.
    pub fn give_up(&self) -> bool {
        !self.is_given_up.swap(true, Ordering::Relaxed)
    }

    /// Whether [`Entries::give_up`] was said.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// The result of the step with this key.
    pub async fn step(&self, key: Digest) -> Result<Option<CachedStep>, CacheError> {
        let tag = key.hex();
        let Some(bytes) = self.manifest(&tag).await? else { return Ok(None) };
        match CachedStep::parse(&bytes, key) {
            Ok(step) => Ok(Some(step)),
            Err(source) => Err(CacheError::Entry { tag, place: self.place.clone(), source }),
        }
    }

    /// What the layer lists, if the cache knows.
    pub async fn tree(&self, diff_id: DiffId) -> Result<Option<LayerIndex>, CacheError> {
        let tag = artifact::tree_tag(diff_id);
        let Some(bytes) = self.manifest(&tag).await? else { return Ok(None) };
        match artifact::parse_tree(&bytes, diff_id) {
            Ok(index) => self.index(&index).await.map(Some),
            Err(source) => Err(CacheError::Entry { tag, place: self.place.clone(), source }),
        }
    }

    /// Reads what a layer lists.
    pub async fn index(&self, blob: &Descriptor) -> Result<LayerIndex, CacheError> {
        let limit = usize::try_from(MAX_INDEX).unwrap_or(usize::MAX);
        let bytes = match (&self.repository, &self.place) {
            (Some(repository), _) => {
                repository.blob_bytes(blob, limit).await.map_err(|source| self.registry_error(source))?
            }
            (None, CachePlace::Layout(path)) => {
                let (path, blob) = (path.clone(), blob.clone());
                let read = spawn_blocking(move || Layout::open(&path)?.read_blob(&blob, MAX_INDEX));
                Bytes::from(read.await?.map_err(|source| self.layout_error(source))?)
            }
            (None, CachePlace::Registry(_)) => return Err(self.io(io::ErrorKind::Unsupported.into())),
        };
        let decoded = spawn_blocking(move || read_list(&bytes));
        let (place, digest) = (self.place.clone(), blob.digest);
        decoded.await?.map_err(|source| CacheError::Index { digest, place, source })
    }

    /// Whether there is an entry for the step with this key.
    pub async fn has_step(&self, key: Digest) -> Result<bool, CacheError> {
        self.has(&key.hex()).await
    }

    /// Whether the cache knows what the layer lists.
    pub async fn has_tree(&self, diff_id: DiffId) -> Result<bool, CacheError> {
        self.has(&artifact::tree_tag(diff_id)).await
    }

    /// Brings what a layer lists into the form of a blob. Blocks.
    pub fn encode(&self, diff_id: DiffId, index: &LayerIndex) -> Result<(Descriptor, Bytes), CacheError> {
        let unwritten = |source| self.io(source);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LIST_LEVEL).map_err(unwritten)?;
        let place = || self.place.clone();
        index.write_to(&mut encoder).map_err(|source| CacheError::Index {
            digest: diff_id.0,
            place: place(),
            source,
        })?;
        let bytes = encoder.finish().map_err(unwritten)?;
        let descriptor = artifact::index_descriptor(diff_id, Digest::of(&bytes), bytes.len() as u64);
        Ok((descriptor, bytes.into()))
    }

    /// Makes sure that the cache has a blob. For a layout nothing is done: see [`Entries::put_step`].
    pub async fn put_blob(
        &self,
        blob: &Descriptor,
        source: impl BlobSource,
        known: &KnownPlaces,
        neighbours: &[RepoName],
    ) -> Result<(), CacheError> {
        let Some(repository) = &self.repository else { return Ok(()) };
        let uploaded = known.upload(repository, blob, source, neighbours).await;
        uploaded.map(|_| ()).map_err(|source| self.registry_error(source))
    }

    /// Writes the entry of a step under some keys. In a registry all its blobs are there already; into a layout they
    /// are brought from where `locate` says.
    pub async fn put_step(
        &self,
        step: &CachedStep,
        keys: &[Digest],
        known: &KnownPlaces,
        locate: impl Fn(Digest) -> PathBuf + Send + Clone + 'static,
    ) -> Result<(), CacheError> {
        for key in keys {
            self.put(key.hex(), step.to_manifest(*key), known, locate.clone()).await?;
        }
        Ok(())
    }

    /// Writes the entry of what a layer lists.
    pub async fn put_tree(
        &self,
        diff_id: DiffId,
        index: Descriptor,
        known: &KnownPlaces,
        locate: impl Fn(Digest) -> PathBuf + Send + Clone + 'static,
    ) -> Result<(), CacheError> {
        let manifest = artifact::tree_manifest(diff_id, index);
        self.put(artifact::tree_tag(diff_id), manifest, known, locate).await
    }

    async fn put(
        &self,
        tag: String,
        manifest: Manifest,
        known: &KnownPlaces,
        locate: impl Fn(Digest) -> PathBuf + Send + 'static,
    ) -> Result<(), CacheError> {
        let unwritten = |source| CacheError::Manifest { place: self.place.clone(), source };
        if let Some(repository) = &self.repository {
            let failed = |source| self.registry_error(source);
            let empty = Bytes::from_static(artifact::EMPTY);
            known.upload(repository, &manifest.config, empty, &[]).await.map_err(failed)?;
            let bytes = Bytes::from(manifest.to_bytes().map_err(unwritten)?);
            repository.put_manifest(&tag, &manifest.media_type, bytes).await.map_err(failed)?;
            return Ok(());
        }
        let CachePlace::Layout(path) = self.place.clone() else { return Ok(()) };
        let bundle = Bundle::of_image(manifest, artifact::EMPTY.to_vec(), None, |digest| locate(*digest))
            .map_err(unwritten)?;
        let written = spawn_blocking(move || {
            let name = ImageRef::tagged(RepoName::new("localhost", NAME), tag);
            Layout::create(path)?.write(&bundle, &[name])
        });
        written.await?.map_err(|source| self.layout_error(source))
    }

    async fn has(&self, tag: &str) -> Result<bool, CacheError> {
        match &self.repository {
            Some(repository) => match repository.manifest_digest(tag).await {
                Ok(found) => Ok(found.is_some()),
                Err(source) => Err(self.registry_error(source)),
            },
            None => Ok(self.manifest(tag).await?.is_some()),
        }
    }

    /// The manifest under this tag.
    async fn manifest(&self, tag: &str) -> Result<Option<Bytes>, CacheError> {
        match (&self.repository, &self.place) {
            (Some(repository), _) => match repository.manifest(tag).await {
                Ok(found) => Ok(Some(found.bytes)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(source) => Err(self.registry_error(source)),
            },
            (None, CachePlace::Layout(path)) => {
                let (path, tag) = (path.clone(), tag.to_owned());
                let read = spawn_blocking(move || in_layout(&path, &tag));
                let bytes = read.await?.map_err(|source| self.layout_error(source))?;
                Ok(bytes.map(Bytes::from))
            }
            (None, CachePlace::Registry(_)) => Err(self.io(io::ErrorKind::Unsupported.into())),
        }
    }

    fn registry_error(&self, source: RegistryError) -> CacheError {
        match &self.place {
            CachePlace::Registry(name) => CacheError::Registry { repository: name.clone(), source },
            CachePlace::Layout(_) => self.io(io::Error::other(source)),
        }
    }

    fn layout_error(&self, source: LayoutError) -> CacheError {
        match &self.place {
            CachePlace::Layout(path) => CacheError::Layout { path: path.clone(), source },
            CachePlace::Registry(_) => self.io(io::Error::other(source)),
        }
    }

    fn io(&self, source: io::Error) -> CacheError {
        CacheError::Io { place: self.place.clone(), source }
    }
}

/// Reads the blob with what a layer lists. It may be hostile: it is inflated as far as `MAX_LIST`.
pub fn read_list(blob: &[u8]) -> Result<LayerIndex, IndexError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(blob).map_err(IndexError::Read)?;
    LayerIndex::read_from(BufReader::new(decoder.take(MAX_LIST)))
}

fn in_layout(path: &Path, tag: &str) -> Result<Option<Vec<u8>>, LayoutError> {
    if !path.join("index.json").exists() {
        return Ok(None);
    }
    let layout = Layout::open(path)?;
    match layout.resolve(Some(tag)) {
        Ok(descriptor) => layout.read_blob(&descriptor, MAX_MANIFEST as u64).map(Some),
        Err(LayoutError::NoSuchImage { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
