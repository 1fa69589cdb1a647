//! The caches of a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::BuildError;
use crate::cache::{CachePlace, Entries};
use crate::exec::{Ages, CacheWriter, Clock, ImageLayer, Layers, Origin};
use crate::graph::{BaseSource, Bases};
use crate::registry::{KnownPlaces, Registries};
use crate::request::BuildRequest;

/// Those that are asked.
pub(super) fn sources(request: &BuildRequest, registries: &Registries) -> Result<Vec<Entries>, BuildError> {
    let places = request.cache_from.iter().map(|source| &source.place);
    // Offline, no registry is asked for anything.
    let places = places.filter(|place| !request.offline || matches!(place, CachePlace::Layout(_)));
    places.map(|place| Ok(Entries::open(place.clone(), registries)?)).collect()
}

/// Those that are written to.
pub(super) fn writers(
    request: &BuildRequest,
    layers: &Layers,
    known: &KnownPlaces,
) -> Result<Vec<CacheWriter>, BuildError> {
    let targets = request
        .cache_to
        .iter()
        .filter(|target| !request.offline || matches!(target.place, CachePlace::Layout(_)));
    targets
        .map(|target| {
            let entries = Entries::open(target.place.clone(), layers.registries())?;
            Ok(CacheWriter::new(entries, target.steps, layers, known))
        })
        .collect()
}

/// Which results are too old, by the clock that also says when they were made.
pub(super) fn ages(request: &BuildRequest, clock: Clock) -> Ages {
    let limited = request.cache_from.iter();
    Ages {
        oldest: request.max_cache_age.and_then(|age| clock.before(age)),
        oldest_in_caches: limited
            .filter_map(|source| Some((source.place.clone(), clock.before(source.max_age?)?)))
            .collect(),
    }
}

/// Waits until all is written, the lists of the base images' layers too.
pub(super) async fn finish(writers: &[CacheWriter], bases: &[Arc<Bases>]) {
    let mut layers = BTreeMap::new();
    for (request, base) in bases.iter().flat_map(|bases| bases.iter()) {
        let origin = match &request.source {
            BaseSource::Registry(image) => Origin::Registry(image.repository().clone()),
            BaseSource::Layout { path, .. } => Origin::Layout(path.clone()),
        };
        for layer in &base.layers {
            let layer = ImageLayer { layer: layer.clone(), origin: origin.clone() };
            layers.insert(layer.layer.diff_id, layer);
        }
    }
    join_all(writers.iter().map(|writer| writer.finish(layers.values().cloned()))).await;
}
