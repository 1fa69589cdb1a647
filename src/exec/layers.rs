//! Layers and their blobs, wherever they are, as something to read.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;

use super::index_slot::{Asked, Claim, Slot};
use super::listing::Listing;
use crate::cache::{CacheError, CachePlace, CachedLayer, Entries};
use crate::event::{ActivityKind, Events};
use crate::image::{Descriptor, ImageRef, Layer, RepoName};
use crate::layer::{
    Compression, DiffId, Digest, Encoding, FileDigests, Hashing, LayerIndex, LayerTypeError, TarError,
    decompress_ahead,
};
use crate::registry::{Registries, RegistryError, SettingsError};
use crate::store::{Incoming, Store, StoreError};

/// A layer of an image in the making, and where its blob can be had when the store does not have it.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// The layer.
    pub layer: Layer,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a layer's blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the store: it was made by a build.
    Store,
    /// In a repository, whether or not the store has it too.
    Registry(RepoName),
    /// In an OCI image layout.
    Layout(PathBuf),
}

impl From<&CachePlace> for Origin {
    fn from(place: &CachePlace) -> Self {
        match place {
            CachePlace::Registry(name) => Self::Registry(name.clone()),
            CachePlace::Layout(path) => Self::Layout(path.clone()),
        }
    }
}

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its registry does not give it.
    #[error("cannot fetch layer {digest}")]
    Fetch {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// The registry cannot even be asked.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was pruned from the store.
    #[error("layer {digest} is not in the store any more; build again with `--no-cache`")]
    Gone {
        /// The blob.
        digest: Digest,
    },
    /// Its blob is of no known kind.
    #[error("cannot read layer {digest}")]
    Compression {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerTypeError,
    },
    /// Its blob cannot be read to the end.
    #[error("cannot read layer {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its tar is not acceptable.
    #[error("layer {digest} is not a usable layer")]
    Tar {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: TarError,
    },
}

/// What can stop a blob on its way, passed on to all who wait for it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The layers of one build: each is fetched at most once, and what it lists is read at most once.
#[derive(Debug, Clone)]
pub struct Layers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    registries: Registries,
    events: Events,
    encoding: Encoding,
    runtime: tokio::runtime::Handle,
    /// Where lists of layers may be found that the store does not have.
    caches: Vec<Entries>,
    arriving: Mutex<HashMap<Digest, Arc<Incoming>>>,
    /// Blobs that will be read here, whatever else becomes of them.
    wanted: Mutex<HashSet<Digest>>,
    indexes: Mutex<HashMap<DiffId, Arc<Slot>>>,
    /// Lists that caches have.
    offered: Mutex<HashMap<DiffId, (Entries, Descriptor)>>,
    /// Lists that came from a cache: believed in this build, and not kept for others.
    borrowed: Mutex<HashSet<DiffId>>,
}

