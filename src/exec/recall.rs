//! What earlier builds have left of the steps of a graph: asked for at once, before anything is carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::layers::{ImageLayer, Layers, Origin};
use super::result::FileSystem;
use crate::cache::{CachePlace, CachedLayer, CachedStep};
use crate::graph::{Graph, StepId};
use crate::image::{Layer, Time};
use crate::layer::Digest;
use crate::store::StoreError;

/// What the store keeps of a step that was carried out: the layers above the base, lowest first; the last is the
/// step's own. They belong together: what a RUN made depends on what it found, so whoever uses the result of a step
/// that was found by its definition uses the layers that were below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepRecord {
    pub(super) layers: Vec<MadeLayer>,
}

/// A layer that a build made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeLayer {
    #[serde(flatten)]
    pub(super) layer: Layer,
    pub(super) created: Time,
}

impl StepRecord {
    pub(super) fn of(result: &FileSystem) -> Self {
        let made = result.made().into_iter();
        Self { layers: made.map(|(layer, created)| MadeLayer { layer: layer.layer, created }).collect() }
    }
}

/// Where a result was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundIn {
    /// In the store.
    Store,
    /// In a cache.
    Cache(CachePlace),
}

/// A result of an earlier build.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The layers above the base, lowest first.
    pub(super) layers: Vec<(ImageLayer, Time)>,
    pub(super) place: FoundIn,
}

impl Found {
    /// The step's own layer.
    pub(super) fn into_last(self) -> Option<((ImageLayer, Time), FoundIn)> {
        let Self { mut layers, place } = self;
        layers.pop().map(|last| (last, place))
    }
}

/// When results were made that are still used.
#[derive(Debug, Clone, Default)]
pub struct Ages {
    /// Nothing that was made earlier is used.
    pub oldest: Option<Time>,
    /// Nothing from these caches that was made earlier.
    pub oldest_in_caches: BTreeMap<CachePlace, Time>,
}

impl Ages {
    /// Whether something that was made at these times and is here may be used.
    fn permit(&self, place: &FoundIn, mut made: impl Iterator<Item = Time>) -> bool {
        let in_cache = match place {
            FoundIn::Store => None,
            FoundIn::Cache(place) => self.oldest_in_caches.get(place),
        };
        made.all(|time| [self.oldest.as_ref(), in_cache].into_iter().flatten().all(|oldest| time >= *oldest))
    }
}

/// How many of the layers of a record are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// All: it was found by a definition, and there are so many.
    All(usize),
    /// The last: it was found by what its inputs came to, and these are at hand.
    Last,
}

/// What the store has under this key.
pub(super) fn in_store(
    layers: &Layers,
    key: Digest,
    needed: Needed,
    ages: &Ages,
) -> Result<Option<Found>, StoreError> {
    let store = layers.store();
    let Some(record) = store.step::<StepRecord>(key)? else { return Ok(None) };
    let Some(made) = cut(record.layers, needed) else { return Ok(None) };
    if !ages.permit(&FoundIn::Store, made.iter().map(|made| made.created)) {
        return Ok(None);
    }
    for made in &made {
        if !store.use_blob(&made.layer.descriptor)? {
            return Ok(None);
        }
    }
    let layers = made
        .into_iter()
        .map(|made| (ImageLayer { layer: made.layer, origin: Origin::Store }, made.created))
        .collect();
    Ok(Some(Found { layers, place: FoundIn::Store }))
}

/// What the first cache that has something has under this key.
pub(super) async fn in_caches(layers: &Layers, key: Digest, needed: Needed, ages: &Ages) -> Option<Found> {
    for cache in layers.caches().iter().filter(|cache| !cache.is_given_up()) {
        let found = match cache.step(key).await {
            Ok(found) => found,
            Err(error) => {
                layers.complain_about(cache, &error);
                continue;
            }
        };
        let Some(CachedStep { layers: found }) = found else { continue };
        let Some(found) = cut(found, needed) else { continue };
        let place = FoundIn::Cache(cache.place().clone());
        if !ages.permit(&place, found.iter().map(|layer| layer.created)) {
            continue;
        }
        layers.offer(cache, &found);
        let origin = Origin::from(cache.place());
        let layers = found
            .into_iter()
            .map(|CachedLayer { layer, created, .. }| (ImageLayer { layer, origin: origin.clone() }, created))
            .collect();
        return Some(Found { layers, place });
    }
    None
}

fn cut<T>(mut layers: Vec<T>, needed: Needed) -> Option<Vec<T>> {
    match needed {
        Needed::All(count) => (layers.len() == count).then_some(layers),
        Needed::Last => layers.pop().map(|last| vec![last]),
    }
}

/// What is known of the steps of a graph.
#[derive(Debug)]
pub(super) struct Recalled {
    /// The result of each step of which one is known.
    pub(super) known: Vec<Option<Arc<FileSystem>>>,
    /// Where it was found; also for the steps below one that was found, which need not be looked for.
    pub(super) places: Vec<Option<FoundIn>>,
    /// The known results that the image consists of, the base first; empty if none is known.
    pub(super) image: Vec<Arc<FileSystem>>,
}

impl Recalled {
    /// Puts together what was found, the last steps first: what they stand on comes with them.
    pub(super) fn new(graph: &Graph, roots: &[Option<Arc<FileSystem>>], found: &[Option<Found>]) -> Self {
        let mut known: Vec<Option<Arc<FileSystem>>> = vec![None; graph.steps.len()];
        let mut places: Vec<Option<FoundIn>> = vec![None; graph.steps.len()];
        for id in StepId::all(graph).rev() {
            let Some(hit) = &found[id.position()] else { continue };
            if known[id.position()].is_some() {
                continue;
            }
            let chain = graph.chain(id);
            let Some((root, made)) = chain.split_first() else { continue };
            let Some(mut at) = roots[root.position()].clone() else { continue };
            for (step, (layer, created)) in made.iter().zip(&hit.layers) {
                at = Arc::new(FileSystem::on_top(at, layer.clone(), *created));
                known[step.position()].get_or_insert_with(|| Arc::clone(&at));
                places[step.position()].get_or_insert_with(|| hit.place.clone());
            }
        }
        let chain = graph.chain(graph.result);
        let top = chain.iter().rev().find_map(|id| known[id.position()].as_ref());
        let image = top.map(FileSystem::chain).unwrap_or_default();
        Self { known, places, image }
    }

    /// Which steps' results the image needs: neither those below a known result, nor the inputs of one.
    pub(super) fn demanded(&self, graph: &Graph) -> Vec<bool> {
        let mut demanded = vec![false; graph.steps.len()];
        let mut pending = vec![graph.result];
        while let Some(id) = pending.pop() {
            if std::mem::replace(&mut demanded[id.position()], true) || self.known[id.position()].is_some() {
                continue;
            }
            pending.extend(graph.step(id).operation.inputs());
        }
        demanded
    }
}

/// Asks the caches for all these steps at once.
pub(super) async fn ask_caches(
    layers: &Layers,
    wanted: Vec<(StepId, Digest, Needed)>,
    ages: &Ages,
) -> Vec<(StepId, Found)> {
    // Stages that begin alike have steps in common.
    let mut keys: BTreeMap<Digest, (Needed, Vec<StepId>)> = BTreeMap::new();
    for (id, key, needed) in wanted {
        keys.entry(key).or_insert((needed, Vec::new())).1.push(id);
    }
    let asked = keys.into_iter().map(|(key, (needed, ids))| async move {
        let found = in_caches(layers, key, needed, ages).await;
        ids.into_iter().filter_map(|id| Some((id, found.clone()?))).collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}
