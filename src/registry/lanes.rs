//! How much is asked of a registry at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kinds of request that wait for their own kind only.
///
/// Small requests never wait for large ones. Downloads and uploads are apart because a blob piped from one
/// repository to another of the same registry holds one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Manifests, questions, tokens.
    Small,
    /// Blobs that come; held until the stream ends.
    Download,
    /// Blobs that go.
    Upload,
}

/// The lanes of one registry.
#[derive(Debug)]
pub(super) struct Lanes([Gate; 3]);

#[derive(Debug)]
struct Gate {
    semaphore: Arc<Semaphore>,
    width: AtomicUsize,
}

impl Lanes {
    /// Three lanes of this width, or of one where it is zero.
    pub(super) fn new(width: usize) -> Self {
        let width = width.clamp(1, Semaphore::MAX_PERMITS);
        let gate = || Gate { semaphore: Arc::new(Semaphore::new(width)), width: AtomicUsize::new(width) };
        Self([gate(), gate(), gate()])
    }

    fn gate(&self, lane: Lane) -> &Gate {
        let [small, download, upload] = &self.0;
        match lane {
            Lane::Small => small,
            Lane::Download => download,
            Lane::Upload => upload,
        }
    }

    /// Waits for a place. The place is `None` only after the semaphore was closed, which nobody does.
    pub(super) async fn enter(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.gate(lane).semaphore).acquire_owned().await.ok()
    }

    /// Gives a place back for good, because the registry said that there are too many; the last one stays.
    pub(super) fn narrow(&self, lane: Lane, permit: Option<OwnedSemaphorePermit>) {
        let shrink = |width: usize| (width > 1).then(|| width - 1);
        let narrowed =
            self.gate(lane).width.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink).is_ok();
        if let (true, Some(permit)) = (narrowed, permit) {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn narrows_down_to_one() {
        let lanes = Lanes::new(2);
        for _ in 0..3 {
            let permit = lanes.enter(Lane::Upload).await;
            lanes.narrow(Lane::Upload, permit);
        }
        assert_eq!(lanes.gate(Lane::Upload).semaphore.available_permits(), 1);
        assert_eq!(lanes.gate(Lane::Download).semaphore.available_permits(), 2);
    }
}
