//! What a build says: as text, and as a stream of events.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use super::caller::{Caller, Named, Params};
use super::view::View;
use crate::serve::Service;
use crate::serve::build::BuildId;
use crate::serve::journal;
use crate::serve::problem::Problem;

/// A stream that has nothing to say says so, to those on the way who would take it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Bytes of events that are read at a time; longer lines make it longer.
const CHUNK: usize = 64 << 10;

/// `GET /v1/builds/{id}/logs`
pub(super) async fn logs(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_see(service.get(id.clone()).await?)?;
    let path = journal::directory(&service.settings.data, &id).join(journal::LOG);
    let file = match File::open(&path) {
        // It has said nothing yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Problem::internal(&error)),
        Ok(file) => Some(file),
    };
    let length = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|found| found.len()));
    let length = length.map_err(|error| Problem::internal(&error))?;
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let wanted = match range.map(|text| Wanted::parse(text, length)) {
        None | Some(Wanted::All) => Wanted::Part(0, length),
        Some(wanted) => wanted,
    };
    let Wanted::Part(begin, end) = wanted else {
        let problem = Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range",
            format!("the log has {length} bytes so far"),
        );
        return Ok(([(header::CONTENT_RANGE, format!("bytes */{length}"))], problem).into_response());
    };
    let is_part = range.is_some() && (begin, end) != (0, length);
    let body = match file {
        Some(mut file) if begin < end => {
            file.seek(SeekFrom::Start(begin)).map_err(|error| Problem::internal(&error))?;
            let rest = tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), end - begin);
            Body::from_stream(ReaderStream::new(rest))
        }
        _ => Body::empty(),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_LENGTH, (end - begin).to_string()),
    ];
    if is_part {
        let range = format!("bytes {begin}-{}/{length}", end - 1);
        return Ok(
            (StatusCode::PARTIAL_CONTENT, headers, [(header::CONTENT_RANGE, range)], body).into_response()
        );
    }
    Ok((headers, body).into_response())
}

/// What part of a file is wanted, RFC 9110 §14.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From here to before there.
    Part(u64, u64),
    Nothing,
}

impl Wanted {
    /// Forms that are not known, and several ranges, count for all.
    fn parse(text: &str, length: u64) -> Self {
        let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Self::All;
        };
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last && first < length => {
                Self::Part(first, length.min(last.saturating_add(1)))
            }
            (Ok(first), Err(_)) if last.trim().is_empty() && first < length => Self::Part(first, length),
            (Err(_), Ok(count)) if first.trim().is_empty() && count > 0 && length > 0 => {
                Self::Part(length.saturating_sub(count), length)
            }
            (Ok(first), _) if first >= length => Self::Nothing,
            (Err(_), Ok(_)) if first.trim().is_empty() => Self::Nothing,
            _ => Self::All,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    from: Option<u64>,
}

