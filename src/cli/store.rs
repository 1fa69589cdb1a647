//! `cooper store`: what is kept between builds.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use indicatif::HumanBytes;

use super::build;
use super::cache::duration;
use crate::pipeline;
use crate::store::{Item, PruneLimits, Store, StoreError};

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
        #[arg(long, value_name = "SIZE", value_parser = bytes, required_unless_present = "max_age")]
        max_size: Option<u64>,
        /// Keep nothing that was not used for so long, like 14d or 36h
        #[arg(long, value_name = "DURATION", value_parser = duration)]
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

/// `20GB` is 20 000 000 000, `20GiB` and `20G` are 20 · 2³⁰.
fn bytes(text: &str) -> Result<u64, String> {
    let malformed = || format!("`{text}` is no size; write 20GB, 512MiB or a number of bytes");
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let unit = unit.trim().to_ascii_lowercase();
    let exponent = match unit.chars().next() {
        None | Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some(_) => return Err(malformed()),
    };
    let base: u64 = match unit.get(1..).unwrap_or_default() {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return Err(malformed()),
    };
    base.checked_pow(exponent).and_then(|factor| number.checked_mul(factor)).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", 0),
            ("7b", 7),
            ("20GB", 20_000_000_000),
            ("512MiB", 512 << 20),
            ("1k", 1024),
            ("2 tib", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "GB", "1x", "1GiX", "99999999999999999999", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
