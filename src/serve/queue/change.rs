//! What changes builds.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::table::{Keys, insert, one, several, update};
use super::{Queue, QueueError, look};
use crate::outcome::CacheUse;
use crate::serve::build::{Build, BuildId, Built, Ending, Moment, Need, State, Upload};
use crate::serve::deploy::Deployment;
use crate::serve::order;
use crate::serve::request::Request;

/// A request that may be queued.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) upload: Option<Upload>,
    pub(crate) project: String,
    pub(crate) by: String,
    pub(crate) need: Need,
    pub(crate) timeout_seconds: u64,
    pub(crate) rebuild_of: Option<BuildId>,
    /// How many builds may wait in all.
    pub(crate) max_queued: u64,
    /// How many of this token's.
    pub(crate) max_own_queued: Option<u64>,
}

impl Asked {
    /// The record of a build that waits.
    pub(crate) fn build(self, id: BuildId, now: Moment) -> Build {
        Build {
            id,
            project: self.project,
            state: State::Queued,
            by: self.by,
            priority: self.request.priority,
            timeout_seconds: self.timeout_seconds,
            need: self.need,
            request: self.request,
            upload: self.upload,
            created_at: now,
            started_at: None,
            ended_at: None,
            attempts: 0,
            requests: 1,
            rebuild_of: self.rebuild_of,
            superseded_by: None,
            is_cancelling: false,
            result: None,
            deployments: Vec::new(),
            cluster: None,
            error: None,
            exit_code: None,
            cache: None,
        }
    }
}

/// A request that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) build: Build,
    /// Whether another one asked for the same before.
    pub(crate) is_joined: bool,
    /// The builds that it took the place of.
    pub(crate) superseded: Vec<BuildId>,
}

/// What was found when the service started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovered {
    /// Builds that had been running and wait again.
    pub(crate) again: Vec<BuildId>,
    /// Builds that had been running and came to their end.
    pub(crate) ended: Vec<Build>,
}

impl Queue {
    /// Queues a build, or joins one that waits or runs and is the same.
    pub(crate) async fn accept(&self, asked: Asked) -> Result<Accepted, QueueError> {
        self.transact(move |transaction| accept(transaction, asked)).await
    }

    /// Lets the next build begin, if there is one and the budget has room for it.
    pub(crate) async fn begin_next(&self, budget: Need) -> Result<Option<Build>, QueueError> {
        self.transact(move |transaction| {
            let running = look::running(transaction)?;
            let (waiting, mut builds) = look::waiting(transaction)?;
            let last_turns = look::last_turns(transaction)?;
            let Some(next) = order::order(waiting, &running, &last_turns, 1).pop() else { return Ok(None) };
            let used = running.iter().fold(Need::NONE, |used, build| used.plus(build.need));
            // A budget that has become smaller since the build was accepted lets it run alone.
            if !budget.leaves(used, next.need) && !running.is_empty() {
                return Ok(None);
            }
            let Some(mut build) = builds.remove(&next.number) else { return Ok(None) };
            build.start(Moment::now());
            update(transaction, &build)?;
            Ok(Some(build))
        })
        .await
    }

    /// Ends a build. `None` if it had ended before.
    pub(crate) async fn end(
        &self,
        id: BuildId,
        ending: Ending,
        cache: Option<CacheUse>,
    ) -> Result<Option<Build>, QueueError> {
        self.change(id, move |build| {
            build.cache = cache;
            build.end(ending, Moment::now())
        })
        .await
    }

    /// Notes how deploying a build gets on. `None` if it has ended.
    pub(crate) async fn deploying(
        &self,
        id: BuildId,
        built: Built,
        deployments: Vec<Deployment>,
    ) -> Result<Option<Build>, QueueError> {
        self.change(id, move |build| {
            build.result = Some(built);
            build.deployments = deployments;
            true
        })
        .await
    }

    /// Puts a running build back into the queue, or ends it if it was begun often enough.
    pub(crate) async fn interrupt(&self, id: BuildId, why: String) -> Result<Option<Build>, QueueError> {
        self.change(id, move |build| {
            build.interrupt(&why, Moment::now());
            true
        })
        .await
    }

