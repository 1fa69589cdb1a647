//! What goes wrong with a cluster.

use std::fmt;

use super::access::Permission;
use crate::pipeline::describe;

/// Why something in a cluster was not done.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// There is no cluster.
    #[error(
        "no cluster is known: name a kubeconfig with `--kubeconfig FILE` or KUBECONFIG, or run in a pod with a service account: {reason}"
    )]
    NoCluster {
        /// What was found instead.
        reason: String,
    },
    /// The client cannot be made.
    #[error("cannot set up the connection to the cluster at {address}: {reason}")]
    Client {
        /// The API server's address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The API server does not do something.
    #[error("cannot {action}")]
    Api {
        /// What was wanted, like "create the Job `x`".
        action: String,
        /// What it says.
        #[source]
        source: ApiError,
    },
    /// The user may not do what is needed.
    #[error("{}", missing(namespace, permissions))]
    Missing {
        /// Where.
        namespace: String,
        /// What.
        permissions: Vec<Permission>,
    },
    /// A Job went away while it was followed.
    #[error("the Job `{name}` was deleted before it had ended")]
    Deleted {
        /// The Job.
        name: String,
    },
    /// There is no such Job, or it is not one of Cooper's.
    #[error("there is no build `{name}` in the namespace `{namespace}`; `cooper jobs ls` lists them")]
    NoJob {
        /// What was asked for.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The namespace does not admit the pod.
    #[error(
        "the namespace does not admit the pod: {message}\nsay what it admits, with `--pod-security baseline` or `--pod-security restricted`"
    )]
    NotAdmitted {
        /// The API server's words.
        message: String,
    },
    /// The API server has not answered for long.
    #[error(
        "lost contact with the cluster while {action}; the Job `{name}` goes on, and `cooper jobs wait {name}` waits for it"
    )]
    LostContact {
        /// What was being done.
        action: &'static str,
        /// The Job.
        name: String,
        /// The last error.
        #[source]
        source: ApiError,
    },
    /// A Deployment, or what is like one, does not have the container.
    #[error("the {workload} has no container `{container}`; it has {containers}")]
    NoContainer {
        /// Like ``Deployment `web` ``.
        workload: String,
        /// What was asked for.
        container: String,
        /// What there is.
        containers: String,
    },
    /// A rollout does not get anywhere.
    #[error("the {workload} was not rolled out: {reason}")]
    Rollout {
        /// Like ``Deployment `web` ``.
        workload: String,
        /// Its own words, and those of its newest pod.
        reason: String,
    },
    /// The result of a build has no digest.
    #[error(
        "the Job `{name}` has ended without saying the digest of what it pushed; the image of Cooper that it ran may be too old"
    )]
    NoDigest {
        /// The Job.
        name: String,
    },
    /// An object cannot be written as JSON.
    #[error("cannot write a manifest as JSON")]
    Json(#[source] serde_json::Error),
    /// An object cannot be written as YAML.
    #[error("cannot write a manifest as YAML: {reason}")]
    Yaml {
        /// The library's reason.
        reason: String,
    },
}

/// What an API server answered instead of doing something, or why it did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// It refused.
    Refused {
        /// The HTTP status.
        code: u16,
        /// Kubernetes' word for it, like `Forbidden`.
        reason: String,
        /// What it says.
        message: String,
    },
    /// It did not answer, or not in a way that makes sense.
    Unreachable {
        /// Why.
        reason: String,
    },
}

impl std::error::Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, reason, message } if message.is_empty() => write!(f, "{code} {reason}"),
            Self::Refused { code, message, .. } => write!(f, "{message} ({code})"),
            Self::Unreachable { reason } => f.write_str(reason),
        }
    }
}

impl ApiError {
    /// The HTTP status of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unreachable { .. } => None,
        }
    }

    /// Whether trying again is of no use.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.code(), Some(400..=403 | 405 | 422))
    }

    /// Whether another attempt may succeed. What wants to be left alone was so already, by the client.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.code(), None | Some(500 | 502))
    }

    /// For `map_err`: with what was wanted.
    pub(super) fn while_trying(action: impl Into<String>) -> impl FnOnce(Self) -> KubeError {
        let action = action.into();
        move |source| KubeError::Api { action, source }
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            error => Self::Unreachable { reason: describe(&error) },
        }
    }
}

impl From<kube::core::Status> for ApiError {
    fn from(status: kube::core::Status) -> Self {
        Self::Refused { code: status.code, reason: status.reason, message: status.message }
    }
}

impl From<kube::runtime::watcher::Error> for ApiError {
    fn from(error: kube::runtime::watcher::Error) -> Self {
        use kube::runtime::watcher::Error;
        match error {
            Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
                error.into()
            }
            Error::WatchError(status) => Self::from(*status),
            error @ Error::NoResourceVersion => Self::Unreachable { reason: error.to_string() },
        }
    }
}

fn missing(namespace: &str, permissions: &[Permission]) -> String {
    use fmt::Write as _;
    let list: Vec<String> = permissions.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "you lack permissions in the namespace `{namespace}`: {}\nadd to the rules of a Role that you are bound to:",
        list.join(", ")
    );
    for (group, resource, verbs) in super::access::rules(permissions) {
        let _ = write!(
            text,
            "\n  - apiGroups: [\"{group}\"]\n    resources: [\"{resource}\"]\n    verbs: [\"{}\"]",
            verbs.join("\", \"")
        );
    }
    text
}
