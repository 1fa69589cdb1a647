//! `cooper registry rm`, and the deleting that `prune` does, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use super::place::Place;
use super::prune::plan::{Plan, Survey};
use super::prune::survey::{survey, tags};
use super::{Connection, Verdict};
use crate::image::{Descriptor, ImageFormat, ImageRef, Manifest, MediaType, RepoName};
use crate::layer::Digest;
use crate::registry::Repository;

/// How often a plan is made anew because the repository changed under it.
const ATTEMPTS: usize = 3;

/// What is left to do after deleting.
pub(super) const COLLECT: &str = "\
The registry still has the blobs. For the distribution registry, while nobody pushes:
  registry garbage-collect /etc/docker/registry/config.yml
(in Kubernetes `kubectl exec deploy/REGISTRY -- registry garbage-collect …`; on Debian `docker-registry
garbage-collect /etc/docker/registry/config.yml`). Leave out --delete-untagged: it removes images of indexes.";

/// What `cooper registry rm` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct RmArguments {
    /// Images: a tag goes, and its image if nothing else needs it; a digest goes with all of its tags
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Place>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

const NOTES: &str = "\
An image stays as long as it has another tag, or an index that has one lists it. What was removed still takes up space
until the registry collects its garbage; the command for that is shown.";

/// What was deleted, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Outcome {
    /// Tags that went with their images.
    pub(super) removed: BTreeSet<String>,
    /// Tags that went while their images stay.
    pub(super) untagged: BTreeSet<String>,
    /// Manifests that went.
    pub(super) manifests: Vec<Digest>,
    /// What nothing else in the repository refers to, in bytes.
    pub(super) bytes: u64,
}

impl Outcome {
    /// All tags that went.
    pub(super) fn tags(&self) -> impl Iterator<Item = &String> {
        self.removed.iter().chain(&self.untagged)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    repositories: BTreeMap<String, Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
}

pub(super) async fn run(arguments: &RmArguments) -> Result<Verdict, CommandError> {
    let registries = arguments.connection.registries()?;
    let mut wanted: BTreeMap<RepoName, Vec<ImageRef>> = BTreeMap::new();
    for place in &arguments.images {
        let Place::Registry(image) = place else {
            return Err(CommandError::Usage(format!(
                "`{place}` is in no registry: remove its files instead"
            )));
        };
        wanted.entry(image.repository().clone()).or_default().push(image.clone());
    }
    let mut repositories = BTreeMap::new();
    for (name, images) in wanted {
        let repository = registries.repository(&name)?;
        let decide = |survey: &Survey| Ok((chosen(survey, &images)?, ()));
        let (outcome, ()) = carry_out(&repository, decide, arguments.dry_run).await?;
        repositories.insert(name.to_string(), outcome);
    }
    let has_deleted = repositories.values().any(|outcome: &Outcome| !outcome.manifests.is_empty());
    let next = (has_deleted && !arguments.dry_run).then_some(COLLECT);
    let report = Report { dry_run: arguments.dry_run, repositories, next };
    arguments.connection.print(&report, || text(&report))?;
    Ok(Verdict::Good)
}

/// What removing these images comes to.
fn chosen(survey: &Survey, images: &[ImageRef]) -> Result<Plan, CommandError> {
    let mut going = BTreeSet::new();
    for image in images {
        let tags: Vec<&String> = match (image.digest(), image.tag()) {
            (Some(digest), _) => {
                survey.tags.iter().filter(|(_, has)| **has == digest).map(|(tag, _)| tag).collect()
            }
            (None, Some(tag)) => survey.tags.keys().filter(|has| *has == tag).collect(),
            (None, None) => Vec::new(),
        };
        if tags.is_empty() {
            let listed = image.digest().is_some_and(|digest| survey.manifests.contains_key(&digest));
            let reason = if listed { "is listed by an index; remove that" } else { "was not found" };
            return Err(CommandError::Usage(format!("{image} {reason}")));
        }
        going.extend(tags);
    }
    Ok(Plan::new(survey, |tag| !going.contains(&tag.to_owned())))
}

/// Surveys a repository, decides, and deletes, unless it is to be a dry run. What changes between the survey and the
/// deleting makes it begin again: a tag that was moved to an image in between must not lose it.
pub(super) async fn carry_out<T>(
    repository: &Repository,
    decide: impl Fn(&Survey) -> Result<(Plan, T), CommandError>,
    dry_run: bool,
) -> Result<(Outcome, T), CommandError> {
    for _ in 0..ATTEMPTS {
        let found = survey(repository).await?;
        let (plan, rest) = decide(&found)?;
        if !dry_run && !plan.is_empty() {
            if tags(repository).await? != found.tags {
                continue;
            }
            execute(repository, &plan).await?;
        }
        let Plan { removed, untagged, manifests, freed } = plan;
        return Ok((Outcome { removed, untagged, manifests, bytes: freed }, rest));
    }
    let text = format!("{} changed while it was looked through, {ATTEMPTS} times", repository.name());
    Err(CommandError::Usage(text))
}

async fn execute(repository: &Repository, plan: &Plan) -> Result<(), CommandError> {
    for tag in &plan.untagged {
        untag(repository, tag).await?;
    }
    for digest in &plan.manifests {
        // What is not there any more is what was wanted.
        repository.delete_manifest(*digest).await?;
    }
    // Registries differ in whether a tag goes with its manifest.
    for tag in &plan.removed {
        if repository.manifest_digest(tag).await?.is_some_and(|found| plan.manifests.contains(&found.digest))
        {
            untag(repository, tag).await?;
        }
    }
    Ok(())
}

/// Takes a tag away from its image. Where the registry deletes no tags, the tag is given to an empty manifest first,
/// which is then deleted: that is deleted with its tags, and has only this one.
async fn untag(repository: &Repository, tag: &str) -> Result<(), CommandError> {
    if repository.delete_tag(tag).await? {
        return Ok(());
    }
    let config = Bytes::from_static(b"{}");
    let descriptor = Descriptor::new(MediaType::ImageConfig, Digest::of(&config), config.len() as u64);
    let note = BTreeMap::from([("cooper.removed-tag".to_owned(), tag.to_owned())]);
    let unusable = |source| CommandError::Manifest {
        image: repository.name().to_string(),
        digest: descriptor.digest,
        source,
    };
    let manifest =
        Manifest::build(ImageFormat::Oci, descriptor.clone(), Vec::new(), note).map_err(unusable)?;
    let bytes = Bytes::from(manifest.to_bytes().map_err(unusable)?);
    repository.upload(&descriptor, config, &[]).await?;
    let placeholder = repository.put_manifest(tag, &manifest.media_type, bytes).await?;
    repository.delete_manifest(placeholder).await?;
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let removed = if report.dry_run { "would remove" } else { "removed" };
    for (repository, outcome) in &report.repositories {
        // Writing to a string does not fail, here and below.
        for tag in &outcome.removed {
            let _ = writeln!(text, "{removed} {repository}:{tag}");
        }
        for tag in &outcome.untagged {
            let _ =
                writeln!(text, "{removed} {repository}:{tag}; its image stays, as something else needs it");
        }
        for digest in &outcome.manifests {
            let _ = writeln!(text, "{removed} {repository}@{digest}");
        }
    }
    if let Some(next) = report.next {
        let _ = writeln!(text, "{next}");
    }
    text
}
