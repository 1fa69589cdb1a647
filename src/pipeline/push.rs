//! Pushing: layers while the build goes on, then configs, then manifests, then names.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use super::BuildError;
use super::image::WholeImage;
use super::retry;
use crate::event::{ActivityKind, Events, Subject};
use crate::exec::{ImageLayer, Layers, Origin, Solution};
use crate::graph::Graph;
use crate::image::{Descriptor, ImageRef, RepoName};
use crate::registry::{BlobSource, ByteStream, RegistryError, Repository, Uploaded};
use crate::request::{BuildRequest, Output, PushPolicy};

/// The pushes of one build.
pub(super) struct Pushes {
    tags: Vec<ImageRef>,
    /// Those of one registry stand together.
    repositories: Vec<Repository>,
    layers: Layers,
    events: Events,
    policy: PushPolicy,
    /// Layers on their way. Dropping aborts them.
    running: JoinSet<Result<(), BuildError>>,
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
        let (layers, events, running) = (layers.clone(), events.clone(), JoinSet::new());
        Ok(Self { tags, repositories, layers, events, policy: request.push, running })
    }

    /// Finds out whether pushing is allowed, where the request wants to know that first.
    pub(super) async fn check(&self) -> Result<(), BuildError> {
        if !self.policy.check_first {
            return Ok(());
        }
        let checks = self.repositories.iter().map(|repository| async move {
            repository.check_push().await.map_err(|source| BuildError::PushForbidden {
                repository: repository.name().clone(),
                source: Box::new(source),
            })
        });
        try_join_all(checks).await.map(|_| ())
    }

    /// Sends each layer of the image as soon as its step is done; only the base's, if the others will become one.
    pub(super) fn follow(&mut self, graph: &Graph, solutions: &[Solution], single_layer: bool) {
        let steps = graph.chain(graph.result);
        for step in steps.into_iter().take(if single_layer { 1 } else { usize::MAX }) {
            for repositories in self.repositories.chunk_by(of_one_registry) {
                let solution = solutions[step.position()].clone();
                let repositories = repositories.to_vec();
                let (layers, events) = (self.layers.clone(), self.events.clone());
                let retries = self.policy.retries;
                self.running.spawn(async move {
                    // A step that fails is reported by who waits for the image.
                    let Ok(solved) = solution.await else { return Ok(()) };
                    let sent = solved
                        .own_layers()
                        .iter()
                        .map(|layer| spread_persistently(retries, &repositories, layer, &layers, &events));
                    try_join_all(sent).await.map(|_| ())
                });
            }
        }
    }

    /// Sends layers that belong to no step.
    pub(super) fn send(&mut self, made: &[ImageLayer]) {
        for layer in made {
            for repositories in self.repositories.chunk_by(of_one_registry) {
                let (repositories, layer) = (repositories.to_vec(), layer.clone());
                let (layers, events) = (self.layers.clone(), self.events.clone());
                let retries = self.policy.retries;
                self.running.spawn(async move {
                    spread_persistently(retries, &repositories, &layer, &layers, &events).await
                });
            }
        }
    }

    /// Waits for the first push that fails; forever, if all go well.
    pub(super) async fn failure(&mut self) -> BuildError {
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(error) => return error.into(),
            }
        }
        std::future::pending().await
    }

    /// Waits for the layers, then sends what names them.
    pub(super) async fn complete(&mut self, image: &WholeImage) -> Result<(), BuildError> {
        while let Some(ended) = self.running.join_next().await {
            ended??;
        }
        let documents = self
            .repositories
            .iter()
            .map(|repository| retry::persist(self.policy.retries, || send_documents(repository, image)));
        try_join_all(documents).await?;
        Ok(())
    }

    /// Gives the image its tags, after which others find it.
    pub(super) async fn name(&self, image: &WholeImage) -> Result<Vec<ImageRef>, BuildError> {
        try_join_all(self.tags.iter().map(|tag| self.put_tag(tag, image))).await?;
        Ok(self.tags.iter().map(|tag| tag.with_digest(image.descriptor.digest)).collect())
    }

    async fn put_tag(&self, tag: &ImageRef, image: &WholeImage) -> Result<(), BuildError> {
        let Some(repository) = self.repositories.iter().find(|found| found.name() == tag.repository()) else {
            return Ok(());
        };
        let pinned = ImageRef::by_digest(tag.repository().clone(), image.descriptor.digest).to_string();
        let subject = Subject::Destination { image: tag.to_string(), pinned };
        let activity = self.events.begin_about(subject, ActivityKind::Push, format!("push {tag}"));
        let bytes = image.index.as_ref().unwrap_or(&image.platforms[0].manifest_bytes);
        let bytes = Bytes::from(bytes.clone());
        let put = retry::persist(self.policy.retries, || async {
            let selector = tag.selector();
            match repository.put_manifest(&selector, &image.descriptor.media_type, bytes.clone()).await {
                Err(error) if self.policy.accept_immutable_tags && error.is_immutable_tag() => {
                    self.events.note(format!("Immutable tag error ignored for {tag}"));
                    Ok(())
                }
                put => put.map(|_| ()),
            }
        });
        let put = put.await;
        activity.end_with(&put);
        put?;
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

fn of_one_registry(a: &Repository, b: &Repository) -> bool {
    a.name().registry() == b.name().registry()
}

/// [`spread_layer`], again where it failed.
async fn spread_persistently(
    retries: u32,
    repositories: &[Repository],
    layer: &ImageLayer,
    layers: &Layers,
    events: &Events,
) -> Result<(), BuildError> {
    retry::persist(retries, || spread_layer(repositories, layer, layers, events)).await
}

/// Makes sure that the repositories, all of one registry, have a layer: one is sent it, the others take it from there.
async fn spread_layer(
    repositories: &[Repository],
    layer: &ImageLayer,
    layers: &Layers,
    events: &Events,
) -> Result<(), BuildError> {
    let Some((first, others)) = repositories.split_first() else { return Ok(()) };
    let mut neighbours = match &layer.origin {
        Origin::Registry(name) => layers.registries().names(name),
        Origin::Store | Origin::Layout(_) => Vec::new(),
    };
    send_layer(first, layer, &neighbours, layers, events).await?;
    neighbours.insert(0, first.name().clone());
    let sent = others.iter().map(|other| send_layer(other, layer, &neighbours, layers, events));
    try_join_all(sent).await.map(|_| ())
}

/// Makes sure that the repository has a layer: it may have it, take it from a neighbour, or be sent it.
async fn send_layer(
    repository: &Repository,
    layer: &ImageLayer,
    neighbours: &[RepoName],
    layers: &Layers,
    events: &Events,
) -> Result<(), BuildError> {
    let descriptor = &layer.layer.descriptor;
    let hex = descriptor.digest.hex();
    let activity =
        events.begin(ActivityKind::Push, format!("push layer {} to {}", &hex[..12], repository.name()));
    // Bytes that neither side needs are never moved: the blob is fetched only when it has to be sent.
    let blob = LazyBlob { layers: layers.clone(), layer: layer.clone() };
    match repository.upload(descriptor, blob, neighbours).await {
        Ok(Uploaded::AlreadyThere | Uploaded::Mounted) => activity.cached(),
        Ok(Uploaded::Sent) => activity.done(),
        Err(error) => {
            activity.failed();
            return Err(error.into());
        }
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
