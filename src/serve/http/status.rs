//! What goes on: the queue, its budget, and who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::builds::patience;
use super::caller::{Caller, Params};
use super::view::View;
use crate::serve::Service;
use crate::serve::build::{Moment, Need};
use crate::serve::problem::Problem;
use crate::serve::queue::Overview;

/// Most builds that wait in one answer; the count is of all.
const MAX_WAITING: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// How long to wait for a change.
    wait: Option<String>,
    /// The revision that the caller knows.
    after: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    /// By the service's clock, by which all its times are.
    now: Moment,
    /// Another number when any build has changed.
    revision: u64,
    /// Whether it is about to end.
    is_stopping: bool,
    caller: Asking,
    budget: Need,
    used: Need,
    running_count: usize,
    waiting_count: usize,
    running: Vec<View>,
    waiting: Vec<View>,
    projects: Vec<String>,
}

/// What whoever asks may do.
#[derive(Debug, Serialize)]
struct Asking {
    name: String,
    /// Whether no token is needed.
    is_anonymous: bool,
    read_only: bool,
    /// Of builds that name none.
    project: String,
}

/// `GET /v1/status`
pub(super) async fn status(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(since): Params<Since>,
) -> Result<Json<Status>, Problem> {
    let mut revisions = service.queue.revision();
    if let (Some(patience), Some(known)) = (patience(since.wait.as_deref())?, since.after) {
        let mut stopping = service.stopping.clone();
        tokio::select! {
            _ = revisions.wait_for(|revision| *revision != known) => {}
            () = tokio::time::sleep(patience) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
    // Looked at before the builds: what changes in between is told next time.
    let revision = *revisions.borrow();
    let grants = Arc::clone(&caller.grants);
    let budget = service.settings.budget;
    let overview =
        service.queue.overview(budget, MAX_WAITING, move |project| grants.projects.matches(project));
    let Overview { used, running_count, waiting_count, running, waiting, projects } = overview.await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        now: Moment::now(),
        revision,
        is_stopping: service.is_stopping(),
        caller: Asking {
            name: caller.grants.name.clone(),
            is_anonymous: service.access.is_anonymous(),
            read_only: caller.grants.read_only,
            project: caller.grants.usual_project(),
        },
        budget,
        used,
        running_count,
        waiting_count,
        running: running.into_iter().map(|build| View::listed(build, None)).collect(),
        // The places of Jobs are the cluster's business.
        waiting: waiting
            .into_iter()
            .map(|(build, place)| View::listed(build, Some(place).filter(|_| service.fleet.is_none())))
            .collect(),
        projects,
    }))
}
