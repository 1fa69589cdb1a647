//! Telling others: notifications of ends, and commit statuses.
//!
//! ```text
//! a build changes ─► Herald: letters ─┐ in one transaction with the change
//!                                     ▼
//!                     SQLite: deliveries ─► run: a few at a time, fewer per host ─► send ─┬─► delivered
//!                                     ▲                                                    │
//!                                     └──── due later: backoff, Retry-After ◄── failed ────┴─► given up
//! ```
//!
//! Each letter is queued exactly once and delivered at least once, always under the same name, for [`GIVE_UP`].

mod herald;
mod letter;
mod notice;
mod send;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

pub(super) use herald::{Happened, Herald};
pub(super) use letter::{Delivery, DeliveryState, Due, Kind, Letter, Target};
pub(super) use send::Sender;

use super::Service;
use super::build::{BuildId, Moment};

/// Deliveries at a time.
const MAX_AT_ONCE: usize = 32;

/// Deliveries to one host at a time: one that takes its time must not keep others waiting.
const MAX_PER_HOST: u32 = 2;

/// What could not be delivered for so long is given up.
pub(super) const GIVE_UP: Duration = Duration::from_hours(24);

/// How long to wait when nothing is due.
const IDLE: Duration = Duration::from_mins(1);

/// What is under way when the service stops may go on for so long.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// A delivery that is under way.
#[derive(Debug)]
struct Under {
    number: i64,
    host: String,
    build: BuildId,
    kind: Kind,
}

/// Delivers until the service stops.
pub(super) async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let mut under_way: HashMap<Id, Under> = HashMap::new();
    while !*stopping.borrow() {
        let mut next = IDLE;
        match service.queue.due(Moment::now(), MAX_PER_HOST).await {
            Ok(found) => {
                service.metrics.deliveries_pending.set(found.pending);
                if let Some(later) = found.later {
                    let wait = u64::try_from(later.0 - Moment::now().0).unwrap_or(0);
                    next = next.min(Duration::from_millis(wait + 1));
                }
                for due in found.due {
                    if under_way.len() < MAX_AT_ONCE && may_begin(&due, under_way.values()) {
                        let under = Under {
                            number: due.number,
                            host: due.host.clone(),
                            build: due.build.clone(),
                            kind: due.kind,
                        };
                        let service = Arc::clone(&service);
                        let handle = tasks.spawn(async move { send::attempt(&service, due).await });
                        under_way.insert(handle.id(), under);
                    }
                }
            }
            Err(error) => {
                tracing::error!(error = crate::pipeline::describe(&error), "deliveries cannot be looked for");
                next = Duration::from_secs(5);
            }
        }
        tokio::select! {
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                under_way.remove(&id);
            }
            () = service.herald.heard() => {}
            () = tokio::time::sleep(next) => {}
            _ = stopping.changed() => {}
        }
    }
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_DELIVERIES, finished).await.is_err() {
        tracing::info!("some deliveries did not end; they are begun again by the next service");
    }
}

fn may_begin<'a>(due: &Due, under_way: impl Iterator<Item = &'a Under>) -> bool {
    let mut of_host = 0;
    for under in under_way {
        // Statuses of a build come in order: a late one must not cover the last one.
        let is_before = under.kind == Kind::Status && due.kind == Kind::Status && under.build == due.build;
        if under.number == due.number || is_before {
            return false;
        }
        of_host += u32::from(under.host == due.host);
    }
    of_host < MAX_PER_HOST
}
