//! Upload sessions: `POST` opens one, `PATCH` adds to it, `PUT` closes it. See the OCI distribution
//! specification, "Pushing blobs".

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::answer;
use super::auth::Scope;
use super::error::Problem;
use super::host::{Answer, Call};
use super::lanes::Lane;
use super::operation::Operation;
use super::outgoing::Gauge;
use super::repository::Endpoint;
use super::retry;
use super::source::BlobSource;
use crate::image::RepoName;
use crate::layer::Digest;

/// The smallest chunk a registry takes. See the OCI distribution specification, "Pushing a blob in chunks".
const CHUNK_MINIMUM: &str = "oci-chunk-min-length";

/// An open session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Where the next request goes; each answer may name a new place.
    url: Url,
    /// The smallest chunk the registry wants, except for the last.
    pub(super) chunk_minimum: u64,
}

/// Why a step of an upload did not succeed, and so what to do.
#[derive(Debug)]
pub(super) enum Setback {
    /// Try again, after the time the registry asked for, if it did.
    Passing(Problem, Option<Duration>),
    /// The session is gone: open another.
    SessionLost(Problem),
    /// The registry takes no chunks, or not this one.
    ChunkRefused(Problem),
    /// Nothing helps.
    Final(Problem),
}

impl Setback {
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::Passing(problem, _)
            | Self::SessionLost(problem)
            | Self::ChunkRefused(problem)
            | Self::Final(problem) => problem,
        }
    }
}

/// Whatever comes from [`Host::send`](super::host::Host::send) has been tried again already.
impl From<Problem> for Setback {
    fn from(problem: Problem) -> Self {
        Self::Final(problem)
    }
}

/// Where a blob is being pushed to, and with which rights.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) scope: &'a Scope,
    pub(super) operation: &'a Operation,
}

