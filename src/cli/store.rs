//! `cooper store`: what is kept between builds.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use indicatif::HumanBytes;

use super::build;
use crate::pipeline;
use crate::store::{Item, PruneLimits, Store, StoreError};
use crate::units;

/// What `cooper store` takes.
#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// List what the store holds, what was used longest ago first
    Ls {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what was used longest ago; safe beside running builds
    Prune {
        #[command(flatten)]
        place: Place,
        /// Keep at most so many bytes, like 20GB or 512MiB
        #[arg(long, value_name = "SIZE", value_parser = units::bytes, required_unless_present = "max_age")]
        max_size: Option<u64>,
        /// Keep nothing that was not used for so long, like 14d or 36h
        #[arg(long, value_name = "DURATION", value_parser = units::duration)]
        max_age: Option<Duration>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The store [default: `$XDG_CACHE_HOME/cooper`]
    #[arg(long, value_name = "DIR", env = "COOPER_STORE")]
    store: Option<PathBuf>,
}

impl Place {
    fn open(&self) -> Result<Store, String> {
        let path = build::store(self.store.as_ref())?;
        if !path.is_dir() {
            return Err(format!("there is no store in `{}`", path.display()));
        }
        Store::open(path).map_err(|error| said(&error))
    }
}

fn said(error: &StoreError) -> String {
    pipeline::describe(error)
}

/// Lists or prunes.
pub(super) fn run(arguments: &StoreArguments) -> ExitCode {
    let done = match &arguments.command {
        StoreCommand::Ls { place, json } => list(place, *json),
        StoreCommand::Prune { place, max_size, max_age, dry_run } => {
            let limits = PruneLimits { max_size: *max_size, max_age: *max_age, dry_run: *dry_run };
            prune(place, limits)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            build::complain(&pipeline::error_line(&text, true));
            ExitCode::FAILURE
        }
    }
}

fn list(place: &Place, json: bool) -> Result<(), String> {
    let items = place.open()?.items().map_err(|error| said(&error))?;
    let mut output = io::stdout().lock();
    if json {
        let text = serde_json::to_string_pretty(&items).map_err(|error| error.to_string())?;
        build::say(&mut output, &text);
        return Ok(());
    }
    for item in &items {
        build::say(&mut output, &line(item));
    }
    let total = items.iter().map(|item| item.size).sum();
    build::say(&mut output, &format!("{} in {} items", HumanBytes(total), items.len()));
    Ok(())
}

fn line(item: &Item) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = indicatif::HumanDuration(Duration::from_secs(now.as_secs().saturating_sub(item.used)));
    let size = HumanBytes(item.size).to_string();
    format!("{:<11} {size:>10}  {:<14} {}", item.kind.name(), format!("{age} ago"), item.path.display())
}

fn prune(place: &Place, limits: PruneLimits) -> Result<(), String> {
    let pruned = place.open()?.prune(limits).map_err(|error| said(&error))?;
    let freed = pruned.removed.iter().map(|item| item.size).sum();
    let done = if limits.dry_run { "would remove" } else { "removed" };
    let mut output = io::stdout().lock();
    for item in &pruned.removed {
        build::say(&mut output, &format!("{done} {}", line(item)));
    }
    for (item, reason) in &pruned.kept {
        build::complain(&format!("kept {}: {reason}", item.path.display()));
    }
    let (count, left) = (pruned.removed.len(), HumanBytes(pruned.left));
    build::say(&mut output, &format!("{done} {count} items, {}; {left} are left", HumanBytes(freed)));
    Ok(())
}
