//! What only looks.

use std::collections::{BTreeMap, HashMap};

use rusqlite::types::Value;
use rusqlite::{Transaction, params_from_iter};
use serde::Serialize;

use super::table::{one, several};
use super::{Queue, QueueError};
use crate::serve::build::{Build, BuildId, Moment, Need, State};
use crate::serve::order::{self, Under, Waiting};

/// How many of the latest builds tell how long builds take.
const SAMPLE: i64 = 20;

/// Which builds are wanted, latest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) state: Option<State>,
    pub(crate) project: Option<String>,
    /// Only those that came before this one.
    pub(crate) before: Option<BuildId>,
    pub(crate) limit: u32,
}

/// Where a build is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// From 1: the next to begin.
    pub(crate) position: usize,
    /// When it may begin, going by how long earlier builds took.
    pub(crate) expected_start: Option<Moment>,
}

/// What goes on.
#[derive(Debug, Clone)]
pub(crate) struct Overview {
    /// What all that run take.
    pub(crate) used: Need,
    /// How many run, whoever may see them.
    pub(crate) running_count: usize,
    /// How many wait, whoever may see them.
    pub(crate) waiting_count: usize,
    /// Those that began first come first.
    pub(crate) running: Vec<Build>,
    /// In the order of their turns.
    pub(crate) waiting: Vec<(Build, Place)>,
    /// In alphabetical order.
    pub(crate) projects: Vec<String>,
}

impl Queue {
    /// A build.
    pub(crate) async fn get(&self, id: BuildId) -> Result<Build, QueueError> {
        self.transact(move |transaction| one(transaction, &id)).await
    }

