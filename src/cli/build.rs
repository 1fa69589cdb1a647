//! `cooper build`, with the habits of `docker buildx build`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::arguments::{certificate, dockerfile_source, key_value, named_context, source_date_epoch};
use super::cache::CacheArguments;
use super::mounts::MountArguments;
use super::progress::Progress;
use super::termination::TerminationLog;
use crate::cancel::Cancel;
use crate::context::source::buildx;
use crate::event::{Events, Trace};
use crate::exec::sandbox::IsolationChoice;
use crate::exec::{SecretSource, SecretValue, Supplies};
use crate::graph::NamedContext;
use crate::image::{ImageFormat, ImageRef, Platform};
use crate::layer::Digest;
use crate::outcome::{BuildOutcome, redacted_line};
use crate::pipeline::{self, BuildError, BuildResult, Environment};
use crate::registry::{CredentialPlaces, Credentials, Mirror, Reach, RegistrySettings};
use crate::request::{BuildRequest, Output};

/// What `cooper build` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct BuildArguments {
    /// The files that COPY and ADD see: a directory, a git repository, the address of an archive or `-`
    #[arg(value_name = "CONTEXT")]
    context: String,
    /// The Dockerfile; `-` reads it from standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Name of the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tags: Vec<ImageRef>,
    /// Push the image to the registries of its names
    #[arg(long)]
    push: bool,
    /// Where else the image goes: type=oci|docker|tar|local,dest=PATH
    #[arg(short, long = "output", value_name = "OUTPUT")]
    outputs: Vec<Output>,
    /// Value of an ARG; without a value, that of the environment variable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// Files or an image that the Dockerfile can name
    #[arg(long = "build-context", value_name = "NAME=VALUE", value_parser = named_context)]
    build_contexts: Vec<(String, NamedContext)>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Platform of the image, like linux/arm64; several make an index
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<Platform>,
    /// Label of the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    cache: CacheArguments,
    /// How the build is shown
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub(super) progress: Progress,
    /// Write to this file where the time went, as a Chrome trace for Perfetto, and say the gist of it
    #[arg(long, value_name = "PATH")]
    trace: Option<PathBuf>,
    /// Write digests as JSON to this file
    #[arg(long, value_name = "PATH")]
    metadata_file: Option<PathBuf>,
    /// Write the digest of the image's config to this file
    #[arg(long, value_name = "PATH")]
    iidfile: Option<PathBuf>,
    /// Write to this file what came of the build, as JSON [default: a pod's termination message]
    #[arg(long, value_name = "PATH")]
    termination_log: Option<PathBuf>,
    /// How RUN is confined: auto, overlay, userns, in-place or chroot
    #[arg(long, value_name = "ISOLATION", default_value = "auto")]
    isolation: IsolationChoice,
    #[command(flatten)]
    mounts: MountArguments,
    /// Media types of the image: oci or docker [default: the base's]
    #[arg(long, value_name = "FORMAT", value_parser = image_format)]
    image_format: Option<ImageFormat>,
    /// Use only what the store and layouts have
    #[arg(long)]
    offline: bool,
    /// Where Cooper keeps blobs and results [default: `$XDG_CACHE_HOME/cooper`]
    #[arg(long, value_name = "DIR", env = "COOPER_STORE")]
    store: Option<PathBuf>,
    /// Registry that speaks plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure_registries: Vec<String>,
    /// Registry to pull images of Docker Hub from first
    #[arg(long = "registry-mirror", value_name = "HOST")]
    registry_mirrors: Vec<String>,
    /// Where contexts and files for ADD may be fetched from: any, or public with exceptions like public,git.corp
    #[arg(long, value_name = "REACH", default_value = "any")]
    source_reach: Reach,
    /// Authority to trust for a registry
    #[arg(long = "registry-certificate", value_name = "HOST=PEM", value_parser = certificate)]
    registry_certificates: Vec<(String, PathBuf)>,
}

const EXAMPLES: &str = "\
Examples:
  cooper build -t registry:5000/app:1 --push .
  cooper build -t app:1 -o type=docker,dest=app.tar . && docker load -i app.tar
  cooper build --offline --build-context base=oci-layout://base -o type=oci,dest=image .";

fn image_format(text: &str) -> Result<ImageFormat, String> {
    match text {
        "oci" => Ok(ImageFormat::Oci),
        "docker" => Ok(ImageFormat::Docker),
        _ => Err("there are `oci` and `docker`".to_owned()),
    }
}

