//! Manifests and indexes: fetched whole, checked, at most four mebibytes.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::auth::Scope;
use super::error::{Problem, RegistryError};
use super::host::Call;
use super::lanes::Lane;
use super::operation::{ManifestName, Operation};
use super::repository::{Endpoint, Question, Repository};
use crate::image::{Descriptor, MediaType};
use crate::layer::Digest;

/// The size that the OCI distribution specification asks registries to take, and clients to be content with.
const MANIFEST_LIMIT: usize = 4 << 20;

/// What Cooper understands, indexes first.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
                        application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.oci.image.manifest.v1+json, \
                        application/vnd.docker.distribution.manifest.v2+json";

/// Named by registries in the answer to a manifest. See the OCI distribution specification, "Pulling manifests".
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or index as it came, with its digest checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// What it is, by the registry's word, or its own where the registry has none.
    pub media_type: MediaType,
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The text, exactly.
    pub bytes: Bytes,
}

impl FetchedManifest {
    /// Its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
}

/// The one field by which a manifest says what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SelfDescription {
    media_type: Option<String>,
}

impl Repository {
    /// The manifest or index with this tag or digest, from the first mirror that has it or from the registry.
    pub async fn manifest(&self, selector: &str) -> Result<FetchedManifest, RegistryError> {
        let operation = self.pulling(selector);
        let question = question(Method::GET, selector, &operation);
        self.first_success(|endpoint| Box::pin(endpoint.manifest(selector, &question))).await
    }

    /// What the tag or digest stands for now, without fetching it where the registry can tell. `None` when there
    /// is no such manifest (or no such repository).
    pub async fn manifest_digest(&self, selector: &str) -> Result<Option<Descriptor>, RegistryError> {
        let operation = self.pulling(selector);
        let question = question(Method::HEAD, selector, &operation);
        let found = self.first_success(|endpoint| Box::pin(endpoint.look_up(&question))).await;
        match found {
            Ok(Some(descriptor)) => Ok(Some(descriptor)),
            Err(error) if error.is_not_found() => Ok(None),
            // The registry did not tell by HEAD; a GET also has a body to tell why.
            Ok(None) => match self.manifest(selector).await {
                Ok(manifest) => Ok(Some(manifest.descriptor())),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Uploads a manifest or index under a tag or its digest. What it refers to must be there already.
    pub async fn put_manifest(
        &self,
        selector: &str,
        media_type: &MediaType,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let name = ManifestName { repository: self.name().clone(), selector: selector.to_owned() };
        let operation = Operation::PushManifest(name);
        let during = |problem: Problem| problem.during(&operation);
        let endpoint = self.upstream();
        let digest = Digest::of(&bytes);
        if selector.parse().is_ok_and(|expected: Digest| expected != digest) {
            let reason = format!("the manifest to push has the digest {digest}, not the one it is pushed by");
            return Err(during(Problem::Protocol { host: endpoint.host.name().to_owned(), reason }));
        }
        let mut headers = HeaderMap::new();
        let content_type = HeaderValue::from_str(media_type.as_ref());
        headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/json")));
        let question = Question { headers, ..question(Method::PUT, selector, &operation) };
        let call = Call {
            method: Method::PUT,
            url: endpoint.url(&question.tail).await.map_err(during)?,
            headers: question.headers.clone(),
            body: Some(bytes),
            scope: &Scope::push(&endpoint.path),
            repository: &endpoint.name(),
            operation: &operation,
            lane: Lane::Small,
            is_mirror: false,
        };
        let answer = endpoint.host.send(&call).await.map_err(during)?;
        if !answer.response.status().is_success() {
            return Err(endpoint.refused(answer, &question).await);
        }
        match named_digest(answer.response.headers()) {
            Some(named) if named != digest => Err(during(Problem::WrongDigest {
                host: endpoint.host.name().to_owned(),
                expected: digest,
                actual: named,
            })),
            _ => Ok(digest),
        }
    }

    fn pulling(&self, selector: &str) -> Operation {
        let name = ManifestName { repository: self.name().clone(), selector: selector.to_owned() };
        Operation::PullManifest(name)
    }
}

impl Endpoint {
    async fn manifest(
        &self,
        selector: &str,
        question: &Question<'_>,
    ) -> Result<FetchedManifest, RegistryError> {
        let during = |problem: Problem| problem.during(question.operation);
        let answer = self.pull(question).await?;
        let headers = answer.response.headers().clone();
        let bytes = self.host.read(answer, "manifest", MANIFEST_LIMIT).await.map_err(during)?;
        let digest = Digest::of(&bytes);
        for expected in [selector.parse().ok(), named_digest(&headers)].into_iter().flatten() {
            if expected != digest {
                let host = self.host.name().to_owned();
                return Err(during(Problem::WrongDigest { host, expected, actual: digest }));
            }
        }
        let media_type = media_type(&headers, &bytes)
            .ok_or_else(|| during(self.host.protocol("it does not say what kind of manifest it sent")))?;
        Ok(FetchedManifest { media_type, digest, bytes })
    }

    /// `None` when the answer does not tell.
    async fn look_up(&self, question: &Question<'_>) -> Result<Option<Descriptor>, RegistryError> {
        let answer = self.ask(question, &Scope::pull(&self.path)).await?;
        let headers = answer.response.headers();
        match answer.response.status() {
            status if status.is_success() => {
                // Not `content_length()`, which is of the body, and a HEAD has none.
                let size = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                let parts = named_digest(headers).zip(media_type(headers, &[])).zip(size);
                Ok(parts.map(|((digest, media_type), size)| Descriptor::new(media_type, digest, size)))
            }
            StatusCode::NOT_FOUND => Err(self.refused(answer, question).await),
            _ => Ok(None),
        }
    }
}

fn question<'a>(method: Method, selector: &str, operation: &'a Operation) -> Question<'a> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    Question { method, tail: format!("manifests/{selector}"), headers, lane: Lane::Small, operation }
}

fn named_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// The type by the header, unless that is one that any file server would send; then by the text itself.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Option<MediaType> {
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let header = header.split(';').next().unwrap_or_default().trim();
    if header.starts_with("application/vnd.") {
        return Some(MediaType::from(header));
    }
    let described: SelfDescription = serde_json::from_slice(bytes).ok()?;
    described.media_type.map(|text| MediaType::from(text.as_str()))
}
