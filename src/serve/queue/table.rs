//! The one table: a record as JSON, and beside it what is searched for.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::QueueError;
use crate::serve::build::{Build, BuildId};

/// Of the form of the database.
pub(super) const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE builds (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project TEXT NOT NULL,
        state TEXT NOT NULL,
        owner TEXT NOT NULL,
        identity TEXT NOT NULL,
        is_settled INTEGER NOT NULL,
        supersede TEXT,
        upload TEXT,
        started INTEGER,
        ended INTEGER,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX by_state ON builds (state, number);
    CREATE INDEX by_project ON builds (project, number);
    CREATE INDEX by_upload ON builds (upload);
    CREATE INDEX by_end ON builds (ended);
    PRAGMA user_version = 1;
";

pub(super) fn open(path: &Path) -> Result<Connection, QueueError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.commit()?;
        }
        version => return Err(QueueError::Version { path: path.to_owned(), version }),
    }
    Ok(connection)
}

/// What is kept of a build and not shown.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) identity: String,
    pub(super) is_settled: bool,
    pub(super) supersede: Option<String>,
}

pub(super) fn insert(transaction: &Transaction<'_>, build: &Build, keys: &Keys) -> Result<(), QueueError> {
    transaction
        .prepare_cached(
            "INSERT INTO builds (id, project, state, owner, identity, is_settled, supersede, upload, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            build.id.as_str(),
            build.project,
            build.state.name(),
            build.by,
            keys.identity,
            keys.is_settled,
            keys.supersede,
            build.upload.as_ref().map(|upload| upload.digest.hex()),
            serde_json::to_string(build)?,
        ])?;
    Ok(())
}

pub(super) fn update(transaction: &Transaction<'_>, build: &Build) -> Result<(), QueueError> {
    transaction
        .prepare_cached("UPDATE builds SET state = ?2, started = ?3, ended = ?4, record = ?5 WHERE id = ?1")?
        .execute(params![
            build.id.as_str(),
            build.state.name(),
            build.started_at.map(|moment| moment.0),
            build.ended_at.map(|moment| moment.0),
            serde_json::to_string(build)?,
        ])?;
    Ok(())
}

pub(super) fn one(transaction: &Transaction<'_>, id: &BuildId) -> Result<Build, QueueError> {
    let found = transaction
        .prepare_cached("SELECT record FROM builds WHERE id = ?1")?
        .query_row([id.as_str()], record)
        .optional()?;
    match found {
        Some(text) => Ok(serde_json::from_str(&text)?),
        None => Err(QueueError::NoBuild(id.clone())),
    }
}

/// Builds with their numbers.
pub(super) fn several(
    transaction: &Transaction<'_>,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<(i64, Build)>, QueueError> {
    let mut statement =
        transaction.prepare_cached(&format!("SELECT record, number FROM builds {condition}"))?;
    let mut rows = statement.query(parameters)?;
    let mut builds = Vec::new();
    while let Some(row) = rows.next()? {
        builds.push((row.get(1)?, serde_json::from_str(&record(row)?)?));
    }
    Ok(builds)
}

fn record(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}