impl Target<'_> {
    /// Opens a session.
    pub(super) async fn open(&self) -> Result<Session, Setback> {
        let url = self.endpoint.url("blobs/uploads/").await?;
        let answer = self.send(Method::POST, url.clone(), HeaderMap::new(), Some(Bytes::new())).await?;
        self.accepted(&url, answer.response).await
    }

    /// Asks for the blob to be taken over from the repository at path `from`. `Err` holds the session the registry
    /// opened instead, if it did.
    pub(super) async fn mount(
        &self,
        digest: Digest,
        from: &str,
    ) -> Result<Result<(), Option<Session>>, Setback> {
        let mut url = self.endpoint.url("blobs/uploads/").await?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let answer = self.send(Method::POST, url.clone(), HeaderMap::new(), Some(Bytes::new())).await?;
        Ok(match answer.response.status() {
            StatusCode::CREATED => Ok(()),
            StatusCode::ACCEPTED => Err(Some(self.accepted(&url, answer.response).await?)),
            // No right to read the other repository, or no such thing as mounting.
            _ => Err(None),
        })
    }

    /// Gives a session up. Registries clean up after a while anyway, so a refusal does not matter.
    pub(super) async fn cancel(&self, session: Session) {
        if let Err(problem) = self.send(Method::DELETE, session.url, HeaderMap::new(), None).await {
            tracing::debug!("an upload session could not be cancelled: {problem}");
        }
    }

    /// Sends the whole blob and closes the session.
    pub(super) async fn put_whole(
        &self,
        session: Session,
        digest: Digest,
        source: &impl BlobSource,
        size: u64,
    ) -> Result<(), Setback> {
        let url = closing(session.url, digest);
        let response = self.stream(Method::PUT, url, HeaderMap::new(), source, 0, size).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.setback(response).await) }
    }

    /// Sends `length` bytes from `offset` on.
    pub(super) async fn patch(
        &self,
        session: Session,
        source: &impl BlobSource,
        offset: u64,
        length: u64,
    ) -> Result<Session, Setback> {
        let mut headers = HeaderMap::new();
        let range = HeaderValue::from_str(&format!("{offset}-{}", offset + length - 1));
        headers.extend(range.map(|range| (CONTENT_RANGE, range)));
        let Session { url, chunk_minimum } = session;
        let response = self.stream(Method::PATCH, url.clone(), headers, source, offset, length).await?;
        let next = self.accepted(&url, response).await.map_err(|setback| match setback {
            Setback::Final(problem @ Problem::Rejected { .. }) => Setback::ChunkRefused(problem),
            setback => setback,
        })?;
        Ok(Session { chunk_minimum, ..next })
    }

    /// How far the session has come, in bytes, and where it goes on.
    pub(super) async fn status(&self, session: &Session) -> Result<(Session, u64), Setback> {
        let answer = self.send(Method::GET, session.url.clone(), HeaderMap::new(), None).await?;
        let headers = answer.response.headers();
        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let received = range.map_or(Some(0), received);
        let url = if headers.contains_key(LOCATION) {
            self.endpoint.host.location(&session.url, &answer.response)?
        } else {
            session.url.clone()
        };
        if !answer.response.status().is_success() {
            return Err(self.setback(answer.response).await);
        }
        let received = received
            .ok_or_else(|| self.endpoint.host.protocol("it does not say how much of an upload it has"))?;
        Ok((Session { url, chunk_minimum: session.chunk_minimum }, received))
    }

    /// Closes a session that has all its bytes.
    pub(super) async fn close(&self, session: Session, digest: Digest) -> Result<(), Setback> {
        let url = closing(session.url, digest);
        let answer = self.send(Method::PUT, url, HeaderMap::new(), Some(Bytes::new())).await?;
        if answer.response.status().is_success() { Ok(()) } else { Err(self.setback(answer.response).await) }
    }

    /// The session an answer tells of.
    async fn accepted(&self, url: &Url, response: Response) -> Result<Session, Setback> {
        if !response.status().is_success() {
            return Err(self.setback(response).await);
        }
        let minimum =
            response.headers().get(CHUNK_MINIMUM).and_then(|value| value.to_str().ok()?.parse().ok());
        let url = self.endpoint.host.location(url, &response)?;
        Ok(Session { url, chunk_minimum: minimum.unwrap_or(0) })
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, Problem> {
        let repository = self.endpoint.name();
        let call = self.call(method, url, headers, &repository, Lane::Small);
        self.endpoint.host.send(&Call { body, ..call }).await
    }

    fn call<'a>(
        &'a self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        repository: &'a RepoName,
        lane: Lane,
    ) -> Call<'a> {
        let Self { scope, operation, .. } = self;
        Call { method, url, headers, body: None, scope, repository, operation, lane, is_mirror: false }
    }

    /// Sends part of `source` as a body. 401 is returned as a passing setback, once the new login is known.
    async fn stream(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        source: &impl BlobSource,
        offset: u64,
        length: u64,
    ) -> Result<Response, Setback> {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let host = &self.endpoint.host;
        let repository = self.endpoint.name();
        let call = self.call(method, url, headers, &repository, Lane::Upload);
        let grant = host.grant(&call).await?;
        let stream = source.open(offset, length).await.map_err(|source| Problem::Source { source })?;
        let gauge = Gauge::default();
        let result =
            host.transfer(&call, grant.as_ref(), gauge.measure(stream, length), gauge.progress()).await;
        host.meter().sent(gauge.sent());
        if let Some(problem) = gauge.failure() {
            return Err(Setback::Final(problem));
        }
        match result {
            Ok(response) if host.wants_login(&response) => {
                let knows_how = host.learn(&call, &response, grant.as_ref()).await;
                let problem = host.unauthorised(&call, answer::refusal(response).await, grant).await;
                Err(if knows_how { Setback::Passing(problem, None) } else { Setback::Final(problem) })
            }
            Ok(response) => Ok(response),
            Err(problem) if problem.may_pass() => Err(Setback::Passing(problem, None)),
            Err(problem) => Err(Setback::Final(problem)),
        }
    }

    async fn setback(&self, response: Response) -> Setback {
        let status = response.status();
        let asked = retry::retry_after(response.headers(), Timestamp::now());
        let refusal = answer::refusal(response).await;
        let problem = self.endpoint.host.problem(refusal, self.operation, &self.endpoint.name()).await;
        match status {
            StatusCode::NOT_FOUND => Setback::SessionLost(problem),
            // The registry has another idea of how far we are: ask it.
            StatusCode::RANGE_NOT_SATISFIABLE => Setback::Passing(problem, None),
            status if retry::may_pass(status) => Setback::Passing(problem, asked),
            _ => Setback::Final(problem),
        }
    }
}

/// The URL that closes a session.
fn closing(mut url: Url, digest: Digest) -> Url {
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// How many bytes `0-99` (also `bytes=0-99`) stands for. Registries say `0-0` when they have nothing.
fn received(range: &str) -> Option<u64> {
    let last: u64 = range.trim().trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_much_the_registry_has() {
        for (range, bytes) in [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("5-99", None),
            ("0-", None),
            ("", None),
            ("0--1", None),
        ] {
            assert_eq!(received(range), bytes, "{range}");
        }
    }
}
