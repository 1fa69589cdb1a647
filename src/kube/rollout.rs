//! Giving a Deployment the image that was built, and waiting until it runs.

use std::str::FromStr;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::Config;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};
use super::pod;
use super::watch::{Change, watch};

/// A container of a Deployment that is to have another image: `deployment/NAME=CONTAINER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The Deployment.
    pub deployment: String,
    /// Its container.
    pub container: String,
}

/// A text names no container of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write deployment/NAME=CONTAINER")]
pub struct ParseRolloutError;

impl FromStr for Rollout {
    type Err = ParseRolloutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("deployment/").or_else(|| text.strip_prefix("deploy/"));
        match rest.and_then(|rest| rest.split_once('=')) {
            Some((deployment, container)) if !deployment.is_empty() && !container.is_empty() => {
                Ok(Self { deployment: deployment.to_owned(), container: container.to_owned() })
            }
            _ => Err(ParseRolloutError),
        }
    }
}

impl Rollout {
    /// Fails if there is no such container; asked before anything is built.
    pub async fn find(&self, cluster: &Cluster) -> Result<(), KubeError> {
        let Self { deployment: name, container } = self;
        let api = cluster.api::<Deployment>();
        let deployment = ask(|| api.get(name))
            .await
            .map_err(ApiError::while_trying(format!("read the Deployment `{name}`")))?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
        let mut names = pod.containers.iter().map(|container| container.name.as_str());
        if names.clone().any(|name| name == container) {
            return Ok(());
        }
        let containers = names.by_ref().collect::<Vec<_>>().join(", ");
        Err(KubeError::NoContainer { deployment: name.clone(), container: container.clone(), containers })
    }

    /// Sets the image, a name with a digest, and waits until all pods have it; `show` tells how that gets on.
    pub async fn run(
        &self,
        cluster: &Cluster,
        image: &str,
        show: &mut dyn FnMut(String),
    ) -> Result<(), KubeError> {
        let name = &self.deployment;
        let patch = json!({
            "spec": {"template": {"spec": {"containers": [{"name": self.container, "image": image}]}}},
        });
        let (api, parameters, patch) =
            (cluster.api::<Deployment>(), PatchParams::default(), Patch::Strategic(patch));
        // Done twice it is done once.
        let patched = ask(|| api.patch(name, &parameters, &patch))
            .await
            .map_err(ApiError::while_trying(format!("set the image of the Deployment `{name}`")))?;
        let wanted = patched.metadata.generation;
        let config = Config::default().fields(&format!("metadata.name={name}"));
        let (sender, mut changes) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(cluster.api::<Deployment>(), config, |change| change, sender));
        let mut told = String::new();
        while let Some(change) = changes.recv().await {
            let deployment = match change {
                Ok(Change::Is(deployment)) => deployment,
                Ok(Change::Gone(_) | Change::None) => return Err(self.failed("it was deleted")),
                Err(source) => {
                    return Err(KubeError::Api { action: format!("watch the Deployment `{name}`"), source });
                }
            };
            match Progress::of(&deployment, wanted) {
                Progress::Done => return Ok(()),
                Progress::Stuck(reason) => {
                    let pod = self.trouble(cluster, &deployment, image).await?;
                    return Err(self.failed(&format!("{reason}{}", pod.unwrap_or_default())));
                }
                Progress::Waits(text) => {
                    if text != told {
                        show(format!("deployment {name}: {text}"));
                        told = text;
                    }
                }
            }
        }
        Err(self.failed("the watch has ended"))
    }

    fn failed(&self, reason: &str) -> KubeError {
        KubeError::Rollout { deployment: self.deployment.clone(), reason: reason.to_owned() }
    }

    /// What keeps a pod with the new image from running.
    async fn trouble(
        &self,
        cluster: &Cluster,
        deployment: &Deployment,
        image: &str,
    ) -> Result<Option<String>, KubeError> {
        let spec = deployment.spec.as_ref();
        let labels = spec.and_then(|spec| spec.selector.match_labels.as_ref()).into_iter().flatten();
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        let (api, parameters) = (cluster.api::<Pod>(), ListParams::default().labels(&labels.join(",")));
        let pods = ask(|| api.list(&parameters))
            .await
            .map_err(ApiError::while_trying("list the pods of the Deployment"))?;
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

enum Progress {
    Done,
    Stuck(String),
    Waits(String),
}

impl Progress {
    /// As `kubectl rollout status` sees it.
    fn of(deployment: &Deployment, wanted: Option<i64>) -> Self {
        let spec = deployment.spec.as_ref();
        let status = deployment.status.clone().unwrap_or_default();
        if spec.is_some_and(|spec| spec.paused == Some(true)) {
            return Self::Stuck("it is paused; `kubectl rollout resume` lets it go on".to_owned());
        }
        if status.observed_generation < wanted {
            return Self::Waits("waits for its controller".to_owned());
        }
        let mut conditions = status.conditions.iter().flatten();
        if let Some(condition) = conditions.find(|condition| {
            condition.type_ == "Progressing"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        }) {
            return Self::Stuck(pod::told("ProgressDeadlineExceeded", condition.message.as_deref()));
        }
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or_default();
        let all = status.replicas.unwrap_or_default();
        let available = status.available_replicas.unwrap_or_default();
        if updated < replicas {
            Self::Waits(format!("{updated} of {replicas} pods are new"))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers() {
        let rollout = Rollout { deployment: "web".to_owned(), container: "app".to_owned() };
        assert_eq!("deployment/web=app".parse(), Ok(rollout.clone()));
        assert_eq!("deploy/web=app".parse(), Ok(rollout));
        for text in ["web=app", "deployment/web", "deployment/=app", "deployment/web=", "statefulset/a=b"] {
            assert_eq!(text.parse::<Rollout>(), Err(ParseRolloutError), "{text}");
        }
    }
}
