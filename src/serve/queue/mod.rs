//! The queue: builds in SQLite, on a thread of its own.
//!
//! Whatever is answered is on the disk before: write-ahead log, `synchronous=FULL`. There is one connection, so every
//! change of state is one transaction, and nobody else changes anything: the service holds a lock on its directory.

mod change;
mod deliveries;
mod look;
mod table;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

pub(crate) use change::{Accepted, Asked, Pushed};
pub(crate) use deliveries::PushKey;
pub(crate) use look::{Filter, Overview, Place};

use super::build::{BuildId, Moment};
use super::deliver::Herald;

/// Why the queue fails.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The database.
    #[error("the database of builds fails")]
    Database(#[from] rusqlite::Error),
    /// The database was written by a later version.
    #[error("the database `{}` has the version {version}, and this program knows {}: use the program that wrote it, or another directory", path.display(), table::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: i64,
    },
    /// A record makes no sense.
    #[error("the record of a build cannot be read or written")]
    Record(#[from] serde_json::Error),
    /// The thread has ended.
    #[error("the queue has ended")]
    Ended,
    /// The thread cannot be started, or there are no random numbers.
    #[error("the system refuses the queue what it needs")]
    System(#[from] std::io::Error),
    /// Too much waits.
    #[error("{waiting} builds are waiting, which is the most there may be; come back when some have ended")]
    Full {
        /// How many.
        waiting: u64,
    },
    /// There is none.
    #[error("there is no build {0}")]
    NoBuild(BuildId),
    /// Too late.
    #[error("the build {0} has ended already")]
    HasEnded(BuildId),
}

type Task = Box<dyn FnOnce(&mut Connection) + Send>;

/// The queue; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    tasks: mpsc::Sender<Task>,
    /// Knows who is told of changes.
    herald: Arc<Herald>,
    /// Another number whenever something was changed, also by an earlier run of the service.
    revision: watch::Sender<u64>,
}

impl Queue {
    /// Opens the database in `path`, making it if need be.
    pub(super) fn open(path: &Path, herald: Arc<Herald>) -> Result<Self, QueueError> {
        let mut connection = table::open(path)?;
        let (tasks, inbox) = mpsc::channel::<Task>();
        std::thread::Builder::new().name("queue".to_owned()).spawn(move || {
            for task in inbox {
                task(&mut connection);
            }
        })?;
        // Microseconds since 1970: an earlier run has not counted that far.
        let began = u64::try_from(Moment::now().0).unwrap_or(0).saturating_mul(1000);
        Ok(Self { tasks, herald, revision: watch::Sender::new(began) })
    }

    /// Tells of changes.
    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Does something with the database, in a transaction that counts only if it succeeds.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let revision = self.revision.clone();
        let task = move |connection: &mut Connection| {
            let before = connection.total_changes();
            let result = connection
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                .map_err(QueueError::from)
                .and_then(|transaction| {
                    let value = work(&transaction)?;
                    transaction.commit()?;
                    Ok(value)
                });
            if connection.total_changes() != before {
                revision.send_modify(|revision| *revision += 1);
            }
            // Who asked may be gone; what was done stays done.
            let _ = answer.send(result);
        };
        self.tasks.send(Box::new(task)).map_err(|_| QueueError::Ended)?;
        answered.await.map_err(|_| QueueError::Ended)?
    }
}
