//! From a request to a Job.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use k8s_openapi::api::batch::v1::Job;

use super::record::{self, RECORD, REQUESTS};
use super::{Fleet, end, see};
use crate::context::fetch::PackedContext;
use crate::image::{ImageRef, Platform};
use crate::kube::{
    self, ApiError, ContextFile, FILES, KubeError, Limits, Logins, Objects, Patched, Submission,
    random_suffix,
};
use crate::pipeline::describe;
use crate::registry::{CredentialPlaces, Credentials, Registries};
use crate::serve::build::{Build, BuildId, Moment};
use crate::serve::problem::Problem;
use crate::serve::queue::{Accepted, Asked, QueueError};
use crate::serve::request::Context;
use crate::serve::{Service, upload};

/// How often somebody else may have been quicker.
const ATTEMPTS: u32 = 8;

/// A build as it is pushed and created.
struct Made {
    build: Build,
    identity: String,
    /// The uploaded context in its registry: `REPOSITORY@DIGEST`.
    pushed: Option<String>,
}

/// Makes a Job of a request, or joins it to one that is the same.
pub(in crate::serve) async fn accept(
    service: &Arc<Service>,
    fleet: &Fleet,
    asked: Asked,
) -> Result<Accepted, Problem> {
    let upload = asked.upload.clone();
    let accepted = Box::pin(place(service, fleet, asked)).await;
    if let Some(upload) = &upload {
        // It is in the registry, or of no use. Another request with the same files would send them again.
        let _ = std::fs::remove_file(upload::path(&service.settings.data, &upload.digest.hex()));
    }
    accepted
}

async fn place(service: &Arc<Service>, fleet: &Fleet, asked: Asked) -> Result<Accepted, Problem> {
    let identity = record::identity(&asked);
    let is_joinable = asked.request.is_settled() && asked.rebuild_of.is_none();
    let selector = format!("{},{}={identity}", record::SELECTOR, record::IDENTITY);
    let mut made: Option<Made> = None;
    for _ in 0..ATTEMPTS {
        let same = kube::find(&fleet.cluster, &selector).await.map_err(|error| problem(&error))?;
        if is_joinable && let Some(job) = under_way(&same) {
            let joined = join(fleet, job.clone()).await.map_err(|error| problem(&error))?;
            let Some((job, build)) = joined else { continue };
            discard(fleet, made).await;
            see(service, fleet, job).await?;
            return Ok(Accepted { build, is_joined: true, superseded: Vec::new() });
        }
        if made.is_none() {
            check_room(service, &asked).await?;
            let now = Moment::now();
            let build = asked.clone().build(BuildId::new(now).map_err(QueueError::from)?, now);
            let pushed = push(service, fleet, &build).await?;
            made = Some(Made { build, identity: identity.clone(), pushed });
        }
        let Some(wanted) = &made else { continue };
        // Whoever asks for the same at the same time takes the same name, and finds it taken.
        let name = if is_joinable { name(&identity, &same) } else { format!("cooper-{}", wanted.build.id) };
        let submission = submission(service, fleet, wanted, name);
        match submission {
            Ok(submission) => match Box::pin(kube::create(&fleet.cluster, Objects::new(&submission))).await {
                Ok(created) => {
                    let build = wanted.build.clone();
                    see(service, fleet, created.job).await?;
                    supersede(service, fleet, &build).await;
                    return Ok(Accepted { build, is_joined: false, superseded: Vec::new() });
                }
                Err(KubeError::Api { source: ApiError::Refused { code: 409, .. }, .. }) if is_joinable => {}
                Err(error) => {
                    discard(fleet, made).await;
                    return Err(problem(&error));
                }
            },
            Err(problem) => {
                discard(fleet, made).await;
                return Err(problem);
            }
        }
    }
    discard(fleet, made).await;
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "cluster",
        "too many ask for the same build at the same moment; ask again",
    ))
}

