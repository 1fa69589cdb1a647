//! Which cluster, and which namespace of it.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::error::{ApiError, KubeError};
use super::security::PodSecurity;
use crate::pipeline::describe;
use crate::web::persist;

/// How long connecting to an API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// The label of a namespace that says what is admitted. See the Kubernetes documentation, "Pod Security Admission".
const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

/// Where the cluster is, as far as it was said.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The kubeconfig; else that of `KUBECONFIG`, `~/.kube/config`, or the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; else the current one.
    pub context: Option<String>,
    /// The namespace; else the context's or the pod's.
    pub namespace: Option<String>,
}

/// A cluster, and a namespace of it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    address: String,
    namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { client: _, address, namespace } = self;
        f.debug_struct("Cluster").field("address", address).field("namespace", namespace).finish()
    }
}

impl Cluster {
    /// Finds the cluster; asks it nothing yet.
    pub async fn find(place: &Place) -> Result<Self, KubeError> {
        let mut config = config(place).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        let address = config.cluster_url.to_string();
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| KubeError::Client { address: address.clone(), reason: describe(&error) })?;
        Ok(Self { client, address, namespace })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same cluster, and another namespace of it.
    #[must_use]
    pub fn with_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The API server's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The objects of a kind in the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What the namespace says that it admits; `None` if it may not be read. One that says nothing admits everything.
    pub async fn pod_security(&self) -> Result<Option<PodSecurity>, KubeError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match ask(|| namespaces.get(&self.namespace)).await {
            Ok(namespace) => {
                let labels = namespace.metadata.labels.unwrap_or_default();
                let level = labels.get(ENFORCED).and_then(|level| level.parse().ok());
                Ok(Some(level.unwrap_or_default()))
            }
            Err(ApiError::Refused { code: 403, .. }) => Ok(None),
            Err(source) => {
                Err(KubeError::Api { action: format!("read the namespace `{}`", self.namespace), source })
            }
        }
    }
}

/// Asks for something that may be asked again, until there is an answer.
pub(super) async fn ask<T, F>(request: impl Fn() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    persist(|| async { request().await.map_err(ApiError::from) }, ApiError::may_pass).await
}

async fn config(place: &Place) -> Result<Config, KubeError> {
    let none = |error: &dyn std::error::Error| KubeError::NoCluster { reason: describe(error) };
    let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &place.kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(|error| none(&error))?;
        return Config::from_custom_kubeconfig(file, &options).await.map_err(|error| none(&error));
    }
    if place.context.is_some() {
        return Config::from_kubeconfig(&options).await.map_err(|error| none(&error));
    }
    Config::infer().await.map_err(|error| none(&error))
}