/// Builds; says what came of it.
pub(super) fn run(arguments: &BuildArguments) -> ExitCode {
    let trace = arguments.trace.as_ref().map(|path| (Trace::begin(), path));
    let reporter = arguments.progress.reporter();
    let reporter = trace.iter().fold(reporter, |reporter, (trace, _)| trace.reporter(reporter));
    let events = Events::new(reporter);
    let request = request(arguments);
    let secrets = request.as_ref().map(|request| request.secrets.clone()).unwrap_or_default();
    let result = request.map_err(Failure::Other).and_then(|request| build(arguments, &request, &events));
    events.finish();
    // A build that failed has a trace too; its own error counts.
    let result = match trace.map(|(trace, path)| save_trace(&trace, path, arguments.progress, &events)) {
        Some(Err(error)) => result.and(Err(error)),
        _ => result,
    };
    let taken = [&arguments.iidfile, &arguments.metadata_file].into_iter().flatten().map(PathBuf::as_path);
    let log = TerminationLog::find(arguments.termination_log.as_deref(), taken);
    let about = About { image: arguments.tags.first(), secrets: &secrets, log: &log };
    let result = conclude(&events, &about, result, |result| Some(result.digest));
    match (result, arguments.progress) {
        (Ok(_), Progress::Json) => ExitCode::SUCCESS,
        (Ok(result), _) => {
            report(arguments, &result);
            ExitCode::SUCCESS
        }
        (Err(failure), Progress::Json) => failure.exit_code(),
        (Err(failure), _) => failure.report(),
    }
}

/// What programs are told of a build, and where, besides what came of it.
pub(super) struct About<'a> {
    /// Its first name.
    pub(super) image: Option<&'a ImageRef>,
    /// What is not to be told.
    pub(super) secrets: &'a BTreeMap<String, SecretSource>,
    /// Where the termination message goes.
    pub(super) log: &'a TerminationLog,
}

/// Tells programs what came of a build; gives it back, or that it cannot be told where it should.
pub(super) fn conclude<T>(
    events: &Events,
    about: &About<'_>,
    result: Result<T, Failure>,
    digest: impl Fn(&T) -> Option<Digest>,
) -> Result<T, Failure> {
    let About { image, secrets, log } = about;
    let outcome = |result: &Result<T, Failure>| BuildOutcome {
        image: image.map(ToString::to_string),
        digest: result.as_ref().ok().and_then(&digest),
        duration: (events.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        cache: events.cache_use(),
        error: result.as_ref().err().map(|failure| failure.summary(secrets)),
    };
    let result = match log.write(&outcome(&result)) {
        Ok(()) => result,
        Err(reason) if log.is_asked_for() => result.and(Err(Failure::Other(reason))),
        Err(reason) => {
            events.warn(reason);
            result
        }
    };
    if let Err(failure) = &result {
        events.error(failure.render(false));
    }
    events.conclude(&outcome(&result));
    result
}

/// Why nothing was built, or nothing could be said about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The build failed.
    Build(Box<BuildError>),
    /// This.
    Other(String),
}

impl Failure {
    /// Says it; the exit code that goes with it.
    pub(super) fn report(&self) -> ExitCode {
        complain(&self.render(true));
        self.exit_code()
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Build(error) => ExitCode::from(error.exit_code()),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }

    /// What is shown of it, in several lines.
    fn render(&self, colour: bool) -> String {
        match self {
            Self::Build(error) => error.render(colour),
            Self::Other(text) => pipeline::error_line(text, colour),
        }
    }

    /// One line, without the values of `secrets`.
    fn summary(&self, secrets: &BTreeMap<String, SecretSource>) -> String {
        let text = match self {
            Self::Build(error) => error.summary(),
            Self::Other(text) => text.clone(),
        };
        // Each alone: one that cannot be read must not keep the others from being hidden.
        let values = secrets.iter().filter_map(|(id, source)| {
            let one = BTreeMap::from([(id.clone(), source.clone())]);
            Supplies::gather(&one, &BTreeMap::new(), &[]).ok()
        });
        let values: Vec<Supplies> = values.collect();
        let values = values.iter().flat_map(|supplies| supplies.secrets().values());
        redacted_line(&text, values.map(SecretValue::reveal))
    }
}

fn build(
    arguments: &BuildArguments,
    request: &BuildRequest,
    events: &Events,
) -> Result<BuildResult, Failure> {
    let result =
        run_with_own_credentials(events, async |environment| pipeline::build(request, environment).await)?;
    write_files(arguments, &result)?;
    Ok(result)
}

/// Runs something that builds with the credentials that docker's settings have.
pub(super) fn run_with_own_credentials<T>(
    events: &Events,
    build: impl AsyncFnOnce(Environment) -> Result<T, BuildError>,
) -> Result<T, Failure> {
    let places = CredentialPlaces::from_environment();
    let credentials =
        Credentials::load(&places).map_err(|error| Failure::Other(pipeline::describe(&error)))?;
    run_pipeline(credentials, events, build)
}

/// Runs something that builds, until it ends or a signal ends it.
pub(super) fn run_pipeline<T>(
    credentials: Credentials,
    events: &Events,
    build: impl AsyncFnOnce(Environment) -> Result<T, BuildError>,
) -> Result<T, Failure> {
    let cancel = Cancel::new().map_err(|error| Failure::Other(error.to_string()))?;
    let helper = PathBuf::from("/proc/self/exe");
    let environment = Environment { credentials, helper, events: events.clone(), cancel: cancel.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let listener = tokio::spawn(cancel_on_signal(cancel));
        let result = build(environment).await;
        listener.abort();
        result
    });
    // Threads that wait for a download that nobody wants any more need not be waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result.map_err(|error| Failure::Build(Box::new(error)))
}

