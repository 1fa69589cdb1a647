//! Reading from web servers that are no registries: archives, files for ADD, git repositories.
//!
//! The same authorities, proxies and limits hold as for registries; see [`crate::registry`].

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use crate::registry::{Registries, SettingsError};

/// As many as browsers follow.
const MAX_REDIRECTS: usize = 10;

/// How often something is asked for before it is given up; pauses double from [`FIRST_PAUSE`].
const ATTEMPTS: u32 = 4;

/// The pause before the second attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Does `attempt` until it succeeds, fails in a way that will not pass, or has failed [`ATTEMPTS`] times.
pub(crate) async fn persist<T, E, F: Future<Output = Result<T, E>>>(
    attempt: impl Fn() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if may_pass(&error) => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause *= 2;
    }
    attempt().await
}

/// Why a web server does not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The client cannot be made.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The server cannot be asked, or stops answering.
    #[error("cannot download `{url}`")]
    Request {
        /// The URL, without any password.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The server went silent.
    #[error("cannot download `{url}`: nothing came for {seconds} seconds")]
    Silent {
        /// The URL.
        url: String,
        /// For how long.
        seconds: u64,
    },
    /// The server wants a login, or another one.
    #[error(
        "cannot download `{url}`: the server answers {status}; give a login as the secret HTTP_AUTH_TOKEN_HOST or HTTP_AUTH_HEADER_HOST, or another one"
    )]
    Login {
        /// The URL.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The server says no.
    #[error("cannot download `{url}`: the server answers {status}")]
    Status {
        /// The URL.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The server sends us around, or to something that is no web server.
    #[error("cannot download `{url}`: it redirects to `{target}`, which is not followed")]
    Redirect {
        /// The URL.
        url: String,
        /// Where to.
        target: String,
    },
}

impl WebError {
    /// Whether another attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Silent { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// A URL without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL that cannot have a password has none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

/// Whether both are the same server, so that what is meant for one may be sent to the other.
pub(crate) fn is_same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Asks for `url`, following redirects to other web servers. The authorization is for its own server alone.
pub(crate) async fn open(
    registries: &Registries,
    url: &Url,
    authorization: Option<&HeaderValue>,
) -> Result<Response, WebError> {
    let mut at = url.clone();
    for _ in 0..MAX_REDIRECTS {
        let mut request = registries.web_client(&at)?.get(at.clone());
        if let Some(authorization) = authorization.filter(|_| is_same_server(url, &at)) {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let failed =
            |source: reqwest::Error| WebError::Request { url: shown(url), source: source.without_url() };
        let limit = registries.stall_limit();
        let silent = |_| WebError::Silent { url: shown(url), seconds: limit.as_secs() };
        let response = tokio::time::timeout(limit, request.send()).await.map_err(silent)?.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(WebError::Login { url: shown(url), status });
        }
        if !status.is_redirection() {
            return Err(WebError::Status { url: shown(url), status });
        }
        let target =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        at = match at.join(target) {
            Ok(next) if matches!(next.scheme(), "http" | "https") => next,
            _ => return Err(WebError::Redirect { url: shown(url), target: target.to_owned() }),
        };
    }
    Err(WebError::Redirect { url: shown(url), target: shown(&at) })
}

/// What a server sends, for blocking code. Not to be read on a thread that runs asynchronous tasks.
pub(crate) struct StreamReader {
    stream: BoxStream<'static, io::Result<Bytes>>,
    buffer: Bytes,
    limit: Duration,
    handle: Handle,
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

impl StreamReader {
    /// Reads `stream`; a server that is silent for `limit` counts as gone. Must be called within a runtime.
    pub(crate) fn new<E>(
        stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
        limit: Duration,
    ) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let stream = stream.map(|chunk| chunk.map_err(io::Error::other)).boxed();
        Self { stream, buffer: Bytes::new(), limit, handle: Handle::current() }
    }

    /// Reads the body of an answer.
    pub(crate) fn of_body(response: Response, limit: Duration) -> Self {
        Self::new(response.bytes_stream().map(|chunk| chunk.map_err(reqwest::Error::without_url)), limit)
    }
}

impl Read for StreamReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.buffer.is_empty() {
            let chunk =
                self.handle.block_on(async { tokio::time::timeout(self.limit, self.stream.next()).await });
            let silent = |_| {
                let seconds = self.limit.as_secs();
                io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {seconds} seconds"))
            };
            match chunk.map_err(silent)? {
                Some(bytes) => self.buffer = bytes?,
                None => return Ok(0),
            }
        }
        let count = self.buffer.len().min(into.len());
        self.buffer.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_secrets() {
        let url = Url::parse("https://user:secret@x/a?token=secret").unwrap();
        assert_eq!(shown(&url), "https://x/a");
    }

    #[test]
    fn tells_servers_apart() {
        let same =
            |one: &str, other: &str| is_same_server(&Url::parse(one).unwrap(), &Url::parse(other).unwrap());
        assert!(same("https://a/b", "https://a:443/c?d"));
        assert!(!same("https://a/b", "http://a/b"));
        assert!(!same("https://a/b", "https://a.b/"));
        assert!(!same("https://a/b", "https://a:444/b"));
    }
}
