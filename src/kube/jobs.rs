//! The Jobs that Cooper has made.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use serde::Serialize;

use super::cluster::{Cluster, ask};
use super::create::cancel;
use super::error::{ApiError, KubeError};
use super::manifest::{IMAGE_ANNOTATION, MANAGED_BY};

/// Where a Job has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It may not run yet.
    Suspended,
    /// It has no pod that works.
    Pending,
    /// It runs.
    Running,
    /// It has succeeded.
    Complete,
    /// It has failed.
    Failed,
}

impl JobState {
    /// The state of a Job.
    pub fn of(job: &Job) -> Self {
        let status = job.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is = |kind: &str| {
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        if is("Complete") {
            Self::Complete
        } else if is("Failed") {
            Self::Failed
        } else if job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true)) {
            Self::Suspended
        } else if status.and_then(|status| status.ready).unwrap_or_default() > 0 {
            Self::Running
        } else {
            Self::Pending
        }
    }

    /// Whether it stays like this.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Suspended => "suspended",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
        })
    }
}

/// A Job in a list.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    /// Its name.
    pub name: String,
    /// Where it has got to.
    pub state: JobState,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// When it ended, in seconds since 1970.
    pub ended: Option<i64>,
    /// The name that it pushes its image under.
    pub image: Option<String>,
    /// The whole Job.
    #[serde(skip)]
    pub job: Job,
}

impl JobSummary {
    fn new(job: Job) -> Self {
        let status = job.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let mut ends = conditions
            .filter(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"))
            .filter_map(|condition| condition.last_transition_time.as_ref());
        let annotations = job.metadata.annotations.as_ref();
        Self {
            name: job.metadata.name.clone().unwrap_or_default(),
            state: JobState::of(&job),
            created: job.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            ended: ends.next().map(|time| time.0.as_second()),
            image: annotations.and_then(|annotations| annotations.get(IMAGE_ANNOTATION).cloned()),
            job,
        }
    }
}

/// Cooper's Jobs in the namespace, the oldest first; only that of this name if there is one.
pub async fn list(cluster: &Cluster, name: Option<&str>) -> Result<Vec<JobSummary>, KubeError> {
    let parameters = ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let parameters = match name {
        Some(name) => parameters.fields(&format!("metadata.name={name}")),
        None => parameters,
    };
    let action = format!("list the Jobs in the namespace `{}`", cluster.namespace());
    let api = cluster.api::<Job>();
    let jobs = ask(|| api.list(&parameters)).await.map_err(ApiError::while_trying(action))?;
    let mut jobs: Vec<JobSummary> = jobs.items.into_iter().map(JobSummary::new).collect();
    jobs.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
    Ok(jobs)
}

/// Deletes the Jobs that have ended longer ago than `older_than`; only tells them if `is_dry`.
pub async fn prune(
    cluster: &Cluster,
    older_than: Duration,
    is_dry: bool,
) -> Result<Vec<JobSummary>, KubeError> {
    let now = Timestamp::now().as_second();
    let age = i64::try_from(older_than.as_secs()).unwrap_or(i64::MAX);
    let mut jobs = list(cluster, None).await?;
    jobs.retain(|job| {
        let ended = job.ended.unwrap_or(job.created);
        job.state.has_ended() && now.saturating_sub(ended) >= age
    });
    if !is_dry {
        for job in &jobs {
            cancel(cluster, &job.job).await?;
        }
    }
    Ok(jobs)
}