/// Where a blob can be read.
pub(super) enum BlobPlace {
    /// In this file.
    File(PathBuf),
    /// On its way into the store.
    Arriving(Arc<Incoming>),
    /// In this repository only, and it need not come here.
    Elsewhere(RepoName),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks protect is only ever replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Layers {
    /// The layers of a build that runs in the current tokio runtime. Those that are made get this encoding.
    pub fn new(store: Arc<Store>, registries: Registries, events: Events, encoding: Encoding) -> Self {
        Self::with_caches(store, registries, events, encoding, Vec::new())
    }

    /// The same; `caches` are asked for what layers list.
    pub fn with_caches(
        store: Arc<Store>,
        registries: Registries,
        events: Events,
        encoding: Encoding,
        caches: Vec<Entries>,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let shared = Shared {
            store,
            registries,
            events,
            encoding,
            runtime,
            caches,
            arriving: Mutex::default(),
            wanted: Mutex::default(),
            indexes: Mutex::default(),
            offered: Mutex::default(),
            borrowed: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The store behind.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// The registries behind.
    pub fn registries(&self) -> &Registries {
        &self.shared.registries
    }

    /// How new layers are compressed.
    pub fn encoding(&self) -> Encoding {
        self.shared.encoding
    }

    /// The caches that are asked, in order.
    pub(super) fn caches(&self) -> &[Entries] {
        &self.shared.caches
    }

    /// The runtime behind all that is not blocking.
    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.shared.runtime
    }

    /// Says that blobs will be read here, so that one that is sent elsewhere first is kept on the way.
    pub(crate) fn expect<'a>(&self, layers: impl IntoIterator<Item = &'a ImageLayer>) {
        lock(&self.shared.wanted).extend(layers.into_iter().map(|layer| layer.layer.descriptor.digest));
    }

    /// Where the bytes of a blob can be had for sending them on.
    pub(super) fn locate(&self, layer: &ImageLayer) -> Result<BlobPlace, LayerError> {
        let descriptor = &layer.layer.descriptor;
        let arriving = |digest| lock(&self.shared.arriving).get(&digest).cloned();
        if let Some(incoming) = arriving(descriptor.digest) {
            return Ok(BlobPlace::Arriving(incoming));
        }
        if self.shared.store.use_blob(descriptor)? {
            return Ok(BlobPlace::File(self.shared.store.blob_path(descriptor.digest)));
        }
        match &layer.origin {
            Origin::Registry(name) if !lock(&self.shared.wanted).contains(&descriptor.digest) => {
                Ok(BlobPlace::Elsewhere(name.clone()))
            }
            _ => {
                drop(self.open_blob(layer)?);
                Ok(match arriving(descriptor.digest) {
                    Some(incoming) => BlobPlace::Arriving(incoming),
                    None => BlobPlace::File(self.shared.store.blob_path(descriptor.digest)),
                })
            }
        }
    }

    /// Where events go.
    pub(super) fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Ends all that is on its way, with an error for those who wait for it, and throws away what is half-written.
    /// No layer can be had or made any more.
    pub(crate) fn abandon(&self) {
        for incoming in lock(&self.shared.arriving).values() {
            incoming.fail("the build has ended");
        }
        self.shared.store.discard_scratch();
    }

    /// The compressed blob, from its beginning. While it is still arriving, reading waits for what is not here yet.
    pub fn open_blob(&self, layer: &ImageLayer) -> Result<Box<dyn Read + Send>, LayerError> {
        let descriptor = &layer.layer.descriptor;
        let mut arriving = lock(&self.shared.arriving);
        if let Some(incoming) = arriving.get(&descriptor.digest) {
            return Ok(Box::new(incoming.follow()?));
        }
        if self.shared.store.use_blob(descriptor)? {
            return Ok(Box::new(self.shared.store.open_blob(descriptor.digest)?));
        }
        let incoming = self.shared.store.receive_blob(descriptor)?;
        let reader = incoming.follow()?;
        match &layer.origin {
            Origin::Store => return Err(LayerError::Gone { digest: descriptor.digest }),
            Origin::Layout(path) => self.copy_from_layout(path, layer, &incoming),
            Origin::Registry(repository) => self.fetch(repository, layer, &incoming)?,
        }
        arriving.insert(descriptor.digest, incoming);
        Ok(Box::new(reader))
    }

    /// Why one of these layers did not arrive as it should, if one did not. Waits for those on their way.
    ///
    /// Blobs are used while they arrive, and what is wrong with them is known at their end only: whoever stumbles over
    /// nonsense before should ask here whether it was the blob's fault.
    pub(crate) fn damage<'a>(&self, layers: impl IntoIterator<Item = &'a ImageLayer>) -> Option<LayerError> {
        layers.into_iter().find_map(|layer| {
            let digest = layer.layer.descriptor.digest;
            let incoming = lock(&self.shared.arriving).get(&digest).cloned()?;
            incoming.wait().err().map(|source| LayerError::Read { digest, source })
        })
    }

