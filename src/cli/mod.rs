//! Command lines: what was typed becomes a request, events become what is seen.

mod arguments;
mod bench;
mod build;
mod cache;
mod check;
mod doctor;
mod executor;
#[cfg(feature = "kubernetes")]
mod jobs;
mod llb;
mod mounts;
mod output;
mod progress;
mod registry;
#[cfg(feature = "serve")]
mod remote;
#[cfg(feature = "serve")]
mod serve;
mod store;
#[cfg(feature = "kubernetes")]
mod submit;
mod termination;

use std::ffi::OsString;
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
    /// Write a build as BuildKit LLB, for `buildctl build`
    Llb(Box<llb::LlbArguments>),
    /// Build an image in a Kubernetes cluster, as a Job
    #[cfg(feature = "kubernetes")]
    Submit(Box<submit::SubmitArguments>),
    /// See, wait for and remove the Jobs of `cooper submit`
    #[cfg(feature = "kubernetes")]
    Jobs(jobs::JobsArguments),
    /// Measure Cooper beside other builders
    Bench(Box<bench::BenchArguments>),
    /// Look into registries, copy and compare images, clean up
    Registry(Box<registry::RegistryArguments>),
    /// Find out what is wrong here: isolation, disk, registries, what nodes can pull
    Doctor(Box<doctor::DoctorArguments>),
    /// Take builds over HTTP: a queue, an API, a warm store
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArguments>),
    /// Have a service build
    #[cfg(feature = "serve")]
    Remote(Box<remote::RemoteArguments>),
    /// One build of a service, in a process of its own
    #[cfg(feature = "serve")]
    #[command(hide = true)]
    Worker(serve::WorkerArguments),
    /// Take the arguments of Kaniko's executor: `cooper executor --help` lists them
    #[command(disable_help_flag = true)]
    Executor {
        /// Arguments of Kaniko's executor
        #[arg(value_name = "ARGUMENT", allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<OsString>,
    },
    /// Take the arguments of Kaniko's warmer: `cooper warmer --help` lists them
    #[command(disable_help_flag = true)]
    Warmer {
        /// Arguments of Kaniko's warmer
        #[arg(value_name = "ARGUMENT", allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<OsString>,
    },
}

/// pflag knows bytes; what is not UTF-8 could only be part of a path, and is refused there as not existing.
fn texts(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// Foreign text on one line: it sends no commands to the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns on SIGINT and SIGTERM, or never if they cannot be caught.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Runs the program; its exit code is 0, that of a failed RUN, 130 when interrupted, 2 for a command line that makes
/// no sense, else 1.
pub fn main() -> ExitCode {
    if sandbox::is_helper() {
        return sandbox::helper_main();
    }
    sandbox::forbid_name_modules();
    // Kaniko's programs are links to this one.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let [name, arguments @ ..] = arguments.as_slice()
        && let Some(program) = executor::Program::by_name(name)
    {
        return executor::main(program, &texts(arguments));
    }
    match Cooper::parse().command {
        Command::Executor { arguments } => executor::main(executor::Program::Executor, &texts(&arguments)),
        Command::Warmer { arguments } => executor::main(executor::Program::Warmer, &texts(&arguments)),
        Command::Build(arguments) => build::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Llb(arguments) => llb::run(&arguments),
        #[cfg(feature = "kubernetes")]
        Command::Submit(arguments) => submit::run(&arguments),
        #[cfg(feature = "kubernetes")]
        Command::Jobs(arguments) => jobs::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Registry(arguments) => registry::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Remote(arguments) => remote::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Worker(arguments) => serve::work(&arguments),
    }
}
