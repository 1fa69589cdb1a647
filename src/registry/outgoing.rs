//! Bodies on their way out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Fuse};
use reqwest::Body;

use super::error::Problem;
use super::source::ByteStream;

/// Watches a body on its way out: its length, and the error that ends it early, which the HTTP library would hide.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    sent: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<Problem>>>,
}

impl Gauge {
    /// The body made of `stream`. It stays one item behind, because the HTTP library does not ask for more once it
    /// has all bytes, and an error that comes with the end (a wrong digest) must not be missed.
    pub(super) fn measure(&self, stream: ByteStream, expected: u64) -> Body {
        let (sent, failure) = (Arc::clone(&self.sent), Arc::clone(&self.failure));
        let fail = move |problem| {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            Err(io::Error::from(io::ErrorKind::InvalidData))
        };
        let start = Outgoing { stream: stream.fuse(), held: Bytes::new(), taken: 0 };
        let body = stream::try_unfold(start, move |mut outgoing| {
            let (sent, fail) = (Arc::clone(&sent), fail.clone());
            async move {
                let next = match outgoing.stream.next().await.transpose() {
                    Ok(next) => next,
                    Err(source) => return fail(Problem::Source { source }),
                };
                outgoing.taken += next.as_ref().map_or(0, |bytes| bytes.len() as u64);
                if outgoing.taken > expected || (next.is_none() && outgoing.taken < expected) {
                    return fail(Problem::SourceChanged { expected });
                }
                let is_end = next.is_none() && outgoing.held.is_empty();
                let bytes = std::mem::replace(&mut outgoing.held, next.unwrap_or_default());
                sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok((!is_end).then_some((bytes, outgoing)))
            }
        });
        Body::wrap_stream(body)
    }

    /// Bytes handed on so far, as they change.
    pub(super) fn progress(&self) -> &AtomicU64 {
        &self.sent
    }

    /// Bytes handed on so far.
    pub(super) fn sent(&self) -> usize {
        usize::try_from(self.sent.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// What ended the body early, if it was its source.
    pub(super) fn failure(&self) -> Option<Problem> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body between its source and the HTTP library.
struct Outgoing {
    /// Fused: its end is seen twice, with the held bytes and without.
    stream: Fuse<ByteStream>,
    /// What was taken and not yet handed on.
    held: Bytes,
    /// Bytes taken so far.
    taken: u64,
}
