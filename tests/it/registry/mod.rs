//! A registry in this process: it keeps what it is given, remembers what it was asked, and fails on command.
//!
//! ```text
//! Registry ─► accept thread ─► thread per connection ─► http (bytes ⇄ Request, Response)
//!                                                       └► fault? ─► login? ─► routes ─► state
//! ```
//!
//! It serves from threads of its own, so that a test may run the program against it, and stops when dropped.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod fault;
mod http;
mod login;
mod routes;
mod state;
mod tests;
mod tls;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cooper::layer::Digest;

pub(crate) use fault::{Effect, Fault};
use http::{Connection, Response};
use login::Login;
use state::State;
pub(crate) use tls::{Authority, Flaw};

/// A running registry.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    authority: Option<Authority>,
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    login: Login,
    faults: Vec<Fault>,
    requests: Vec<Recorded>,
    chunk_minimum: Option<u64>,
    under_way: usize,
    peak: usize,
}

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// Path with query.
    pub(crate) target: String,
    /// Bytes of body that arrived.
    pub(crate) bytes: usize,
    /// The scheme of `Authorization`, like `Bearer`.
    pub(crate) authorization: Option<String>,
    /// The header `Range`.
    pub(crate) range: Option<String>,
    /// The header `User-Agent`.
    pub(crate) user_agent: Option<String>,
    /// The status that was answered; 0 when the connection was dropped instead.
    pub(crate) status: u16,
}

impl Registry {
    /// Starts one without a login, in plain HTTP.
    pub(crate) fn start() -> Self {
        Self::listen(None)
    }

    /// Starts one with HTTPS and a certificate authority of its own; see [`Registry::authority_pem`].
    pub(crate) fn start_tls() -> Self {
        Self::listen(Some(Authority::new(false)))
    }

    /// [`Registry::start_tls`] with something wrong with its certificate.
    pub(crate) fn start_flawed_tls(flaw: Flaw) -> Self {
        Self::listen(Some(Authority::flawed(flaw)))
    }

    /// [`Registry::start_tls`] that wants a certificate from its clients; see [`Registry::client_pem`].
    pub(crate) fn start_mutual_tls() -> Self {
        Self::listen(Some(Authority::new(true)))
    }

