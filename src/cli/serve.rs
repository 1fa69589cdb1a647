//! `cooper serve`, and the worker that it starts for every build.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser as _, ValueEnum};

use super::build;
use crate::pipeline;
use crate::registry::{Mirror, Reach, RegistrySettings};
use crate::serve::{self, ConfigError, FleetSettings, Need, ServeError, Settings};
use crate::units;

/// What `cooper serve` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Directory of the queue, logs, uploads and the store
    #[arg(long, value_name = "DIR", required_unless_present = "check_config")]
    data: Option<PathBuf>,
    /// File with what tokens are good for; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present_any = ["allow_anonymous", "check_config"],
        conflicts_with = "allow_anonymous"
    )]
    tokens: Option<PathBuf>,
    /// Let every program of this machine build and push; only with an address of loopback
    #[arg(long)]
    allow_anonymous: bool,
    /// Which pushes are built and who is told: cooper.yaml; read again when it changes
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only look for mistakes in the file of --config
    #[arg(long, requires = "config")]
    check_config: bool,
    /// Address that people find the service at, for links in statuses and notifications
    #[arg(long, value_name = "URL")]
    public_url: Option<url::Url>,
    /// Where notifications and statuses may go, written like --source-reach
    #[arg(long, value_name = "REACH", default_value = "public")]
    notify_reach: Reach,
    /// Processors for all builds together, like 4 or 2.5 [default: those of the machine]
    #[arg(long, value_name = "NUMBER", value_parser = units::millicpus)]
    cpus: Option<u32>,
    /// Memory for all builds together, like 6GiB [default: three quarters of what there is]
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    memory: Option<u64>,
    /// Processors of a build that does not say
    #[arg(long, value_name = "NUMBER", default_value = "1.5", value_parser = units::millicpus)]
    build_cpus: u32,
    /// Memory of a build that does not say; also its limit
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::bytes)]
    build_memory: u64,
    /// How long a build may take that does not say
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::seconds)]
    build_timeout: u64,
    /// How long any build may take
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = units::seconds)]
    max_timeout: u64,
    /// Largest context that is taken
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::bytes)]
    max_upload: u64,
    /// Most builds that may wait
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    max_queued: u64,
    /// Most that is kept of what a build says
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::bytes)]
    max_log: u64,
    /// How long builds may go on after SIGTERM; what is not done then is done again by the next service
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = units::duration)]
    grace: Duration,
    /// Where contexts and files for ADD may come from: any, or public with exceptions like public,git.corp,10.1.0.0/16
    #[arg(long, value_name = "REACH", default_value = "public")]
    source_reach: Reach,
    /// Login for a git server, in a file with USER:TOKEN or a token
    #[arg(long = "git-login", value_name = "HOST=FILE", value_parser = git_login)]
    git_logins: Vec<(String, PathBuf)>,
    /// Where builds are done: here, or each as a Job in the cluster
    #[arg(long, value_enum, value_name = "WHERE", default_value_t)]
    dispatch: Dispatch,
    /// How RUN is confined: auto, overlay, userns, in-place or chroot
    #[arg(long, value_name = "ISOLATION")]
    isolation: Option<String>,
    /// Registry that speaks plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure_registries: Vec<String>,
    /// Registry to pull images of Docker Hub from first
    #[arg(long = "registry-mirror", value_name = "HOST")]
    registry_mirrors: Vec<String>,
    /// Authority to trust for a registry
    #[arg(long = "registry-certificate", value_name = "HOST=PEM")]
    registry_certificates: Vec<String>,
    /// How long ended builds and their logs are kept
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = units::duration)]
    keep_builds: Duration,
    /// How long contexts of ended builds are kept, so that they can be built again
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = units::duration)]
    keep_uploads: Duration,
    /// The store [default: `store` in the directory of `--data`]
    #[arg(long, value_name = "DIR", env = "COOPER_STORE")]
    store: Option<PathBuf>,
    /// Most that the store holds, like 20GiB
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    store_max_size: Option<u64>,
    /// What was not used for so long leaves the store
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    store_max_age: Option<Duration>,
    /// What stays free on the disk: the store is pruned for it, and contexts are refused
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::bytes)]
    min_free: u64,
    /// Form of the log on standard error [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORM")]
    log_format: Option<LogForm>,
    #[command(flatten, next_help_heading = "Cluster")]
    place: super::submit::PlaceArguments,
    #[command(flatten)]
    job: super::submit::JobOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Dispatch {
    /// In processes of this service
    #[default]
    Local,
    /// In Jobs, made as `cooper submit` makes them
    Kubernetes,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogForm {
    Json,
    Text,
}

const EXAMPLES: &str = "\
Examples:
  cooper serve --data /var/lib/cooper --tokens /etc/cooper/tokens.json --listen 0.0.0.0:8080
  cooper serve --data /tmp/cooper --allow-anonymous
  cooper serve --config cooper.yaml --check-config
  cooper serve --data /tmp/cooper --tokens /etc/cooper/tokens.json --dispatch kubernetes \\
    --builder-image registry:5000/tools/cooper:0.1.0 --registry-secret registry-credentials
  curl --data-binary @context.tar -H 'Cooper-Build: {\"tags\": [\"registry:5000/app:1\"]}' 127.0.0.1:8080/v1/builds

`docs/service.md` explains requests, tokens and limits. RUST_LOG sets what is logged.";

fn git_login(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => Ok((host.to_owned(), path.into())),
        _ => Err("write HOST=FILE".to_owned()),
    }
}