/// `GET /v1/builds/{id}/events`
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named,
    Params(query): Params<Position>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_see(service.get(id.clone()).await?)?;
    let wrong = || Problem::bad("bad-event-id", "this is no id of an event of this build");
    let offset = match headers.get("last-event-id") {
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?,
        None => query.from.unwrap_or(0),
    };
    let path = journal::directory(&service.settings.data, &id).join(journal::EVENTS);
    if !is_between_lines(&path, offset).map_err(|error| Problem::internal(&error))? {
        return Err(wrong());
    }
    let receiver = service.hub.listen(&id);
    let stopping = service.stopping.clone();
    service.metrics.streams.inc();
    let follower = Follower {
        id,
        path,
        file: None,
        offset,
        receiver,
        stopping,
        service,
        is_sure: false,
        is_ending: false,
        is_over: false,
        next_chunk: CHUNK,
    };
    let stream = stream::unfold(follower, |mut follower| async move {
        let frame = follower.next().await?;
        Some((frame, follower))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // For proxies that would collect the stream before they pass it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// Whether a line ends there.
fn is_between_lines(path: &std::path::Path, offset: u64) -> io::Result<bool> {
    if offset == 0 {
        return Ok(true);
    }
    let mut byte = [0];
    match File::open(path) {
        Ok(file) => Ok(file.read_at(&mut byte, offset - 1)? == 1 && byte == *b"\n"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// One stream of events: it reads the build's file as it grows, at the client's own pace. The id of an event is where
/// its line ends in the file.
struct Follower {
    id: BuildId,
    path: PathBuf,
    file: Option<Arc<File>>,
    offset: u64,
    receiver: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
    service: Arc<Service>,
    /// Whether it is known that the build had not ended before this listened.
    is_sure: bool,
    /// Nothing more will be written.
    is_ending: bool,
    is_over: bool,
    next_chunk: usize,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.service.metrics.streams.dec();
    }
}

impl Follower {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.is_over {
                return None;
            }
            self.receiver.borrow_and_update();
            match self.read().await {
                Ok(Some(frames)) => return Some(Ok(frames)),
                Ok(None) => {}
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
            if self.is_ending {
                self.is_over = true;
                return self.last().await.map(Ok);
            }
            // The end may have come before this stream began to listen; a later one closes the receiver.
            if !self.is_sure {
                self.is_sure = true;
                let build = self.service.queue.get(self.id.clone()).await.ok()?;
                if build.state.is_end() {
                    self.service.hub.end(&self.id);
                    self.is_ending = true;
                    continue;
                }
            }
            tokio::select! {
                changed = self.receiver.changed() => self.is_ending = changed.is_err(),
                () = tokio::time::sleep(HEARTBEAT) => return Some(Ok(Bytes::from_static(b":\n\n"))),
                // Who follows asks again, and gets the rest from the next service.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }

    /// The next whole lines, as frames.
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(Arc::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &self.file else { return Ok(None) };
        loop {
            let (file, offset, length) = (Arc::clone(file), self.offset, self.next_chunk);
            let chunk = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                let mut from: &File = &file;
                // Each stream has opened the file for itself.
                from.seek(SeekFrom::Start(offset))?;
                from.take(length as u64).read_to_end(&mut bytes)?;
                Ok::<_, io::Error>(bytes)
            });
            let chunk = chunk.await.map_err(io::Error::other)??;
            let Some(end) = chunk.iter().rposition(|byte| *byte == b'\n') else {
                if chunk.len() == self.next_chunk {
                    self.next_chunk *= 2;
                    continue;
                }
                return Ok(None);
            };
            self.next_chunk = CHUNK;
            let mut frames = Vec::with_capacity(chunk.len() * 2);
            for line in chunk[..=end].split_inclusive(|byte| *byte == b'\n') {
                self.offset += line.len() as u64;
                frames.extend_from_slice(format!("id: {}\ndata: ", self.offset).as_bytes());
                frames.extend_from_slice(line);
                frames.push(b'\n');
            }
            return Ok(Some(frames.into()));
        }
    }

    /// The record, when the build has ended.
    async fn last(&self) -> Option<Bytes> {
        let build = self.service.queue.get(self.id.clone()).await.ok()?;
        if !build.state.is_end() {
            return None;
        }
        let record = serde_json::to_string(&View::new(build, None)).ok()?;
        Some(format!("event: end\nid: {}\ndata: {record}\n\n", self.offset).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-", Wanted::Part(0, 10)),
            ("bytes=3-5", Wanted::Part(3, 6)),
            ("bytes=3-99", Wanted::Part(3, 10)),
            ("bytes=-4", Wanted::Part(6, 10)),
            ("bytes=-99", Wanted::Part(0, 10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=11-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-3", Wanted::All),
            ("bytes=1-2,4-5", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            assert_eq!(Wanted::parse(text, 10), expected, "{text}");
        }
        assert_eq!(Wanted::parse("bytes=0-", 0), Wanted::Nothing);
    }
}
