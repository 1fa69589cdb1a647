//! `cooper submit`: a build as a Kubernetes Job.
//!
//! ```text
//! options ─► prepare (pack, refuse) ─► Submission ─► printed
//!                                                └─► permissions, context, Job ─► followed ─► rolled out
//! ```

mod options;
mod prepare;
pub(super) mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::options::BuildOptions;
use crate::image::{ImageRef, ParseImageRefError, RepoName};
use crate::kube::{Format, Limits, Place, PodSecurity, Rollout, Toleration};
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
    /// Cooper's own image, which the Job runs
    #[arg(long, value_name = "IMAGE", env = "COOPER_BUILDER_IMAGE", help_heading = JOB)]
    builder_image: Option<String>,
    /// Secret of type kubernetes.io/dockerconfigjson with the credentials for the registries
    #[arg(long, value_name = "SECRET", help_heading = JOB)]
    registry_secret: Option<String>,
    /// Carry the logins along that the build needs: those of `docker login` here for the registries of the image, the
    /// caches and the base images, in a Secret that goes with the Job
    #[arg(long, conflicts_with = "registry_secret", help_heading = JOB)]
    with_logins: bool,
    /// Secret for pulling Cooper's own image; repeatable
    #[arg(long = "image-pull-secret", value_name = "SECRET", help_heading = JOB)]
    image_pull_secrets: Vec<String>,
    /// Repository that a context goes through which is too large for a ConfigMap [default: the image's]
    #[arg(long, value_name = "REPOSITORY", value_parser = repository, help_heading = JOB)]
    context_repo: Option<RepoName>,
    /// What the pod gets [default: cpu=500m,memory=256Mi]
    #[arg(long, value_name = "RESOURCES", help_heading = JOB)]
    requests: Option<Limits>,
    /// What the pod may take [default: cpu=2,memory=1Gi]
    #[arg(long, value_name = "RESOURCES", help_heading = JOB)]
    limits: Option<Limits>,
    /// Most bytes in the store, which goes with the pod
    #[arg(long, value_name = "SIZE", default_value = "4Gi", value_parser = size, help_heading = JOB)]
    store_size: String,
    /// Volume claim for a store that stays
    #[arg(long, value_name = "CLAIM", conflicts_with = "store_size", help_heading = JOB)]
    store_claim: Option<String>,
    /// How long the Job may take
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration, help_heading = JOB)]
    deadline: Duration,
    /// How long the Job is kept when it has ended
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration, help_heading = JOB)]
    ttl: Duration,
    /// How often a pod that failed is replaced
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = JOB)]
    backoff_limit: u32,
    /// Label of the nodes that will do; repeatable [default: the architecture of `--platform`]
    #[arg(long = "node-selector", value_name = "LABEL=VALUE", value_parser = label, help_heading = JOB)]
    node_selectors: Vec<(String, String)>,
    /// Taint of nodes that will do: KEY[=VALUE][:EFFECT]; repeatable
    #[arg(long = "toleration", value_name = "TAINT", help_heading = JOB)]
    tolerations: Vec<Toleration>,
    /// Service account of the pod; its token is not mounted
    #[arg(long, value_name = "NAME", help_heading = JOB)]
    service_account: Option<String>,
    /// Kueue's local queue to wait in
    #[arg(long, value_name = "NAME", help_heading = JOB)]
    queue: Option<String>,
    /// What the namespace admits: privileged, baseline or restricted [default: what its label says]
    #[arg(long, value_name = "LEVEL", help_heading = JOB)]
    pod_security: Option<PodSecurity>,
    /// Container to give the image to when it is built: deployment/NAME=CONTAINER; repeatable
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

fn repository(text: &str) -> Result<RepoName, String> {
    let image: ImageRef = text.parse().map_err(|error: ParseImageRefError| error.to_string())?;
    // A name without a tag is understood as one with `latest`.
    let is_bare = image.digest().is_none() && !text.rsplit('/').next().unwrap_or_default().contains(':');
    if is_bare {
        Ok(image.repository().clone())
    } else {
        Err("a repository has no tag and no digest".to_owned())
    }
}

fn size(text: &str) -> Result<String, String> {
    let limits: Limits = format!("size={text}").parse().map_err(|_| "write a size like 4Gi".to_owned())?;
    limits.0.into_values().next().ok_or_else(|| "write a size like 4Gi".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write LABEL=VALUE".to_owned()),
    }
}

/// Submits; the exit code is that of the build.
pub(super) fn run(arguments: &SubmitArguments) -> ExitCode {
    run::run(arguments)
}
