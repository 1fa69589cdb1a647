//! Creating a Job and what belongs to it, and taking it back.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::Resource;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};
use super::manifest::{Objects, TOKEN_ANNOTATION};

/// How often something is created of which it is not known whether it was.
const ATTEMPTS: u32 = 4;

/// A Job as the API server has made it.
#[derive(Debug, Clone)]
pub struct Created {
    /// The Job.
    pub job: Job,
}

impl Created {
    /// Its name.
    pub fn name(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }
}

/// Creates the Job first, and then what it owns: whenever this ends, nothing is left that nobody owns. A Job whose files
/// never come ends by its deadline and is removed by itself; if creating them fails, it is deleted at once.
pub async fn create(cluster: &Cluster, objects: Objects) -> Result<Created, KubeError> {
    let jobs: Api<Job> = cluster.api();
    let wanted = objects.job.clone();
    let job = match create_one(&jobs, &wanted, "Job").await? {
        Attempted::Made(job) => *job,
        Attempted::Taken(refused) => is_ours(&jobs, &wanted).await?.ok_or(refused)?,
    };
    let objects = objects.owned_by(&job);
    let created = Created { job };
    match create_owned(cluster, &objects).await {
        Ok(()) => Ok(created),
        Err(error) => {
            // The first error counts; what could not be deleted goes by itself.
            let _ = cancel(cluster, &created.job).await;
            Err(error)
        }
    }
}

async fn create_owned(cluster: &Cluster, objects: &Objects) -> Result<(), KubeError> {
    // Their names are used once: who finds them taken has made them before.
    if let Some(map) = &objects.config_map {
        create_one(&cluster.api(), map, "ConfigMap").await?;
    }
    for secret in [&objects.secret, &objects.logins].into_iter().flatten() {
        create_one(&cluster.api(), secret, "Secret").await?;
    }
    Ok(())
}

/// What came of creating an object.
enum Attempted<K> {
    /// It is there.
    Made(Box<K>),
    /// An attempt of which nobody knows what came of it may have made it, and then this one was refused.
    Taken(KubeError),
}

/// Creates an object. When the connection breaks nobody knows whether it was created: another attempt finds out.
async fn create_one<K>(api: &Api<K>, object: &K, kind: &str) -> Result<Attempted<K>, KubeError>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let failed = |source| KubeError::Api { action: format!("create the {kind} `{name}`"), source };
    let mut attempt = 1;
    loop {
        match api.create(&PostParams::default(), object).await.map_err(ApiError::from) {
            Ok(created) => return Ok(Attempted::Made(Box::new(created))),
            Err(source @ ApiError::Refused { code: 409, .. }) if attempt > 1 => {
                return Ok(Attempted::Taken(failed(source)));
            }
            Err(ApiError::Unreachable { .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
            Err(source) => return Err(failed(source)),
        }
    }
}

/// The Job of this name, if this submission has made it.
async fn is_ours(jobs: &Api<Job>, wanted: &Job) -> Result<Option<Job>, KubeError> {
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let token = |job: &Job| job.metadata.annotations.as_ref()?.get(TOKEN_ANNOTATION).cloned();
    let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = ask(|| jobs.list(&parameters))
        .await
        .map_err(ApiError::while_trying(format!("look for the Job `{name}`")))?;
    Ok(found.items.into_iter().find(|job| token(job) == token(wanted)))
}

/// Deletes a Job, and with it all that it owns. Whether it was still there.
pub async fn cancel(cluster: &Cluster, job: &Job) -> Result<bool, KubeError> {
    let jobs: Api<Job> = cluster.api();
    let name = job.metadata.name.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone();
    let parameters = DeleteParams {
        preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::background()
    };
    let mut attempt = 1;
    loop {
        match jobs.delete(&name, &parameters).await.map_err(ApiError::from) {
            Ok(_) => return Ok(true),
            // 409: there is another one of that name.
            Err(ApiError::Refused { code: 404 | 409, .. }) => return Ok(false),
            Err(ApiError::Unreachable { .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
            Err(source) => {
                return Err(KubeError::Api { action: format!("delete the Job `{name}`"), source });
            }
        }
    }
}