/// A Job that does what is asked for, and has not come to its end.
fn under_way(jobs: &[Job]) -> Option<&Job> {
    jobs.iter().find(|job| record::read(job).is_some_and(|build| !build.state.is_end()))
}

/// Counts one more request; `None` if it has come to its end meanwhile.
async fn join(fleet: &Fleet, mut job: Job) -> Result<Option<(Job, Build)>, KubeError> {
    loop {
        let Some(build) = record::read(&job).filter(|build| !build.state.is_end()) else { return Ok(None) };
        let annotations = BTreeMap::from([(REQUESTS, Some((build.requests + 1).to_string()))]);
        match kube::patch(&fleet.cluster, &job, &annotations, None).await? {
            Patched::Done(job) => return Ok(record::read(&job).map(|build| (*job, build))),
            // Somebody else has counted, or its controller has said something.
            Patched::Outdated => {
                let name = job.metadata.name.clone().unwrap_or_default();
                let Some(newer) = kube::get(&fleet.cluster, &name).await? else { return Ok(None) };
                job = newer;
            }
        }
    }
}

/// A name that is not taken by one of these: they have ended, and stay for a while.
fn name(identity: &str, same: &[Job]) -> String {
    let names = same.iter().filter_map(|job| job.metadata.name.as_deref());
    let numbers = names.filter_map(|name| name.rsplit_once('-')?.1.parse::<u32>().ok());
    let next = numbers.max().map_or(0, |last| last.saturating_add(1));
    let short: String = identity.chars().take(24).collect();
    format!("cooper-{short}-{next}")
}

/// Whether this many may wait, as far as this replica knows.
async fn check_room(service: &Service, asked: &Asked) -> Result<(), Problem> {
    let (all, own) = service.queue.waiting(asked.by.clone()).await?;
    if all >= asked.max_queued {
        return Err(QueueError::Full { waiting: all }.into());
    }
    match asked.max_own_queued {
        Some(limit) if own >= limit => Err(QueueError::Full { waiting: own }.into()),
        _ => Ok(()),
    }
}

/// Pushes an uploaded context to where the pod can fetch it.
async fn push(service: &Service, fleet: &Fleet, build: &Build) -> Result<Option<String>, Problem> {
    let (Some(upload), Some(tag)) = (&build.upload, build.request.tags.first()) else { return Ok(None) };
    let repository = fleet.settings.template.context_repository.as_ref().unwrap_or(tag.repository());
    let failed = |error: &dyn std::error::Error| {
        let detail =
            format!("the context cannot be pushed to `{repository}` for the Job: {}", describe(error));
        Problem::new(StatusCode::BAD_GATEWAY, "context-registry", detail)
    };
    let archive = upload::path(&service.settings.data, &upload.digest.hex());
    if !archive.is_file() {
        return Err(Problem::new(
            StatusCode::GONE,
            "context-gone",
            "the context came with the request and is not kept; send it again",
        ));
    }
    // Each build has an artifact of its own, so that removing it takes nothing from others.
    let annotations = BTreeMap::from([("cooper/build".to_owned(), build.id.to_string())]);
    let packed = PackedContext::of_archive(archive, upload.digest, upload.size, annotations)
        .map_err(|error| failed(&error))?;
    let credentials =
        Credentials::load(&CredentialPlaces::from_environment()).map_err(|error| failed(&error))?;
    let registries =
        Registries::new(fleet.settings.registries.clone(), credentials).map_err(|error| failed(&error))?;
    let place = registries.repository(repository).map_err(|error| failed(&error))?;
    let tag = format!("context-{}", build.id);
    packed.push(&place, Some(&tag)).await.map_err(|error| failed(&error))?;
    Ok(Some(ImageRef::by_digest(repository.clone(), packed.digest()).to_string()))
}

/// Removes what was pushed for a Job that is not made.
async fn discard(fleet: &Fleet, made: Option<Made>) {
    if let Some(context) = made.and_then(|made| made.pushed)
        && let Err(reason) = end::remove_context(fleet, &context).await
    {
        tracing::info!(context, reason, "a context that is not needed stays in its registry");
    }
}

