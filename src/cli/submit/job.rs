//! What all Jobs of somebody have in common: options of `cooper submit`, and of a service that dispatches builds.

use std::time::Duration;

use clap::Args;

use super::JOB;
use crate::image::{ImageRef, ParseImageRefError, RepoName};
use crate::kube::{JobTemplate, Limits, PodSecurity, Store, Toleration};
use crate::units;

/// How Jobs are made.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobOptions {
    /// Cooper's own image, which the Job runs
    #[arg(long, value_name = "IMAGE", env = "COOPER_BUILDER_IMAGE", help_heading = JOB)]
    pub(super) builder_image: Option<String>,
    /// Secret of type kubernetes.io/dockerconfigjson with the credentials for the registries
    #[arg(long, value_name = "SECRET", help_heading = JOB)]
    pub(super) registry_secret: Option<String>,
    /// Secret for pulling Cooper's own image; repeatable
    #[arg(long = "image-pull-secret", value_name = "SECRET", help_heading = JOB)]
    pub(super) image_pull_secrets: Vec<String>,
    /// Repository that a context goes through which is too large for a ConfigMap [default: the image's]
    #[arg(long, value_name = "REPOSITORY", value_parser = repository, help_heading = JOB)]
    pub(super) context_repo: Option<RepoName>,
    /// What the pod gets [default: cpu=500m,memory=256Mi]
    #[arg(long, value_name = "RESOURCES", help_heading = JOB)]
    pub(super) requests: Option<Limits>,
    /// Most bytes in the store, which goes with the pod
    #[arg(long, value_name = "SIZE", default_value = "4Gi", value_parser = size, help_heading = JOB)]
    pub(super) store_size: String,
    /// Volume claim for a store that stays
    #[arg(long, value_name = "CLAIM", conflicts_with = "store_size", help_heading = JOB)]
    pub(super) store_claim: Option<String>,
    /// How long the Job is kept when it has ended
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration, help_heading = JOB)]
    pub(super) ttl: Duration,
    /// How often a pod that failed is replaced
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = JOB)]
    pub(super) backoff_limit: u32,
    /// Label of the nodes that will do; repeatable [default: the architecture of `--platform`]
    #[arg(long = "node-selector", value_name = "LABEL=VALUE", value_parser = label, help_heading = JOB)]
    pub(super) node_selectors: Vec<(String, String)>,
    /// Taint of nodes that will do: KEY[=VALUE][:EFFECT]; repeatable
    #[arg(long = "toleration", value_name = "TAINT", help_heading = JOB)]
    pub(super) tolerations: Vec<Toleration>,
    /// Service account of the pod; its token is not mounted
    #[arg(long, value_name = "NAME", help_heading = JOB)]
    pub(super) service_account: Option<String>,
    /// Kueue's local queue to wait in
    #[arg(long, value_name = "NAME", help_heading = JOB)]
    pub(super) queue: Option<String>,
    /// What the namespace admits: privileged, baseline or restricted [default: what its label says]
    #[arg(long, value_name = "LEVEL", help_heading = JOB)]
    pub(super) pod_security: Option<PodSecurity>,
}

impl JobOptions {
    /// All of it; `None` if nobody said where Cooper's image is.
    pub(in crate::cli) fn template(&self) -> Option<JobTemplate> {
        Some(JobTemplate {
            builder: self.builder_image.clone()?,
            registry_secret: self.registry_secret.clone(),
            pull_secrets: self.image_pull_secrets.clone(),
            context_repository: self.context_repo.clone(),
            requests: self.requests.clone().unwrap_or_default(),
            store: match &self.store_claim {
                Some(claim) => Store::Claim(claim.clone()),
                None => Store::Empty { size: self.store_size.clone() },
            },
            backoff_limit: self.backoff_limit,
            keep: self.ttl,
            node_selector: self.node_selectors.iter().cloned().collect(),
            tolerations: self.tolerations.clone(),
            service_account: self.service_account.clone(),
            queue: self.queue.clone(),
            security: self.pod_security,
        })
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
