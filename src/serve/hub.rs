//! Tells those who wait for a build that something has happened.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::build::BuildId;

/// Who waits for which build. A waiter is told that there is something new, never what: it looks itself, so that one
/// that is slow costs nothing.
#[derive(Debug, Default)]
pub(super) struct Hub {
    waiters: Mutex<HashMap<BuildId, watch::Sender<()>>>,
}

impl Hub {
    fn waiters(&self) -> MutexGuard<'_, HashMap<BuildId, watch::Sender<()>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a build. The receiver is closed when it has ended. Whoever calls this must look afterwards whether it
    /// had ended before, and then call [`Hub::end`].
    pub(super) fn listen(&self, id: &BuildId) -> watch::Receiver<()> {
        self.waiters().entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Something is new.
    pub(super) fn tell(&self, id: &BuildId) {
        if let Some(sender) = self.waiters().get(id) {
            sender.send_replace(());
        }
    }

    /// The build has ended.
    pub(super) fn end(&self, id: &BuildId) {
        self.waiters().remove(id);
    }
}
