//! Git over HTTP, with the client that registries are spoken to with.
//!
//! A request's body is small (what is wanted and what is there), so it is collected and sent whole; the answer streams.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse, Transport,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use super::metered::{Metered, Received};
use super::{Connected, Connecting, Problem};
use crate::context::source::GitUrl;
use crate::git::GitError;
use crate::registry::Registries;
use crate::web::{StreamReader, WebError, is_same_server, shown};

/// A request of more bytes than this asks for more than anybody wants.
const MAX_REQUEST: usize = 64 << 20;

/// Servers redirect a repository that was renamed once.
const MAX_REDIRECTS: usize = 5;

pub(super) fn connect(connecting: &Connecting<'_>) -> Result<Connected, GitError> {
    let server = connecting.server;
    let text = server.url.to_string();
    let invalid = |reason: String| GitError::Protocol { action: "connect to", url: text.clone(), reason };
    let url = Url::parse(&text).map_err(|error| invalid(error.to_string()))?;
    let authorization = connecting.access.for_git(&url, server.login, server.is_asked_for)?;
    let problem = Problem::default();
    let client = Client {
        registries: connecting.registries.clone(),
        server: url,
        authorization,
        problem: problem.clone(),
        received: Arc::clone(connecting.received),
        url: server.url.clone(),
        handle: Handle::current(),
    };
    let parsed = gix::url::parse(text.as_bytes()).map_err(|error| invalid(format!("{error:#}")))?;
    let http = GitHttp { client: Arc::new(client), moved_to: None };
    let transport = Transport::new_http(http, parsed, Protocol::V2, false);
    Ok(Connected { transport: Box::new(transport), problem })
}

/// One repository's web server.
#[derive(Debug)]
struct Client {
    registries: Registries,
    server: Url,
    /// For [`Client::server`] alone.
    authorization: Option<HeaderValue>,
    problem: Problem,
    received: Arc<Received>,
    url: GitUrl,
    handle: Handle,
}

impl Client {
    /// Sends a request, and tells why there is no good answer.
    fn send(&self, call: &Call) -> io::Result<Response> {
        match self.handle.block_on(self.attempt(call)) {
            Ok(response) => Ok(response),
            Err(error) => {
                let text = error.to_string();
                self.problem.tell(error);
                Err(io::Error::other(text))
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Response, GitError> {
        let url = &call.url;
        let client = self.registries.web_client(url).map_err(WebError::from)?;
        let mut request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        if let Some(authorization) = self.authorization.as_ref().filter(|_| is_same_server(url, &self.server))
        {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if call.method == Method::POST {
            request = request.body(call.body.clone());
        }
        let limit = self.registries.stall_limit();
        let silent = |_| WebError::Silent { url: shown(url), seconds: limit.as_secs() };
        let failed =
            |source: reqwest::Error| WebError::Request { url: shown(url), source: source.without_url() };
        let response = tokio::time::timeout(limit, request.send()).await.map_err(silent)?.map_err(failed)?;
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(GitError::Refused { url: shown(&self.server), status: status.as_u16() })
            }
            StatusCode::NOT_FOUND => Err(GitError::NoRepository { url: shown(&self.server) }),
            status if status.is_success() || status.is_redirection() => Ok(response),
            status => Err(WebError::Status { url: shown(url), status }.into()),
        }
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call {
    fn new(method: Method, url: &str, lines: impl IntoIterator<Item = impl AsRef<str>>) -> io::Result<Self> {
        let invalid =
            |error: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.as_ref().split_once(':').unwrap_or((line.as_ref(), ""));
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|error| invalid(&error))?;
            let value = HeaderValue::from_str(value.trim()).map_err(|error| invalid(&error))?;
            headers.insert(name, value);
        }
        let url = Url::parse(url).map_err(|error| invalid(&error))?;
        Ok(Self { method, url, headers, body: Vec::new() })
    }
}

/// The library's view of the client.
#[derive(Debug)]
struct GitHttp {
    client: Arc<Client>,
    moved_to: Option<String>,
}

impl GitHttp {
    /// Asks, and follows where the repository was moved to: later requests go there at once.
    fn follow(&mut self, mut call: Call, tail: &str) -> io::Result<Response> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.client.send(&call)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let target =
                response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let next = call.url.join(target).ok().filter(|next| matches!(next.scheme(), "http" | "https"));
            let is_downgrade = |next: &Url| call.url.scheme() == "https" && next.scheme() == "http";
            let base = next.as_ref().and_then(|next| next.as_str().strip_suffix(tail).map(str::to_owned));
            let (Some(next), Some(base)) = (next.filter(|next| !is_downgrade(next)), base) else {
                let url = shown(&call.url);
                self.client.problem.tell(WebError::Redirect { url, target: target.to_owned() }.into());
                return Err(io::Error::other("the redirect is not followed"));
            };
            self.moved_to = Some(base);
            call.url = next;
        }
        let (url, target) = (shown(&self.client.server), shown(&call.url));
        self.client.problem.tell(WebError::Redirect { url, target }.into());
        Err(io::Error::other("too many redirects"))
    }
}

