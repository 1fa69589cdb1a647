//! `cooper jobs`: what `cooper submit` has made.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::build::{Failure, complain, say};
use super::submit::PlaceArguments;
use super::submit::run::complain_of;
use crate::image::ImageRef;
use crate::kube::{
    self, Cluster, Follow, JobResult, JobSummary, KubeError, Line, Permissions, context_annotation,
};
use crate::pipeline::describe;
use crate::registry::{CredentialPlaces, Credentials, Registries, RegistrySettings};
use crate::units;

/// What `cooper jobs` takes.
#[derive(Debug, Args)]
pub(super) struct JobsArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the Jobs in a namespace
    Ls {
        #[command(flatten)]
        place: PlaceArguments,
        /// How they are printed
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
        format: Format,
    },
    /// Show the log of a Job, to its end
    Logs {
        #[command(flatten)]
        place: PlaceArguments,
        /// The Job
        name: String,
    },
    /// Wait for a Job; print the digest of its image
    Wait {
        #[command(flatten)]
        place: PlaceArguments,
        /// The Job
        name: String,
    },
    /// Delete Jobs, running or not, with all that belongs to them
    Cancel {
        #[command(flatten)]
        place: PlaceArguments,
        #[command(flatten)]
        registries: RegistryArguments,
        /// The Jobs
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete Jobs that have ended
    Prune {
        #[command(flatten)]
        place: PlaceArguments,
        #[command(flatten)]
        registries: RegistryArguments,
        /// Keep those that ended less long ago
        #[arg(long, value_name = "DURATION", value_parser = units::duration)]
        older_than: Option<Duration>,
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
}

/// How the registries of contexts are reached.
#[derive(Debug, Args)]
struct RegistryArguments {
    /// Registry that speaks plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure_registries: Vec<String>,
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

/// Runs the command. The exit code of `logs` and `wait` is that of the build.
pub(super) fn run(arguments: &JobsArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Other(format!("cannot start: {error}")).report(),
    };
    match runtime.block_on(execute(&arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            complain_of(&error);
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: &Command) -> Result<ExitCode, KubeError> {
    match command {
        Command::Ls { place, format } => {
            let cluster = Cluster::find(&place.place()).await?;
            Permissions::to_list().require(&cluster).await?;
            let jobs = kube::list(&cluster, None).await?;
            let text = match format {
                Format::Text => table(&jobs),
                Format::Json => serde_json::to_string_pretty(&jobs).map_err(KubeError::Json)?,
            };
            say(&mut io::stdout(), text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Logs { place, name } => follow(place, name, true).await,
        Command::Wait { place, name } => follow(place, name, false).await,
        Command::Cancel { place, registries, names } => {
            let cluster = Cluster::find(&place.place()).await?;
            Permissions::to_delete().require(&cluster).await?;
            for name in names {
                let job = find(&cluster, name).await?;
                kube::cancel(&cluster, &job.job).await?;
                complain(&format!("deleted {name}"));
                remove_contexts(&job, registries).await;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Prune { place, registries, older_than, dry_run } => {
            let cluster = Cluster::find(&place.place()).await?;
            Permissions::to_delete().require(&cluster).await?;
            let pruned = kube::prune(&cluster, older_than.unwrap_or_default(), *dry_run).await?;
            for job in &pruned {
                say(&mut io::stdout(), &job.name);
                if !dry_run {
                    remove_contexts(job, registries).await;
                }
            }
            let verb = if *dry_run { "would be deleted" } else { "deleted" };
            complain(&format!("{} {verb}", pruned.len()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn find(cluster: &Cluster, name: &str) -> Result<JobSummary, KubeError> {
    let found = kube::list(cluster, Some(name)).await?.into_iter().next();
    let namespace = cluster.namespace().to_owned();
    found.ok_or_else(|| KubeError::NoJob { name: name.to_owned(), namespace })
}

async fn follow(place: &PlaceArguments, name: &str, wants_log: bool) -> Result<ExitCode, KubeError> {
    let cluster = Cluster::find(&place.place()).await?;
    Permissions::to_follow().require(&cluster).await?;
    let job = find(&cluster, name).await?;
    let mut show = |line| match line {
        Line::Log(text) => say(&mut io::stdout(), &text),
        Line::Event(text) if !wants_log => complain(&format!("cluster: {text}")),
        Line::Event(_) => {}
    };
    let result = Follow { cluster: &cluster, job: &job.job, wants_log, show: &mut show }.run().await?;
    Ok(match result {
        JobResult::Built { digest } => {
            if !wants_log {
                say(&mut io::stdout(), &digest.to_string());
            }
            ExitCode::SUCCESS
        }
        JobResult::Failed { reason, code } => {
            Failure::Other(format!("the Job `{name}` has failed: {reason}")).report();
            ExitCode::from(code)
        }
    })
}

/// Removes what a Job had its files from. Where that cannot be, it is said, and is no failure: the Job is gone.
async fn remove_contexts(job: &JobSummary, arguments: &RegistryArguments) {
    for name in context_annotation(&job.job).unwrap_or_default().split_whitespace() {
        if let Err(reason) = remove_context(name, arguments).await {
            complain(&format!("the context {name} stays in its registry: {reason}"));
        }
    }
}

async fn remove_context(name: &str, arguments: &RegistryArguments) -> Result<(), String> {
    let image: ImageRef = name.parse().map_err(|error| describe(&error))?;
    let Some(digest) = image.digest() else { return Err("it has no digest".to_owned()) };
    let credentials =
        Credentials::load(&CredentialPlaces::from_environment()).map_err(|error| describe(&error))?;
    let settings = RegistrySettings {
        insecure: arguments.insecure_registries.iter().cloned().collect(),
        ..RegistrySettings::default()
    };
    let registries = Registries::new(settings, credentials).map_err(|error| describe(&error))?;
    let repository = registries.repository(image.repository()).map_err(|error| describe(&error))?;
    repository.delete_manifest(digest).await.map(drop).map_err(|error| describe(&error))
}

fn table(jobs: &[JobSummary]) -> String {
    if jobs.is_empty() {
        return "no builds".to_owned();
    }
    let now = jiff::Timestamp::now().as_second();
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or_default().max(4);
    let mut text = format!("{:width$}  STATE      AGE    TOOK   IMAGE\n", "NAME");
    for job in jobs {
        let took = job.ended.map(|ended| short(ended - job.created)).unwrap_or_default();
        let age = short(now - job.created);
        let (name, state) = (&job.name, job.state.to_string());
        let image = job.image.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:width$}  {state:9}  {age:5}  {took:5}  {image}");
    }
    text
}

/// A number of seconds as `kubectl` shows ages.
fn short(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, text) in [(-1, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(short(seconds), text);
        }
    }
}
