//! `cooper registry`: what is in registries, and looking after it.
//!
//! ```text
//! Place (a name that was typed) ─► Source (registry, layout, unpacked archive) ─► Contents (index, manifests, configs)
//! ```

mod copy;
mod diff;
mod error;
mod inspect;
mod listing;
mod place;
mod prune;
mod remove;
mod source;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::error::CommandError;
use super::arguments::TrustArguments;
use crate::pipeline;
use crate::registry::{CredentialPlaces, Credentials, Registries};

/// What `cooper registry` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RegistryArguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
IMAGE is a name in a registry (registry:5000/app:1), oci-layout://PATH[:TAG], oci-archive://FILE or
docker-archive://FILE.

Examples:
  cooper registry ls registry:5000
  cooper registry inspect registry:5000/app:1
  cooper registry copy registry:5000/app:1 oci-layout://backup:app-1
  cooper registry diff registry:5000/app:1 registry:5000/app:2
  cooper registry prune --keep 5 --older-than 30d --dry-run registry:5000/app";

#[derive(Debug, Subcommand)]
enum Command {
    /// List the repositories of a registry
    Ls(listing::LsArguments),
    /// List the tags of a repository
    Tags(listing::TagsArguments),
    /// Show an image: platforms, layers, sizes, history
    Inspect(inspect::InspectArguments),
    /// Copy an image between registries, OCI layouts and archives
    Copy(copy::CopyArguments),
    /// Compare two images: config, layers, files
    Diff(diff::DiffArguments),
    /// Remove tags and images from a registry
    Rm(remove::RmArguments),
    /// Remove old images from repositories
    Prune(prune::PruneArguments),
    /// Fetch every blob of an image and check its digest
    Verify(verify::VerifyArguments),
}

/// What all of them take.
#[derive(Debug, Args)]
struct Connection {
    #[command(flatten)]
    trust: TrustArguments,
    /// How the result is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

impl Connection {
    fn registries(&self) -> Result<Registries, CommandError> {
        let credentials = Credentials::load(&CredentialPlaces::from_environment())?;
        Ok(Registries::new(self.trust.settings(), credentials)?)
    }

    /// Prints a result: as JSON, or as `text` has it.
    fn print(&self, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CommandError> {
        let printed = match self.format {
            Format::Text => text(),
            Format::Json => {
                let json = serde_json::to_string_pretty(result).map_err(io::Error::from);
                format!("{}\n", json.map_err(|source| CommandError::Print { source })?)
            }
        };
        match anstream::stdout().write_all(printed.as_bytes()) {
            // Nobody reads any more, as in `… | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|source| CommandError::Print { source }),
        }
    }
}

/// How a command ended that did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All is well.
    Good,
    /// Two things differ, a blob is damaged, a tag could not be removed.
    Bad,
}

/// Runs the command; its exit code is 1 for an error, for differences and for damage.
pub(super) fn run(arguments: &RegistryArguments) -> ExitCode {
    match execute(&arguments.command) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            let text = pipeline::error_line(&pipeline::describe(&error), true);
            // The exit code tells all the same.
            let _ = writeln!(anstream::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> Result<Verdict, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Start { source })?;
    runtime.block_on(async {
        match command {
            Command::Ls(arguments) => listing::ls(arguments).await,
            Command::Tags(arguments) => listing::tags(arguments).await,
            Command::Inspect(arguments) => inspect::run(arguments).await,
            Command::Copy(arguments) => copy::run(arguments).await,
            Command::Diff(arguments) => diff::run(arguments).await,
            Command::Rm(arguments) => remove::run(arguments).await,
            Command::Prune(arguments) => prune::run(arguments).await,
            Command::Verify(arguments) => verify::run(arguments).await,
        }
    })
}

/// A number of bytes for people, in powers of ten as registries show them.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
