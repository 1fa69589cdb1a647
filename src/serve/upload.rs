//! Contexts that come with a request: streamed to the disk, named by their digest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::build::Upload;
use super::problem::Problem;
use crate::layer::Hasher;

/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A client that has not sent a body as fast as this on the whole holds a connection for nothing.
const SLOWEST_BYTES_PER_SECOND: u64 = 1024;

/// How long a slow one is let be.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a body is read from: it ends when the client is too slow or sends too much.
struct Incoming {
    stream: axum::body::BodyDataStream,
    began: Instant,
    received: u64,
    limit: u64,
}

impl Incoming {
    fn new(body: Body, limit: u64) -> Self {
        Self { stream: body.into_data_stream(), began: Instant::now(), received: 0, limit }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let slow = |detail: &str| Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail);
        let chunk = timeout(SILENCE, self.stream.next())
            .await
            .map_err(|_| slow("nothing came for 30 seconds before the request was whole"))?;
        let Some(chunk) = chunk else { return Ok(None) };
        let chunk = chunk.map_err(|error| {
            Problem::bad("truncated", format!("the request ended before it was whole: {error}"))
        })?;
        self.received += chunk.len() as u64;
        if self.received > self.limit {
            return Err(too_large(self.limit));
        }
        let elapsed = self.began.elapsed();
        if elapsed > PATIENCE && self.received / elapsed.as_secs().max(1) < SLOWEST_BYTES_PER_SECOND {
            return Err(slow("the request comes more slowly than 1 KiB per second"));
        }
        Ok(Some(chunk))
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("the request has more than {limit} bytes, which is the most that is taken here"),
    )
}

/// Reads a small body.
pub(super) async fn read(body: Body, limit: u64) -> Result<Vec<u8>, Problem> {
    let mut incoming = Incoming::new(body, limit);
    let mut bytes = Vec::new();
    while let Some(chunk) = incoming.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Bytes of a body that anybody may send.
const SMALL: usize = 64 << 10;

/// Reads a body of somebody who has not proved anything yet: of those that are not small, all together take no more than
/// `room`, in KiB.
pub(super) async fn read_within(
    body: Body,
    announced: Option<u64>,
    limit: u64,
    room: &Semaphore,
) -> Result<Vec<u8>, Problem> {
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut incoming = Incoming::new(body, limit);
    let mut bytes = Vec::new();
    let mut taken: Option<SemaphorePermit<'_>> = None;
    while let Some(chunk) = incoming.next().await? {
        bytes.extend_from_slice(&chunk);
        let held = taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let wanted = bytes.len().saturating_sub(SMALL).div_ceil(1024).saturating_sub(held);
        if wanted > 0 {
            let more = room.try_acquire_many(u32::try_from(wanted).unwrap_or(u32::MAX)).map_err(|_| {
                let detail = "too many large messages come at once; send it again";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
            })?;
            match &mut taken {
                Some(taken) => taken.merge(more),
                None => taken = Some(more),
            }
        }
    }
    Ok(bytes)
}

/// Where the archive with this digest is.
pub(super) fn path(data: &Path, hex: &str) -> PathBuf {
    data.join("uploads").join(hex)
}

/// Writes a body to the disk, of whatever size, in little memory. `announced` is what the client says of its length.
pub(super) async fn store(
    body: Body,
    data: &Path,
    announced: Option<u64>,
    limit: u64,
    min_free: u64,
) -> Result<Upload, Problem> {
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let directory = data.join("uploads");
    let free = free_space(&directory).map_err(|error| Problem::internal(&error))?;
    if free < min_free.saturating_add(announced.unwrap_or(0)) {
        return Err(disk_full());
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            disk_full()
        }
        _ => Problem::internal(&error),
    };
    let temporary = tempfile::Builder::new().prefix("incoming-").tempfile_in(&directory).map_err(failed)?;
    let mut file = tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(failed)?);
    let mut incoming = Incoming::new(body, limit);
    let mut hasher = Hasher::new();
    while let Some(chunk) = incoming.next().await? {
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    // Queued builds outlive a power failure, so their contexts do too.
    file.sync_data().await.map_err(failed)?;
    let upload = Upload { size: hasher.length(), digest: hasher.finish() };
    if upload.size == 0 {
        return Err(Problem::bad("no-context", "the request has no body: send the context as a tar"));
    }
    temporary.persist(path(data, &upload.digest.hex())).map_err(|error| failed(error.error))?;
    Ok(upload)
}

fn disk_full() -> Problem {
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "there is no room for this context now")
}

/// Bytes that may still be written there.
pub(super) fn free_space(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
