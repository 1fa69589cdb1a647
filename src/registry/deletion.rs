//! Deleting manifests and tags. See the OCI distribution specification, "Content Management". Blobs are not deleted
//! here: only the registry knows which of them other repositories use, and its garbage collection looks after them.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::error::RegistryError;
use super::lanes::Lane;
use super::operation::{ManifestName, Operation};
use super::repository::{Question, Repository};
use crate::layer::Digest;

impl Repository {
    /// Deletes a manifest, and with it all tags that stand for it. `false` where there is none.
    pub async fn delete_manifest(&self, digest: Digest) -> Result<bool, RegistryError> {
        self.delete(&digest.to_string()).await
    }

    /// Deletes a tag and leaves the manifest. `false` where the registry cannot do that (the protocol leaves it free
    /// to), or has no such tag.
    pub async fn delete_tag(&self, tag: &str) -> Result<bool, RegistryError> {
        self.delete(tag).await
    }

    async fn delete(&self, selector: &str) -> Result<bool, RegistryError> {
        let name = ManifestName { repository: self.name().clone(), selector: selector.to_owned() };
        let operation = Operation::Delete(name);
        let question = Question {
            method: Method::DELETE,
            tail: format!("manifests/{selector}"),
            headers: HeaderMap::new(),
            lane: Lane::Small,
            operation: &operation,
        };
        let endpoint = self.upstream();
        let answer = endpoint.ask(&question, &Scope::delete(&endpoint.path)).await?;
        match answer.response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // Only a tag can be a malformed digest: this registry wants none.
            StatusCode::BAD_REQUEST if !selector.contains(':') => Ok(false),
            _ => Err(endpoint.refused(answer, &question).await),
        }
    }
}
