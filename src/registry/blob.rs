//! Blobs: streamed, checked as they pass, taken up again where a connection broke.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::diagnosis::diagnose;
use super::error::{Problem, RegistryError};
use super::host::{Host, within};
use super::lanes::Lane;
use super::operation::Operation;
use super::repository::{Endpoint, Question, Repository};
use super::retry::Endurance;
use crate::image::Descriptor;
use crate::layer::{Digest, Hasher};

/// The bytes of a blob as they arrive.
///
/// Trust them only after the stream has ended: its last item is an error when digest or size are not what the
/// descriptor says. While it is held, it takes one of the registry's places for downloads.
pub struct BlobStream {
    inner: Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>,
    size: u64,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(context)
    }
}

impl BlobStream {
    /// How many bytes will come.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Repository {
    /// The blob of this descriptor, from the first mirror that has it or from the registry.
    pub async fn blob(&self, blob: &Descriptor) -> Result<BlobStream, RegistryError> {
        let mut download = Download::new(self.clone(), blob, 0, blob.size);
        download.hasher = Some(Hasher::new());
        download.stream().await
    }

    /// A small blob, like an image config, whole and checked. More than `limit` bytes are not fetched.
    pub async fn blob_bytes(&self, blob: &Descriptor, limit: usize) -> Result<Bytes, RegistryError> {
        if blob.size > limit as u64 {
            let host = self.name().registry().to_owned();
            let operation = Operation::PullBlob(self.name().clone(), blob.digest);
            return Err(Problem::TooLarge { host, what: "blob", limit }.during(&operation));
        }
        let mut stream = self.blob(blob).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    /// A part of a blob, which cannot be checked.
    pub(super) async fn blob_part(
        &self,
        blob: &Descriptor,
        offset: u64,
        length: u64,
    ) -> Result<BlobStream, RegistryError> {
        if offset == 0 && length == blob.size {
            return self.blob(blob).await;
        }
        Download::new(self.clone(), blob, offset, offset.saturating_add(length)).stream().await
    }
}

/// A download under way.
struct Download {
    repository: Repository,
    operation: Operation,
    digest: Digest,
    /// Length of the whole blob.
    size: u64,
    /// The next byte to hand on.
    position: u64,
    /// One after the last byte to hand on.
    end: u64,
    /// Hashes the blob, when all of it is wanted.
    hasher: Option<Hasher>,
    body: Option<Body>,
    /// Made with the first break, by the policy of the host it happened with.
    endurance: Option<Endurance>,
}

/// A response being read.
struct Body {
    host: Arc<Host>,
    response: Response,
    /// Bytes that we have already, from a server that knows no ranges.
    skip: u64,
    /// Whether the response ends where we want it to.
    is_exact: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Why a body gave no more bytes.
enum Break {
    /// It is over.
    End,
    /// The connection.
    Broken(Problem),
}

impl Download {
    fn new(repository: Repository, blob: &Descriptor, position: u64, end: u64) -> Self {
        let operation = Operation::PullBlob(repository.name().clone(), blob.digest);
        Self {
            repository,
            operation,
            digest: blob.digest,
            size: blob.size,
            position,
            end,
            hasher: None,
            body: None,
            endurance: None,
        }
    }

