//! `cooper check`, as `docker build --check`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};

use super::arguments::{dockerfile_source, key_value, named_context};
use crate::dockerfile::Severity;
use crate::graph::NamedContext;
use crate::pipeline::{self, Checked};
use crate::request::BuildRequest;

/// What `cooper check` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct CheckArguments {
    /// Directory with the Dockerfile and its .dockerignore
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: PathBuf,
    /// The Dockerfile; `-` reads it from standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Value of an ARG; without a value, that of the environment variable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// Files or an image that the Dockerfile can name
    #[arg(long = "build-context", value_name = "NAME=VALUE", value_parser = named_context)]
    build_contexts: Vec<(String, NamedContext)>,
    /// Stage that will be built [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// How the findings are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// With the lines of the Dockerfile, for people
    #[default]
    Text,
    /// An array of objects, for programs
    Json,
}

const NOTES: &str = "\
The rules are those of `docker build --check`. To turn some off, write a line
`# check=skip=RULE,RULE` at the top of the Dockerfile, or above an instruction.

Exit code: 0 if there is nothing to say, 1 if there are warnings or errors.

Examples:
  cooper check .
  cooper check -f - < Dockerfile
  cooper check --format json . | jq -r '.[].rule'";

/// Checks, and prints what was found.
pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    match check(arguments) {
        Ok(checked) => {
            // Nobody may be reading any more; the exit code tells all the same.
            let _ = match arguments.format {
                Format::Text => print_text(&checked),
                Format::Json => print_json(&checked),
            };
            if checked.diagnostics.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(text) => {
            let _ = writeln!(anstream::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &CheckArguments) -> Result<Checked, String> {
    let dockerfile = dockerfile_source(arguments.file.as_deref()).map_err(|text| format!("error: {text}"))?;
    // Checking keeps nothing: the store is never opened.
    let request = BuildRequest {
        dockerfile,
        build_args: arguments.build_args.iter().filter_map(|text| key_value(text)).collect(),
        contexts: arguments.build_contexts.iter().cloned().collect::<BTreeMap<_, _>>(),
        target: arguments.target.clone(),
        ..BuildRequest::new(arguments.context.clone(), PathBuf::new())
    };
    pipeline::check(&request).map_err(|error| error.render(true))
}

fn print_text(checked: &Checked) -> io::Result<()> {
    let width = columns();
    let mut output = anstream::stdout().lock();
    for diagnostic in &checked.diagnostics {
        writeln!(output, "{}\n", diagnostic.render_within(width, &checked.source, true))?;
    }
    writeln!(output, "{}", summary(checked))
}

/// The width of the terminal; of a file, one that cuts nothing.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(usize::from(u16::MAX))
}

fn print_json(checked: &Checked) -> io::Result<()> {
    let placed: Vec<_> =
        checked.diagnostics.iter().map(|diagnostic| diagnostic.placed(&checked.source)).collect();
    let mut output = io::stdout().lock();
    serde_json::to_writer_pretty(&mut output, &placed)?;
    writeln!(output)
}

/// Like `1 error and 2 warnings in Dockerfile`.
fn summary(checked: &Checked) -> String {
    const BOLD: Style = Style::new().bold();
    const GOOD: Style = AnsiColor::Green.on_default().bold();
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning")].map(|(severity, noun)| {
        match checked.count(severity) {
            0 => None,
            1 => Some(format!("1 {noun}")),
            count => Some(format!("{count} {noun}s")),
        }
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let file = checked.source.name();
    if counts.is_empty() {
        format!("{GOOD}nothing to say{GOOD:#} about {file}")
    } else {
        format!("{BOLD}{}{BOLD:#} in {file}", counts.join(" and "))
    }
}
