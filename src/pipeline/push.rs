//! Pushing: layers while the build goes on, then configs, then manifests, then names.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use super::BuildError;
use super::image::WholeImage;
use crate::event::{ActivityKind, Events};
use crate::exec::{ImageLayer, LayerBlob, Layers, Origin, Solutions};
use crate::image::{Descriptor, ImageRef, RepoName};
use crate::registry::{KnownPlaces, RegistryError, Repository, Uploaded};
use crate::request::{BuildRequest, Output};

/// The pushes of one build.
pub(super) struct Pushes {
    tags: Vec<ImageRef>,
    repositories: Vec<Repository>,
    layers: Layers,
    events: Events,
    known: KnownPlaces,
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
        Ok(Self { tags, repositories, layers, events, known, running: JoinSet::new() })
    }

    /// Sends each layer of the image as soon as its step is done.
    pub(super) fn follow(&mut self, solutions: &Solutions) {
        for repository in &self.repositories {
            for solution in &solutions.image {
                let (repository, solution) = (repository.clone(), solution.clone());
                let (layers, events, known) = (self.layers.clone(), self.events.clone(), self.known.clone());
                self.running.spawn(async move {
                    // A step that fails is reported by who waits for the image.
                    let Ok(solved) = solution.await else { return Ok(()) };
                    let sent = solved
                        .own_layers()
                        .iter()
                        .map(|layer| send_layer(&repository, layer, &layers, &events, &known));
                    try_join_all(sent).await.map(|_| ())
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
        let documents =
            self.repositories.iter().map(|repository| send_documents(repository, image, &self.known));
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
        let activity = self.events.begin(ActivityKind::Push, format!("push {tag}"));
        let bytes = image.index.as_ref().unwrap_or(&image.platforms[0].manifest_bytes);
        let bytes = Bytes::from(bytes.clone());
        let put = repository.put_manifest(&tag.selector(), &image.descriptor.media_type, bytes).await;
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
