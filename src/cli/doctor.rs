//! `cooper doctor`: what is wrong here, and what to do about it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::arguments::TrustArguments;
use super::build::{self, complain, say};
use super::printable;
use crate::doctor::{self, Examined, Finding, Level, Report};
use crate::image::ImageRef;
use crate::pipeline;
use crate::registry::{CredentialPlaces, Credentials};

/// What `cooper doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES, args_override_self = true)]
pub(super) struct DoctorArguments {
    /// Registry or repository to examine; may be given several times [default: the registries of config.json]
    #[arg(long = "registry", value_name = "HOST[/REPOSITORY]", value_parser = examined)]
    registries: Vec<Examined>,
    /// The store of builds [default: `$XDG_CACHE_HOME/cooper`]
    #[arg(long, value_name = "DIR", env = "COOPER_STORE")]
    store: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// As JSON
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Tries how RUN can be confined here, measures the store's disk, and asks registries what builds ask of them. Nothing is
pushed: an upload is begun and given up.

The exit code is that of the worst finding: 1 for an error, 3 for a warning, 0 for notes.

Examples:
  cooper doctor
  cooper doctor --registry registry:5000/team/app --json
  kubectl run doctor --rm -it --restart=Never --image=registry:5000/tools/cooper --command -- /kaniko/cooper doctor";

/// `HOST` or `HOST/REPOSITORY`, as in image names.
fn examined(text: &str) -> Result<Examined, String> {
    let text = text.trim_end_matches('/');
    if let Some((host, _)) = text.split_once('/') {
        let name: ImageRef = text.parse().map_err(|error| format!("{error}"))?;
        // What has no host is taken to be at Docker Hub: `team/app` is no registry.
        if name.repository().registry() == host || matches!(host, "index.docker.io" | "registry-1.docker.io")
        {
            return Ok(Examined::Repository(name.repository().clone()));
        }
        return Err(format!("`{host}` is no registry: write HOST, HOST:PORT or `localhost` before the `/`"));
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if text.is_empty() || !text.chars().all(is_host) {
        return Err("write HOST, HOST:PORT or HOST/REPOSITORY".to_owned());
    }
    Ok(Examined::Registry(text.to_owned()))
}

/// Examines, and says what was found.
pub(super) fn run(arguments: &DoctorArguments) -> ExitCode {
    match examine(arguments) {
        Ok(report) => {
            if arguments.json {
                match serde_json::to_string_pretty(&report) {
                    Ok(text) => say(&mut std::io::stdout(), &text),
                    Err(error) => complain(&pipeline::error_line(&error.to_string(), true)),
                }
            } else {
                say(&mut anstream::stdout(), text(&report).trim_end());
            }
            ExitCode::from(report.exit_code())
        }
        Err(error) => {
            complain(&pipeline::error_line(&error, true));
            ExitCode::FAILURE
        }
    }
}

fn examine(arguments: &DoctorArguments) -> Result<Report, String> {
    let store = build::store(arguments.store.as_ref())?;
    // Before there are threads: what is tried is tried in children.
    let mut findings = doctor::examine_here(&store, Path::new("/proc/self/exe"));
    let credentials = match Credentials::load(&CredentialPlaces::from_environment()) {
        Ok(credentials) => credentials,
        Err(error) => {
            findings.push(doctor::unreadable_credentials(&error));
            Credentials::anonymous()
        }
    };
    let readable = doctor::readable_credentials(&findings, &credentials);
    findings.extend(readable);
    let settings = arguments.trust.settings();
    let examined = match arguments.registries.as_slice() {
        [] => credentials.registries().into_iter().map(Examined::Registry).collect(),
        named => named.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let found = runtime.block_on(async {
        let all = examined.iter().map(|one| doctor::examine_registry(one, &settings, &credentials));
        futures_util::future::join_all(all).await
    });
    findings.extend(found.into_iter().flatten());
    Ok(Report::new(findings))
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn style(level: Level) -> (Style, &'static str) {
    match level {
        Level::Ok => (AnsiColor::Green.on_default(), "✔"),
        Level::Note => (AnsiColor::Cyan.on_default(), "•"),
        Level::Warning => (AnsiColor::Yellow.on_default().bold(), "!"),
        Level::Error => (AnsiColor::Red.on_default().bold(), "✘"),
    }
}

/// For people: by subject, with advice and files below what they are about.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut subject = None;
    for finding in &report.findings {
        if subject != Some(&finding.subject) {
            let gap = if subject.is_some() { "\n" } else { "" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{gap}{BOLD}{}{BOLD:#}", printable(&finding.subject));
            subject = Some(&finding.subject);
        }
        add(&mut text, finding);
    }
    text
}

fn add(text: &mut String, finding: &Finding) {
    let (style, mark) = style(finding.level);
    let label = match finding.level {
        Level::Ok => String::new(),
        level => format!("{}[{}]: ", level.name(), finding.code.name()),
    };
    let _ = writeln!(text, "  {style}{mark} {label}{style:#}{}", indented(&finding.found, 4));
    if let Some(advice) = &finding.advice {
        let _ = writeln!(text, "    {DIM}help:{DIM:#} {}", indented(advice, 4));
    }
    for file in &finding.files {
        let _ = writeln!(text, "    {BOLD}{}{BOLD:#} {DIM}({}){DIM:#}", file.path, file.runtime);
        let _ = writeln!(text, "        {}", indented(file.text.trim_end(), 8));
        let _ = writeln!(text, "    {DIM}then: {}{DIM:#}", file.then);
    }
}

/// Further lines of a text moved to the right.
fn indented(text: &str, columns: usize) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join(&format!("\n{}", " ".repeat(columns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_as_in_image_names() {
        let host = |text: &str| Examined::Registry(text.to_owned());
        for (text, expected) in [("r:5000", host("r:5000")), ("registry.local/", host("registry.local"))] {
            assert_eq!(examined(text), Ok(expected));
        }
        let Ok(Examined::Repository(name)) = examined("localhost:5000/team/app") else { panic!() };
        assert_eq!((name.registry(), name.path()), ("localhost:5000", "team/app"));
        for text in ["", "team/app", "http://r:5000", "r:5000/UPPER", "r\u{1b}"] {
            assert!(examined(text).is_err(), "{text}");
        }
    }
}
