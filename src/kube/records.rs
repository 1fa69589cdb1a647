//! Jobs as the place where something is written down, by several who know nothing of each other.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;
use tokio::sync::mpsc;

use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};

/// What a watch of many Jobs tells.
#[derive(Debug)]
pub enum JobNews {
    /// A list begins; what is not in it is gone.
    Listing,
    /// It is like this now.
    Is(Box<Job>),
    /// It was deleted.
    Gone(Box<Job>),
    /// The list is complete.
    Listed,
    /// The API server does not answer, or not well; it is asked again.
    Failing(String),
}

/// What came of a change that holds only for the version that it was made for.
#[derive(Debug)]
pub enum Patched {
    /// It is like this now.
    Done(Box<Job>),
    /// Somebody else was quicker, or it is gone.
    Outdated,
}

/// The Job of this name.
pub async fn get(cluster: &Cluster, name: &str) -> Result<Option<Job>, KubeError> {
    let api = cluster.api::<Job>();
    ask(|| api.get_opt(name)).await.map_err(ApiError::while_trying(format!("read the Job `{name}`")))
}

/// The Jobs with these labels, written as a selector.
pub async fn find(cluster: &Cluster, labels: &str) -> Result<Vec<Job>, KubeError> {
    let (api, parameters) = (cluster.api::<Job>(), ListParams::default().labels(labels));
    let action = format!("list the Jobs in the namespace `{}`", cluster.namespace());
    let found = ask(|| api.list(&parameters)).await.map_err(ApiError::while_trying(action))?;
    Ok(found.items)
}

/// Sets annotations of a Job (takes away those without a value), and with `deadline` the seconds that it may take; all of it
/// only if nobody has changed the Job since `job` was read. What was done in an answer that got lost counts as outdated:
/// who reads the Job again sees it.
pub async fn patch(
    cluster: &Cluster,
    job: &Job,
    annotations: &BTreeMap<&str, Option<String>>,
    deadline: Option<i64>,
) -> Result<Patched, KubeError> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let mut changed = json!({
        "metadata": {
            "uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version,
            "annotations": annotations,
        },
    });
    if let Some(seconds) = deadline {
        changed["spec"] = json!({"activeDeadlineSeconds": seconds});
    }
    let (api, parameters, changed) = (cluster.api::<Job>(), PatchParams::default(), Patch::Merge(changed));
    match ask(|| api.patch(&name, &parameters, &changed)).await {
        Ok(job) => Ok(Patched::Done(Box::new(job))),
        Err(ApiError::Refused { code: 404 | 409, .. }) => Ok(Patched::Outdated),
        Err(source) => Err(KubeError::Api { action: format!("write to the Job `{name}`"), source }),
    }
}

/// Tells of all Jobs with these labels until nobody listens. Never gives up.
pub async fn watch_jobs(cluster: Cluster, labels: &str, news: mpsc::Sender<JobNews>) {
    let config = Config::default().labels(labels);
    let mut events = std::pin::pin!(watcher(cluster.api::<Job>(), config).default_backoff());
    while let Some(event) = events.next().await {
        let told = match event {
            Ok(Event::Init) => JobNews::Listing,
            Ok(Event::InitApply(job) | Event::Apply(job)) => JobNews::Is(Box::new(job)),
            Ok(Event::InitDone) => JobNews::Listed,
            Ok(Event::Delete(job)) => JobNews::Gone(Box::new(job)),
            Err(error) => JobNews::Failing(ApiError::from(error).to_string()),
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
}
