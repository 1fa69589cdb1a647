//! One repository, and the places it can be pulled from.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};

use super::answer::{self, Refusal};
use super::auth::Scope;
use super::error::{Problem, RegistryError};
use super::host::{Answer, Call, Host};
use super::lanes::Lane;
use super::operation::Operation;
use crate::image::RepoName;
use crate::layer::Digest;

/// A repository of a registry; cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: RepoName,
    /// Mirrors, then the upstream; never empty.
    pulled_from: Vec<Endpoint>,
    upstream: Endpoint,
    chunk_size: u64,
}

/// A repository under the name it has at one host.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) host: Arc<Host>,
    pub(super) path: String,
    /// At a mirror: the registry that it stands for.
    pub(super) upstream: Option<String>,
}

/// What is asked of a repository, wherever it is.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Below the repository: `manifests/latest`.
    pub(super) tail: String,
    pub(super) headers: HeaderMap,
    pub(super) lane: Lane,
    pub(super) operation: &'a Operation,
}

impl Endpoint {
    /// The URL of `tail` below this repository.
    pub(super) async fn url(&self, tail: &str) -> Result<Url, Problem> {
        let mut url = self.host.url(&format!("{}/{tail}", self.path)).await?;
        if let Some(upstream) = &self.upstream {
            // containerd's convention: tells a mirror of several registries which one is meant.
            url.query_pairs_mut().append_pair("ns", upstream);
        }
        Ok(url)
    }

    /// Asks, and turns every refusal into its problem.
    pub(super) async fn pull(&self, question: &Question<'_>) -> Result<Answer, RegistryError> {
        let answer = self.ask(question, &Scope::pull(&self.path)).await?;
        if answer.response.status().is_success() {
            Ok(answer)
        } else {
            Err(self.refused(answer, question).await)
        }
    }

    /// Asks with the rights of `scope`; the answer may be a refusal.
    pub(super) async fn ask(&self, question: &Question<'_>, scope: &Scope) -> Result<Answer, RegistryError> {
        let during = |problem: Problem| problem.during(question.operation);
        let call = Call {
            method: question.method.clone(),
            url: self.url(&question.tail).await.map_err(during)?,
            headers: question.headers.clone(),
            body: None,
            scope,
            repository: &self.name(),
            operation: question.operation,
            lane: question.lane,
            is_mirror: self.upstream.is_some(),
        };
        self.host.send(&call).await.map_err(during)
    }

    /// The error for a refusal.
    pub(super) async fn refused(&self, answer: Answer, question: &Question<'_>) -> RegistryError {
        let refusal = answer::refusal(answer.response).await;
        self.host.problem(refusal, question.operation, &self.name()).await.during(question.operation)
    }

    /// The name by which credentials are found here.
    pub(super) fn name(&self) -> RepoName {
        RepoName::new(self.host.name(), &self.path)
    }
}

impl Repository {
    pub(super) fn new(
        name: RepoName,
        pulled_from: Vec<Endpoint>,
        upstream: Endpoint,
        chunk_size: u64,
    ) -> Self {
        Self { shared: Arc::new(Shared { name, pulled_from, upstream, chunk_size: chunk_size.max(1) }) }
    }

    /// Its name, as it was asked for.
    pub fn name(&self) -> &RepoName {
        &self.shared.name
    }

    /// The place that pushes go to.
    pub(super) fn upstream(&self) -> &Endpoint {
        &self.shared.upstream
    }

    pub(super) fn chunk_size(&self) -> u64 {
        self.shared.chunk_size
    }

    /// The first place where `attempt` succeeds, mirrors before the upstream. What a mirror lacks or fails at is
    /// a note in the log; the last place's error is the error.
    pub(super) async fn first_success<'a, T>(
        &'a self,
        attempt: impl Fn(&'a Endpoint) -> BoxFuture<'a, Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let mut places = self.shared.pulled_from.iter().peekable();
        while let Some(endpoint) = places.next() {
            match attempt(endpoint).await {
                Err(error) if places.peek().is_some() => {
                    tracing::warn!(mirror = endpoint.host.name(), "going on to the next place: {error}");
                }
                result => return result,
            }
        }
        // Not reached while the list of places is not empty; the upstream is as good an answer as any.
        attempt(self.upstream()).await
    }

    /// Whether the registry has this blob in this repository.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        let operation = Operation::CheckBlob(self.name().clone(), digest);
        self.has(digest, &Scope::pull(&self.upstream().path), &operation).await
    }

    /// Whether the upstream has this blob, asked with the rights of `scope`.
    pub(super) async fn has(
        &self,
        digest: Digest,
        scope: &Scope,
        operation: &Operation,
    ) -> Result<bool, RegistryError> {
        let question = Question {
            method: Method::HEAD,
            tail: format!("blobs/{digest}"),
            headers: HeaderMap::new(),
            lane: Lane::Small,
            operation,
        };
        let answer = self.upstream().ask(&question, scope).await?;
        match answer.response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.upstream().refused(answer, &question).await),
        }
    }
}

/// The problem behind a refusal that is about this repository.
pub(super) fn problem(host: &str, whom: Box<str>, refusal: &Refusal, operation: &Operation) -> Problem {
    let Refusal { status, detail, .. } = refusal;
    let (status, detail) = (*status, detail.clone());
    let repository = operation.repository().clone();
    match (status, operation) {
        (StatusCode::FORBIDDEN, _) => Problem::denied(host, whom, operation, detail),
        (StatusCode::NOT_FOUND, _) if refusal.has_code("NAME_UNKNOWN") => {
            Problem::RepositoryUnknown { repository, detail }
        }
        (StatusCode::METHOD_NOT_ALLOWED, Operation::Delete(_)) => {
            Problem::DeletionDisabled { host: host.to_owned(), detail }
        }
        (StatusCode::NOT_FOUND, Operation::PullManifest(image) | Operation::Delete(image)) => {
            Problem::ManifestUnknown { image: image.clone(), detail }
        }
        (StatusCode::NOT_FOUND, Operation::PullBlob(_, digest)) => {
            Problem::BlobUnknown { digest: *digest, detail }
        }
        _ if refusal.has_code("DENIED") => Problem::denied(host, whom, operation, detail),
        _ => Problem::Rejected { host: host.to_owned(), status: status.as_u16(), detail },
    }
}