/// Throws the switch on SIGINT and SIGTERM.
async fn cancel_on_signal(cancel: Cancel) {
    super::stop_signal().await;
    cancel.cancel();
}

/// The request that was typed. Reads standard input for `--file -`, and nothing else.
pub(super) fn request(arguments: &BuildArguments) -> Result<BuildRequest, String> {
    let context = buildx::parse(&arguments.context).map_err(|error| pipeline::describe(&error))?;
    if arguments.context == "-" && arguments.file.as_deref() == Some(Path::new("-")) {
        return Err("standard input cannot be both the build context and the Dockerfile".to_owned());
    }
    let dockerfile = dockerfile_source(arguments.file.as_deref())?;
    let mut outputs = arguments.outputs.clone();
    if arguments.push && !outputs.contains(&Output::Push) {
        outputs.push(Output::Push);
    }
    let mut build_args: BTreeMap<String, String> =
        arguments.build_args.iter().filter_map(|text| key_value(text)).collect();
    let labels = arguments.labels.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    });
    Ok(BuildRequest {
        dockerfile,
        contexts: arguments.build_contexts.iter().cloned().collect(),
        source_date_epoch: source_date_epoch(&mut build_args)?,
        build_args,
        target: arguments.target.clone(),
        platforms: arguments.platforms.clone(),
        labels: labels.collect(),
        tags: arguments.tags.clone(),
        outputs,
        image_format: arguments.image_format,
        encoding: arguments.cache.compression()?,
        use_cache: !arguments.no_cache,
        cache_from: arguments.cache.from(),
        cache_to: arguments.cache.to(),
        explain_cache: arguments.cache.explain(),
        isolation: arguments.isolation,
        run: arguments.mounts.run_settings(),
        secrets: arguments.mounts.secrets(),
        ssh_agents: arguments.mounts.agents()?,
        extra_hosts: arguments.mounts.hosts(),
        offline: arguments.offline,
        registries: registries(arguments),
        context,
        ..BuildRequest::new(PathBuf::new(), store(arguments.store.as_ref())?)
    })
}

fn registries(arguments: &BuildArguments) -> RegistrySettings {
    let mirrors: Vec<Mirror> = arguments.registry_mirrors.iter().map(|text| Mirror::parse(text)).collect();
    RegistrySettings {
        insecure: arguments.insecure_registries.iter().cloned().collect(),
        certificates: arguments.registry_certificates.iter().cloned().collect(),
        mirrors: if mirrors.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([("docker.io".to_owned(), mirrors)])
        },
        source_reach: arguments.source_reach.clone(),
        ..RegistrySettings::default()
    }
}

/// The store that was named, or the usual place.
pub(super) fn store(named: Option<&PathBuf>) -> Result<PathBuf, String> {
    if let Some(store) = named {
        return Ok(store.clone());
    }
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("cooper"))
        .ok_or_else(|| "there is no HOME to keep a store in; name a directory with `--store DIR`".to_owned())
}

fn write_files(arguments: &BuildArguments, result: &BuildResult) -> Result<(), Failure> {
    if let Some(path) = &arguments.iidfile {
        write_file(path, result.config_digest.to_string().as_bytes())?;
    }
    if let Some(path) = &arguments.metadata_file {
        let names: Vec<String> = arguments.tags.iter().map(ToString::to_string).collect();
        let metadata = serde_json::json!({
            "containerimage.config.digest": result.config_digest,
            "containerimage.descriptor": result.descriptor,
            "containerimage.digest": result.digest,
            "image.name": names.join(","),
        });
        write_file(path, format!("{metadata:#}\n").as_bytes())?;
    }
    Ok(())
}

fn save_trace(trace: &Trace, path: &Path, progress: Progress, events: &Events) -> Result<(), Failure> {
    trace
        .save(path)
        .map_err(|error| Failure::Other(format!("cannot write `{}`: {error}", path.display())))?;
    match progress {
        Progress::Json => events.note(trace.summary().trim_end()),
        _ => complain(trace.summary().trim_end()),
    }
    Ok(())
}

pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::Other(format!("cannot write `{}`: {error}", path.display())))
}

/// The digest is the result: it goes to standard output when a program reads that, and is shown to a person.
fn report(arguments: &BuildArguments, result: &BuildResult) {
    if arguments.progress == Progress::Quiet {
        say(&mut io::stdout(), &result.digest.to_string());
        return;
    }
    let seconds = result.duration.as_secs_f64();
    let mut error = anstream::stderr();
    for name in &result.pushed {
        say(&mut error, &format!("pushed {name}"));
    }
    say(&mut error, &format!("built {} in {seconds:.2}s", result.digest));
    let takes_stdout = arguments.outputs.iter().any(Output::is_stdout);
    if !takes_stdout && !io::stdout().is_terminal() {
        say(&mut io::stdout(), &result.digest.to_string());
    }
}

pub(super) fn complain(text: &str) {
    say(&mut anstream::stderr(), text);
}

pub(super) fn say(output: &mut impl io::Write, text: &str) {
    // Nobody may be reading any more; the exit code tells all the same.
    let _ = writeln!(output, "{text}");
}
