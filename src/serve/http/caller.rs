//! Who asks, and what was asked in the query.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Peer;
use crate::serve::Service;
use crate::serve::access::Grants;
use crate::serve::build::{Build, BuildId};
use crate::serve::problem::Problem;

/// Who asks: somebody with a token that is good for something.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) grants: Arc<Grants>,
    peer: Option<Peer>,
}

impl Caller {
    /// Fails for tokens that may only look.
    pub(super) fn must_write(&self) -> Result<(), Problem> {
        if self.grants.read_only {
            return Err(Problem::forbidden("read-only", "this token may only look at builds"));
        }
        Ok(())
    }

    /// The builds of other projects are as if they were not there.
    pub(super) fn must_see(&self, build: Build) -> Result<Build, Problem> {
        if self.grants.projects.matches(&build.project) {
            Ok(build)
        } else {
            Err(crate::serve::queue::QueueError::NoBuild(build.id).into())
        }
    }

    /// Writes down what somebody did.
    pub(super) fn audit(&self, action: &'static str, build: &BuildId, project: &str) {
        tracing::info!(
            target: "audit",
            action,
            token = self.grants.name,
            peer = self.peer.map(|Peer(address)| address.to_string()),
            build = %build,
            project,
        );
    }

    /// Writes down what somebody was refused.
    pub(super) fn audit_refusal(&self, action: &'static str, problem: &Problem) {
        if problem.status() == axum::http::StatusCode::FORBIDDEN {
            tracing::warn!(
                target: "audit",
                action,
                token = self.grants.name,
                peer = self.peer.map(|Peer(address)| address.to_string()),
                ?problem,
                "refused",
            );
        }
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied();
        let header = parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(grants) = service.access.admit(token) else {
            let peer = peer.map(|Peer(address)| address.to_string());
            tracing::warn!(target: "audit", peer, path = parts.uri.path(), "no token, or a wrong one");
            let advice = "send `Authorization: Bearer TOKEN` with a token of this service";
            return Err(Problem::unauthorized(advice));
        };
        Ok(Self { grants, peer })
    }
}

/// The build that the path names.
pub(super) struct Named(pub(super) BuildId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let no_build =
            |detail: String| Problem::new(axum::http::StatusCode::NOT_FOUND, "no-such-build", detail);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| no_build(error.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: crate::serve::build::ParseBuildIdError| no_build(error.to_string()))
    }
}

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| Problem::bad("bad-query", error.body_text()))
    }
}
