//! The tables: of builds, a record as JSON and beside it what is searched for; of letters to be delivered; of pushes that
//! were answered.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::QueueError;
use crate::serve::build::{Build, BuildId};

/// Of the form of the database.
pub(super) const VERSION: i64 = 2;

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

/// What came with version 2.
const SECOND: &str = "
    CREATE TABLE deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        build TEXT NOT NULL,
        kind TEXT NOT NULL,
        host TEXT NOT NULL,
        subject TEXT NOT NULL,
        target TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        attempted INTEGER,
        error TEXT
    ) STRICT;
    CREATE INDEX deliveries_by_due ON deliveries (state, due);
    CREATE INDEX deliveries_by_build ON deliveries (build);
    CREATE TABLE pushes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        hook TEXT NOT NULL,
        repository TEXT NOT NULL COLLATE NOCASE,
        rule TEXT NOT NULL,
        reference TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        delivery TEXT,
        body TEXT,
        build TEXT NOT NULL,
        received INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX pushes_by_place ON pushes (hook, repository, rule, reference, number);
    CREATE INDEX pushes_by_delivery ON pushes (delivery);
    CREATE INDEX pushes_by_body ON pushes (body);
    CREATE INDEX pushes_by_time ON pushes (received);
    PRAGMA user_version = 2;
";

pub(super) fn open(path: &Path) -> Result<Connection, QueueError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if !(0..=VERSION).contains(&version) {
        return Err(QueueError::Version { path: path.to_owned(), version });
    }
    let transaction = connection.transaction()?;
    for (index, step) in (0_i64..).zip([SCHEMA, SECOND]) {
        if index >= version {
            transaction.execute_batch(step)?;
        }
    }
    transaction.commit()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_of_the_first_version_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("builds.db");
        let id = "019a00000000000000000001";
        // As the first version has written it.
        let record = format!(
            r#"{{"id":"{id}","project":"shop","state":"queued","by":"ci","priority":0,"timeout_seconds":60,
                "need":{{"millicpus":1,"memory":1}},"request":{{"tags":["r.example/a:1"]}},"upload":null,
                "created_at":"2026-01-01T00:00:00.000Z","started_at":null,"ended_at":null,"attempts":0,"requests":1,
                "rebuild_of":null,"superseded_by":null,"is_cancelling":false,"result":null,"error":null,
                "exit_code":null}}"#
        );
        let first = Connection::open(&path).unwrap();
        first.execute_batch(SCHEMA).unwrap();
        first
            .execute(
                "INSERT INTO builds (id, project, state, owner, identity, is_settled, record)
                 VALUES (?1, 'shop', 'queued', 'ci', 'x', 1, ?2)",
                [id, &record],
            )
            .unwrap();
        drop(first);
        for _ in 0..2 {
            let mut connection = open(&path).unwrap();
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            assert_eq!(version, VERSION);
            let transaction = connection.transaction().unwrap();
            let mut build = one(&transaction, &id.parse().unwrap()).unwrap();
            assert_eq!((build.project.as_str(), build.origin.as_ref()), ("shop", None));
            build.requests += 1;
            update(&transaction, &build).unwrap();
            let count = |table: &str| -> i64 {
                transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
            };
            assert_eq!((count("builds"), count("deliveries"), count("pushes")), (1, 0, 0));
        }
        let later = Connection::open(&path).unwrap();
        later.execute_batch("PRAGMA user_version = 3").unwrap();
        assert!(matches!(open(&path), Err(QueueError::Version { version: 3, .. })));
    }
}
