//! A build as it is answered.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::serve::Service;
use crate::serve::build::{Build, State};
use crate::serve::deliver::Delivery;
use crate::serve::problem::Problem;
use crate::serve::queue::Place;
use crate::serve::request::NotifyUrl;

/// A build, and where it is in the queue.
#[derive(Debug, Serialize)]
pub(in crate::serve) struct View {
    #[serde(flatten)]
    pub(super) build: Build,
    /// While it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<Place>,
    /// Who was told of it, in the answer about one build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<Delivery>,
    /// Where its parts are.
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
    logs: String,
    events: String,
}

impl View {
    pub(in crate::serve) fn new(mut build: Build, queue: Option<Place>) -> Self {
        build.notify = build.notify.iter().map(NotifyUrl::shown).collect();
        let own = format!("/v1/builds/{}", build.id);
        let links = Links { logs: format!("{own}/logs"), events: format!("{own}/events"), own };
        Self { build, queue, deliveries: Vec::new(), links }
    }

    /// As one of many: without its Dockerfile, which may be long.
    pub(super) fn listed(mut build: Build, queue: Option<Place>) -> Self {
        build.request.dockerfile_text = None;
        Self::new(build, queue)
    }

    /// Looks for its place in the queue.
    pub(super) async fn of(service: &Service, build: Build) -> Result<Self, Problem> {
        let place =
            if build.state == State::Queued { service.places().await?.get(&build.id).copied() } else { None };
        let deliveries = service.queue.deliveries(build.id.clone()).await?;
        Ok(Self { deliveries, ..Self::new(build, place) })
    }

    /// An answer that says where the build is.
    pub(super) fn respond(self, status: StatusCode) -> Response {
        let location = self.links.own.clone();
        (status, [(header::LOCATION, location)], Json(self)).into_response()
    }
}
