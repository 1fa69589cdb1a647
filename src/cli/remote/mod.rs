//! `cooper remote`: builds on a service, as if they were here.

mod client;
mod create;
mod follow;
mod pack;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::build::{complain, say};
use super::progress::Progress;
use crate::pipeline;
use crate::serve::{Build, BuildId};
use client::Client;

/// What `cooper remote` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RemoteArguments {
    #[command(flatten)]
    service: ServicePlace,
    #[command(subcommand)]
    command: RemoteCommand,
}

/// Where the service is.
#[derive(Debug, Args)]
struct ServicePlace {
    /// Address of the service
    #[arg(long, value_name = "URL", env = "COOPER_REMOTE", global = true)]
    remote: Option<String>,
    /// Token for it; better in the environment, where others do not see it
    #[arg(long, value_name = "TOKEN", env = "COOPER_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum RemoteCommand {
    /// Build there, and show it as a local build is shown
    Build(Box<create::RemoteBuildArguments>),
    /// List builds, the latest first
    Ls {
        /// Only those of this project
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// Only those: queued, running, succeeded, failed or cancelled
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// How many
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a build says
    Logs {
        /// The build
        id: BuildId,
        /// Go on until it ends
        #[arg(short, long)]
        follow: bool,
        /// How a followed build is shown
        #[arg(long, value_enum, value_name = "MODE", default_value_t)]
        progress: Progress,
    },
    /// Cancel a build
    Cancel {
        /// The build
        id: BuildId,
    },
}

const EXAMPLES: &str = "\
Examples:
  export COOPER_REMOTE=https://cooper.example.com COOPER_TOKEN=…
  cooper remote build -t registry.example.com/app:1 .
  cooper remote build -t registry.example.com/app:1 https://git.example.com/app.git#main
  cooper remote ls --state running";

/// Why nothing came of it.
#[derive(Debug)]
enum Failure {
    /// This.
    Text(String),
    /// The build has ended so, and said why.
    Build(u8),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Does it.
pub(super) fn run(arguments: &RemoteArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::Text(format!("cannot start: {error}"))),
    };
    let done = runtime.block_on(command(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Text(text) => {
            complain(&pipeline::error_line(text, true));
            ExitCode::FAILURE
        }
        Failure::Build(code) => ExitCode::from(*code),
    }
}

async fn command(arguments: &RemoteArguments) -> Result<(), Failure> {
    let client = Client::new(arguments.service.remote.as_deref(), arguments.service.token.as_deref())?;
    match &arguments.command {
        RemoteCommand::Build(build) => create::build(&client, build).await,
        RemoteCommand::Ls { project, state, limit, json } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(project.clone().map(|project| ("project", project)));
            query.extend(state.clone().map(|state| ("state", state)));
            let text = client.get("/v1/builds", &query).await?;
            list(&text, *json)
        }
        RemoteCommand::Logs { id, follow: true, progress } => {
            let build = follow::follow(&client, id, progress.reporter().as_ref()).await?;
            follow::conclude(&build, *progress)
        }
        RemoteCommand::Logs { id, .. } => {
            client.copy(&format!("/v1/builds/{id}/logs"), &mut std::io::stdout()).await?;
            Ok(())
        }
        RemoteCommand::Cancel { id } => {
            let build = client.cancel(id).await?;
            complain(&format!(
                "{id}: {}",
                if build.state.is_end() { "cancelled" } else { "is being cancelled" }
            ));
            Ok(())
        }
    }
}

fn list(text: &str, as_json: bool) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        builds: Vec<Build>,
    }
    let mut output = std::io::stdout().lock();
    if as_json {
        say(&mut output, text.trim_end());
        return Ok(());
    }
    let page: Page = serde_json::from_str(text).map_err(|error| format!("the service's answer: {error}"))?;
    for build in page.builds {
        let names: Vec<String> = build.request.tags.iter().map(ToString::to_string).collect();
        let created = String::from(build.created_at);
        let state = build.state.name();
        say(
            &mut output,
            &format!("{}  {state:<9}  {created}  {:<12}  {}", build.id, build.project, names.join(" ")),
        );
    }
    Ok(())
}