    /// Waits until the store has the blob. Blocks.
    pub fn complete_blob(&self, layer: &ImageLayer) -> Result<PathBuf, LayerError> {
        let descriptor = &layer.layer.descriptor;
        if !self.shared.store.use_blob(descriptor)? {
            let read = |source| LayerError::Read { digest: descriptor.digest, source };
            io::copy(&mut self.open_blob(layer)?, &mut io::sink()).map_err(read)?;
        }
        Ok(self.shared.store.blob_path(descriptor.digest))
    }

    /// Begins to download a blob into `incoming`.
    fn fetch(
        &self,
        repository: &RepoName,
        layer: &ImageLayer,
        incoming: &Arc<Incoming>,
    ) -> Result<(), LayerError> {
        let source = self.shared.registries.repository(repository)?;
        let descriptor = layer.layer.descriptor.clone();
        let name = ImageRef::by_digest(repository.clone(), descriptor.digest);
        let activity = self.shared.events.begin(ActivityKind::Pull, format!("pull {}", shortened(&name)));
        let incoming = Arc::clone(incoming);
        self.shared.runtime.spawn(async move {
            let received: Result<(), Failure> = async {
                let mut stream = source.blob(&descriptor).await?;
                let mut done = 0;
                while let Some(bytes) = stream.next().await {
                    let bytes = bytes?;
                    incoming.append(&bytes)?;
                    done += bytes.len() as u64;
                    activity.progress(done, Some(descriptor.size));
                }
                Ok(incoming.finish()?)
            }
            .await;
            match received {
                Ok(()) => activity.done(),
                Err(error) => {
                    // The followers report why.
                    incoming.fail(error);
                    activity.failed();
                }
            }
        });
        Ok(())
    }

    /// Copies a blob out of a layout, checking its digest, so that what is built from it cannot change under us.
    fn copy_from_layout(&self, layout: &std::path::Path, layer: &ImageLayer, incoming: &Arc<Incoming>) {
        let expected = layer.layer.descriptor.digest;
        let path = layout.join("blobs/sha256").join(expected.hex());
        let incoming = Arc::clone(incoming);
        self.shared.runtime.spawn_blocking(move || {
            let copied = || -> Result<(), Failure> {
                let unreadable = |error| format!("{}: {error}", path.display());
                let file = std::fs::File::open(&path).map_err(unreadable)?;
                let mut file = Hashing::new(file);
                let mut buffer = vec![0; 128 << 10];
                loop {
                    let count = file.read(&mut buffer).map_err(unreadable)?;
                    if count == 0 {
                        break;
                    }
                    incoming.append(&buffer[..count])?;
                }
                let (_, actual, _) = file.finish();
                if actual != expected {
                    return Err(format!("{} is damaged: its digest is {actual}", path.display()).into());
                }
                Ok(incoming.finish()?)
            };
            if let Err(error) = copied() {
                incoming.fail(error);
            }
        });
    }

    /// The uncompressed tar; its end is an error if it is not the layer it should be. What the layer lists is kept
    /// on the way, if it is not known yet.
    pub fn open_tar(&self, layer: &ImageLayer) -> Result<Box<dyn Read + Send>, LayerError> {
        self.claim_tar(layer).open()
    }

    /// Announces that the layer will be read: who wants to know what it lists waits for that, and does not read it a
    /// second time.
    pub(super) fn claim_tar(&self, layer: &ImageLayer) -> ClaimedTar {
        let diff_id = layer.layer.diff_id;
        let claim =
            if self.shared.store.has_layer_index(diff_id) { None } else { self.slot(diff_id).claim() };
        ClaimedTar { layers: self.clone(), layer: layer.clone(), claim }
    }

