//! Pushing: layers while the build goes on, then configs, then manifests, then names.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use super::BuildError;
use super::image::WholeImage;
use super::retry;
use crate::event::{ActivityKind, Events, Subject};
use crate::exec::{ImageLayer, LayerBlob, Layers, Origin, Solutions};
use crate::image::{Descriptor, ImageRef, RepoName};
use crate::registry::{KnownPlaces, RegistryError, Repository, Uploaded};
use crate::request::{BuildRequest, Output, PushPolicy};

/// The pushes of one build.
pub(super) struct Pushes {
    tags: Vec<ImageRef>,
    repositories: Vec<Repository>,
    layers: Layers,
    events: Events,
    known: KnownPlaces,
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
        known: &KnownPlaces,
    ) -> Result<Self, BuildError> {
        let tags = if request.outputs.contains(&Output::Push) { request.tags.clone() } else { Vec::new() };
        let names: BTreeSet<&RepoName> = tags.iter().map(ImageRef::repository).collect();
        let repositories = names
            .into_iter()
            .map(|name| layers.registries().repository(name))
            .collect::<Result<Vec<_>, _>>()?;
        let (layers, events, known) = (layers.clone(), events.clone(), known.clone());
        Ok(Self { tags, repositories, layers, events, known, policy: request.push, running: JoinSet::new() })
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
    pub(super) fn follow(&mut self, solutions: &Solutions, single_layer: bool) {
        for repository in &self.repositories {
            for solution in solutions.image.iter().take(if single_layer { 1 } else { usize::MAX }) {
                let (repository, solution) = (repository.clone(), solution.clone());
                let (layers, events, known) = (self.layers.clone(), self.events.clone(), self.known.clone());
                let retries = self.policy.retries;
                self.running.spawn(async move {
                    // A step that fails is reported by who waits for the image.
                    let Ok(solved) = solution.await else { return Ok(()) };
                    let sent = solved.own_layers().iter().map(|layer| {
                        send_persistently(retries, &repository, layer, &layers, &events, &known)
                    });
                    try_join_all(sent).await.map(|_| ())
                });
            }
        }
    }

    /// Sends layers that belong to no step.
    pub(super) fn send(&mut self, made: &[ImageLayer]) {
        for layer in made {
            for repository in &self.repositories {
                let (repository, layer) = (repository.clone(), layer.clone());
                let (layers, events, known) = (self.layers.clone(), self.events.clone(), self.known.clone());
                let retries = self.policy.retries;
                self.running.spawn(async move {
                    send_persistently(retries, &repository, &layer, &layers, &events, &known).await
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
        let documents = self.repositories.iter().map(|repository| {
            retry::persist(self.policy.retries, || send_documents(repository, image, &self.known))
        });
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
async fn send_documents(
    repository: &Repository,
    image: &WholeImage,
    known: &KnownPlaces,
) -> Result<(), RegistryError> {
    for platform in &image.platforms {
        let config = Bytes::from(platform.config.clone());
        known.upload(repository, &platform.manifest.config, config, &[]).await?;
        if image.index.is_some() {
            let descriptor: Descriptor = platform.descriptor();
            let bytes = Bytes::from(platform.manifest_bytes.clone());
            repository.put_manifest(&descriptor.digest.to_string(), &descriptor.media_type, bytes).await?;
        }
    }
    Ok(())
}

/// [`send_layer`], again where it failed.
async fn send_persistently(
    retries: u32,
    repository: &Repository,
    layer: &ImageLayer,
    layers: &Layers,
    events: &Events,
    known: &KnownPlaces,
) -> Result<(), BuildError> {
    retry::persist(retries, || send_layer(repository, layer, layers, events, known)).await
}

/// Makes sure that the repository has a layer: it may have it, take it from a neighbour, or be sent it.
async fn send_layer(
    repository: &Repository,
    layer: &ImageLayer,
    layers: &Layers,
    events: &Events,
    known: &KnownPlaces,
) -> Result<(), BuildError> {
    let descriptor = &layer.layer.descriptor;
    let hex = descriptor.digest.hex();
    let activity =
        events.begin(ActivityKind::Push, format!("push layer {} to {}", &hex[..12], repository.name()));
    let neighbours = match &layer.origin {
        Origin::Registry(name) => layers.registries().names(name),
        Origin::Store | Origin::Layout(_) => Vec::new(),
    };
    // Bytes that neither side needs are never moved: the blob is fetched only when it has to be sent.
    let blob = LayerBlob::new(layers, layer);
    match known.upload(repository, descriptor, blob, &neighbours).await {
        Ok(Uploaded::AlreadyThere | Uploaded::Mounted) => activity.cached(),
        Ok(Uploaded::Sent) => activity.done(),
        Err(error) => {
            activity.failed();
            return Err(error.into());
        }
    }
    Ok(())
}