impl Http for GitHttp {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = Outgoing;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Headers, Body>> {
        let failed = gix::Error::from_error;
        let tail = url.strip_prefix(base_url).unwrap_or_default().trim_start_matches('/').to_owned();
        let call = Call::new(Method::GET, url, headers).map_err(failed)?;
        let response = self.follow(call, &tail).map_err(failed)?;
        let exchange = Exchange::answered(Arc::clone(&self.client), response);
        Ok(GetResponse { headers: Headers::new(Arc::clone(&exchange)), body: Body::new(exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Headers, Body, Outgoing>> {
        let call = Call::new(Method::POST, url, headers).map_err(gix::Error::from_error)?;
        let exchange = Exchange::new(Arc::clone(&self.client), call);
        Ok(PostResponse {
            post_body: Outgoing(Arc::clone(&exchange)),
            headers: Headers::new(Arc::clone(&exchange)),
            body: Body::new(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved_to.as_ref().map(|base| base.trim_end_matches('/').to_owned())
    }
}

/// A request and its answer. The request is sent when somebody wants to read the answer.
#[derive(Debug)]
struct Exchange {
    client: Arc<Client>,
    call: Option<Call>,
    response: Option<Response>,
    headers: Vec<u8>,
}

type SharedExchange = Arc<Mutex<Exchange>>;

fn lock(exchange: &SharedExchange) -> MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    fn new(client: Arc<Client>, call: Call) -> SharedExchange {
        Arc::new(Mutex::new(Self { client, call: Some(call), response: None, headers: Vec::new() }))
    }

    fn answered(client: Arc<Client>, response: Response) -> SharedExchange {
        let mut exchange = Self { client, call: None, response: None, headers: Vec::new() };
        exchange.take(response);
        Arc::new(Mutex::new(exchange))
    }

    fn take(&mut self, response: Response) {
        for (name, value) in response.headers() {
            self.headers.extend_from_slice(name.as_str().as_bytes());
            self.headers.extend_from_slice(b": ");
            self.headers.extend_from_slice(value.as_bytes());
            self.headers.push(b'\n');
        }
        self.response = Some(response);
    }

    /// Sends the request, if that was not done.
    fn complete(&mut self) -> io::Result<()> {
        if let Some(call) = self.call.take() {
            let response = self.client.send(&call)?;
            self.take(response);
        }
        Ok(())
    }
}

/// The body of a request, as it is written.
#[derive(Debug)]
struct Outgoing(SharedExchange);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut lock(&self.0).call {
            Some(call) if call.body.len() + bytes.len() <= MAX_REQUEST => {
                call.body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Some(_) => Err(io::ErrorKind::FileTooLarge.into()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers of an answer, line by line.
#[derive(Debug)]
struct Headers {
    exchange: SharedExchange,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn new(exchange: SharedExchange) -> Self {
        Self { exchange, lines: None }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let mut exchange = lock(&self.exchange);
            exchange.complete()?;
            self.lines = Some(Cursor::new(std::mem::take(&mut exchange.headers)));
        }
        Ok(self.lines.get_or_insert_default())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(count);
        }
    }
}

/// The body of an answer, as it comes.
#[derive(Debug)]
struct Body {
    exchange: SharedExchange,
    reader: Option<BufReader<Metered<StreamReader>>>,
}

impl Body {
    fn new(exchange: SharedExchange) -> Self {
        Self { exchange, reader: None }
    }

    fn reader(&mut self) -> io::Result<&mut BufReader<Metered<StreamReader>>> {
        if self.reader.is_none() {
            let mut exchange = lock(&self.exchange);
            exchange.complete()?;
            let response = exchange.response.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let limit = exchange.client.registries.stall_limit();
            let client = &exchange.client;
            let stream = StreamReader::of_body(response, limit);
            let stream = Metered::new(stream, &client.received, client.problem.clone(), &client.url);
            self.reader = Some(BufReader::with_capacity(1 << 16, stream));
        }
        self.reader.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(buffer)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(count);
        }
    }
}