    fn open_verified(&self, layer: &ImageLayer) -> Result<Verified, LayerError> {
        let descriptor = &layer.layer.descriptor;
        let digest = descriptor.digest;
        Compression::of_layer(&descriptor.media_type)
            .map_err(|source| LayerError::Compression { digest, source })?;
        let tar =
            decompress_ahead(self.open_blob(layer)?).map_err(|source| LayerError::Read { digest, source })?;
        Ok(Verified { tar: Some(Hashing::new(Box::new(tar))), expected: layer.layer.diff_id })
    }

    /// What the layer lists: from memory, from the store, from a cache, or by reading the layer once. Blocks.
    pub fn index(&self, layer: &ImageLayer) -> Result<Arc<LayerIndex>, LayerError> {
        let diff_id = layer.layer.diff_id;
        let claim = match self.slot(diff_id).ask() {
            Asked::Known(index) => return Ok(index),
            Asked::Claimed(claim) => claim,
        };
        if let Some(found) = self.shared.store.layer_index(diff_id)? {
            return Ok(claim.fulfil(found));
        }
        if let Some(found) = self.borrow_index(layer)? {
            lock(&self.shared.borrowed).insert(diff_id);
            return Ok(claim.fulfil(found));
        }
        let tar = self.open_verified(layer)?;
        let digest = layer.layer.descriptor.digest;
        let read = LayerIndex::read(tar).map_err(|source| LayerError::Tar { digest, source })?;
        self.shared.store.keep_layer_index(diff_id, &read)?;
        Ok(claim.fulfil(read))
    }

    /// What a cache says that the layer lists, unless the layer itself is at hand.
    fn borrow_index(&self, layer: &ImageLayer) -> Result<Option<LayerIndex>, LayerError> {
        let Layer { diff_id, descriptor } = &layer.layer;
        let is_here = self.shared.store.use_blob(descriptor)?
            || lock(&self.shared.arriving).contains_key(&descriptor.digest);
        if is_here {
            return Ok(None);
        }
        let offered = lock(&self.shared.offered).get(diff_id).cloned();
        let found = self.shared.runtime.block_on(async {
            if let Some((cache, blob)) = offered {
                match cache.index(&blob).await {
                    Ok(index) => return Some(index),
                    Err(error) => self.complain_about(&cache, &error),
                }
            }
            for cache in self.shared.caches.iter().filter(|cache| !cache.is_given_up()) {
                match cache.tree(*diff_id).await {
                    Ok(None) => {}
                    Ok(found) => return found,
                    Err(error) => self.complain_about(cache, &error),
                }
            }
            None
        });
        Ok(found)
    }

    /// Says what is wrong with a cache. One that does not answer is not asked again.
    pub(super) fn complain_about(&self, cache: &Entries, error: &CacheError) {
        let is_news = match error {
            CacheError::Registry { source, .. } if source.is_not_found() => true,
            CacheError::Registry { .. } | CacheError::Layout { .. } => cache.give_up(),
            _ => true,
        };
        if is_news {
            self.shared.events.warn(crate::pipeline::describe(error));
        }
    }

    /// Notes where lists of the layers of a cached step can be had.
    pub(super) fn offer<'a>(&self, cache: &Entries, layers: impl IntoIterator<Item = &'a CachedLayer>) {
        let mut offered = lock(&self.shared.offered);
        for layer in layers {
            if let Some(index) = &layer.index {
                offered.entry(layer.layer.diff_id).or_insert_with(|| (cache.clone(), index.clone()));
            }
        }
    }

    /// The blob with what the layer lists, if this cache has offered it.
    pub(super) fn offered_by(&self, place: &CachePlace, diff_id: DiffId) -> Option<Descriptor> {
        let offered = lock(&self.shared.offered);
        offered.get(&diff_id).filter(|(cache, _)| cache.place() == place).map(|(_, blob)| blob.clone())
    }

    /// What the layer lists, if that is known at first hand.
    pub(super) fn known_index(&self, diff_id: DiffId) -> Result<Option<Arc<LayerIndex>>, StoreError> {
        if lock(&self.shared.borrowed).contains(&diff_id) {
            return Ok(None);
        }
        if let Some(index) = self.slot(diff_id).known() {
            return Ok(Some(index));
        }
        Ok(self.shared.store.layer_index(diff_id)?.map(Arc::new))
    }

    /// The digest of a file in a layer that was listed before, if its list has digests.
    pub(super) fn content_digest(&self, diff_id: DiffId, offset: u64) -> Option<Digest> {
        self.slot(diff_id).known()?.digests.get(&offset).copied()
    }

    /// Remembers what a layer lists that was just made.
    pub fn keep_index(&self, diff_id: DiffId, index: LayerIndex) -> Result<(), StoreError> {
        self.shared.store.keep_layer_index(diff_id, &index)?;
        self.slot(diff_id).fill(index);
        Ok(())
    }

    fn slot(&self, diff_id: DiffId) -> Arc<Slot> {
        Arc::clone(lock(&self.shared.indexes).entry(diff_id).or_default())
    }
}

