//! What a Job says of its build, and how it is written there.
//!
//! ```text
//! cooper/record      the build as it was asked for; never changed
//! cooper/requests    how many requests it answers, if more than one
//! cooper/deploying   who deploys it, and how far that is
//! cooper/end         how it ended: written once, and what is written there counts
//! ```
//!
//! Between the first and the last the Job's own status says how far it is.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use serde::{Deserialize, Serialize};

use crate::kube::JobState;
use crate::layer::Digest;
use crate::outcome::CacheUse;
use crate::serve::build::{Build, BuildId, Built, Moment, State};
use crate::serve::deploy::Deployment;
use crate::serve::queue::Asked;

/// Annotations.
pub(super) const RECORD: &str = "cooper/record";
pub(super) const REQUESTS: &str = "cooper/requests";
pub(super) const DEPLOYING: &str = "cooper/deploying";
pub(super) const END: &str = "cooper/end";

/// The label that the Jobs of services have, as a selector.
pub(super) const SELECTOR: &str = "app.kubernetes.io/part-of=cooper-serve";
/// Labels: the build's id, what makes requests the same, and what makes newer ones supersede it.
pub(super) const ID: &str = "cooper/build";
pub(super) const IDENTITY: &str = "cooper/identity";
pub(super) const SUPERSEDE: &str = "cooper/supersede";

/// The most bytes of a record. All annotations of an object together have 256 KiB.
pub(super) const MAX_RECORD: usize = 160 << 10;

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    /// The replica that has written this, and does what follows from it.
    pub(super) by: String,
    state: State,
    ended_at: Moment,
    result: Option<Built>,
    #[serde(default)]
    deployments: Vec<Deployment>,
    error: Option<String>,
    exit_code: Option<u8>,
    #[serde(default)]
    cache: Option<CacheUse>,
    superseded_by: Option<BuildId>,
}

impl End {
    /// The end of a build that has one.
    pub(super) fn of(build: &Build, by: &str) -> Self {
        Self {
            by: by.to_owned(),
            state: build.state,
            ended_at: build.ended_at.unwrap_or_else(Moment::now),
            result: build.result.clone(),
            deployments: build.deployments.clone(),
            error: build.error.clone(),
            exit_code: build.exit_code,
            cache: build.cache,
            superseded_by: build.superseded_by.clone(),
        }
    }
}

/// A deployment that somebody is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Deploying {
    /// The replica; empty when it has given it up.
    pub(super) owner: String,
    /// Counts on while the replica lives.
    pub(super) beat: u64,
    pub(super) result: Built,
    pub(super) deployments: Vec<Deployment>,
}

fn annotation<'a>(job: &'a Job, name: &str) -> Option<&'a str> {
    job.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// What was written, if it makes sense to this version.
fn parse<T: serde::de::DeserializeOwned>(job: &Job, name: &str) -> Option<T> {
    let text = annotation(job, name)?;
    serde_json::from_str(text)
        .inspect_err(|error| {
            tracing::warn!(job = job.metadata.name, annotation = name, %error, "a Job's annotation makes no sense");
        })
        .ok()
}

/// The build of a Job, as far as the Job knows it.
pub(super) fn read(job: &Job) -> Option<Build> {
    let mut build: Build = parse(job, RECORD)?;
    build.requests = annotation(job, REQUESTS).and_then(|text| text.parse().ok()).unwrap_or(build.requests);
    let state = JobState::of(job);
    if !matches!(state, JobState::Suspended | JobState::Pending) {
        let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
        build.state = State::Running;
        build.attempts = 1;
        let started = started.map_or(build.created_at, |time| Moment(time.0.as_millisecond()));
        // The cluster knows whole seconds.
        build.started_at = Some(started.max(build.created_at));
    }
    if let Some(deploying) = deploying(job) {
        build.result = Some(deploying.result);
        build.deployments = deploying.deployments;
    }
    if let Some(end) = end(job) {
        build.state = end.state;
        build.ended_at = Some(end.ended_at);
        build.result = end.result;
        build.deployments = end.deployments;
        build.error = end.error;
        build.exit_code = end.exit_code;
        build.cache = end.cache;
        build.superseded_by = end.superseded_by;
        build.is_cancelling = end.state == State::Cancelled;
    }
    Some(build)
}

