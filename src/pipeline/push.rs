//! Pushing: layers while the build goes on, then configs, then manifests, then names.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::BuildError;
use super::image::WholeImage;
use crate::event::{ActivityKind, Events};
use crate::exec::{ImageLayer, Layers, Origin, Solution};
use crate::graph::Graph;
use crate::image::{Descriptor, ImageRef, RepoName};
use crate::registry::{BlobSource, ByteStream, RegistryError, Repository, Uploaded};
use crate::request::{BuildRequest, Output};

/// The pushes of one build.
pub(super) struct Pushes {
    tags: Vec<ImageRef>,
    repositories: Vec<Repository>,
    layers: Layers,
    events: Events,
    /// Layers on their way. Dropping aborts them.
    running: Vec<Sending>,
}

struct Sending(JoinHandle<Result<(), BuildError>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pushes {
    /// Opens the repositories of the tags, if the image is to be pushed.
    pub(super) fn begin(
        request: &BuildRequest,
        layers: &Layers,
        events: &Events,
    ) -> Result<Self, BuildError> {
        let tags = if request.outputs.contains(&Output::Push) { request.tags.clone() } else { Vec::new() };
        let names: BTreeSet<&RepoName> = tags.iter().map(ImageRef::repository).collect();
        let repositories = names
            .into_iter()
            .map(|name| layers.registries().repository(name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { tags, repositories, layers: layers.clone(), events: events.clone(), running: Vec::new() })
    }

    /// Sends each layer of the image as soon as its step is done.
    pub(super) fn follow(&mut self, graph: &Graph, solutions: &[Solution]) {
        for step in graph.chain(graph.result) {
            for repository in &self.repositories {
                let solution = solutions[step.position()].clone();
                let (repository, layers, events) =
                    (repository.clone(), self.layers.clone(), self.events.clone());
                self.running.push(Sending(tokio::spawn(async move {
                    // A step that fails is reported by who waits for the image.
                    let Ok(solved) = solution.await else { return Ok(()) };
                    let sent = solved
                        .own_layers()
                        .iter()
                        .map(|layer| send_layer(&repository, layer, &layers, &events));
                    futures_util::future::try_join_all(sent).await.map(|_| ())
                })));
            }
        }
    }

    /// Waits for the layers, then sends what names them, and last the tags.
    pub(super) async fn finish(mut self, image: &WholeImage) -> Result<Vec<ImageRef>, BuildError> {
        if self.tags.is_empty() {
            return Ok(Vec::new());
        }
        for sending in &mut self.running {
            (&mut sending.0).await??;
        }
        let documents = self.repositories.iter().map(|repository| send_documents(repository, image));
        futures_util::future::try_join_all(documents).await?;
        let named = self.tags.iter().map(|tag| self.name(tag, image));
        futures_util::future::try_join_all(named).await?;
        Ok(self.tags.iter().map(|tag| tag.with_digest(image.descriptor.digest)).collect())
    }

    async fn name(&self, tag: &ImageRef, image: &WholeImage) -> Result<(), BuildError> {
        let Some(repository) = self.repositories.iter().find(|found| found.name() == tag.repository()) else {
            return Ok(());
        };
        let activity = self.events.begin(ActivityKind::Push, format!("push {tag}"));
        let bytes = image.index.as_ref().unwrap_or(&image.platforms[0].manifest_bytes);
        repository
            .put_manifest(&tag.selector(), &image.descriptor.media_type, Bytes::from(bytes.clone()))
            .await?;
        activity.done();
        Ok(())
    }
}

/// Sends the configs, and the manifests that an index names.
async fn send_documents(repository: &Repository, image: &WholeImage) -> Result<(), RegistryError> {
    for platform in &image.platforms {
        let config = Bytes::from(platform.config.clone());
        repository.upload(&platform.manifest.config, config, &[]).await?;
        if image.index.is_some() {
            let descriptor: Descriptor = platform.descriptor();
            let bytes = Bytes::from(platform.manifest_bytes.clone());
            repository.put_manifest(&descriptor.digest.to_string(), &descriptor.media_type, bytes).await?;
        }
    }
    Ok(())
}

/// Makes sure that the repository has a layer: it may have it, take it from a neighbour, or be sent it.
async fn send_layer(
    repository: &Repository,
    layer: &ImageLayer,
    layers: &Layers,
    events: &Events,
) -> Result<(), BuildError> {
    let descriptor = &layer.layer.descriptor;
    let hex = descriptor.digest.hex();
    let activity =
        events.begin(ActivityKind::Push, format!("push layer {} to {}", &hex[..12], repository.name()));
    let neighbours = match &layer.origin {
        Origin::Registry(name) => vec![name.clone()],
        _ => Vec::new(),
    };
    // Bytes that neither side needs are never moved: the blob is fetched only when it has to be sent.
    let blob = LazyBlob { layers: layers.clone(), layer: layer.clone() };
    match repository.upload(descriptor, blob, &neighbours).await? {
        Uploaded::AlreadyThere | Uploaded::Mounted => activity.cached(),
        Uploaded::Sent => activity.done(),
    }
    Ok(())
}

/// A layer's blob, fetched into the store when the first byte of it is asked for.
struct LazyBlob {
    layers: Layers,
    layer: ImageLayer,
}

impl BlobSource for LazyBlob {
    async fn open(&self, offset: u64, length: u64) -> io::Result<ByteStream> {
        let (layers, layer) = (self.layers.clone(), self.layer.clone());
        let path = tokio::task::spawn_blocking(move || layers.complete_blob(&layer)).await?;
        path.map_err(io::Error::other)?.open(offset, length).await
    }
}
