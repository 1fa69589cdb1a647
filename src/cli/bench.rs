//! `cooper bench`: Cooper beside other builders.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::bench::{BenchRequest, Formats, Peers, Report, Selection, bench};
use crate::pipeline;

/// What `cooper bench` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArguments {
    /// What is measured: CASE[=MODE,…][@BUILDER,…] [default: all cases, each cold, warm and cached]
    ///
    /// Cases: sample, copy, debian, files, large, stages, layers. Modes: cold (nothing at hand), warm (the base at
    /// hand, steps done anew), cached (a cache repository has all), edited (the same, one file changed), kept (the
    /// store of a build before).
    #[arg(long = "case", value_name = "SELECTION", verbatim_doc_comment)]
    selections: Vec<Selection>,
    /// How often each
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// An executor of Kaniko; may be given several times
    #[arg(long = "kaniko", value_name = "[NAME=]PATH", value_parser = named)]
    kaniko: Vec<(String, PathBuf)>,
    /// An image of Kaniko, to be run in a pod by kubectl; see --listen and --registry-name
    #[arg(long, value_name = "IMAGE")]
    kaniko_pod: Option<String>,
    /// What runs that pod
    #[arg(long, value_name = "PATH", default_value = "kubectl")]
    kubectl: PathBuf,
    /// Where the registry listens; pods reach no loopback but their own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// What builders call this machine when they want the registry
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    registry_name: String,
    /// Buildah
    #[arg(long, value_name = "PATH")]
    buildah: Option<PathBuf>,
    /// BuildKit's client
    #[arg(long, value_name = "PATH", default_value = "buildctl")]
    buildctl: PathBuf,
    /// BuildKit's daemon, to be started for the measuring
    #[arg(long, value_name = "PATH", conflicts_with = "buildkit")]
    buildkitd: Option<PathBuf>,
    /// The address of a BuildKit daemon that is there already; it is pruned before each cold run
    #[arg(long, value_name = "ADDRESS")]
    buildkit: Option<String>,
    /// Directory with the cases
    #[arg(long, value_name = "DIR", default_value = "fixtures")]
    fixtures: PathBuf,
    /// Directory with the base images, as tests/tools/bench-bases.sh makes it
    #[arg(long, value_name = "DIR", default_value = "target/bench/bases")]
    bases: PathBuf,
    /// Directory to work in; what is there is overwritten
    #[arg(long, value_name = "DIR", default_value = "target/bench/work")]
    work: PathBuf,
    /// Write all numbers to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write the report to this file, as Markdown
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
    /// Write the report to this file, as a page with charts
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,
    /// A file of Markdown to put into the Markdown report
    #[arg(long, value_name = "PATH")]
    notes: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cooper bench --case sample=cold,warm --buildah buildah --kaniko /opt/kaniko/executor
  cooper bench --case files=cold@cooper,buildkit --runs 3 --buildkitd buildkitd --html report.html

Needs docker-registry and skopeo. Kaniko and BuildKit's daemon need root.
Exits with 1 if a build failed or an image was not equal to Cooper's.";

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.contains('/') => Ok((format!("kaniko-{name}"), path.into())),
        _ if text.is_empty() => Err("there is no path".to_owned()),
        _ => Ok(("kaniko".to_owned(), text.into())),
    }
}

/// Measures, and writes the reports.
pub(super) fn run(arguments: &BenchArguments) -> ExitCode {
    match measure(arguments) {
        Ok(report) if report.is_sound() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(text) => {
            say(&pipeline::error_line(&text, true));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &BenchArguments) -> Result<Report, String> {
    let cooper = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let notes = match &arguments.notes {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?,
    };
    let selections =
        if arguments.selections.is_empty() { Selection::all() } else { arguments.selections.clone() };
    let request = BenchRequest {
        selections,
        runs: arguments.runs,
        peers: Peers {
            kaniko: arguments.kaniko.clone(),
            kaniko_pod: arguments.kaniko_pod.clone().map(|image| (arguments.kubectl.clone(), image)),
            buildah: arguments.buildah.clone(),
            buildctl: Some(arguments.buildctl.clone()),
            buildkitd: arguments.buildkitd.clone(),
            buildkit_address: arguments.buildkit.clone(),
        },
        listen: arguments.listen,
        registry_name: arguments.registry_name.clone(),
        cooper,
        fixtures: arguments.fixtures.clone(),
        bases: arguments.bases.clone(),
        work: arguments.work.clone(),
    };
    let report = bench(&request).map_err(|error| pipeline::describe(&error))?;
    let render =
        |format| report.render(format, &notes).map_err(|error| format!("cannot write a report: {error}"));
    for (path, format) in [
        (&arguments.json, Formats::Json),
        (&arguments.markdown, Formats::Markdown),
        (&arguments.html, Formats::Html),
    ] {
        let Some(path) = path else { continue };
        std::fs::write(path, render(format)?).map_err(|error| cannot("write", path, &error))?;
    }
    let table = render(Formats::Table)?;
    // Nobody may be reading any more; the files tell all the same.
    let _ = anstream::stdout().write_all(table.as_bytes());
    Ok(report)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} `{}`: {error}", path.display())
}

fn say(text: &str) {
    // Nobody may be reading any more; the exit code tells all the same.
    let _ = writeln!(anstream::stderr(), "{text}");
}
