//! Builds as Kubernetes Jobs.
//!
//! ```text
//! Submission ─► objects (Job, ConfigMap, Secret) ─► printed, or created ─► followed ─► JobResult ─► rollout
//! ```
//!
//! The left half is data to data. The right half talks to the API server, with watches that are taken up again when
//! they break. Everything that a submission creates is owned by its Job, which goes away by itself.

mod access;
mod cluster;
mod create;
mod error;
mod follow;
mod jobs;
mod manifest;
mod pod;
mod print;
mod records;
mod rollout;
mod security;
mod submission;
mod watch;

pub use access::{Permission, Permissions};
pub use cluster::{Cluster, Place};
pub use create::{Created, cancel, create};
pub use error::{ApiError, KubeError};
pub use follow::{Follow, JobResult, Line};
pub use jobs::{JobState, JobSummary, list, prune};
pub use manifest::{BUILD_CONTAINER, MANAGED_BY, Objects, context_annotation};
pub use print::{Format, print};
pub use records::{JobNews, Patched, find, get, patch, watch_jobs};
pub use rollout::{ParseRolloutError, Rollout, Workload};
pub use security::{ParsePodSecurityError, PodSecurity};
pub use submission::{
    ContextFile, FILES, JobTemplate, Limits, Logins, ParseSubmissionError, SECRETS, Store, Submission,
    Toleration, random_suffix,
};
