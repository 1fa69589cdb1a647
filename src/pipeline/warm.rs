//! Fetching images before they are needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inputs::{FetchedMain, Inputs};
use super::{BuildError, Environment, Resolver, plan_graph};
use crate::exec::{ImageLayer, Layers, Origin};
use crate::graph::{BaseRequest, BaseSource};
use crate::image::{ImageRef, Platform};
use crate::registry::Registries;
use crate::request::{BuildRequest, DockerfileSource};
use crate::store::Store;

/// Fetches images, and those that the stages of the request's Dockerfile begin with if it names one, into the request's
/// store. Gives what came of each.
pub async fn warm(
    request: &BuildRequest,
    images: &[ImageRef],
    environment: Environment,
) -> Result<Vec<(BaseSource, Result<(), BuildError>)>, BuildError> {
    let Environment { credentials, events, .. } = environment;
    let store = Arc::new(Store::open(&request.store)?);
    let registries = Registries::new(request.registry_settings(), credentials)?;
    let layers = Layers::new(store, registries, events.clone(), request.encoding);
    let resolver = Resolver::new(&layers, &events, request);
    let platform = request.platforms.first().cloned().unwrap_or_else(Platform::host);
    let mut wanted: BTreeSet<BaseRequest> = images
        .iter()
        .map(|image| BaseRequest { source: BaseSource::Registry(image.clone()), platform: platform.clone() })
        .collect();
    if !matches!(request.dockerfile, DockerfileSource::InContext) {
        let request = &BuildRequest { numbered_targets: true, ..request.clone() };
        let inputs = Inputs::read(request, FetchedMain::default(), &events)?;
        for stage in &inputs.dockerfile.stages {
            let target = stage.index.to_string();
            let (_, bases) = plan_graph(request, Some(&target), &inputs, &resolver, &platform).await?;
            wanted.extend(bases.into_keys());
        }
    }
    let mut results = Vec::new();
    for base in wanted {
        let result = fetch(&base, &resolver, &layers).await;
        results.push((base.source, result));
    }
    Ok(results)
}

async fn fetch(base: &BaseRequest, resolver: &Resolver<'_>, layers: &Layers) -> Result<(), BuildError> {
    let found = resolver.resolve(base).await?;
    let BaseSource::Registry(image) = &base.source else { return Ok(()) };
    for layer in found.layers {
        let layer = ImageLayer { layer, origin: Origin::Registry(image.repository().clone()) };
        let layers = layers.clone();
        tokio::task::spawn_blocking(move || layers.complete_blob(&layer).map(|_| ())).await??;
    }
    Ok(())
}