    /// Opens the first connection, so that a missing blob is known at once.
    async fn stream(mut self) -> Result<BlobStream, RegistryError> {
        let size = self.end - self.position;
        self.body = Some(self.open().await?);
        let inner = stream::try_unfold(self, async |mut download| {
            Ok(download.next().await?.map(|bytes| (bytes, download)))
        });
        Ok(BlobStream { inner: Box::pin(inner), size })
    }

    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.open().await?,
            };
            let host = Arc::clone(&body.host);
            match body.read().await {
                Ok(chunk) => {
                    let chunk = self.take(&body, chunk)?;
                    // A server that knows no ranges goes on after the part that was asked for.
                    if chunk.is_empty() && self.position == self.end && !body.is_exact {
                        return self.finish(&host);
                    }
                    self.body = Some(body);
                    if !chunk.is_empty() {
                        return Ok(Some(chunk));
                    }
                }
                Err(Break::End) if self.position == self.end => return self.finish(&host),
                Err(cause) => self.pause(&host, cause).await?,
            }
        }
    }

    /// What of a chunk is to be handed on.
    fn take(&mut self, body: &Body, mut chunk: Bytes) -> Result<Bytes, RegistryError> {
        let left = self.end - self.position;
        if chunk.len() as u64 > left {
            if body.is_exact {
                let host = body.host.name().to_owned();
                return Err(Problem::TooLong { host, expected: self.size }.during(&self.operation));
            }
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.position += chunk.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        Ok(chunk)
    }

    fn finish(&mut self, host: &Host) -> Result<Option<Bytes>, RegistryError> {
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.digest => {
                Err(Problem::WrongDigest { host: host.name().to_owned(), expected: self.digest, actual }
                    .during(&self.operation))
            }
            _ => Ok(None),
        }
    }

    /// Waits before the next connection, or gives up.
    async fn pause(&mut self, host: &Host, cause: Break) -> Result<(), RegistryError> {
        let endurance = self.endurance.get_or_insert_with(|| Endurance::new(host.retry()));
        if let Some(delay) = endurance.broke_at(self.position, None) {
            tracing::debug!(blob = %self.digest, position = self.position, "the download broke off, going on");
            tokio::time::sleep(delay).await;
            return Ok(());
        }
        let attempts = endurance.tries();
        let problem = match cause {
            Break::Broken(problem) if self.position == 0 => problem,
            _ => Problem::Truncated {
                host: host.name().to_owned(),
                expected: self.end,
                received: self.position,
                attempts,
            },
        };
        Err(problem.during(&self.operation))
    }

    async fn open(&self) -> Result<Body, RegistryError> {
        let mut headers = HeaderMap::new();
        let is_partial = self.position > 0 || self.end < self.size;
        // An empty range cannot be written; what is left then is only to see the end.
        if is_partial && self.position < self.end {
            let range = HeaderValue::from_str(&format!("bytes={}-{}", self.position, self.end - 1));
            headers.extend(range.map(|range| (RANGE, range)));
        }
        let question = Question {
            method: Method::GET,
            tail: format!("blobs/{}", self.digest),
            headers,
            lane: Lane::Download,
            operation: &self.operation,
        };
        let position = self.position;
        let is_whole = self.end == self.size;
        self.repository
            .first_success(|endpoint| Box::pin(endpoint.open_blob(&question, position, is_whole)))
            .await
    }
}

impl Endpoint {
    /// Opens a blob so that the byte at `position` comes next.
    async fn open_blob(
        &self,
        question: &Question<'_>,
        position: u64,
        is_whole: bool,
    ) -> Result<Body, RegistryError> {
        let answer = self.pull(question).await?;
        let host = Arc::clone(&self.host);
        let is_range = answer.response.status() == StatusCode::PARTIAL_CONTENT;
        if is_range && range_start(answer.response.headers()) != Some(position) {
            return Err(host.protocol("it sent another range than was asked for").during(question.operation));
        }
        let skip = if is_range { 0 } else { position };
        let (response, permit) = (answer.response, answer.permit);
        Ok(Body { host, response, skip, is_exact: is_range || is_whole, _permit: permit })
    }
}

impl Body {
    /// The next bytes that we do not have yet; may be empty.
    async fn read(&mut self) -> Result<Bytes, Break> {
        let limit = self.host.limit();
        let name = self.host.name();
        let chunk = within(limit, name, self.response.chunk()).await.map_err(Break::Broken)?;
        let chunk = chunk.map_err(|error| Break::Broken(diagnose(error, name, limit)))?;
        let mut chunk = chunk.ok_or(Break::End)?;
        self.host.meter().received(chunk.len());
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= skipped as u64;
        Ok(chunk.split_off(skipped))
    }
}

/// The first position in `Content-Range: bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
    text.strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}
