//! Kaniko's command lines: `executor` with `version`, `login` and `push`, and `warmer`.
//!
//! ```text
//! flags (the table) ─► parse ─► Parsed ─► request ─► BuildRequest ─► pipeline
//!        │                                   └─► Plan: what else is done before and after
//!        └─► --help, docs/kaniko.md
//! ```
//!
//! What is not said here is in `docs/kaniko.md`.

mod fetch;
mod flag;
mod flags;
mod help;
mod login;
mod outputs;
mod parse;
mod push;
mod registries;
mod request;
mod run;
mod secret;
mod table;
mod value;
mod warm;

use std::io::{self, Write as _};
use std::process::ExitCode;

use flag::{Flag, Treatment};
use help::Command;
use parse::{Parsed, parse};

/// The program that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `executor`.
    Executor,
    /// `warmer`.
    Warmer,
}

impl Program {
    /// The program of this name: that of the file which was started.
    pub(super) fn by_name(name: &std::ffi::OsStr) -> Option<Self> {
        let name = std::path::Path::new(name).file_name()?;
        match name.to_str()? {
            "executor" => Some(Self::Executor),
            "warmer" => Some(Self::Warmer),
            _ => None,
        }
    }
}

/// The commands of the executor.
const COMMANDS: &[(&str, &str)] = &[
    ("help", "Help about any command"),
    ("login", "Log into a container registry"),
    ("push", "Push a pre-built image to a registry"),
    ("version", "Print the version number of kaniko"),
];

const EXECUTOR: &str = "executor";
const WARMER: &str = "cache warmer";
const FLAGS: &str = "executor help flags";

fn executor() -> Command {
    Command { path: EXECUTOR, arguments: "", about: "", commands: COMMANDS, flags: flags::executor() }
}

fn push_command() -> Command {
    let about = "Push a pre-built image to one or more registries. The path may point at a\ndocker-save format tarball (regular file) or at an OCI image layout (directory).";
    Command { path: "executor push", arguments: "<path>", about, commands: &[], flags: flags::push() }
}

fn login_command() -> Command {
    let about = "Log into a container registry";
    Command { path: "executor login", arguments: "<registry>", about, commands: &[], flags: flags::login() }
}

fn version_command() -> Command {
    let about = "Print the version number of kaniko";
    Command { path: "executor version", arguments: "", about, commands: &[], flags: flags::LOGGING.to_vec() }
}

/// `help flags`: the table of the documentation.
fn flags_command() -> Command {
    Command { path: FLAGS, arguments: "", about: "", commands: &[], flags: Vec::new() }
}

fn warmer() -> Command {
    Command { path: WARMER, arguments: "", about: "", commands: &[], flags: flags::warmer() }
}

/// Why a program ends without success, before it has logged anything.
#[derive(Debug)]
enum Mistake {
    /// In how the command line is written: the usage helps.
    Usage(String),
    /// In what it says.
    Said(String),
}

/// Runs Kaniko's `program` with these arguments.
pub(super) fn main(program: Program, arguments: &[String]) -> ExitCode {
    let (command, arguments) = match program {
        Program::Warmer => (warmer(), arguments.to_vec()),
        Program::Executor => match split(arguments) {
            Ok(split) => split,
            Err(unknown) => {
                complain(&format!("Error: unknown command {unknown:?} for \"executor\""));
                complain("Run 'executor --help' for usage.");
                return ExitCode::FAILURE;
            }
        },
    };
    match execute(&command, &arguments) {
        Ok(code) => code,
        Err(Mistake::Usage(text)) => {
            complain(&format!("Error: {text}"));
            complain(&command.usage());
            ExitCode::FAILURE
        }
        Err(Mistake::Said(text)) => {
            complain(&format!("Error: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// The executor's command, and the arguments without its name.
fn split(arguments: &[String]) -> Result<(Command, Vec<String>), String> {
    let Some(position) = parse::command(&flags::executor(), arguments) else {
        return Ok((executor(), arguments.to_vec()));
    };
    let mut rest = arguments.to_vec();
    let name = rest.remove(position);
    let command = match name.as_str() {
        "push" => push_command(),
        "login" => login_command(),
        "version" => version_command(),
        "help" => {
            let command = match rest.first().map_or("", String::as_str) {
                "flags" => return Ok((flags_command(), Vec::new())),
                "push" => push_command(),
                "login" => login_command(),
                "version" => version_command(),
                _ => executor(),
            };
            return Ok((command, vec!["--help".to_owned()]));
        }
        _ => return Err(name),
    };
    Ok((command, rest))
}

fn execute(command: &Command, arguments: &[String]) -> Result<ExitCode, Mistake> {
    let parsed =
        parse(&command.flags, arguments, variable).map_err(|error| Mistake::Usage(error.to_string()))?;
    if parsed.help {
        say(&command.help());
        return Ok(ExitCode::SUCCESS);
    }
    if command.path == FLAGS {
        say(&table::markdown());
        return Ok(ExitCode::SUCCESS);
    }
    let log = run::Logging::new(&parsed).map_err(Mistake::Said)?;
    for warning in &parsed.warnings {
        log.warn(warning);
    }
    let accepted = |flag: &&&Flag| flag.treatment == Treatment::Accepted && parsed.is_given(flag);
    for flag in command.flags.iter().filter(accepted) {
        log.debug(&format!("--{} changes nothing: {}", flag.name, flag.note));
    }
    match command.path {
        "executor push" => push::run(&parsed, &log),
        "executor login" => login::run(&parsed),
        "executor version" => {
            say(&format!("Kaniko version :  v{}-cooper\n", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        WARMER => warm::run(&parsed, &log),
        _ => run::run(&parsed, &log),
    }
}

/// The one argument of a command that takes one.
fn only_argument(parsed: &Parsed) -> Result<&str, Mistake> {
    match parsed.arguments.as_slice() {
        [only] => Ok(only),
        others => Err(Mistake::Usage(format!("accepts 1 arg(s), received {}", others.len()))),
    }
}

/// An environment variable; what is not UTF-8 counts as not there.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The value of a flag, made into what it stands for.
fn read<T>(flag: &Flag, text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Mistake> {
    read(text)
        .map_err(|reason| Mistake::Said(format!("invalid value {text:?} for --{}: {reason}", flag.name)))
}

fn say(text: &str) {
    // Nobody may be reading; the exit code tells all the same.
    let _ = write!(io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
