//! `executor`: building an image.

use std::collections::BTreeMap;
use std::io::{self, Stderr, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::flags::build as flags;
use super::parse::Parsed;
use super::request::{Plan, plan};
use super::{Mistake, complain, fetch, outputs, registries, say, variable};
use crate::cli::build::{About, Failure, conclude, run_pipeline};
use crate::cli::termination::TerminationLog;
use crate::event::{Events, Log, LogFormat, LogLevel, LogStyle, LogrusReporter};
use crate::exec::StepError;
use crate::pipeline::{self, BuildError, BuildResult, Environment};
use crate::registry::{CredentialPlaces, Credentials};
use crate::request::{BuildRequest, DockerfileSource};

/// How this run logs.
#[derive(Debug)]
pub(super) struct Logging {
    pub(super) log: Arc<Log<Stderr>>,
    has_colours: bool,
}

impl Logging {
    /// As the flags say, or what is wrong with them.
    pub(super) fn new(parsed: &Parsed) -> Result<Self, String> {
        let level = parsed.text(&flags::VERBOSITY);
        let level = LogLevel::parse(level)
            .ok_or_else(|| format!("parsing log level: not a valid logrus Level: {level:?}"))?;
        let format = match parsed.text(&flags::LOG_FORMAT) {
            "text" => LogFormat::Text,
            "color" => LogFormat::Colour,
            "json" => LogFormat::Json,
            other => {
                return Err(format!(
                    "not a valid log format: {other:?}. Please specify one of (text, color, json)"
                ));
            }
        };
        let style = LogStyle { format, level, timestamps: parsed.is_on(&flags::LOG_TIMESTAMP) };
        let log = Arc::new(Log::new(style, io::stderr()));
        Ok(Self { log, has_colours: format == LogFormat::Colour })
    }

    pub(super) fn warn(&self, text: &str) {
        self.log.log(LogLevel::Warning, text);
    }

    pub(super) fn debug(&self, text: &str) {
        self.log.log(LogLevel::Debug, text);
    }

    pub(super) fn info(&self, text: &str) {
        self.log.log(LogLevel::Info, text);
    }

    /// The events of a build, told in this log.
    pub(super) fn events(&self, uses_cache: bool) -> Events {
        let log = Arc::clone(&self.log);
        Events::new(Arc::new(LogrusReporter::new(log, uses_cache, io::stdout(), io::stderr())))
    }
}

/// Builds; says what came of it.
pub(super) fn run(parsed: &Parsed, logging: &Logging) -> Result<ExitCode, Mistake> {
    if let [argument, ..] = parsed.arguments.as_slice() {
        return Err(Mistake::Usage(format!("unknown command {argument:?} for \"executor\"")));
    }
    let log = termination_log(parsed);
    let prepared = plan(parsed).and_then(|plan| {
        for warning in &plan.warnings {
            logging.warn(warning);
        }
        Ok((plan, credentials(parsed, logging)?))
    });
    let (Plan { mut request, destinations, cleanup, .. }, credentials) = match prepared {
        Ok(prepared) => prepared,
        Err(Mistake::Said(text)) => {
            let about = About { image: None, secrets: &BTreeMap::new(), log: &log };
            let failed: Result<(), _> = Err(Failure::Other(text.clone()));
            // The mistake is the reason, whether or not it can be told there too.
            let _ = conclude(&logging.events(false), &about, failed, |()| None);
            return Err(Mistake::Said(text));
        }
        Err(usage) => return Err(usage),
    };
    let events = logging.events(request.use_cache);
    let result = build(parsed, &mut request, &destinations, credentials, &events);
    events.finish();
    if let Some(store) = &cleanup {
        remove(store, logging);
    }
    let about = About { image: destinations.first(), secrets: &request.secrets, log: &log };
    let result = conclude(&events, &about, result, |built| match built {
        Built::Image(result) => Some(result.digest),
        Built::Outline(_) => None,
    });
    match result {
        Ok(Built::Image(_)) => {
            if parsed.is_on(&flags::NO_PUSH) {
                logging.info("Skipping push to container registry due to --no-push flag");
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(Built::Outline(steps)) => {
            say(&(steps.join("\n") + "\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::Build(error)) => {
            explain(&error, logging.has_colours);
            Ok(ExitCode::from(error.exit_code()))
        }
        Err(Failure::Other(text)) => {
            complain(&text);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Where the termination message goes. Pipelines made for Kaniko have it hold a digest, or names.
fn termination_log(parsed: &Parsed) -> TerminationLog {
    let files =
        [&flags::DIGEST_FILE, &flags::IMAGE_NAME_WITH_DIGEST_FILE, &flags::IMAGE_NAME_TAG_WITH_DIGEST_FILE];
    let taken = files.into_iter().filter_map(|flag| parsed.some(flag).map(Path::new));
    TerminationLog::find(parsed.some(&flags::TERMINATION_LOG).map(Path::new), taken)
}

/// The logins of this run.
pub(super) fn credentials(parsed: &Parsed, logging: &Logging) -> Result<Credentials, Mistake> {
    let (ambient, unknown) = registries::ambient_logins(parsed);
    for name in unknown {
        logging.warn(&format!("Unknown cred-source {name:?}, skipping."));
    }
    let places = CredentialPlaces { ambient, ..CredentialPlaces::from_environment() };
    Credentials::load(&places).map_err(|error| Mistake::Said(pipeline::describe(&error)))
}

enum Built {
    Image(BuildResult),
    /// `--dryrun`: the steps that there would be.
    Outline(Vec<String>),
}

fn build(
    parsed: &Parsed,
    request: &mut BuildRequest,
    destinations: &[crate::image::ImageRef],
    credentials: Credentials,
    events: &Events,
) -> Result<Built, Failure> {
    let dockerfile = parsed.text(&flags::DOCKERFILE).to_owned();
    let is_dry = parsed.is_on(&flags::DRYRUN);
    let result = run_pipeline(credentials, events, async |environment: Environment| {
        if dockerfile.starts_with("http://") || dockerfile.starts_with("https://") {
            let text = match fetch::text(&dockerfile, &request.registries).await {
                Ok(text) => text,
                Err(reason) => return Ok(Err(format!("error resolving dockerfile path: {reason}"))),
            };
            request.dockerfile = DockerfileSource::Text(text);
        }
        if is_dry {
            return pipeline::outline(request, environment).await.map(|steps| Ok(Built::Outline(steps)));
        }
        let result = pipeline::build(request, environment).await?;
        let written = outputs::write(parsed, destinations, result.digest, &request.registries).await;
        Ok(written.map(|()| Built::Image(result)).map_err(|reason| format!("error pushing image: {reason}")))
    });
    let built = result?.map_err(Failure::Other)?;
    if let Built::Image(result) = &built
        && !result.pushed.is_empty()
        && let Some(directory) = variable("BUILDER_OUTPUT").filter(|directory| !directory.is_empty())
    {
        let written = outputs::write_builder_output(Path::new(&directory), destinations, result.digest);
        written.map_err(|reason| Failure::Other(format!("error pushing image: {reason}")))?;
    }
    Ok(built)
}

/// Says why there is no image: where in the Dockerfile, then in the words that those who read Kaniko's logs know.
fn explain(error: &BuildError, has_colours: bool) {
    let text = pipeline::describe(error);
    let last = match error {
        BuildError::Dockerfile(_) | BuildError::Step(_) => {
            let shown = error.render(has_colours);
            let mut output = io::stderr();
            // Nobody may be reading; the exit code tells all the same.
            let _ = writeln!(output, "{shown}");
            let reason = match error {
                BuildError::Step(failure) => match &*failure.error {
                    StepError::Failed { code, .. } => {
                        format!("waiting for process to exit: exit status {code}")
                    }
                    other => pipeline::describe(other),
                },
                _ => return complain("error building image: the Dockerfile has mistakes"),
            };
            format!("error building image: error building stage: failed to execute command: {reason}")
        }
        BuildError::PushForbidden { .. } => format!(
            "error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: {text}"
        ),
        BuildError::NoDockerfile { path } => format!(
            "Error: error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile (there is none at `{}`)",
            path.display()
        ),
        BuildError::Fetch { .. } => format!("Error: error resolving source context: {text}"),
        BuildError::Push(_) => format!("error pushing image: failed to push to destination: {text}"),
        _ => format!("error building image: {text}"),
    };
    complain(&last);
}

fn remove(store: &Path, logging: &Logging) {
    match std::fs::remove_dir_all(store) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            logging.warn(&format!("error cleaning kaniko dir: `{}`: {error}", store.display()));
        }
        _ => {}
    }
}
