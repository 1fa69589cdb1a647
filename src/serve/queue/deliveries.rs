//! Letters on their way.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Queue, QueueError};
use crate::serve::build::{Build, BuildId, Moment};
use crate::serve::deliver::{Delivery, DeliveryState, Due, Happened, Herald, Kind, Letter};

/// What there is to deliver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Now, some of each host.
    pub(crate) due: Vec<Due>,
    /// When the next one is due.
    pub(crate) later: Option<Moment>,
    /// How many are not delivered yet.
    pub(crate) pending: i64,
}

/// Queues what is to be told of a build: in the transaction that changes it, so that it is told exactly when that counts.
pub(super) fn tell(
    transaction: &Transaction<'_>,
    herald: &Herald,
    build: &Build,
    happened: Happened,
) -> Result<(), QueueError> {
    for letter in herald.letters(build, happened) {
        insert(transaction, &letter)?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, letter: &Letter) -> Result<(), QueueError> {
    let now = Moment::now();
    let kind = letter.target.kind();
    if kind == Kind::Status {
        // Only the latest status counts.
        transaction
            .prepare_cached("DELETE FROM deliveries WHERE build = ?1 AND kind = ?2 AND state = 'pending'")?
            .execute([letter.build.as_str(), kind.name()])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO deliveries (id, build, kind, host, subject, target, body, state, attempts, created, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', 0, ?8, ?8)",
        )?
        .execute(params![
            format!("msg_{}", BuildId::new(now)?),
            letter.build.as_str(),
            kind.name(),
            letter.target.host(),
            letter.subject,
            serde_json::to_string(&letter.target)?,
            letter.body,
            now.0,
        ])?;
    Ok(())
}

impl Queue {
    /// What is due, at most `per_host` of each host, and when there is more.
    pub(crate) async fn due(&self, now: Moment, per_host: u32) -> Result<Found, QueueError> {
        self.transact(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT number, id, build, host, subject, target, body, attempts, created FROM
                     (SELECT *, row_number() OVER (PARTITION BY host ORDER BY due, number) AS place
                      FROM deliveries WHERE state = 'pending' AND due <= ?1)
                 WHERE place <= ?2 ORDER BY due, number LIMIT 200",
            )?;
            let mut rows = statement.query(params![now.0, per_host])?;
            let mut due = Vec::new();
            while let Some(row) = rows.next()? {
                due.push(letter(row)?);
            }
            let (pending, later) = transaction
                .prepare_cached(
                    "SELECT count(*), min(CASE WHEN due > ?1 THEN due END) FROM deliveries WHERE state = 'pending'",
                )?
                .query_row([now.0], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
            Ok(Found { due, later: later.map(Moment), pending })
        })
        .await
    }

    /// A letter has arrived.
    pub(crate) async fn delivered(&self, number: i64, now: Moment) -> Result<(), QueueError> {
        self.note(number, DeliveryState::Delivered, now, now, None).await
    }

    /// A letter is not tried again.
    pub(crate) async fn gave_up(&self, number: i64, now: Moment, error: String) -> Result<(), QueueError> {
        self.note(number, DeliveryState::GivenUp, now, now, Some(error)).await
    }

    /// A letter is tried again at `next`.
    pub(crate) async fn put_off(
        &self,
        number: i64,
        now: Moment,
        next: Moment,
        error: String,
    ) -> Result<(), QueueError> {
        self.note(number, DeliveryState::Pending, now, next, Some(error)).await
    }

    async fn note(
        &self,
        number: i64,
        state: DeliveryState,
        now: Moment,
        due: Moment,
        error: Option<String>,
    ) -> Result<(), QueueError> {
        self.transact(move |transaction| {
            // What has come to an end is not needed any more.
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET state = ?2, attempts = attempts + 1, attempted = ?3, due = ?4, error = ?5,
                         body = CASE WHEN ?2 = 'pending' THEN body ELSE '' END
                     WHERE number = ?1",
                )?
                .execute(params![number, state.name(), now.0, due.0, error])?;
            Ok(())
        })
        .await
    }

    /// What was and will be told of a build.
    pub(crate) async fn deliveries(&self, build: BuildId) -> Result<Vec<Delivery>, QueueError> {
        self.transact(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT id, kind, subject, host, state, attempts, attempted, due, error FROM deliveries
                 WHERE build = ?1 ORDER BY number LIMIT 200",
            )?;
            let rows = statement.query_map([build.as_str()], |row| {
                let state = DeliveryState::by_name(&row.get::<_, String>(4)?);
                let is_pending = state == DeliveryState::Pending;
                Ok(Delivery {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    subject: row.get(2)?,
                    host: row.get(3)?,
                    state,
                    attempts: row.get(5)?,
                    at: row.get::<_, Option<i64>>(6)?.map(Moment),
                    next_at: is_pending.then_some(Moment(row.get(7)?)),
                    error: row.get(8)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn letter(row: &Row<'_>) -> Result<Due, QueueError> {
    let build: String = row.get(2)?;
    let target: crate::serve::deliver::Target = serde_json::from_str(&row.get::<_, String>(5)?)?;
    Ok(Due {
        number: row.get(0)?,
        id: row.get(1)?,
        build: serde_json::from_value(build.into())?,
        kind: target.kind(),
        host: row.get(3)?,
        subject: row.get(4)?,
        target,
        body: row.get(6)?,
        attempts: row.get(7)?,
        created: Moment(row.get(8)?),
    })
}

/// What is known of pushes that were answered.
#[derive(Debug, Clone)]
pub(crate) struct PushKey {
    pub(crate) hook: String,
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) commit: String,
    /// What its sender calls the message.
    pub(crate) delivery: Option<String>,
    /// The digest of the message.
    pub(crate) body: Option<String>,
}

/// The build that a push was answered with: the same message has come before, or nothing else was pushed there since.
pub(super) fn answered(
    transaction: &Transaction<'_>,
    push: &PushKey,
    rule: &str,
) -> Result<Option<String>, QueueError> {
    let place = params![push.hook, push.repository, rule, push.delivery, push.body];
    let same = transaction
        .prepare_cached(
            "SELECT build FROM pushes WHERE hook = ?1 AND repository = ?2 AND rule = ?3
                 AND (delivery = ?4 OR body = ?5) ORDER BY number DESC LIMIT 1",
        )?
        .query_row(place, |row| row.get(0))
        .optional()?;
    if same.is_some() {
        return Ok(same);
    }
    let place = params![push.hook, push.repository, rule, push.reference];
    let latest: Option<(String, String)> = transaction
        .prepare_cached(
            "SELECT build, commit_id FROM pushes WHERE hook = ?1 AND repository = ?2 AND rule = ?3
                 AND reference = ?4 ORDER BY number DESC LIMIT 1",
        )?
        .query_row(place, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(latest.filter(|(_, commit)| *commit == push.commit).map(|(build, _)| build))
}

/// Remembers the build that a push is answered with.
pub(super) fn remember(
    transaction: &Transaction<'_>,
    push: &PushKey,
    rule: &str,
    build: &BuildId,
) -> Result<(), QueueError> {
    transaction
        .prepare_cached(
            "INSERT INTO pushes (hook, repository, rule, reference, commit_id, delivery, body, build, received)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            push.hook,
            push.repository,
            rule,
            push.reference,
            push.commit,
            push.delivery,
            push.body,
            build.as_str(),
            Moment::now().0,
        ])?;
    Ok(())
}
