//! `cooper registry prune`: old images go, whatever the rest needs stays.

pub(super) mod plan;
pub(super) mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use self::plan::{Plan, Policy, Reason, Survey};
use super::error::CommandError;
use super::place::Shelf;
use super::remove::{self, Outcome};
use super::{Connection, Verdict, bytes};
use crate::image::{RepoName, Time};

use crate::registry::{Registries, Repository};
use crate::rootfs::glob::Glob;

/// What `cooper registry prune` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct PruneArguments {
    /// Repositories; a registry stands for all of its repositories
    #[arg(value_name = "REPOSITORY", required = true)]
    shelves: Vec<Shelf>,
    /// Keep so many of the newest images of each repository
    #[arg(long, value_name = "N", required_unless_present = "older_than")]
    keep: Option<usize>,
    /// Keep what is younger, for example 30d or 12h
    #[arg(long, value_name = "AGE")]
    older_than: Option<Age>,
    /// Keep images with a tag like this, for example `latest` or `v*`
    #[arg(long = "keep-tag", value_name = "PATTERN", value_parser = pattern)]
    keep_tags: Vec<Glob>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

const NOTES: &str = "\
An image goes if it is neither among the newest N, nor younger than AGE, nor kept by a pattern. Images whose age is not
known (without a time, or with one before 1980, as reproducible builds have) stay. Signatures (`sha256-….sig`) go with
their images. The images of an index go with it, unless something that stays lists them, too.

What was removed still takes up space until the registry collects its garbage; the command for that is shown.";

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Age {
    seconds: i64,
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no age: write a number with s, m, h, d or w, like 30d");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(wrong()),
        };
        let seconds = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
        Ok(Self { seconds: seconds.ok_or_else(wrong)? })
    }
}

fn pattern(text: &str) -> Result<Glob, String> {
    Glob::new(text).map_err(|error| error.to_string())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    repositories: Vec<Pruned>,
    /// What to do for the space to be free.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Pruned {
    repository: String,
    kept: BTreeMap<String, Reason>,
    #[serde(flatten)]
    outcome: Outcome,
}

pub(super) async fn run(arguments: &PruneArguments) -> Result<Verdict, CommandError> {
    let registries = arguments.connection.registries()?;
    let now = Time::now().epoch_seconds();
    let since = arguments.older_than.map(|age| Time::from_epoch(now.saturating_sub(age.seconds)));
    let since = since.transpose().map_err(|error| CommandError::Usage(error.to_string()))?;
    let policy = Policy { keep: arguments.keep, since, keep_tags: arguments.keep_tags.clone() };
    let mut repositories = Vec::new();
    for name in names(&arguments.shelves, &registries).await? {
        let repository = registries.repository(&name)?;
        repositories.push(prune(&repository, &policy, arguments.dry_run).await?);
    }
    let has_deleted = repositories.iter().any(|pruned| !pruned.outcome.manifests.is_empty());
    let next = (has_deleted && !arguments.dry_run).then_some(remove::COLLECT);
    let report = Report { dry_run: arguments.dry_run, repositories, next };
    arguments.connection.print(&report, || text(&report))?;
    Ok(Verdict::Good)
}

async fn names(shelves: &[Shelf], registries: &Registries) -> Result<Vec<RepoName>, CommandError> {
    let mut names = Vec::new();
    for shelf in shelves {
        match shelf {
            Shelf::Repository(name) => names.push(name.clone()),
            Shelf::Registry(registry) => {
                let paths = registries.list_repositories(registry).await?;
                names.extend(paths.into_iter().map(|path| RepoName::new(registry, path)));
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

async fn prune(repository: &Repository, policy: &Policy, dry_run: bool) -> Result<Pruned, CommandError> {
    let decide = |survey: &Survey| {
        let kept = plan::kept(survey, policy);
        Ok((Plan::new(survey, |tag| kept.contains_key(tag)), kept))
    };
    let (outcome, kept) = remove::carry_out(repository, decide, dry_run).await?;
    Ok(Pruned { repository: repository.name().to_string(), kept, outcome })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let (removed, freed) = if report.dry_run { ("would remove", "would free") } else { ("removed", "frees") };
    for Pruned { repository, kept, outcome } in &report.repositories {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "{repository}");
        for tag in outcome.tags() {
            let _ = writeln!(text, "  {removed} {tag}");
        }
        for (tag, reason) in kept {
            let _ = writeln!(text, "  keeps {tag} ({reason})");
        }
        let Outcome { manifests, bytes: size, .. } = outcome;
        if !manifests.is_empty() {
            let _ =
                writeln!(text, "  {removed} {} manifests, {freed} up to {}", manifests.len(), bytes(*size));
        }
    }
    if let Some(next) = report.next {
        let _ = writeln!(text, "{next}");
    }
    text
}
