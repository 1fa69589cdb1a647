//! What changes builds.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::deliveries::{PushKey, answered, remember, tell};
use super::table::{Keys, insert, one, several, update};
use super::{Queue, QueueError, look};
use crate::outcome::CacheUse;
use crate::serve::build::{Build, BuildId, Built, Ending, Moment, Need, Origin, State, Upload};
use crate::serve::deliver::{Happened, Herald};
use crate::serve::deploy::Deployment;
use crate::serve::order;
use crate::serve::request::Request;

/// Most who are told of the end of one build because they asked for it.
const MAX_NOTIFY: usize = 50;

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
    pub(crate) origin: Option<Origin>,
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
            origin: self.origin,
            notify: Vec::new(),
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

/// A push, and what it is to be built as.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    pub(crate) key: PushKey,
    /// Each with the name of its rule.
    pub(crate) builds: Vec<(String, Asked)>,
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
        let herald = Arc::clone(&self.herald);
        self.transact(move |transaction| accept(transaction, &herald, asked)).await
    }

    /// Queues all builds of a push, or none. One that was answered before gives the builds of then; `None` for those
    /// that are not kept any more.
    pub(crate) async fn accept_push(
        &self,
        pushed: Pushed,
    ) -> Result<Vec<(String, Option<Accepted>)>, QueueError> {
        let herald = Arc::clone(&self.herald);
        self.transact(move |transaction| {
            let mut all = Vec::new();
            for (rule, asked) in pushed.builds {
                let accepted = if let Some(id) = answered(transaction, &pushed.key, &rule)? {
                    known(transaction, &id, &pushed.key, &rule)?
                } else {
                    let accepted = accept(transaction, &herald, asked)?;
                    remember(transaction, &pushed.key, &rule, &accepted.build.id)?;
                    Some(accepted)
                };
                all.push((rule, accepted));
            }
            Ok(all)
        })
        .await
    }

    /// Forgets pushes that came before `before`.
    pub(crate) async fn forget_pushes(&self, before: Moment) -> Result<(), QueueError> {
        self.transact(move |transaction| {
            transaction.execute("DELETE FROM pushes WHERE received < ?1", [before.0])?;
            Ok(())
        })
        .await
    }

    /// Lets the next build begin, if there is one and the budget has room for it.
    pub(crate) async fn begin_next(&self, budget: Need) -> Result<Option<Build>, QueueError> {
        let herald = Arc::clone(&self.herald);
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
            tell(transaction, &herald, &build, Happened::Begun)?;
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
        let herald = Arc::clone(&self.herald);
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
            keep(transaction, &herald, &build)?;
            Ok(build)
        })
        .await
    }

    /// Settles what an earlier run of the service has left as running; `result` finds what a worker wrote down last.
    pub(crate) async fn recover(
        &self,
        result: impl Fn(&BuildId) -> Option<Built> + Send + 'static,
    ) -> Result<Recovered, QueueError> {
        let herald = Arc::clone(&self.herald);
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
                keep(transaction, &herald, &build)?;
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
            // Who is to be told of it may look at it.
            let condition = "WHERE ended < ?1 AND NOT EXISTS
                 (SELECT 1 FROM deliveries WHERE build = builds.id AND deliveries.state = 'pending')
                 ORDER BY ended LIMIT 100";
            let old = several(transaction, condition, [before.0])?;
            for (number, build) in &old {
                transaction.execute("DELETE FROM builds WHERE number = ?1", [number])?;
                transaction.execute("DELETE FROM deliveries WHERE build = ?1", [build.id.as_str()])?;
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
        let herald = Arc::clone(&self.herald);
        self.transact(move |transaction| {
            let mut build = one(transaction, &id)?;
            if build.state.is_end() || !change(&mut build) {
                return Ok(None);
            }
            keep(transaction, &herald, &build)?;
            Ok(Some(build))
        })
        .await
    }
}

/// Keeps a change, and tells of it if it is the end.
fn keep(transaction: &Transaction<'_>, herald: &Herald, build: &Build) -> Result<(), QueueError> {
    update(transaction, build)?;
    if build.state.is_end() {
        tell(transaction, herald, build, Happened::Ended)?;
    }
    Ok(())
}

/// The build that a push was answered with before, if it is still kept. This message is answered so from now on.
fn known(
    transaction: &Transaction<'_>,
    id: &str,
    push: &PushKey,
    rule: &str,
) -> Result<Option<Accepted>, QueueError> {
    let Ok(id) = id.parse::<BuildId>() else { return Ok(None) };
    remember(transaction, push, rule, &id)?;
    match one(transaction, &id) {
        Ok(build) => Ok(Some(Accepted { build, is_joined: true, superseded: Vec::new() })),
        Err(QueueError::NoBuild(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn accept(transaction: &Transaction<'_>, herald: &Herald, mut asked: Asked) -> Result<Accepted, QueueError> {
    // Who is told is not what is built: requests that differ in that are joined.
    let notify = asked.request.notify.take();
    let upload = asked.upload.as_ref().map(|upload| upload.digest);
    let keys = Keys {
        identity: asked.request.identity(upload, asked.timeout_seconds).hex(),
        is_settled: asked.request.is_settled(),
        supersede: asked.request.superseded(),
    };
    if let Some(mut build) = same(transaction, &asked, &keys)? {
        build.requests += 1;
        build.priority = build.priority.max(asked.request.priority);
        build.notify.extend(notify.filter(|url| !build.notify.contains(url)));
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
            keep(transaction, herald, &older)?;
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
    let mut build = asked.build(id, now);
    build.notify = notify.into_iter().collect();
    insert(transaction, &build, &keys)?;
    tell(transaction, herald, &build, Happened::Accepted)?;
    Ok(Accepted { build, is_joined: false, superseded })
}

/// A build of the same project that gives what is asked for: it waits, or it runs and its files cannot be others.
fn same(transaction: &Transaction<'_>, asked: &Asked, keys: &Keys) -> Result<Option<Build>, QueueError> {
    // A rebuild is meant to be one. A push that was not known comes after what runs now, even if it is of the same
    // commit: its branch has been elsewhere in between.
    if asked.rebuild_of.is_some() || asked.origin.is_some() {
        return Ok(None);
    }
    let condition =
        "WHERE project = ?1 AND identity = ?2 AND (state = 'queued' OR state = 'running' AND is_settled)
         ORDER BY number DESC LIMIT 1";
    let found = several(transaction, condition, params![asked.project, keys.identity])?.pop();
    let is_same =
        |build: &Build| !build.is_cancelling && build.need == asked.need && build.notify.len() < MAX_NOTIFY;
    Ok(found.map(|(_, build)| build).filter(is_same))
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
