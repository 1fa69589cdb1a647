//! Giving a Deployment, `StatefulSet` or `DaemonSet` the image that was built, and waiting until it runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::watcher::Config;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::access::Permissions;
use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};
use super::pod;
use super::watch::{Change, watch};

/// How long a rollout may make no progress when the cluster itself does not say that it is stuck: the default of a
/// Deployment's `progressDeadlineSeconds`.
const PATIENCE: Duration = Duration::from_mins(10);

/// What has pods with containers, and replaces them when their image changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// `deployment`
    Deployment,
    /// `statefulset`
    StatefulSet,
    /// `daemonset`
    DaemonSet,
}

impl Workload {
    /// The kind, as the API names it.
    fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// As on a command line.
    fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }

    fn resource(self) -> ApiResource {
        ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: self.kind().to_owned(),
            plural: self.plural().to_owned(),
        }
    }
}

/// A container that is to have another image: `[NAMESPACE/]deployment/NAME=CONTAINER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Where it is, if not where the build is.
    pub namespace: Option<String>,
    /// What it is.
    pub workload: Workload,
    /// Its name.
    pub name: String,
    /// Its container.
    pub container: String,
}

/// A text names no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write deployment/NAME=CONTAINER, with NAMESPACE/ before it for another namespace; statefulset/ and daemonset/ will do as well"
)]
pub struct ParseRolloutError;

impl FromStr for Rollout {
    type Err = ParseRolloutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, container) = text.split_once('=').ok_or(ParseRolloutError)?;
        let (namespace, workload, name) = match *path.split('/').collect::<Vec<_>>() {
            [workload, name] => (None, workload, name),
            [namespace, workload, name] => (Some(namespace), workload, name),
            _ => return Err(ParseRolloutError),
        };
        let workload = match workload {
            "deployment" | "deploy" => Workload::Deployment,
            "statefulset" | "sts" => Workload::StatefulSet,
            "daemonset" | "ds" => Workload::DaemonSet,
            _ => return Err(ParseRolloutError),
        };
        if ![namespace.unwrap_or(name), name, container].into_iter().all(is_name) {
            return Err(ParseRolloutError);
        }
        let namespace = namespace.map(str::to_owned);
        Ok(Self { namespace, workload, name: name.to_owned(), container: container.to_owned() })
    }
}

/// Whether the API could have it as a name: a subdomain of DNS, see "Object Names and IDs" of the documentation.
fn is_name(text: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| is_usual(byte) || b"-.".contains(&byte))
        && text.bytes().next().is_some_and(is_usual)
        && text.bytes().last().is_some_and(is_usual)
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}={}", self.workload.word(), self.name, self.container)
    }
}

