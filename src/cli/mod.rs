//! Command lines: what was typed becomes a request, events become what is seen.

mod arguments;
mod build;
mod cache;
mod check;
mod mounts;
mod output;
mod progress;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exec::sandbox;

/// Builds container images inside Kubernetes, from one ordinary pod: no daemon, no privileges.
#[derive(Debug, Parser)]
#[command(name = "cooper", version, max_term_width = 110, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cooper {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cooper check .
  cooper build -t registry:5000/app:1 --push .

Dockerfiles mean what they mean to `docker buildx build`; `cooper build --help` lists all options.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<build::BuildArguments>),
    /// Look for mistakes in a Dockerfile, without running or fetching anything
    Check(check::CheckArguments),
    /// See and prune what is kept between builds
    Store(store::StoreArguments),
}

/// Runs the program; its exit code is 0, that of a failed RUN, 130 when interrupted, 2 for a command line that makes
/// no sense, else 1.
pub fn main() -> ExitCode {
    if sandbox::is_helper() {
        return sandbox::helper_main();
    }
    match Cooper::parse().command {
        Command::Build(arguments) => build::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
    }
}