/// Who deploys it.
pub(super) fn deploying(job: &Job) -> Option<Deploying> {
    parse(job, DEPLOYING)
}

/// How it ended.
pub(super) fn end(job: &Job) -> Option<End> {
    parse(job, END)
}

/// The labels of a Job.
pub(super) fn labels(build: &Build, identity: &str) -> BTreeMap<String, String> {
    let mut labels =
        BTreeMap::from([(ID.to_owned(), build.id.to_string()), (IDENTITY.to_owned(), identity.to_owned())]);
    if let Some((key, value)) = SELECTOR.split_once('=') {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.extend(supersede(build).map(|hash| (SUPERSEDE.to_owned(), hash)));
    labels
}

/// What a newer request shares with those that it takes the place of.
pub(super) fn supersede(build: &Build) -> Option<String> {
    let text = build.request.superseded()?;
    Some(short(&format!("{}\n{text}", build.project)))
}

/// What makes two requests the same.
pub(super) fn identity(asked: &Asked) -> String {
    let upload = asked.upload.as_ref().map(|upload| upload.digest);
    let request = asked.request.identity(upload, asked.timeout_seconds);
    short(&format!("{}\n{request}\n{} {}", asked.project, asked.need.millicpus, asked.need.memory))
}

/// A text as it fits into a label.
fn short(text: &str) -> String {
    Digest::of(text).hex().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::serve::build::{Ending, Need};
    use crate::serve::request::Request;

    fn build() -> Build {
        let asked = Asked {
            request: Request { supersede: Some("main".to_owned()), ..Request::default() },
            upload: None,
            project: "p".to_owned(),
            by: "me".to_owned(),
            need: Need { millicpus: 1, memory: 2 },
            timeout_seconds: 60,
            rebuild_of: None,
            origin: None,
            max_queued: 1,
            max_own_queued: None,
        };
        asked.build(BuildId::new(Moment(5)).unwrap(), Moment(5))
    }

    fn job(
        annotations: &BTreeMap<&str, String>,
        spec: &serde_json::Value,
        status: &serde_json::Value,
    ) -> Job {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"annotations": annotations},
            "spec": spec, "status": status});
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_job_tells_of_its_build() {
        let build = build();
        let template = json!({"template": {}});
        let record = BTreeMap::from([(RECORD, serde_json::to_string(&build).unwrap())]);
        assert_eq!(read(&job(&record, &template, &json!({}))), Some(build.clone()));
        let suspended = json!({"template": {}, "suspend": true});
        assert_eq!(read(&job(&record, &suspended, &json!({"ready": 1}))).unwrap().state, State::Queued);
        let status = json!({"ready": 1, "startTime": "2026-11-22T10:00:00Z"});
        let running = read(&job(&record, &template, &status)).unwrap();
        assert_eq!((running.state, running.attempts), (State::Running, 1));
        assert_eq!(String::from(running.started_at.unwrap()), "2026-11-22T10:00:00.000Z");
        // What the Job's status says does not matter any more when the end is written.
        let mut ended = build.clone();
        ended.end(Ending::Cancelled { reason: "so".to_owned() }, Moment(9));
        let mut annotations = record.clone();
        annotations.insert(END, serde_json::to_string(&End::of(&ended, "r")).unwrap());
        annotations.insert(REQUESTS, "3".to_owned());
        let cancelled = read(&job(&annotations, &template, &status)).unwrap();
        assert_eq!((cancelled.state, cancelled.requests), (State::Cancelled, 3));
        assert_eq!((cancelled.error.as_deref(), cancelled.ended_at), (Some("so"), Some(Moment(9))));
        let nothing = BTreeMap::from([(RECORD, "{".to_owned())]);
        assert_eq!(read(&job(&nothing, &template, &json!({}))), None);
    }

    #[test]
    fn labels_are_such() {
        let labels = labels(&build(), &short("x"));
        assert_eq!(labels.len(), 4, "{labels:?}");
        assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
    }
}