    /// Puts a running build back into the queue.
    pub(crate) async fn hand_back(&self, id: BuildId) -> Result<Option<Build>, QueueError> {
        self.change(id, |build| {
            build.hand_back(Moment::now());
            true
        })
        .await
    }

    /// Cancels a build: one that waits at once; of one that runs only the wish is noted.
    pub(crate) async fn cancel(&self, id: BuildId, by: String) -> Result<Build, QueueError> {
        self.transact(move |transaction| {
            let mut build = one(transaction, &id)?;
            match build.state {
                State::Queued => {
                    build.end(Ending::Cancelled { reason: format!("cancelled by {by}") }, Moment::now());
                }
                State::Running => build.is_cancelling = true,
                State::Cancelled => return Ok(build),
                State::Succeeded | State::Failed => return Err(QueueError::HasEnded(id)),
            }
            update(transaction, &build)?;
            Ok(build)
        })
        .await
    }

    /// Settles what an earlier run of the service has left as running; `result` finds what a worker wrote down last.
    pub(crate) async fn recover(
        &self,
        result: impl Fn(&BuildId) -> Option<Built> + Send + 'static,
    ) -> Result<Recovered, QueueError> {
        self.transact(move |transaction| {
            let mut recovered = Recovered::default();
            for (_, mut build) in several(transaction, "WHERE state = 'running' ORDER BY number", [])? {
                match result(&build.id) {
                    Some(built) if build.request.set_image.is_empty() => {
                        build.end(Ending::Succeeded(built), Moment::now());
                    }
                    found => {
                        build.result = found.or(build.result);
                        build.interrupt("the service was stopped while it was running", Moment::now());
                    }
                }
                update(transaction, &build)?;
                if build.state.is_end() {
                    recovered.ended.push(build);
                } else {
                    recovered.again.push(build.id);
                }
            }
            Ok(recovered)
        })
        .await
    }

    /// Forgets builds that ended before `before`; gives their names. At most some at once.
    pub(crate) async fn forget(&self, before: Moment) -> Result<Vec<BuildId>, QueueError> {
        self.transact(move |transaction| {
            let old = several(transaction, "WHERE ended < ?1 ORDER BY ended LIMIT 100", [before.0])?;
            for (number, _) in &old {
                transaction.execute("DELETE FROM builds WHERE number = ?1", [number])?;
            }
            Ok(old.into_iter().map(|(_, build)| build.id).collect())
        })
        .await
    }

    /// Takes a build that is kept elsewhere, as it is there. An end stays an end, whatever comes late.
    pub(crate) async fn mirror(&self, mut build: Build) -> Result<(), QueueError> {
        self.transact(move |transaction| match one(transaction, &build.id) {
            Ok(before) if before.state.is_end() => Ok(()),
            Ok(before) => {
                build.cluster = build.cluster.or(before.cluster);
                update(transaction, &build)
            }
            Err(QueueError::NoBuild(_)) => {
                let keys = Keys { identity: String::new(), is_settled: false, supersede: None };
                insert(transaction, &build, &keys)
            }
            Err(error) => Err(error),
        })
        .await
    }

