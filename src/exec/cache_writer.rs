//! Putting results into a cache while the build goes on.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinSet;

use super::layer_blob::LayerBlob;
use super::layers::{ImageLayer, Layers, Origin};
use super::result::FileSystem;
use crate::cache::{CacheError, CachePlace, CachedLayer, CachedStep, CachedSteps, Entries};
use crate::image::RepoName;
use crate::layer::Digest;
use crate::registry::KnownPlaces;
use crate::store::StoreError;

/// Writes to one cache. What goes wrong is a warning: the build needs none of it.
#[derive(Debug, Clone)]
pub struct CacheWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    entries: Entries,
    steps: CachedSteps,
    layers: Layers,
    known: KnownPlaces,
    /// What is being written. Dropping aborts it.
    tasks: Mutex<JoinSet<()>>,
}

/// Where a result came from that is to be in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It was made just now.
    New,
    /// It may be there already.
    Old,
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] super::layers::LayerError),
    #[error(transparent)]
    Worker(#[from] tokio::task::JoinError),
}

impl CacheWriter {
    /// Writes to `entries`; `known` is what the build has put where.
    pub fn new(entries: Entries, steps: CachedSteps, layers: &Layers, known: &KnownPlaces) -> Self {
        let (layers, known, tasks) = (layers.clone(), known.clone(), Mutex::default());
        Self { shared: Arc::new(Shared { entries, steps, layers, known, tasks }) }
    }

    /// Where the cache is.
    pub(super) fn place(&self) -> &CachePlace {
        self.shared.entries.place()
    }

    /// Begins to write the result of a step under its keys.
    pub(super) fn write(&self, is_run: bool, result: &Arc<FileSystem>, keys: Vec<Digest>, novelty: Novelty) {
        if self.shared.steps == CachedSteps::Runs && !is_run {
            return;
        }
        let (shared, result) = (Arc::clone(&self.shared), Arc::clone(result));
        self.spawn(async move {
            let written = shared.write_step(&result, &keys, novelty).await;
            shared.report(written);
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn_on(task, self.shared.layers.runtime());
    }

    /// Writes what the layers of base images list, and waits until all is written.
    pub async fn finish(&self, bases: impl IntoIterator<Item = ImageLayer>) {
        let trees = bases.into_iter().map(|layer| async move {
            let written = self.shared.write_tree(&layer).await;
            self.shared.report(written);
        });
        join_all(trees).await;
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // A task that panicked has said so.
        tasks.join_all().await;
    }
}

impl Shared {
    async fn write_step(
        &self,
        result: &FileSystem,
        keys: &[Digest],
        novelty: Novelty,
    ) -> Result<(), WriteError> {
        if self.entries.is_given_up() {
            return Ok(());
        }
        let mut missing = keys.to_vec();
        if novelty == Novelty::Old {
            missing.clear();
            for key in keys {
                if !self.entries.has_step(*key).await? {
                    missing.push(*key);
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let made = result.made();
        let layers = made.iter().map(|(layer, created)| async move {
            self.write_layer(layer).await?;
            let index = self.write_list(layer).await?;
            Ok::<_, WriteError>(CachedLayer { layer: layer.layer.clone(), created: *created, index })
        });
        let step = CachedStep { layers: try_join_all(layers).await? };
        let layers = self.layers.clone();
        let locate = move |digest| layers.store().blob_path(digest);
        Ok(self.entries.put_step(&step, &missing, &self.known, locate).await?)
    }

    async fn write_layer(&self, layer: &ImageLayer) -> Result<(), WriteError> {
        if layer.origin == Origin::from(self.entries.place()) {
            return Ok(());
        }
        if let CachePlace::Layout(_) = self.entries.place() {
            let (layers, layer) = (self.layers.clone(), layer.clone());
            tokio::task::spawn_blocking(move || layers.complete_blob(&layer)).await??;
            return Ok(());
        }
        let neighbours: Vec<RepoName> = match &layer.origin {
            Origin::Registry(name) => vec![name.clone()],
            Origin::Store | Origin::Layout(_) => Vec::new(),
        };
        let blob = LayerBlob::new(&self.layers, layer);
        Ok(self.entries.put_blob(&layer.layer.descriptor, blob, &self.known, &neighbours).await?)
    }

    /// Puts what a layer lists into the cache, if that is known at first hand.
    async fn write_list(&self, layer: &ImageLayer) -> Result<Option<crate::image::Descriptor>, WriteError> {
        let diff_id = layer.layer.diff_id;
        if let Some(offered) = self.layers.offered_by(self.entries.place(), diff_id) {
            return Ok(Some(offered));
        }
        let (layers, entries) = (self.layers.clone(), self.entries.clone());
        let encoded = tokio::task::spawn_blocking(move || -> Result<_, WriteError> {
            let Some(index) = layers.known_index(diff_id)? else { return Ok(None) };
            let (blob, bytes) = entries.encode(diff_id, &index)?;
            if let CachePlace::Layout(_) = entries.place() {
                layers.store().put_blob(&bytes)?;
            }
            Ok(Some((blob, bytes)))
        });
        let Some((blob, bytes)): Option<(_, Bytes)> = encoded.await?? else { return Ok(None) };
        self.entries.put_blob(&blob, bytes, &self.known, &[]).await?;
        Ok(Some(blob))
    }

    async fn write_tree(&self, layer: &ImageLayer) -> Result<(), WriteError> {
        let diff_id = layer.layer.diff_id;
        let is_known = {
            let layers = self.layers.clone();
            tokio::task::spawn_blocking(move || layers.known_index(diff_id)).await??.is_some()
        };
        if self.entries.is_given_up() || !is_known || self.entries.has_tree(diff_id).await? {
            return Ok(());
        }
        let Some(index) = self.write_list(layer).await? else { return Ok(()) };
        let layers = self.layers.clone();
        let locate = move |digest| layers.store().blob_path(digest);
        Ok(self.entries.put_tree(diff_id, index, &self.known, locate).await?)
    }

    fn report(&self, written: Result<(), WriteError>) {
        match written {
            Ok(()) => {}
            Err(WriteError::Cache(error)) => self.layers.complain_about(&self.entries, &error),
            Err(error) => {
                let text = format!("the cache {} is not written: ", self.entries.place());
                self.layers.events().warn(text + &crate::pipeline::describe(&error));
            }
        }
    }
}