impl Rollout {
    /// The same, with this namespace if it names none.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace.get_or_insert_with(|| namespace.to_owned());
        self
    }

    /// The same without the container: `[NAMESPACE/]deployment/NAME`.
    pub fn path(&self) -> String {
        let text = self.to_string();
        text.split_once('=').map_or(text.clone(), |(path, _)| path.to_owned())
    }

    /// What it takes, in the namespace that it is in.
    pub fn permissions(&self) -> Permissions {
        Permissions::to_roll_out(self.workload)
    }

    /// The cluster, with the namespace that it is in.
    pub fn place(&self, cluster: &Cluster) -> Cluster {
        match &self.namespace {
            Some(namespace) => cluster.with_namespace(namespace),
            None => cluster.clone(),
        }
    }

    fn api(&self, place: &Cluster) -> Api<DynamicObject> {
        Api::namespaced_with(place.client().clone(), place.namespace(), &self.workload.resource())
    }

    /// ``Deployment `web` ``.
    fn object(&self) -> String {
        format!("{} `{}`", self.workload.kind(), self.name)
    }

    /// Fails if there is no such container; asked before anything is built.
    pub async fn find(&self, cluster: &Cluster) -> Result<(), KubeError> {
        let api = self.api(&self.place(cluster));
        let found = ask(|| api.get(&self.name))
            .await
            .map_err(ApiError::while_trying(format!("read the {}", self.object())))?;
        let pod = &found.data["spec"]["template"]["spec"];
        let pod: PodSpec = serde_json::from_value(pod.clone()).unwrap_or_default();
        if pod.containers.iter().any(|container| container.name == self.container) {
            return Ok(());
        }
        let names: Vec<&str> = pod.containers.iter().map(|container| container.name.as_str()).collect();
        Err(KubeError::NoContainer {
            workload: self.object(),
            container: self.container.clone(),
            containers: names.join(", "),
        })
    }

    /// Sets the image, a name with a digest, and waits until all pods have it; `show` tells how that gets on.
    pub async fn run(
        &self,
        cluster: &Cluster,
        image: &str,
        show: &mut (dyn FnMut(String) + Send),
    ) -> Result<(), KubeError> {
        let place = self.place(cluster);
        let patch = json!({
            "spec": {"template": {"spec": {"containers": [{"name": self.container, "image": image}]}}},
        });
        let (api, parameters, patch) = (self.api(&place), PatchParams::default(), Patch::Strategic(patch));
        // Done twice it is done once.
        let patched = ask(|| api.patch(&self.name, &parameters, &patch))
            .await
            .map_err(ApiError::while_trying(format!("set the image of the {}", self.object())))?;
        let wanted = patched.metadata.generation;
        let config = Config::default().fields(&format!("metadata.name={}", self.name));
        let (sender, mut changes) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(api, config, |change| change, sender));
        let mut told = String::new();
        let mut patience = Instant::now() + PATIENCE;
        loop {
            let object = match timeout_at(patience, changes.recv()).await {
                Ok(Some(Ok(Change::Is(object)))) => object,
                Ok(Some(Ok(Change::Gone(_) | Change::None))) => return Err(self.failed("it was deleted")),
                Ok(Some(Err(source))) => {
                    return Err(KubeError::Api { action: format!("watch the {}", self.object()), source });
                }
                Ok(None) => return Err(self.failed("the watch has ended")),
                // A Deployment says itself when it is stuck, by its own deadline.
                Err(_) if self.workload == Workload::Deployment => {
                    patience = Instant::now() + PATIENCE;
                    continue;
                }
                Err(_) => {
                    let pod = self.trouble(&place, image).await?.unwrap_or_default();
                    let minutes = PATIENCE.as_secs() / 60;
                    return Err(self.failed(&format!("no progress for {minutes} minutes: {told}{pod}")));
                }
            };
            match Progress::of(self.workload, &object.data, wanted) {
                Progress::Done => return Ok(()),
                Progress::Stuck(reason) => {
                    let pod = self.trouble(&place, image).await?;
                    return Err(self.failed(&format!("{reason}{}", pod.unwrap_or_default())));
                }
                Progress::Waits(text) => {
                    if text != told {
                        show(format!("{} {}: {text}", self.workload.word(), self.name));
                        told = text;
                        patience = Instant::now() + PATIENCE;
                    }
                }
            }
        }
    }

    fn failed(&self, reason: &str) -> KubeError {
        KubeError::Rollout { workload: self.object(), reason: reason.to_owned() }
    }

    /// What keeps a pod with the new image from running.
    async fn trouble(&self, place: &Cluster, image: &str) -> Result<Option<String>, KubeError> {
        let api = self.api(place);
        let object = ask(|| api.get(&self.name))
            .await
            .map_err(ApiError::while_trying(format!("read the {}", self.object())))?;
        let labels = object.data["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
        let labels: Vec<String> =
            labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let (api, parameters) = (place.api::<Pod>(), ListParams::default().labels(&labels.join(",")));
        let pods = ask(|| api.list(&parameters))
            .await
            .map_err(ApiError::while_trying(format!("list the pods of the {}", self.object())))?;
        let has_image = |pod: &&Pod| {
            let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers.any(|container| container.image.as_deref() == Some(image))
        };
        let mut troubles = pods.items.iter().filter(has_image).filter_map(|found| {
            pod::trouble(found).map(|trouble| format!("; the new pod {}: {trouble}", pod::name(found)))
        });
        Ok(troubles.next())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Stuck(String),
    Waits(String),
}

impl Progress {
    /// As `kubectl rollout status` sees it, of an object that had the generation `wanted` when its image was set.
    fn of(workload: Workload, object: &Value, wanted: Option<i64>) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        if spec["paused"] == true {
            return Self::Stuck("it is paused; `kubectl rollout resume` lets it go on".to_owned());
        }
        if workload != Workload::Deployment
            && let Some(strategy @ "OnDelete") = spec["updateStrategy"]["type"].as_str()
        {
            return Self::Stuck(format!("with the update strategy {strategy} pods keep their image"));
        }
        if status["observedGeneration"].as_i64() < wanted {
            return Self::Waits("waits for its controller".to_owned());
        }
        match workload {
            Workload::Deployment => Self::of_deployment(spec, status),
            Workload::StatefulSet => Self::of_stateful_set(spec, status),
            Workload::DaemonSet => {
                let desired = number(status, "desiredNumberScheduled");
                let (updated, available) =
                    (number(status, "updatedNumberScheduled"), number(status, "numberAvailable"));
                Self::of_counts(desired, updated, updated, available.min(updated))
            }
        }
    }

    fn of_deployment(spec: &Value, status: &Value) -> Self {
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        if let Some(condition) = conditions.find(|condition| {
            condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
        }) {
            return Self::Stuck(pod::told("ProgressDeadlineExceeded", condition["message"].as_str()));
        }
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        let counts = ["updatedReplicas", "replicas", "availableReplicas"].map(|name| number(status, name));
        let [updated, all, available] = counts;
        Self::of_counts(replicas, updated, all, available)
    }

    fn of_counts(wanted: i64, updated: i64, all: i64, available: i64) -> Self {
        if updated < wanted {
            Self::Waits(format!("{updated} of {wanted} pods are new"))
        } else if all == updated + 1 {
            Self::Waits("one old pod has to end".to_owned())
        } else if all > updated {
            Self::Waits(format!("{} old pods have to end", all - updated))
        } else if available < updated {
            Self::Waits(format!("{available} of {updated} new pods are available"))
        } else {
            Self::Done
        }
    }

    fn of_stateful_set(spec: &Value, status: &Value) -> Self {
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        let kept = spec["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or_default();
        let wanted = (replicas - kept).max(0);
        let (updated, ready) = (number(status, "updatedReplicas"), number(status, "readyReplicas"));
        if updated < wanted {
            Self::Waits(format!("{updated} of {wanted} pods are new"))
        } else if ready < replicas {
            Self::Waits(format!("{ready} of {replicas} pods are ready"))
        } else if kept == 0 && status["updateRevision"] != status["currentRevision"] {
            Self::Waits("waits for its controller".to_owned())
        } else {
            Self::Done
        }
    }
}

fn number(status: &Value, name: &str) -> i64 {
    status[name].as_i64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers() {
        let rollout = |namespace: Option<&str>, workload| Rollout {
            namespace: namespace.map(str::to_owned),
            workload,
            name: "web".to_owned(),
            container: "app".to_owned(),
        };
        for (text, expected, shown) in [
            ("deployment/web=app", rollout(None, Workload::Deployment), "deployment/web=app"),
            ("deploy/web=app", rollout(None, Workload::Deployment), "deployment/web=app"),
            ("shop/sts/web=app", rollout(Some("shop"), Workload::StatefulSet), "shop/statefulset/web=app"),
            ("shop/daemonset/web=app", rollout(Some("shop"), Workload::DaemonSet), "shop/daemonset/web=app"),
        ] {
            let parsed: Rollout = text.parse().unwrap();
            assert_eq!((&parsed, parsed.to_string().as_str()), (&expected, shown));
        }
        let named = rollout(None, Workload::Deployment).in_namespace("ci");
        assert_eq!(named.path(), "ci/deployment/web");
        assert_eq!(named.in_namespace("other").path(), "ci/deployment/web");
        for text in [
            "web=app",
            "deployment/web",
            "deployment/=app",
            "deployment/web=",
            "pod/a=b",
            "a/b/deployment/web=app",
            "/deployment/web=app",
            "../deployment/web=app",
            "deployment/We b=app",
        ] {
            assert_eq!(text.parse::<Rollout>(), Err(ParseRolloutError), "{text}");
        }
    }

    #[test]
    fn progress_of_sets() {
        let progress = |workload, spec: Value, status: Value| {
            Progress::of(workload, &json!({"spec": spec, "status": status}), Some(2))
        };
        let waits = |text: &str| Progress::Waits(text.to_owned());
        let stateful = |updated: i64, ready: i64, current: &str| {
            let status = json!({"observedGeneration": 2, "updatedReplicas": updated, "readyReplicas": ready,
                "updateRevision": "b", "currentRevision": current});
            progress(Workload::StatefulSet, json!({"replicas": 2}), status)
        };
        assert_eq!(stateful(1, 2, "a"), waits("1 of 2 pods are new"));
        assert_eq!(stateful(2, 1, "a"), waits("1 of 2 pods are ready"));
        assert_eq!(stateful(2, 2, "a"), waits("waits for its controller"));
        assert_eq!(stateful(2, 2, "b"), Progress::Done);
        let daemons = |observed: i64, updated: i64, available: i64| {
            let status = json!({"observedGeneration": observed, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": updated, "numberAvailable": available});
            progress(Workload::DaemonSet, json!({}), status)
        };
        assert_eq!(daemons(1, 3, 3), waits("waits for its controller"));
        assert_eq!(daemons(2, 2, 3), waits("2 of 3 pods are new"));
        assert_eq!(daemons(2, 3, 2), waits("2 of 3 new pods are available"));
        assert_eq!(daemons(2, 3, 3), Progress::Done);
        let kept = progress(Workload::DaemonSet, json!({"updateStrategy": {"type": "OnDelete"}}), json!({}));
        assert!(matches!(kept, Progress::Stuck(_)), "{kept:?}");
    }
}
