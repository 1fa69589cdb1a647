//! Giving what was built to those who run it: a step after the push, in the service's own process.
//!
//! The image is named by its digest, so that doing it twice is doing it once: what a service that ended has begun, the
//! next one does again.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::access::Grants;
use super::build::{Build, Moment};
use super::problem::Problem;
use super::request::Request;
use crate::kube::{ApiError, Cluster, KubeError, Place, Rollout};
use crate::layer::Digest;
use crate::pipeline::describe;

/// How long the cluster is asked before a build with deployments is accepted.
const ASK_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// Its turn has not come.
    Waiting,
    /// The image is set, and the pods are replaced.
    Running,
    /// All pods have it.
    Succeeded,
    /// They do not; `message` says why.
    Failed,
    /// Nobody waits for it any more: the build was cancelled, or took too long.
    Stopped,
}

/// A container that gets the image, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// `NAMESPACE/deployment/NAME=CONTAINER`.
    pub target: String,
    /// The image, by its digest.
    pub image: String,
    /// How far it is.
    pub state: DeploymentState,
    /// What the cluster says of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// Something new of a deployment.
#[derive(Debug)]
pub(super) enum News {
    /// This one is under way: what it is called.
    Begun(usize),
    /// What is said of it.
    Said(usize, String),
    /// It has come to its end.
    Ended(usize),
}

/// The cluster that images are deployed to.
#[derive(Debug)]
pub(super) struct Deployer {
    cluster: Result<Cluster, String>,
}

impl Deployer {
    /// Finds the cluster, and asks it nothing. Who has none gets along until somebody wants to deploy.
    pub(super) async fn find(place: &Place) -> Self {
        Self { cluster: Cluster::find(place).await.map_err(|error| describe(&error)) }
    }

    /// Refuses what can be known to fail. When the cluster does not answer now, it is asked again when the image is there.
    pub(super) async fn check(&self, request: &Request, grants: &Grants) -> Result<(), Problem> {
        let bad = |detail: String| Problem::bad("deployment", detail);
        let rollouts = request.rollouts().map_err(|error| Problem::bad("bad-request", error.to_string()))?;
        if rollouts.is_empty() {
            return Ok(());
        }
        let cluster = self.cluster.as_ref().map_err(|reason| bad(reason.clone()))?;
        for rollout in &rollouts {
            let path = rollout.clone().in_namespace(cluster.namespace()).path();
            if !grants.deployments.matches(&path) {
                let shown = grants.deployments.shown();
                let detail = format!("this token may not deploy to `{path}`, only to {shown}");
                return Err(Problem::forbidden("deployment", detail));
            }
        }
        let asking = async {
            for rollout in &rollouts {
                rollout.permissions().require(&rollout.place(cluster)).await?;
                rollout.find(cluster).await?;
            }
            Ok::<(), KubeError>(())
        };
        match tokio::time::timeout(ASK_LIMIT, asking).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(KubeError::Api { source, action })) if !is_answer(&source) => {
                tracing::warn!(action, error = %source, "the cluster cannot be asked whether a build can be deployed");
                Ok(())
            }
            Ok(Err(error)) => Err(bad(describe(&error))),
            Err(_) => {
                tracing::warn!("the cluster does not say in time whether a build can be deployed");
                Ok(())
            }
        }
    }

    /// What a build that was pushed with this digest has to do; as before, if it has begun already.
    pub(super) fn plan(&self, build: &Build, digest: Digest) -> Result<Vec<Deployment>, String> {
        if !build.deployments.is_empty() {
            return Ok(build.deployments.clone());
        }
        let cluster = self.cluster.as_ref().map_err(Clone::clone)?;
        let Some(tag) = build.request.tags.first() else { return Ok(Vec::new()) };
        let image = crate::image::ImageRef::by_digest(tag.repository().clone(), digest).to_string();
        let rollouts = build.request.rollouts().map_err(|error| error.to_string())?;
        let deployments = rollouts.into_iter().map(|rollout| Deployment {
            target: rollout.in_namespace(cluster.namespace()).to_string(),
            image: image.clone(),
            state: DeploymentState::Waiting,
            message: None,
        });
        Ok(deployments.collect())
    }

    /// Rolls out one after the other, but for what is done; the first that fails is the last. Can be dropped.
    pub(super) async fn roll_out(
        &self,
        deployments: &[Deployment],
        news: &UnboundedSender<News>,
    ) -> Result<(), (usize, String)> {
        // Who listens is who runs this.
        let tell = |what: News| drop(news.send(what));
        for (index, deployment) in deployments.iter().enumerate() {
            if deployment.state == DeploymentState::Succeeded {
                continue;
            }
            tell(News::Begun(index));
            let failed = |reason: String| (index, reason);
            let cluster = self.cluster.as_ref().map_err(|reason| failed(reason.clone()))?;
            let rollout: Rollout = deployment
                .target
                .parse()
                .map_err(|error: crate::kube::ParseRolloutError| failed(error.to_string()))?;
            let mut show = |text: String| tell(News::Said(index, text));
            rollout
                .run(cluster, &deployment.image, &mut show)
                .await
                .map_err(|error| failed(describe(&error)))?;
            tell(News::Ended(index));
        }
        Ok(())
    }
}

/// Whether a cluster has said something that another attempt would not change.
fn is_answer(error: &ApiError) -> bool {
    matches!(error.code(), Some(400..=499)) && error.code() != Some(429)
}

/// What comes of some deployments, as it is told.
pub(super) fn note(deployments: &mut [Deployment], news: &News) {
    let (index, state, message) = match news {
        News::Begun(index) => (*index, DeploymentState::Running, None),
        News::Said(index, text) => (*index, DeploymentState::Running, Some(text.clone())),
        News::Ended(index) => (*index, DeploymentState::Succeeded, None),
    };
    if let Some(deployment) = deployments.get_mut(index) {
        deployment.state = state;
        deployment.message = message;
    }
}

/// How a build ends when a deployment has failed: clearly, and not as if there were no image.
pub(super) fn failed(deployments: &mut [Deployment], index: usize, reason: &str) -> String {
    let Some(deployment) = deployments.get_mut(index) else { return reason.to_owned() };
    deployment.state = DeploymentState::Failed;
    deployment.message = Some(reason.to_owned());
    format!("the image is pushed, but deploying it to {} failed: {reason}", deployment.target)
}

/// Nobody waits any more.
pub(super) fn stopped(deployments: &mut [Deployment], why: &str) {
    for deployment in deployments {
        if matches!(deployment.state, DeploymentState::Waiting | DeploymentState::Running) {
            let is_begun = deployment.state == DeploymentState::Running;
            deployment.state = DeploymentState::Stopped;
            let told =
                if is_begun { "the image is set, and the cluster goes on with it" } else { "not begun" };
            deployment.message = Some(format!("{why}; {told}"));
        }
    }
}

/// When a build was begun last, or asked for.
pub(super) fn begun_at(build: &Build) -> Moment {
    build.started_at.unwrap_or(build.created_at)
}
