//! Looking up base images: name → manifest → config and layers. No layer is fetched.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{BaseError, BuildError};
use super::retry;
use super::warmed::{WarmedError, WarmedImages};
use crate::event::{ActivityKind, Events, Subject};
use crate::exec::Layers;
use crate::graph::{Base, BaseRequest, BaseSource, Bases};
use crate::image::config::MAX_CONFIG;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Descriptor, ImageConfig, ImageRef, Layer, Layout, Manifest, ManifestOrIndex, Platform};
use crate::layer::Digest;
use crate::registry::{Problem, RegistryError, Repository};
use crate::request::BuildRequest;

/// Looks up base images.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    layers: &'a Layers,
    events: &'a Events,
    offline: bool,
    retries: u32,
    warmed: Option<WarmedImages>,
    /// What was looked up: a name stands for the same in all of a build.
    found: Mutex<Bases>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(layers: &'a Layers, events: &'a Events, request: &BuildRequest) -> Self {
        let warmed = request.warmed_images.clone().map(WarmedImages::new);
        let (offline, retries) = (request.offline, request.look_up_retries);
        Self { layers, events, offline, retries, warmed, found: Mutex::default() }
    }

    pub(super) fn events(&self) -> &Events {
        self.events
    }

    /// Looks up an image, once. Its manifest and config are in the store afterwards.
    pub(super) async fn resolve(&self, request: &BaseRequest) -> Result<Base, BuildError> {
        if let Some(base) = self.found().get(request) {
            return Ok(base.clone());
        }
        let base = self.look_up(request).await?;
        self.found().insert(request.clone(), base.clone());
        Ok(base)
    }

    fn found(&self) -> MutexGuard<'_, Bases> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, request: &BaseRequest) -> Result<Base, BuildError> {
        let registry = match &request.source {
            BaseSource::Registry(image) => Some(image.repository().registry().to_owned()),
            BaseSource::Layout { .. } => None,
        };
        let subject = Subject::Base { image: request.source.to_string(), registry };
        let name = format!("look up {}", request.source);
        let activity = self.events.begin_about(subject, ActivityKind::Internal, name);
        let base = match &request.source {
            BaseSource::Registry(image) => {
                retry::persist(self.retries, || self.in_registry(image, &request.platform)).await
            }
            BaseSource::Layout { path, selector } => in_layout(path, selector.as_deref(), &request.platform),
        };
        activity.end_with(&base);
        base.map_err(|source| BuildError::Base { image: request.source.clone(), source: Box::new(source) })
    }

    async fn in_registry(&self, image: &ImageRef, platform: &Platform) -> Result<Base, BaseError> {
        let repository = self.layers.registries().repository(image.repository())?;
        let top = match self.find_warmed(image).await? {
            Some(found) => found,
            None => self.find(image, &repository).await?,
        };
        let bytes = self.document(&top, &repository, MAX_MANIFEST).await?;
        let mut digest = top.digest;
        let manifest = match ManifestOrIndex::parse(&bytes, Some(&top.media_type))? {
            ManifestOrIndex::Manifest(manifest) => manifest,
            ManifestOrIndex::Index(index) => {
                let chosen = index.select(platform)?;
                digest = chosen.digest;
                let bytes = self.document(chosen, &repository, MAX_MANIFEST).await?;
                Manifest::parse(&bytes)?
            }
        };
        let config = self.document(&manifest.config, &repository, MAX_CONFIG).await?;
        self.layers.store().keep_reference(image, &top)?;
        self.take_over_warmed(digest, &manifest).await?;
        base(&manifest, &config)
    }

    /// The manifest that a digest names, if a warmer has kept it.
    async fn find_warmed(&self, image: &ImageRef) -> Result<Option<Descriptor>, BaseError> {
        let (Some(warmed), Some(digest)) = (self.warmed.clone(), image.digest()) else { return Ok(None) };
        let store = Arc::clone(self.layers.store());
        let found = tokio::task::spawn_blocking(move || {
            let manifest = warmed.manifest(digest, &store)?;
            let length = store.read_blob(digest, MAX_MANIFEST as u64)?.map(|bytes| bytes.len() as u64);
            Ok(manifest
                .zip(length)
                .map(|(manifest, size)| Descriptor::new(manifest.media_type, digest, size)))
        });
        Ok(self.unless_broken(image, found.await?))
    }

    /// Takes the layers of an image that a warmer has kept into the store.
    async fn take_over_warmed(&self, image: Digest, manifest: &Manifest) -> Result<(), BaseError> {
        let Some(warmed) = self.warmed.clone() else { return Ok(()) };
        let (store, layers) = (Arc::clone(self.layers.store()), manifest.layers.clone());
        let taken = tokio::task::spawn_blocking(move || warmed.take_over(image, &layers, &store).map(Some));
        self.unless_broken(image, taken.await?);
        Ok(())
    }

    /// A kept image that cannot be used is a warning: the registry has it, too.
    fn unless_broken<T>(&self, image: impl Display, found: Result<Option<T>, WarmedError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            let cause = super::error::chain(&error);
            self.events.warn(format!("what the warmer has kept of {image} is not used: {cause}"));
            None
        })
    }

    /// What the name stands for: as the registry says, or as the store remembers when no registry may or can be
    /// asked. A digest always stands for the same.
    async fn find(&self, image: &ImageRef, repository: &Repository) -> Result<Descriptor, BaseError> {
        let store = self.layers.store();
        let remembered = store.reference(image)?.filter(|found| store.has_blob(found));
        match remembered {
            Some(found) if self.offline || image.digest().is_some() => return Ok(found),
            None if self.offline => return Err(BaseError::Offline),
            _ => {}
        }
        let asked = match &remembered {
            // One small question instead of the whole document, which is most likely the same.
            Some(_) => repository.manifest_digest(&image.selector()).await,
            None => Ok(None),
        };
        match (asked, remembered) {
            (Ok(Some(found)), _) => Ok(found),
            (Ok(None), _) => {
                let fetched = repository.manifest(&image.selector()).await?;
                store.put_blob(&fetched.bytes)?;
                Ok(fetched.descriptor())
            }
            (Err(error), Some(found)) if is_unreachable(&error) => {
                let cause = super::error::chain(&error);
                self.events.warn(format!("using {image} as it was when last fetched: {cause}"));
                Ok(found)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// A manifest or config: from the store, or fetched and kept there.
    async fn document(
        &self,
        descriptor: &Descriptor,
        repository: &Repository,
        limit: usize,
    ) -> Result<Vec<u8>, BaseError> {
        let store = self.layers.store();
        if let Some(bytes) = store.read_blob(descriptor.digest, limit as u64)? {
            return Ok(bytes);
        }
        if self.offline {
            return Err(BaseError::Offline);
        }
        let bytes = if is_manifest(descriptor) {
            repository.manifest(&descriptor.digest.to_string()).await?.bytes
        } else {
            repository.blob_bytes(descriptor, limit).await?
        };
        store.put_blob(&bytes)?;
        Ok(bytes.to_vec())
    }
}

/// Whether no answer came at all: then what is remembered is better than nothing.
fn is_unreachable(error: &RegistryError) -> bool {
    matches!(
        *error.problem,
        Problem::HostNotFound { .. }
            | Problem::ConnectionRefused { .. }
            | Problem::Silent { .. }
            | Problem::Connection { .. }
    )
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.to_string();
    media_type.contains("manifest") || media_type.contains("image.index")
}

fn in_layout(path: &Path, selector: Option<&str>, platform: &Platform) -> Result<Base, BaseError> {
    let layout = Layout::open(path)?;
    let (_, manifest) = layout.image(&layout.resolve(selector)?, platform)?;
    let config = layout.read_blob(&manifest.config, MAX_CONFIG as u64)?;
    base(&manifest, &config)
}

/// A base image by its documents.
fn base(manifest: &Manifest, config: &[u8]) -> Result<Base, BaseError> {
    let config = ImageConfig::parse(config)?;
    let (diff_ids, layers) = (&config.rootfs.diff_ids, &manifest.layers);
    if diff_ids.len() != layers.len() {
        return Err(BaseError::LayerCount { diff_ids: diff_ids.len(), layers: layers.len() });
    }
    let layers = diff_ids
        .iter()
        .zip(layers)
        .map(|(diff_id, descriptor)| Layer { diff_id: *diff_id, descriptor: descriptor.clone() })
        .collect();
    Ok(Base { config, layers, is_docker: manifest.media_type.to_string().contains("docker") })
}
