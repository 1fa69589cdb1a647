//! Which repository got which blob, so that others of its registry take it from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::RegistryError;
use super::registries::canonical;
use super::repository::Repository;
use super::source::BlobSource;
use super::upload::Uploaded;
use crate::image::{Descriptor, RepoName};
use crate::layer::Digest;

/// What one build has put where. Clones share it.
///
/// A blob that several repositories of one registry are to have is sent to the first that asks; the others wait, and
/// have it mounted.
#[derive(Debug, Clone, Default)]
pub struct KnownPlaces {
    places: Arc<Mutex<HashMap<(String, Digest), Turn>>>,
}

/// The repositories that have a blob, held by who is bringing it to another.
type Turn = Arc<tokio::sync::Mutex<Vec<RepoName>>>;

impl KnownPlaces {
    /// Makes sure that the repository has the blob, see [`Repository::upload`]. Repositories that got it here before
    /// come before those of `mount_from`.
    pub async fn upload(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        source: impl BlobSource,
        mount_from: &[RepoName],
    ) -> Result<Uploaded, RegistryError> {
        let registry = canonical(repository.name().registry()).to_owned();
        let turn = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry((registry, blob.digest)).or_default())
        };
        let mut have = turn.lock().await;
        if have.contains(repository.name()) {
            return Ok(Uploaded::AlreadyThere);
        }
        let mut mount_from = mount_from.to_vec();
        mount_from.retain(|name| !have.contains(name));
        // Those of this build have it for sure.
        mount_from.splice(0..0, have.iter().cloned());
        let uploaded = repository.upload(blob, source, &mount_from).await?;
        have.push(repository.name().clone());
        Ok(uploaded)
    }
}