    fn listen(authority: Option<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            authority,
            stopped: AtomicBool::new(false),
            connections: Mutex::default(),
            inner: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &for_thread));
        Self { shared, accepting: Some(accepting) }
    }

    /// Wants this name and password, by Basic authentication.
    pub(crate) fn auth(self, user: &str, password: &str) -> Self {
        self.inner().login = Login::basic(user, password);
        self
    }

    /// Wants tokens, which it gives itself for this name and password.
    pub(crate) fn token_auth(self, user: &str, password: &str) -> Self {
        self.inner().login = Login::bearer(user, password);
        self
    }

    /// With [`Registry::token_auth`]: lets anybody pull, with a token.
    pub(crate) fn anonymous_pull(self) -> Self {
        self.inner().login.allow_anonymous_pull();
        self
    }

    /// With [`Registry::token_auth`]: takes this identity token too.
    pub(crate) fn identity_token(self, token: &str) -> Self {
        self.inner().login.accept_identity_token(token);
        self
    }

    /// Asks for chunks of at least this many bytes.
    pub(crate) fn chunk_minimum(self, bytes: u64) -> Self {
        self.inner().chunk_minimum = Some(bytes);
        self
    }

    /// Adds a fault, before or after the registry is in use.
    pub(crate) fn fault(self, fault: Fault) -> Self {
        self.add_fault(fault);
        self
    }

    /// [`Registry::fault`] on a registry in use.
    pub(crate) fn add_fault(&self, fault: Fault) {
        self.inner().faults.push(fault);
    }

    /// Forgets all tokens that were given out.
    pub(crate) fn expire_tokens(&self) {
        self.inner().login.expire_tokens();
    }

    /// `127.0.0.1:PORT`, as in an image name.
    pub(crate) fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// Puts a blob into `repository`.
    pub(crate) fn put_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        self.inner().state.put_blob(repository, bytes.into())
    }

    /// Puts a manifest into `repository`, by `selector` and by its digest. What it refers to is not checked.
    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        selector: &str,
        media_type: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> Digest {
        self.inner().state.put_manifest(repository, selector, media_type, bytes.into())
    }

    /// A blob of `repository`.
    pub(crate) fn blob(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        self.inner().state.blob(repository, &digest.to_string()).map(|bytes| bytes.to_vec())
    }

    /// The bytes of a manifest of `repository`.
    pub(crate) fn manifest(&self, repository: &str, selector: &str) -> Option<Vec<u8>> {
        self.inner().state.manifest(repository, selector).map(|manifest| manifest.bytes.to_vec())
    }

    /// Everything that was asked, in order.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.inner().requests.clone()
    }

    /// How many requests had this method and `part` in their target.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let is_match = |request: &&Recorded| request.method == method && request.target.contains(part);
        self.inner().requests.iter().filter(is_match).count()
    }

    /// Upload sessions that were opened and neither closed nor cancelled.
    pub(crate) fn open_sessions(&self) -> usize {
        self.inner().state.open_sessions()
    }

    /// With [`Registry::start_tls`]: writes the authority's certificate to `path`.
    pub(crate) fn authority_pem(&self, path: &Path) {
        std::fs::write(path, &self.shared.authority.as_ref().unwrap().pem).unwrap();
    }

    /// With [`Registry::start_mutual_tls`]: writes a client's certificate and key.
    pub(crate) fn client_pem(&self, certificate: &Path, key: &Path) {
        let client = &self.shared.authority.as_ref().unwrap().client;
        std::fs::write(certificate, &client.0).unwrap();
        std::fs::write(key, &client.1).unwrap();
    }

    /// The most requests that were ever being answered at once.
    pub(crate) fn peak(&self) -> usize {
        self.inner().peak
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accept thread, and the threads that wait for a next request.
        drop(TcpStream::connect(self.shared.address));
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).unwrap();
        shared.connections.lock().unwrap().push(stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let socket = stream.try_clone().unwrap();
            match &shared.authority {
                Some(authority) => serve(&mut Connection::new(authority.accept(stream)), &shared),
                None => serve(&mut Connection::new(stream), &shared),
            }
            // There are clones of the socket, so dropping it would not end the connection.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// Answers the requests of one connection until it ends, from either side.
fn serve<S: std::io::Read + std::io::Write>(connection: &mut Connection<S>, shared: &Shared) {
    while let Ok(Some(mut request)) = connection.read_head() {
        let _visit = Visit::begin(shared);
        let fault = shared.inner.lock().unwrap().faults.iter_mut().find_map(|fault| fault.strikes(&request));
        let body_limit = match fault {
            Some(Effect::DropInBody(limit)) => Some(limit),
            _ => None,
        };
        let is_complete = connection.read_body(&mut request, body_limit).is_ok();
        if let Some(Effect::Meet(count)) = fault {
            shared.wait_for_requests(count);
        }
        let mut inner = shared.inner.lock().unwrap();
        let response = match &fault {
            Some(Effect::Drop) => None,
            Some(Effect::DropInBody(_)) => {
                routes::keep_partial(&mut inner, &request);
                None
            }
            _ if !is_complete => {
                routes::keep_partial(&mut inner, &request);
                None
            }
            Some(effect) if effect.response().is_some() => effect.response(),
            _ => {
                match fault {
                    Some(Effect::IgnoreRange) => drop(request.headers.remove("range")),
                    Some(Effect::ExpireTokens) => inner.login.expire_tokens(),
                    _ => {}
                }
                Some(routes::answer(&mut inner, shared, &request))
            }
        };
        inner.requests.push(Recorded {
            method: request.method.clone(),
            target: request.target.clone(),
            bytes: request.body.len(),
            authorization: request.header("authorization").map(|value| first_word(value).to_owned()),
            range: request.header("range").map(str::to_owned),
            user_agent: request.header("user-agent").map(str::to_owned),
            status: response.as_ref().map_or(0, |response| response.status),
        });
        drop(inner);
        let Some(mut response) = response else { return };
        if let Some(effect) = &fault {
            effect.spoil(&mut response);
        }
        if connection.write(&request, &response).is_err() || response.cut.is_some() {
            return;
        }
    }
}

/// Counts a request from its head to the end of its answer.
struct Visit<'a>(&'a Shared);

impl<'a> Visit<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut inner = shared.inner.lock().unwrap();
        inner.under_way += 1;
        inner.peak = inner.peak.max(inner.under_way);
        Self(shared)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().unwrap().under_way -= 1;
    }
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

impl Shared {
    /// Waits until `count` requests were under way at once, for ten seconds at most.
    fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.inner.lock().unwrap().peak < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `http://127.0.0.1:PORT`.
    fn base(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// An error in the form of the OCI distribution specification.
fn error(status: u16, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    Response::new(status).header("Content-Type", "application/json").body(body.to_string())
}
