//! Finding out what is in a repository.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::error::CommandError;
use super::plan::{Survey, Surveyed};
use crate::image::config::MAX_CONFIG;
use crate::image::{ImageConfig, ManifestOrIndex, Time};
use crate::layer::Digest;
use crate::registry::{FetchedManifest, Repository};

/// Requests at once. A registry's own limits hold besides.
const AT_ONCE: usize = 8;

/// Says when an image was made. See the OCI image specification, `annotations.md`.
const CREATED: &str = "org.opencontainers.image.created";

/// 1980: what claims to be older was given an arbitrary time, so that it can be built again byte for byte.
const FIRST_TIME: i64 = 315_532_800;

/// What every tag of a repository stands for.
pub(in super::super) async fn tags(
    repository: &Repository,
) -> Result<BTreeMap<String, Digest>, CommandError> {
    let tags: Vec<(String, Option<Digest>)> = stream::iter(repository.list_tags().await?)
        .map(|tag| async move {
            let found = repository.manifest_digest(&tag).await?;
            Ok((tag, found.map(|descriptor| descriptor.digest)))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .map_err(|error: CommandError| error)?;
    // A tag that is listed and not there went in this moment.
    Ok(tags.into_iter().filter_map(|(tag, digest)| Some((tag, digest?))).collect())
}

/// Everything that the tags of a repository stand for.
pub(in super::super) async fn survey(repository: &Repository) -> Result<Survey, CommandError> {
    let tags = tags(repository).await?;
    let mut survey = Survey { tags, manifests: BTreeMap::new() };
    let mut level: BTreeSet<Digest> = survey.tags.values().copied().collect();
    while !level.is_empty() {
        let found: Vec<(Digest, Option<Surveyed>)> = stream::iter(level)
            .map(|digest| async move { Ok((digest, look(repository, digest).await?)) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(|error: CommandError| error)?;
        let found = found.into_iter().filter_map(|(digest, surveyed)| Some((digest, surveyed?)));
        let found: BTreeMap<Digest, Surveyed> = found.collect();
        level = found.values().flat_map(|surveyed| surveyed.manifests.iter().copied()).collect();
        survey.manifests.extend(found);
        level.retain(|digest| !survey.manifests.contains_key(digest));
    }
    date_indexes(&mut survey);
    Ok(survey)
}

/// `None` for a manifest that is not there, as an index may list more than was pushed.
async fn look(repository: &Repository, digest: Digest) -> Result<Option<Surveyed>, CommandError> {
    let fetched = match repository.manifest(&digest.to_string()).await {
        Ok(fetched) => fetched,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut surveyed = Surveyed::default();
    surveyed.blobs.insert(digest, fetched.bytes.len() as u64);
    match ManifestOrIndex::parse(&fetched.bytes, Some(&fetched.media_type)) {
        Ok(ManifestOrIndex::Manifest(manifest)) => {
            surveyed.created = created(manifest.annotations.get(CREATED));
            let blobs = manifest.layers.iter().chain([&manifest.config]);
            surveyed.blobs.extend(blobs.map(|blob| (blob.digest, blob.size)));
            if surveyed.created.is_none() && manifest.is_image() {
                let config = repository.blob_bytes(&manifest.config, MAX_CONFIG).await?;
                // A config that cannot be read tells no time, and what has no time stays.
                let config = ImageConfig::parse(&config).ok();
                surveyed.created = config.and_then(|config| config.created).filter(is_real);
            }
        }
        Ok(ManifestOrIndex::Index(index)) => {
            surveyed.created = created(index.annotations.get(CREATED));
            surveyed.manifests = index.manifests.iter().map(|entry| entry.descriptor.digest).collect();
        }
        // Of an unknown kind: it stays, and so does whatever it may refer to.
        Err(_) => surveyed.manifests = digests(&fetched),
    }
    Ok(Some(surveyed))
}

fn created(text: Option<&String>) -> Option<Time> {
    text.and_then(|text| text.parse().ok()).filter(is_real)
}

fn is_real(time: &Time) -> bool {
    time.epoch_seconds() > FIRST_TIME
}

/// An index without a time of its own is as old as the newest of what it lists.
fn date_indexes(survey: &mut Survey) {
    let undated: Vec<Digest> = survey
        .manifests
        .iter()
        .filter(|(_, manifest)| manifest.created.is_none() && !manifest.manifests.is_empty())
        .map(|(digest, _)| *digest)
        .collect();
    for digest in undated {
        let below = survey.reachable([&digest]);
        let times = below.iter().filter_map(|digest| survey.manifests.get(digest)?.created);
        let newest = times.max();
        if let Some(index) = survey.manifests.get_mut(&digest) {
            index.created = newest;
        }
    }
}

/// Every digest that stands somewhere in a document.
fn digests(document: &FetchedManifest) -> BTreeSet<Digest> {
    const LENGTH: usize = "sha256:".len() + 64;
    let text = String::from_utf8_lossy(&document.bytes);
    text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + LENGTH)?.parse().ok()).collect()
}
