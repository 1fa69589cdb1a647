//! How a Job ended.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::super::error::KubeError;
use super::super::jobs::JobState;
use super::super::pod::{self, TerminationMessage};
use crate::layer::Digest;

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// The image is pushed.
    Built {
        /// Its digest.
        digest: Digest,
    },
    /// It is not.
    Failed {
        /// Why, in a line or two.
        reason: String,
        /// The exit code of the build, or 1.
        code: u8,
    },
}

impl JobResult {
    /// From the Job, all of its pods that were seen, and the last line of the log.
    pub(super) fn of(job: &Job, pods: &[&Pod], last_log_line: Option<&str>) -> Result<Self, KubeError> {
        let newest = pods.iter().copied().max_by_key(|pod| {
            let time = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            // One that succeeded is the one that counts.
            (pod::terminated(pod).is_some_and(|ended| ended.exit_code == 0), time)
        });
        let ended = newest.and_then(pod::terminated);
        let text = ended.and_then(|ended| ended.message.as_deref()).unwrap_or_default();
        let message = TerminationMessage::parse(text);
        if JobState::of(job) == JobState::Complete {
            // A builder of an older version says it at the end of its log only.
            let digest = message
                .and_then(|message| message.digest)
                .or_else(|| last_log_line.and_then(|line| line.trim().parse().ok()));
            let name = job.metadata.name.clone().unwrap_or_default();
            return digest.map(|digest| Self::Built { digest }).ok_or(KubeError::NoDigest { name });
        }
        let error = message.and_then(|message| message.error);
        let reason = why(job, newest, ended, error);
        let code = ended.and_then(|ended| u8::try_from(ended.exit_code).ok()).filter(|code| *code != 0);
        Ok(Self::Failed { reason, code: code.unwrap_or(1) })
    }
}

fn why(
    job: &Job,
    pod: Option<&Pod>,
    ended: Option<&ContainerStateTerminated>,
    error: Option<String>,
) -> String {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let failed = conditions.into_iter().flatten().find(|condition| condition.type_ == "Failed");
    let reason = failed.and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
    let trouble = pod.and_then(pod::trouble);
    if reason == "DeadlineExceeded" {
        let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
        let last = trouble.map(|trouble| format!("; its pod: {trouble}")).unwrap_or_default();
        return format!("the Job took longer than {seconds} seconds{last}; allow more with `--deadline`");
    }
    if let Some(error) = error {
        return pod::printable(&error);
    }
    if let Some(ended) = ended {
        if ended.reason.as_deref() == Some("OOMKilled") {
            let memory = memory(pod).map(|limit| format!(" ({limit})")).unwrap_or_default();
            return format!(
                "the build took more memory than it may{memory}: allow more with `--limits memory=2Gi`"
            );
        }
        let what = pod::told(ended.reason.as_deref().unwrap_or("Error"), ended.message.as_deref());
        return format!("the build ended with exit code {}: {what}", ended.exit_code);
    }
    let told = failed.map(|condition| pod::told(reason, condition.message.as_deref()));
    match (told, trouble) {
        (Some(told), Some(trouble)) => format!("{told}; its pod: {trouble}"),
        (told, trouble) => told.or(trouble).unwrap_or_else(|| "the Job has failed".to_owned()),
    }
}

fn memory(pod: Option<&Pod>) -> Option<&str> {
    let container = pod?.spec.as_ref()?.containers.first()?;
    container.resources.as_ref()?.limits.as_ref()?.get("memory").map(|quantity| quantity.0.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(condition: &Value) -> Job {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "build"},
            "spec": {"activeDeadlineSeconds": 60, "template": {}}, "status": {"conditions": [condition]}});
        serde_json::from_value(job).unwrap()
    }

    fn pod(made_at: &str, status: &Value) -> Pod {
        let limits = json!({"limits": {"memory": "1Gi"}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": made_at,
            "creationTimestamp": format!("2026-11-22T10:00:{made_at}Z")},
            "spec": {"containers": [{"name": "build", "resources": limits}]}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn ended(state: &Value) -> Value {
        json!({"containerStatuses": [{"name": "build", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": state}}]})
    }

    fn failed(job: &Job, pods: &[&Pod]) -> (String, u8) {
        match JobResult::of(job, pods, None) {
            Ok(JobResult::Failed { reason, code }) => (reason, code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn digests_come_from_the_message_or_the_log() {
        let complete = job(&json!({"type": "Complete", "status": "True"}));
        let digest = Digest::of("image");
        let message = json!({"digest": digest, "error": null}).to_string();
        let first = pod("01", &ended(&json!({"exitCode": 0, "message": message})));
        let second = pod("02", &ended(&json!({"exitCode": 1, "message": ""})));
        let built = JobResult::Built { digest };
        assert_eq!(JobResult::of(&complete, &[&first, &second], None).unwrap(), built);
        assert_eq!(JobResult::of(&complete, &[], Some(&format!("{digest} "))).unwrap(), built);
        let none = JobResult::of(&complete, &[&second], Some("pushed"));
        assert!(matches!(none, Err(KubeError::NoDigest { .. })), "{none:?}");
    }

    #[test]
    fn failures_say_why() {
        let condition =
            |reason: &str| json!({"type": "Failed", "status": "True", "reason": reason, "message": "so"});
        let exceeded = job(&condition("BackoffLimitExceeded"));
        let message = json!({"error": "Dockerfile:3: no such file"}).to_string();
        let with_message = pod("01", &ended(&json!({"exitCode": 7, "message": message})));
        assert_eq!(failed(&exceeded, &[&with_message]), ("Dockerfile:3: no such file".to_owned(), 7));
        let killed = pod("01", &ended(&json!({"exitCode": 137, "reason": "OOMKilled"})));
        let (reason, code) = failed(&exceeded, &[&killed]);
        assert!(reason.contains("(1Gi)") && reason.contains("--limits memory=") && code == 137, "{reason}");
        let odd = pod("01", &ended(&json!({"exitCode": 300, "reason": "Error", "message": "last line"})));
        let expected = "the build ended with exit code 300: Error: last line";
        assert_eq!(failed(&exceeded, &[&odd]), (expected.to_owned(), 1));
        assert_eq!(failed(&exceeded, &[]), ("BackoffLimitExceeded: so".to_owned(), 1));
        let late = job(&condition("DeadlineExceeded"));
        let waiting = pod("01", &json!({"reason": "ImagePullBackOff", "message": "no such image"}));
        let (reason, _) = failed(&late, &[&waiting]);
        assert!(reason.contains("60 seconds; its pod: ImagePullBackOff: no such image"), "{reason}");
    }
}