/// A layer that will be read, once.
#[derive(Debug)]
pub(super) struct ClaimedTar {
    layers: Layers,
    layer: ImageLayer,
    claim: Option<Claim>,
}

impl ClaimedTar {
    /// The uncompressed tar, as [`Layers::open_tar`] gives it.
    pub(super) fn open(self) -> Result<Box<dyn Read + Send>, LayerError> {
        let tar = self.layers.open_verified(&self.layer)?;
        Ok(match self.claim {
            None => Box::new(tar),
            Some(claim) => Box::new(Indexing::new(tar, self.layers, self.layer.layer.diff_id, claim)),
        })
    }
}

/// `name@sha256:0123456789ab`: enough of a digest to recognise it.
fn shortened(name: &ImageRef) -> String {
    let text = name.to_string();
    match text.split_once("@sha256:") {
        Some((name, hex)) => format!("{name}@{}", &hex[..hex.len().min(12)]),
        None => text,
    }
}

/// Reads a tar whose digest is known before, and fails at its end if it was another one.
struct Verified {
    tar: Option<Hashing<Box<dyn Read + Send>>>,
    expected: DiffId,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tar) = &mut self.tar else { return Ok(0) };
        let count = tar.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let actual = self.tar.take().map(|tar| DiffId(tar.finish().1));
            if actual != Some(self.expected) {
                let expected = self.expected;
                return Err(io::Error::other(format!(
                    "the uncompressed layer is not {expected}, as the config says"
                )));
            }
        }
        Ok(count)
    }
}

/// Makes a layer's index from the bytes that another one reads.
struct Indexing {
    tar: Verified,
    layers: Layers,
    diff_id: DiffId,
    /// Until the end of the layer.
    listing: Option<(Claim, Listing)>,
}

impl Indexing {
    fn new(tar: Verified, layers: Layers, diff_id: DiffId, claim: Claim) -> Self {
        Self { tar, layers, diff_id, listing: Some((claim, Listing::begin(FileDigests::Omitted))) }
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some((claim, listing)) = self.listing.take() else { return Ok(()) };
        let index = listing.finish().map_err(io::Error::other)?;
        self.layers.shared.store.keep_layer_index(self.diff_id, &index).map_err(io::Error::other)?;
        claim.fulfil(index);
        Ok(())
    }
}

impl Read for Indexing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.finish()?;
            return Ok(0);
        }
        if self.listing.as_ref().is_some_and(|(_, listing)| !listing.take(&buffer[..count])) {
            self.finish()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_tar_is_noticed_at_its_end() {
        let expected = DiffId(Digest::of("right"));
        for (text, is_right) in [("right", true), ("wrong", false)] {
            let tar: Box<dyn Read + Send> = Box::new(io::Cursor::new(text));
            let mut verified = Verified { tar: Some(Hashing::new(tar)), expected };
            assert_eq!(verified.read_to_end(&mut Vec::new()).is_ok(), is_right);
        }
    }
}
