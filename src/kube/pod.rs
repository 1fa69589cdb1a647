//! Reading the states of pods.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod, PodStatus};
use serde::Deserialize;

use super::manifest::BUILD_CONTAINER;
use crate::layer::Digest;

/// A pod's termination message, as far as it is understood: the builder may be of another version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct TerminationMessage {
    pub(super) digest: Option<Digest>,
    pub(super) error: Option<String>,
}

impl TerminationMessage {
    /// `None` for what is not Cooper's, like the end of a log.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == BUILD_CONTAINER)?.state.as_ref()
}

/// How the build's container ended, if it did.
pub(super) fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    state(pod)?.terminated.as_ref()
}

/// Whether the build's container has begun, so that it has a log.
pub(super) fn has_begun(pod: &Pod) -> bool {
    state(pod).is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Whether nothing will happen any more.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    terminated(pod).is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

/// Why a pod does not get on, like `ImagePullBackOff: …`.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    evicted(status).or_else(|| unschedulable(status)).or_else(|| waiting(status))
}

fn evicted(status: &PodStatus) -> Option<String> {
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty())?;
    Some(told(reason, status.message.as_deref()))
}

fn unschedulable(status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(told(condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_deref()))
}

fn waiting(status: &PodStatus) -> Option<String> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let mut troubles = waiting.filter_map(|waiting| {
        let reason = waiting.reason.as_deref()?;
        let is_usual = matches!(reason, "ContainerCreating" | "PodInitializing");
        (!is_usual).then(|| told(reason, waiting.message.as_deref()))
    });
    troubles.next()
}

/// `REASON: MESSAGE` on one line.
pub(super) fn told(reason: &str, message: Option<&str>) -> String {
    match message.map(printable).filter(|message| !message.is_empty()) {
        Some(message) => format!("{}: {message}", printable(reason)),
        None => printable(reason),
    }
}

/// Foreign text on one line, without control characters.
pub(super) fn printable(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &serde_json::Value) -> Pod {
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn troubles_are_told() {
        let waiting = |reason: &str| {
            pod(&serde_json::json!({"containerStatuses": [{
                "name": "build", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": "Back-off\n pulling"}},
            }]}))
        };
        assert_eq!(trouble(&waiting("ContainerCreating")), None);
        assert_eq!(
            trouble(&waiting("ImagePullBackOff")).as_deref(),
            Some("ImagePullBackOff: Back-off pulling")
        );
        let condition = serde_json::json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes",
        });
        let unschedulable = pod(&serde_json::json!({"phase": "Pending", "conditions": [condition]}));
        assert_eq!(trouble(&unschedulable).as_deref(), Some("Unschedulable: 0/3 nodes"));
        let evicted = pod(
            &serde_json::json!({"phase": "Failed", "reason": "Evicted", "message": "low on \u{1b}[1mdisk"}),
        );
        assert_eq!(trouble(&evicted).as_deref(), Some("Evicted: low on [1mdisk"));
        assert!(has_ended(&evicted) && !has_begun(&evicted));
    }

    #[test]
    fn messages_of_other_versions_are_understood() {
        let digest = Digest::of("");
        let text =
            format!("{{\"digest\":\"{digest}\",\"duration\":1.5,\"cache\":{{}},\"error\":null,\"more\":1}}");
        let expected = TerminationMessage { digest: Some(digest), error: None };
        assert_eq!(TerminationMessage::parse(&text), Some(expected));
        assert_eq!(TerminationMessage::parse("#5 DONE\n"), None);
    }
}