fn submission(service: &Service, fleet: &Fleet, made: &Made, name: String) -> Result<Submission, Problem> {
    let (build, template) = (&made.build, &fleet.settings.template);
    let request = &build.request;
    let record = serde_json::to_string(build).map_err(QueueError::from)?;
    if record.len() > record::MAX_RECORD {
        let detail =
            format!("the request is kept with its Job, where at most {} bytes have room", record::MAX_RECORD);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let mut files = fleet.files.clone();
    if let Some(text) = &request.dockerfile_text {
        files.push(ContextFile { name: "Dockerfile".to_owned(), content: text.clone().into_bytes() });
    }
    let context = match (&made.pushed, &request.context) {
        (Some(pushed), _) => format!("oci://{pushed}"),
        (None, Some(Context::Artifact(text))) => text.clone(),
        (None, Some(Context::Git(git))) => git.address(&git.url),
        (None, None) => return Err(Problem::bad("no-context", "there is no context")),
    };
    let mut arguments =
        vec![context, "--progress=json".to_owned(), format!("--source-reach={}", service.settings.reach)];
    arguments.extend(fleet.arguments.iter().cloned());
    arguments.extend(request.arguments(&format!("{FILES}/Dockerfile")));
    let platforms: Vec<Platform> = request.platforms.iter().filter_map(|text| text.parse().ok()).collect();
    let (node_selector, tolerations) = template.placement(&platforms);
    let limits = Limits::of([
        ("cpu", format!("{}m", build.need.millicpus).as_str()),
        ("memory", build.need.memory.to_string().as_str()),
    ]);
    Ok(Submission {
        name,
        token: random_suffix(),
        namespace: Some(fleet.cluster.namespace().to_owned()),
        builder: template.builder.clone(),
        arguments,
        image: request.tags.first().map(ToString::to_string).unwrap_or_default(),
        files,
        secrets: BTreeMap::new(),
        pushed_context: made.pushed.clone(),
        registry_secret: template.registry_secret.clone(),
        logins: Logins::None,
        pull_secrets: template.pull_secrets.clone(),
        requests: template.requests().at_most(&limits),
        limits,
        store: template.store.clone(),
        backoff_limit: template.backoff_limit,
        deadline: std::time::Duration::from_secs(build.timeout_seconds),
        keep: template.keep,
        node_selector,
        tolerations,
        service_account: template.service_account.clone(),
        queue: template.queue.clone(),
        security: fleet.security,
        labels: record::labels(build, &made.identity),
        annotations: BTreeMap::from([(RECORD.to_owned(), record)]),
    })
}

/// Cancels what waits and is older. Where that fails, it is built in vain, and no more.
async fn supersede(service: &Arc<Service>, fleet: &Fleet, build: &Build) {
    let Some(hash) = record::supersede(build) else { return };
    let selector = format!("{},{}={hash}", record::SELECTOR, record::SUPERSEDE);
    let found = kube::find(&fleet.cluster, &selector).await;
    let superseded = async {
        for job in found? {
            end::supersede(service, fleet, &job, &build.id).await?;
        }
        Ok::<(), KubeError>(())
    };
    if let Err(error) = superseded.await {
        tracing::warn!(build = %build.id, error = describe(&error), "older builds of the same cannot be superseded");
    }
}

/// What a cluster's refusal is to who asked for a build.
pub(in crate::serve) fn problem(error: &KubeError) -> Problem {
    let detail = describe(error);
    tracing::warn!(error = detail, "the cluster");
    match error {
        KubeError::Api { source, .. } => match source.code() {
            Some(403) if detail.contains("exceeded quota") => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail)
            }
            Some(400..=499) => Problem::new(StatusCode::BAD_GATEWAY, "cluster", detail),
            _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "cluster", detail),
        },
        _ => Problem::new(StatusCode::BAD_GATEWAY, "cluster", detail),
    }
}
