//! Looking at builds, and ending them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, Named, Params};
use super::view::View;
use crate::serve::Service;
use crate::serve::build::{self, Build, BuildId};
use crate::serve::fleet::{self, CancelError};
use crate::serve::problem::Problem;
use crate::serve::queue::Filter;
use crate::units;

/// The longest `wait`.
const MAX_WAIT: Duration = Duration::from_mins(10);

/// How long to wait before looking again for an end that was told of and is not there.
const CLOSED_PAUSE: Duration = Duration::from_millis(2);

/// Most builds in one answer.
const MAX_PAGE: u32 = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    state: Option<build::State>,
    project: Option<String>,
    before: Option<BuildId>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    builds: Vec<View>,
    /// Where older ones are.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    wait: Option<String>,
}

impl Waiting {
    /// How long to wait for the end.
    pub(super) fn patience(&self) -> Result<Option<Duration>, Problem> {
        patience(self.wait.as_deref())
    }
}

/// How long the `wait` of a query is.
pub(super) fn patience(text: Option<&str>) -> Result<Option<Duration>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wait = units::duration(text).map_err(|error| Problem::bad("bad-query", error.to_string()))?;
    Ok(Some(wait.min(MAX_WAIT)))
}

/// `GET /v1/builds`
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Result<Json<Listed>, Problem> {
    let limit = page.limit.unwrap_or(50).clamp(1, MAX_PAGE);
    let filter = Filter { state: page.state, project: page.project, before: page.before, limit };
    let mut same = vec![("limit", limit.to_string())];
    same.extend(filter.state.map(|state| ("state", state.name().to_owned())));
    same.extend(filter.project.clone().map(|project| ("project", project)));
    let grants = Arc::clone(&caller.grants);
    let builds = service.queue.list(filter, move |project| grants.projects.matches(project)).await?;
    let is_full = u32::try_from(builds.len()).is_ok_and(|count| count == limit);
    let next = builds.last().filter(|_| is_full).map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(same).append_pair("before", last.id.as_str());
        format!("/v1/builds?{}", query.finish())
    });
    let places = if builds.iter().any(|build| build.state == build::State::Queued) {
        service.places().await?
    } else {
        std::collections::HashMap::new()
    };
    let builds = builds.into_iter().map(|build| {
        let place = places.get(&build.id).copied();
        View::listed(build, place)
    });
    Ok(Json(Listed { builds: builds.collect(), next }))
}

/// `GET /v1/builds/{id}`
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named,
    Params(waiting): Params<Waiting>,
) -> Result<Json<View>, Problem> {
    let patience = waiting.patience()?;
    let mut build = caller.must_see(service.get(id).await?)?;
    if let Some(patience) = patience {
        build = wait_for_end(&service, build, patience).await?;
    }
    Ok(Json(View::of(&service, build).await?))
}

/// `DELETE /v1/builds/{id}`
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Response, Problem> {
    caller.must_write()?;
    caller.must_see(service.get(id.clone()).await?)?;
    if let Some(fleet) = &service.fleet {
        let cancelled = fleet::cancel(&service, fleet, &id, &caller.grants.name).await;
        let build = cancelled.map_err(|error| match error {
            CancelError::Queue(error) => error.into(),
            CancelError::Kube(error) => fleet::problem(&error),
        })?;
        caller.audit("cancel", &build.id, &build.project);
        return Ok(View::new(build, None).respond(StatusCode::OK));
    }
    let build = service.queue.cancel(id, caller.grants.name.clone()).await?;
    caller.audit("cancel", &build.id, &build.project);
    if build.state.is_end() {
        // One that waited: nobody else tells of its end.
        if build.attempts == 0 {
            crate::serve::runner::after(&service, &build);
        }
        service.wake.notify_one();
        return Ok(View::new(build, None).respond(StatusCode::OK));
    }
    service.stops.cancel(&build.id);
    Ok(View::new(build, None).respond(StatusCode::ACCEPTED))
}

/// Waits until a build has ended, but not for longer than `patience`, nor when the service stops.
pub(super) async fn wait_for_end(
    service: &Service,
    build: Build,
    patience: Duration,
) -> Result<Build, Problem> {
    let id = build.id;
    let mut events = service.hub.listen(&id);
    let mut stopping = service.stopping.clone();
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    loop {
        let build = service.queue.get(id.clone()).await?;
        if build.state.is_end() {
            service.hub.end(&id);
            return Ok(build);
        }
        // What it says in between does not matter.
        let ended = async { while events.changed().await.is_ok() {} };
        let is_closed = tokio::select! {
            () = ended => true,
            () = &mut deadline => false,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        };
        if !is_closed {
            return Ok(service.queue.get(id).await?);
        }
        // Closed without an end that could be kept: nothing is known before the database works again.
        tokio::time::sleep(CLOSED_PAUSE).await;
        events = service.hub.listen(&id);
    }
}
