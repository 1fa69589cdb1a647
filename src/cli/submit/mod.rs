//! `cooper submit`: a build as a Kubernetes Job.
//!
//! ```text
//! options ─► prepare (pack, refuse) ─► Submission ─► printed
//!                                                └─► permissions, context, Job ─► followed ─► rolled out
//! ```

mod job;
mod options;
mod prepare;
pub(super) mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

pub(super) use self::job::JobOptions;
use self::options::BuildOptions;
use crate::kube::{Format, Limits, Place, Rollout};
use crate::units;

/// What `cooper submit` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct SubmitArguments {
    #[command(flatten)]
    build: BuildOptions,
    #[command(flatten, next_help_heading = "Cluster")]
    place: PlaceArguments,
    /// Name of the Job [default: made of the image's name]
    #[arg(long, value_name = "NAME", help_heading = JOB)]
    name: Option<String>,
    /// Carry the logins along that the build needs: those of `docker login` here for the registries of the image, the
    /// caches and the base images, in a Secret that goes with the Job
    #[arg(long, conflicts_with = "registry_secret", help_heading = JOB)]
    with_logins: bool,
    /// What the pod may take [default: cpu=2,memory=1Gi]
    #[arg(long, value_name = "RESOURCES", help_heading = JOB)]
    limits: Option<Limits>,
    /// How long the Job may take
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration, help_heading = JOB)]
    deadline: Duration,
    #[command(flatten)]
    job: JobOptions,
    /// Container to give the image to when it is built: [NAMESPACE/]deployment/NAME=CONTAINER; repeatable
    #[arg(long = "set-image", value_name = "CONTAINER", conflicts_with = "detach", help_heading = JOB)]
    rollouts: Vec<Rollout>,
    /// Print the Job's name and do not wait for it
    #[arg(short, long, help_heading = JOB)]
    detach: bool,
    /// Print what would be created, and create nothing
    #[arg(long, value_enum, value_name = "client", num_args = 0..=1, require_equals = true,
          default_missing_value = "client", help_heading = JOB)]
    dry_run: Option<DryRun>,
    /// Format of what is printed: yaml, json, or pod for `podman kube play`
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_parser = format, requires = "dry_run",
          help_heading = JOB)]
    format: Option<Format>,
}

const JOB: &str = "Job";

const EXAMPLES: &str = "\
Takes the options of `cooper build`, but for those that name files of this machine; secrets are carried along.
`--push` is understood.

Examples:
  cooper submit --builder-image registry:5000/tools/cooper:0.1.0 --registry-secret registry-credentials \\
    -t registry:5000/app:1 .
  cooper submit … --set-image deployment/app=web .
  cooper submit … --dry-run=client -o yaml . | kubectl apply -f -
  cooper submit … --dry-run=client -o pod . | podman kube play -";

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArguments {
    /// Namespace [default: that of the kubeconfig's context, or of this pod]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Kubeconfig [default: `$KUBECONFIG`, `~/.kube/config`, or this pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    kube_context: Option<String>,
}

impl PlaceArguments {
    pub(super) fn place(&self) -> Place {
        Place {
            kubeconfig: self.kubeconfig.clone(),
            context: self.kube_context.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

/// Who is asked whether it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Nobody
    Client,
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "yaml" => Ok(Format::Yaml),
        "json" => Ok(Format::Json),
        "pod" => Ok(Format::Pod),
        text if text.contains('=') => {
            Err("this is the format of `--dry-run`: yaml, json or pod; a Job's image is always pushed"
                .to_owned())
        }
        _ => Err("there are yaml, json and pod".to_owned()),
    }
}

/// Submits; the exit code is that of the build.
pub(super) fn run(arguments: &SubmitArguments) -> ExitCode {
    run::run(arguments)
}