    /// Forgets a build that is not kept elsewhere any more.
    pub(crate) async fn drop_mirrored(&self, id: BuildId) -> Result<(), QueueError> {
        self.transact(move |transaction| {
            transaction.execute("DELETE FROM builds WHERE id = ?1", [id.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Notes what the cluster says of a build that is a Job.
    pub(crate) async fn note_cluster(&self, id: BuildId, text: String) -> Result<Option<Build>, QueueError> {
        self.change(id, move |build| {
            build.cluster = Some(text);
            true
        })
        .await
    }

    /// How many builds wait, in all and of this token.
    pub(crate) async fn waiting(&self, by: String) -> Result<(u64, u64), QueueError> {
        self.transact(move |transaction| {
            let counts = transaction
                .prepare_cached(
                    "SELECT count(*), count(*) FILTER (WHERE owner = ?1) FROM builds WHERE state = 'queued'",
                )?
                .query_row([by], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            Ok((counts.0.unsigned_abs(), counts.1.unsigned_abs()))
        })
        .await
    }

    async fn change(
        &self,
        id: BuildId,
        change: impl FnOnce(&mut Build) -> bool + Send + 'static,
    ) -> Result<Option<Build>, QueueError> {
        self.transact(move |transaction| {
            let mut build = one(transaction, &id)?;
            if build.state.is_end() || !change(&mut build) {
                return Ok(None);
            }
            update(transaction, &build)?;
            Ok(Some(build))
        })
        .await
    }
}

fn accept(transaction: &Transaction<'_>, asked: Asked) -> Result<Accepted, QueueError> {
    let upload = asked.upload.as_ref().map(|upload| upload.digest);
    let keys = Keys {
        identity: asked.request.identity(upload, asked.timeout_seconds).hex(),
        is_settled: asked.request.is_settled(),
        supersede: asked.request.superseded(),
    };
    if let Some(mut build) = same(transaction, &asked, &keys)? {
        build.requests += 1;
        build.priority = build.priority.max(asked.request.priority);
        update(transaction, &build)?;
        return Ok(Accepted { build, is_joined: true, superseded: Vec::new() });
    }
    let now = Moment::now();
    let id = BuildId::new(now)?;
    let mut superseded = Vec::new();
    if keys.supersede.is_some() {
        let condition = "WHERE state = 'queued' AND project = ?1 AND supersede = ?2";
        for (_, mut older) in several(transaction, condition, params![asked.project, keys.supersede])? {
            older.superseded_by = Some(id.clone());
            older.end(Ending::Cancelled { reason: format!("superseded by {id}") }, now);
            update(transaction, &older)?;
            superseded.push(older.id);
        }
    }
    let count = |condition: &str, parameter: &str| -> Result<u64, QueueError> {
        let count: i64 = transaction
            .prepare_cached(&format!("SELECT count(*) FROM builds WHERE state = 'queued' AND {condition}"))?
            .query_row([parameter], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    let waiting = count("?1 = ''", "")?;
    if waiting >= asked.max_queued {
        return Err(QueueError::Full { waiting });
    }
    let own = count("owner = ?1", &asked.by)?;
    if asked.max_own_queued.is_some_and(|limit| own >= limit) {
        return Err(QueueError::Full { waiting: own });
    }
    let build = asked.build(id, now);
    insert(transaction, &build, &keys)?;
    Ok(Accepted { build, is_joined: false, superseded })
}

/// A build of the same project that gives what is asked for: it waits, or it runs and its files cannot be others.
fn same(transaction: &Transaction<'_>, asked: &Asked, keys: &Keys) -> Result<Option<Build>, QueueError> {
    // A rebuild is meant to be one.
    if asked.rebuild_of.is_some() {
        return Ok(None);
    }
    let condition =
        "WHERE project = ?1 AND identity = ?2 AND (state = 'queued' OR state = 'running' AND is_settled)
         ORDER BY number DESC LIMIT 1";
    let found = several(transaction, condition, params![asked.project, keys.identity])?.pop();
    Ok(found.map(|(_, build)| build).filter(|build| !build.is_cancelling && build.need == asked.need))
}

impl Queue {
    /// Whether some build that is kept has this upload as its context.
    pub(crate) async fn has_upload(&self, hex: String, ended_since: Moment) -> Result<bool, QueueError> {
        self.transact(move |transaction| {
            let found: Option<i64> = transaction
                .prepare_cached("SELECT 1 FROM builds WHERE upload = ?1 AND (ended IS NULL OR ended >= ?2)")?
                .query_row(params![hex, ended_since.0], |row| row.get(0))
                .optional()?;
            Ok(found.is_some())
        })
        .await
    }

    /// How many builds there are in each state.
    pub(crate) async fn counts(&self) -> Result<HashMap<String, i64>, QueueError> {
        self.transact(|transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT state, count(*) FROM builds WHERE state IN ('queued', 'running') GROUP BY state",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
