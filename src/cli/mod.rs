//! Command lines: what was typed becomes a request, events become what is seen.

mod arguments;
mod bench;
mod build;
mod check;
mod mounts;
mod output;
mod progress;
mod registry;

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
    /// Measure Cooper beside other builders
    Bench(Box<bench::BenchArguments>),
    /// Look into registries, copy and compare images, clean up
    Registry(registry::RegistryArguments),
}

/// Runs the program; its exit code is 0, that of a failed RUN, 130 when interrupted, 2 for a command line that makes
/// no sense, else 1.
pub fn main() -> ExitCode {
    if sandbox::is_helper() {
        return sandbox::helper_main();
    }
    sandbox::forbid_name_modules();
    match Cooper::parse().command {
        Command::Build(arguments) => build::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Registry(arguments) => registry::run(&arguments),
    }
}