/// Serves until a signal ends it.
pub(super) fn run(arguments: &ServeArguments) -> ExitCode {
    if let Some(path) = arguments.config.as_ref().filter(|_| arguments.check_config) {
        return check(path);
    }
    start_log(arguments.log_format);
    let plain = |text: String| pipeline::error_line(&text, true);
    let served = settings(arguments).map_err(plain).and_then(|settings| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| plain(format!("cannot start: {error}")))?;
        let served = runtime.block_on(serve::run(settings)).map_err(|error| match error {
            ServeError::Config(error) => render(&error),
            error => plain(pipeline::describe(&error)),
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            build::complain(&text);
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with a configuration, or what it has.
fn check(path: &Path) -> ExitCode {
    match serve::check_config(path) {
        Ok(serve::Summary { hooks, repositories, builds }) => {
            let text =
                format!("{}: hooks: {hooks}, repositories: {repositories}, builds: {builds}", path.display());
            build::complain(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            build::complain(&render(&error));
            ExitCode::FAILURE
        }
    }
}

/// With the lines of the file, where they matter.
fn render(error: &ConfigError) -> String {
    match error {
        ConfigError::Content(diagnostics) => diagnostics.render(true),
        error => pipeline::error_line(&pipeline::describe(error), true),
    }
}

fn start_log(form: Option<LogForm>) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    match form {
        Some(LogForm::Text) => builder.with_ansi(is_terminal).init(),
        None if is_terminal => builder.init(),
        Some(LogForm::Json) | None => builder.json().flatten_event(true).init(),
    }
}

fn settings(arguments: &ServeArguments) -> Result<Settings, String> {
    // Workers have another working directory.
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| format!("cannot use `{}`: {error}", path.display()))
    };
    let data = absolute(arguments.data.as_ref().ok_or("say where with `--data DIR`")?)?;
    let cpus = match arguments.cpus {
        Some(cpus) => cpus,
        None => std::thread::available_parallelism()
            .map_or(1000, |count| u32::try_from(count.get()).unwrap_or(u32::MAX).saturating_mul(1000)),
    };
    let memory = arguments
        .memory
        .or_else(|| serve::available_memory().map(|bytes| bytes / 4 * 3))
        .ok_or("how much memory there is cannot be found out; say it with `--memory SIZE`")?;
    let budget = Need { millicpus: cpus.max(1), memory };
    let most = match arguments.dispatch {
        Dispatch::Local => budget,
        Dispatch::Kubernetes => Need { millicpus: u32::MAX, memory: u64::MAX },
    };
    let usual_need = Need {
        millicpus: arguments.build_cpus.clamp(1, most.millicpus),
        memory: arguments.build_memory.min(most.memory),
    };
    let mut build_arguments = Vec::new();
    for host in &arguments.insecure_registries {
        build_arguments.push(format!("--insecure-registry={host}"));
    }
    for host in &arguments.registry_mirrors {
        build_arguments.push(format!("--registry-mirror={host}"));
    }
    for text in &arguments.registry_certificates {
        let (host, path) = super::arguments::certificate(text)?;
        build_arguments.push(format!("--registry-certificate={host}={}", absolute(&path)?.display()));
    }
    if let Some(isolation) = &arguments.isolation {
        isolation
            .parse::<crate::exec::sandbox::IsolationChoice>()
            .map_err(|error| pipeline::describe(&error))?;
        build_arguments.push(format!("--isolation={isolation}"));
    }
    Ok(Settings {
        listen: arguments.listen,
        store: match &arguments.store {
            Some(store) => absolute(store)?,
            None => data.join("store"),
        },
        data,
        tokens: arguments.tokens.as_ref().map(absolute).transpose()?,
        config: arguments.config.as_ref().map(absolute).transpose()?,
        public_url: arguments.public_url.clone(),
        notify_reach: arguments.notify_reach.clone(),
        budget,
        usual_need,
        usual_timeout: arguments.build_timeout,
        max_timeout: arguments.max_timeout,
        max_upload: arguments.max_upload,
        max_queued: arguments.max_queued,
        max_log: arguments.max_log,
        grace: arguments.grace,
        reach: arguments.source_reach.clone(),
        git_logins: arguments
            .git_logins
            .iter()
            .map(|(host, path)| Ok((host.clone(), absolute(path)?)))
            .collect::<Result<_, String>>()?,
        cluster: arguments.place.place(),
        fleet: fleet(arguments)?,
        build_arguments,
        keep_builds: arguments.keep_builds,
        keep_uploads: arguments.keep_uploads,
        store_max_size: arguments.store_max_size,
        store_max_age: arguments.store_max_age,
        min_free: arguments.min_free,
    })
}

/// How builds become Jobs, if they do.
fn fleet(arguments: &ServeArguments) -> Result<Option<FleetSettings>, String> {
    if arguments.dispatch == Dispatch::Local {
        return Ok(None);
    }
    if !arguments.git_logins.is_empty() {
        return Err(
            "`--git-login` is not for `--dispatch kubernetes`: a Job has no place for a login that a RUN of \
                    somebody's Dockerfile could not ask for"
                .to_owned(),
        );
    }
    let template = arguments.job.template().ok_or(
        "which image of Cooper are the Jobs to run? Name it with `--builder-image IMAGE` or COOPER_BUILDER_IMAGE",
    )?;
    let mirrors: Vec<Mirror> = arguments.registry_mirrors.iter().map(|text| Mirror::parse(text)).collect();
    let certificates = arguments.registry_certificates.iter().map(|text| super::arguments::certificate(text));
    let registries = RegistrySettings {
        insecure: arguments.insecure_registries.iter().cloned().collect(),
        certificates: certificates.collect::<Result<_, _>>()?,
        mirrors: std::iter::once(("docker.io".to_owned(), mirrors))
            .filter(|(_, mirrors)| !mirrors.is_empty())
            .collect(),
        ..RegistrySettings::default()
    };
    Ok(Some(FleetSettings { template, registries }))
}

/// What `cooper worker` takes.
#[derive(Debug, Args)]
pub(super) struct WorkerArguments {
    /// What to do
    #[arg(value_name = "FILE")]
    job: PathBuf,
}

/// A command line that was read from a job.
#[derive(Debug, clap::Parser)]
#[command(name = "cooper")]
struct BuildLine {
    #[command(subcommand)]
    command: BuildCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BuildCommand {
    Build(Box<build::BuildArguments>),
}

/// Does the build that a service has written down.
pub(super) fn work(arguments: &WorkerArguments) -> ExitCode {
    let (line, _lock) = match serve::prepare_worker(&arguments.job) {
        Ok(prepared) => prepared,
        Err(text) => {
            build::complain(&pipeline::error_line(&text, true));
            return ExitCode::FAILURE;
        }
    };
    let line = std::iter::once("cooper".to_owned()).chain(line);
    match BuildLine::try_parse_from(line) {
        Ok(BuildLine { command: BuildCommand::Build(arguments) }) => build::run(&arguments),
        Err(error) => {
            build::complain(&error.render().to_string());
            ExitCode::from(2)
        }
    }
}
