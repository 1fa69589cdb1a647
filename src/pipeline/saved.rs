//! Pushing an image that was built before.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{BuildError, Environment, retry};
use crate::event::{ActivityKind, Events, Subject};
use crate::image::{ImageRef, SavedImage};
use crate::registry::{Registries, RegistrySettings, Repository};
use crate::request::PushPolicy;

/// What is pushed, and where to.
#[derive(Debug, Clone, Copy)]
pub struct PushSaved<'a> {
    /// The image.
    pub image: &'a SavedImage,
    /// Its names.
    pub names: &'a [ImageRef],
    /// How registries are reached.
    pub settings: &'a RegistrySettings,
    /// How it is pushed.
    pub policy: PushPolicy,
}

/// Pushes an image as it is, under all of its names.
pub async fn push_saved(push: PushSaved<'_>, environment: Environment) -> Result<(), BuildError> {
    let Environment { credentials, events, .. } = environment;
    let registries = Registries::new(push.settings.clone(), credentials)?;
    let named = push.names.iter().map(|name| Ok((name, registries.repository(name.repository())?)));
    let named = named.collect::<Result<Vec<_>, BuildError>>()?;
    if push.policy.check_first {
        for (name, repository) in &named {
            repository.check_push().await.map_err(|source| BuildError::PushForbidden {
                repository: name.repository().clone(),
                source: Box::new(source),
            })?;
        }
    }
    for (name, repository) in &named {
        let (root, _) = &push.image.root;
        let pinned = ImageRef::by_digest(name.repository().clone(), root.digest).to_string();
        let subject = Subject::Destination { image: name.to_string(), pinned };
        let activity = events.begin_about(subject, ActivityKind::Push, format!("push {name}"));
        let pushed = retry::persist(push.policy.retries, || push_one(push, name, repository, &events)).await;
        activity.end_with(&pushed);
        pushed?;
    }
    Ok(())
}

/// Sends blobs, then manifests, then the name.
async fn push_one(
    push: PushSaved<'_>,
    name: &ImageRef,
    repository: &Repository,
    events: &Events,
) -> Result<(), BuildError> {
    let blobs = push.image.blobs.iter();
    try_join_all(blobs.map(|(blob, file)| repository.upload(blob, file, &[]))).await?;
    for (manifest, bytes) in &push.image.manifests {
        let bytes = Bytes::from(bytes.clone());
        repository.put_manifest(&manifest.digest.to_string(), &manifest.media_type, bytes).await?;
    }
    let (root, bytes) = &push.image.root;
    match repository.put_manifest(&name.selector(), &root.media_type, Bytes::from(bytes.clone())).await {
        Err(error) if push.policy.accept_immutable_tags && error.is_immutable_tag() => {
            events.note(format!("Immutable tag error ignored for {name}"));
            Ok(())
        }
        put => put.map(|_| ()).map_err(BuildError::from),
    }
}