    /// Some builds, of projects that `is_shown` admits.
    pub(crate) async fn list(
        &self,
        filter: Filter,
        is_shown: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Vec<Build>, QueueError> {
        self.transact(move |transaction| {
            let mut conditions = vec!["1".to_owned()];
            let mut values: Vec<Value> = Vec::new();
            let mut add = |condition: &str, value: Value| {
                values.push(value);
                conditions.push(condition.replace('?', &format!("?{}", values.len())));
            };
            if let Some(state) = filter.state {
                add("state = ?", state.name().to_owned().into());
            }
            if let Some(project) = filter.project {
                add("project = ?", project.into());
            }
            if let Some(before) = filter.before {
                add("id < ?", before.as_str().to_owned().into());
            }
            let mut shown = Vec::new();
            for project in projects(transaction, is_shown)? {
                values.push(project.into());
                shown.push(format!("?{}", values.len()));
            }
            conditions.push(format!("project IN ({})", shown.join(", ")));
            let condition =
                format!("WHERE {} ORDER BY id DESC LIMIT {}", conditions.join(" AND "), filter.limit);
            let builds = several(transaction, &condition, params_from_iter(values))?;
            Ok(builds.into_iter().map(|(_, build)| build).collect())
        })
        .await
    }

    /// The places of all builds that wait.
    pub(crate) async fn places(&self, budget: Need) -> Result<HashMap<BuildId, Place>, QueueError> {
        self.transact(move |transaction| {
            let placed = in_turn(transaction, budget)?;
            Ok(placed.into_iter().map(|(build, place)| (build.id, place)).collect())
        })
        .await
    }

    /// What runs and what waits; of projects that `is_shown` admits, with at most `limit` of those that wait.
    pub(crate) async fn overview(
        &self,
        budget: Need,
        limit: usize,
        is_shown: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Overview, QueueError> {
        self.transact(move |transaction| {
            let running = several(transaction, "WHERE state = 'running' ORDER BY number", [])?;
            let used = running.iter().fold(Need::NONE, |used, (_, build)| used.plus(build.present_need()));
            let waiting = in_turn(transaction, budget)?;
            Ok(Overview {
                used,
                running_count: running.len(),
                waiting_count: waiting.len(),
                running: running
                    .into_iter()
                    .map(|(_, build)| build)
                    .filter(|build| is_shown(&build.project))
                    .collect(),
                waiting: waiting
                    .into_iter()
                    .filter(|(build, _)| is_shown(&build.project))
                    .take(limit)
                    .collect(),
                projects: projects(transaction, is_shown)?,
            })
        })
        .await
    }
}

/// The builds that wait, the next one first.
fn in_turn(transaction: &Transaction<'_>, budget: Need) -> Result<Vec<(Build, Place)>, QueueError> {
    let running = running(transaction)?;
    let (waiting, mut builds) = waiting(transaction)?;
    let last_turns = last_turns(transaction)?;
    let order = order::order(waiting, &running, &last_turns, usize::MAX);
    let durations = durations(transaction)?;
    let all: Vec<i64> = durations.values().copied().collect();
    let overall = mean(&all);
    let typical = |project: &str| durations.get(project).copied().or(overall);
    let starts = order::starts(&order, &running, budget, Moment::now(), typical);
    let placed = order.iter().zip(starts).enumerate().filter_map(|(index, (turn, expected_start))| {
        let place = Place { position: index + 1, expected_start };
        Some((builds.remove(&turn.number)?, place))
    });
    Ok(placed.collect())
}

/// The projects that there are builds of. Which may be seen is decided by patterns, of which the database knows nothing.
fn projects(
    transaction: &Transaction<'_>,
    is_shown: impl Fn(&str) -> bool,
) -> Result<Vec<String>, QueueError> {
    let mut statement = transaction.prepare_cached("SELECT DISTINCT project FROM builds ORDER BY project")?;
    let all = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut shown = Vec::new();
    for project in all {
        let project = project?;
        if is_shown(&project) {
            shown.push(project);
        }
    }
    Ok(shown)
}

pub(super) fn running(transaction: &Transaction<'_>) -> Result<Vec<Under>, QueueError> {
    let running = several(transaction, "WHERE state = 'running'", [])?;
    let under = running.into_iter().map(|(_, build)| Under {
        need: build.present_need(),
        since: build.started_at.unwrap_or(build.created_at),
        project: build.project,
    });
    Ok(under.collect())
}

pub(super) fn waiting(
    transaction: &Transaction<'_>,
) -> Result<(Vec<Waiting>, BTreeMap<i64, Build>), QueueError> {
    let builds: BTreeMap<i64, Build> =
        several(transaction, "WHERE state = 'queued'", [])?.into_iter().collect();
    let waiting = builds.iter().map(|(number, build)| Waiting {
        number: *number,
        project: build.project.clone(),
        priority: build.priority,
        need: build.present_need(),
    });
    Ok((waiting.collect(), builds))
}

pub(super) fn last_turns(transaction: &Transaction<'_>) -> Result<HashMap<String, i64>, QueueError> {
    let mut statement = transaction.prepare_cached(
        "SELECT project, max(started) FROM builds WHERE started IS NOT NULL GROUP BY project",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How long the latest builds of each project took, in milliseconds.
fn durations(transaction: &Transaction<'_>) -> Result<HashMap<String, i64>, QueueError> {
    let mut statement = transaction.prepare_cached(
        "SELECT project, ended - started FROM builds WHERE state = 'succeeded' AND started IS NOT NULL
         ORDER BY ended DESC LIMIT ?1",
    )?;
    let rows =
        statement.query_map([SAMPLE * 10], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut samples: HashMap<String, Vec<i64>> = HashMap::new();
    for row in rows {
        let (project, duration) = row?;
        let sample = samples.entry(project).or_default();
        if i64::try_from(sample.len()).is_ok_and(|length| length < SAMPLE) {
            sample.push(duration.max(0));
        }
    }
    Ok(samples.into_iter().filter_map(|(project, sample)| Some((project, mean(&sample)?))).collect())
}

fn mean(sample: &[i64]) -> Option<i64> {
    let count = i64::try_from(sample.len()).ok().filter(|count| *count > 0)?;
    Some(sample.iter().sum::<i64>() / count)
}
