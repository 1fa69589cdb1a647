//! One registry: sending requests to it, with login, redirects, retries and limits.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::answer::{self, Refusal};
use super::auth::{Authenticator, Grant, Scope};
use super::challenge;
use super::clients::Clients;
use super::credentials::Credentials;
use super::diagnosis::diagnose;
use super::error::{Problem, RetryWish};
use super::lanes::{Lane, Lanes};
use super::operation::Operation;
use super::repository;
use super::retry::{self, RetryPolicy};
use super::scheme;
use super::settings::{RegistrySettings, SettingsError};
use super::token::TokenService;
use super::traffic::{Meter, Traffic};
use crate::image::RepoName;

/// Registries redirect once, to their storage; a few more may be proxies.
const REDIRECT_LIMIT: usize = 5;

/// A registry, and all that its repositories share.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    /// The URL that all others are below, or that it is if TLS is not spoken.
    base: Url,
    /// The same, found by asking, for a host that may speak either.
    asked: OnceCell<Url>,
    may_be_plain: bool,
    clients: Arc<Clients>,
    authenticator: Authenticator,
    lanes: Lanes,
    meter: Meter,
    retry: RetryPolicy,
    limit: Duration,
    /// Whether there was ever an answer: one that goes down for a moment gets all patience.
    has_answered: AtomicBool,
    /// Nothing is sent before this moment, which the registry asked for with 429.
    pause: Mutex<Option<Instant>>,
}

/// A request that can be sent again.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scope: &'a Scope,
    /// Whose credentials are used.
    pub(super) repository: &'a RepoName,
    pub(super) operation: &'a Operation,
    pub(super) lane: Lane,
    /// Whether others stand behind this host, so that patience is short.
    pub(super) is_mirror: bool,
}

/// A response, and its place in the lane, which is given back when both are dropped.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Host {
    pub(super) fn new(
        name: &str,
        settings: &RegistrySettings,
        credentials: Arc<Credentials>,
        clients: Arc<Clients>,
    ) -> Result<Self, SettingsError> {
        let scheme = if settings.is_plain(name) { "http" } else { "https" };
        let address = if name == "docker.io" { "registry-1.docker.io" } else { name };
        let invalid = || SettingsError::Host { host: name.to_owned() };
        let base = Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|_| invalid())?;
        if base.path() != "/v2/"
            || base.query().is_some()
            || base.fragment().is_some()
            || !base.username().is_empty()
        {
            return Err(invalid());
        }
        Ok(Self {
            authenticator: Authenticator::new(name, credentials),
            lanes: Lanes::new(settings.concurrency),
            meter: Meter::default(),
            retry: settings.retry,
            limit: Duration::from_secs(settings.stall_seconds.max(1)),
            has_answered: AtomicBool::new(false),
            pause: Mutex::new(None),
            name: name.to_owned(),
            base,
            asked: OnceCell::new(),
            may_be_plain: !settings.is_plain(name) && settings.may_be_plain(name),
            clients,
        })
    }

    fn base(&self) -> &Url {
        self.asked.get().unwrap_or(&self.base)
    }

    /// Finds out whether the registry speaks TLS, if that is not known.
    async fn settle(&self) -> Result<(), Problem> {
        if !self.may_be_plain {
            return Ok(());
        }
        let find = async {
            let mut plain = self.base.clone();
            // `https` and `http` are of one kind, so that this does not fail.
            plain.set_scheme("http").map_err(|()| self.protocol("its address cannot be plain HTTP"))?;
            let client = |is_plain| {
                let client = self.clients.client(&self.name, is_plain);
                client.map_err(|source| Problem::Settings { source })
            };
            let (plain_client, tls_client) = (client(true)?, client(false)?);
            Ok(scheme::find((&plain, plain_client), (&self.base, tls_client)).await.clone())
        };
        self.asked.get_or_try_init(|| find).await.map(|_| ())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How long a connection may stay silent.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// The URL of `path` below `/v2/`. Whatever is odd in it is escaped.
    pub(super) async fn url(&self, path: &str) -> Result<Url, Problem> {
        self.settle().await?;
        let mut url = self.base().clone();
        url.path_segments_mut()
            .map_err(|()| self.protocol("its address cannot have paths"))?
            .pop_if_empty()
            .extend(path.split('/'));
        Ok(url)
    }

    /// Sends `call`, again where that may help, and once more with a (new) login after a 401. Every other answer
    /// that is not worth another try is returned.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Problem> {
        let policy = if call.is_mirror { self.retry.for_mirror() } else { self.retry };
        let mut attempt = 0;
        let mut is_down = true;
        let mut refused = None;
        loop {
            let grant = self.grant(call).await?;
            if grant.is_none()
                && let Some(refusal) = refused
            {
                return Err(self.unauthorised(call, refusal, None).await);
            }
            let permit = self.enter(call.lane).await;
            let result = self.follow(call, grant.as_ref()).await;
            let asked = match result {
                Ok(response) if self.wants_login(&response) => {
                    let knows_how = self.learn(call, &response, grant.as_ref()).await;
                    // Reading the body to its end keeps the connection for the next try.
                    let refusal = answer::refusal(response).await;
                    if refused.is_some() || !knows_how {
                        return Err(self.unauthorised(call, refusal, grant).await);
                    }
                    refused = Some(refusal);
                    continue;
                }
                Ok(response) if !retry::may_pass(response.status()) => {
                    return Ok(Answer { response, permit });
                }
                Ok(ref response) => self.slow_down(call.lane, permit, response, policy),
                Err(problem) if !problem.may_pass() => return Err(problem),
                Err(_) => {
                    drop(permit);
                    None
                }
            };
            attempt += 1;
            let is_refused = matches!(result, Err(Problem::ConnectionRefused { .. }));
            is_down &= is_refused && !self.has_answered.load(Ordering::Relaxed);
            let policy = if is_down { policy.while_refused() } else { policy };
            match (policy.delay(attempt, asked, retry::jitter()), result) {
                (Some(delay), _) => tokio::time::sleep(delay).await,
                (None, Err(problem)) => return Err(problem),
                (None, Ok(response)) => {
                    let wish = RetryWish(asked.filter(|wait| !policy.grants(*wait)));
                    return Err(exhausted(answer::refusal(response).await, &self.name, attempt, wish));
                }
            }
        }
    }

    /// Sends a body that comes as a stream, once. `progress` is what the stream has given so far.
    pub(super) async fn transfer(
        &self,
        call: &Call<'_>,
        grant: Option<&Grant>,
        body: Body,
        progress: &AtomicU64,
    ) -> Result<Response, Problem> {
        let permit = self.enter(call.lane).await;
        let request = self.request(call, &call.url, grant)?.body(body);
        let mut sending = std::pin::pin!(request.send());
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(self.limit, &mut sending).await {
                Ok(Ok(response)) => {
                    if response.status() == StatusCode::TOO_MANY_REQUESTS {
                        self.slow_down(call.lane, permit, &response, self.retry);
                    }
                    return Ok(response);
                }
                Ok(Err(error)) => return Err(diagnose(error, &self.name, self.limit)),
                Err(_) => {
                    let now = progress.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Problem::Silent {
                            host: self.name.clone(),
                            seconds: self.limit.as_secs(),
                        });
                    }
                    seen = now;
                }
            }
        }
    }

    /// Whether a response is a 401 of this registry, and not of a storage it redirects to.
    pub(super) fn wants_login(&self, response: &Response) -> bool {
        response.status() == StatusCode::UNAUTHORIZED && self.is_own(response.url())
    }

    /// Learns from a 401; says whether there is a way to log in.
    pub(super) async fn learn(&self, call: &Call<'_>, response: &Response, used: Option<&Grant>) -> bool {
        match challenge::challenge(response.headers()) {
            Some(challenge) => {
                self.authenticator.refused(challenge, call.scope, used).await;
                true
            }
            None => false,
        }
    }

    /// Sends a request and follows its redirects. The login goes no further than this registry.
    async fn follow(&self, call: &Call<'_>, grant: Option<&Grant>) -> Result<Response, Problem> {
        let mut url = call.url.clone();
        let mut grant = grant;
        for _ in 0..=REDIRECT_LIMIT {
            let host = authority(&url);
            let mut request = self.request(call, &url, grant)?;
            if let Some(body) = &call.body {
                request = request.body(body.clone());
                self.meter.sent(body.len());
            }
            let response = within(self.limit, &host, request.send())
                .await?
                .map_err(|error| diagnose(error, &host, self.limit))?;
            self.has_answered.store(true, Ordering::Relaxed);
            let may_follow = matches!(call.method, Method::GET | Method::HEAD);
            if !(may_follow && response.status().is_redirection()) {
                return Ok(response);
            }
            url = self.location(&url, &response)?;
            answer::discard(response).await;
            grant = grant.filter(|_| self.is_own(&url));
        }
        Err(self.protocol(&format!("it redirects more than {REDIRECT_LIMIT} times")))
    }

    fn request(&self, call: &Call<'_>, url: &Url, grant: Option<&Grant>) -> Result<RequestBuilder, Problem> {
        self.meter.request();
        // The settings for this registry are for the name by which it is known here.
        let host = if self.is_own(url) { self.name.clone() } else { authority(url) };
        let client = self.clients.client(&host, url.scheme() == "http");
        let client = client.map_err(|source| Problem::Settings { source })?;
        let request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        Ok(match grant {
            Some(grant) if self.is_own(url) => request.header(AUTHORIZATION, &grant.header),
            _ => request,
        })
    }

    /// Where a response to a request for `url` sends us.
    pub(super) fn location(&self, url: &Url, response: &Response) -> Result<Url, Problem> {
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let text = text.ok_or_else(|| self.protocol("a `Location` header is missing or unreadable"))?;
        let mut target = url
            .join(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| self.protocol("a `Location` header does not hold a URL"))?;
        // A registry behind a proxy that ends TLS often does not know that its clients speak TLS.
        if url.scheme() == "https" && target.scheme() == "http" && target.host() == url.host() {
            let port = target.port();
            if target.set_scheme("https").is_ok() && port.is_none() && target.set_port(url.port()).is_err() {
                return Err(self.protocol("a `Location` header does not hold a URL"));
            }
        }
        let host = authority(&target);
        if url.scheme() == "https" && target.scheme() == "http" && !self.clients.is_plain(&host) {
            return Err(Problem::InsecureRedirect { host: self.name.clone(), target: host });
        }
        Ok(target)
    }

    /// Reads a small body.
    pub(super) async fn read(
        &self,
        answer: Answer,
        what: &'static str,
        limit: usize,
    ) -> Result<Bytes, Problem> {
        let reading = answer::read_all(&self.name, answer.response, what, limit);
        let bytes = within(self.limit, &self.name, reading).await??;
        self.meter.received(bytes.len());
        Ok(bytes)
    }

    /// The problem behind a refusal.
    pub(super) async fn problem(
        &self,
        refusal: Refusal,
        operation: &Operation,
        repository: &RepoName,
    ) -> Problem {
        if retry::may_pass(refusal.status) {
            return exhausted(refusal, &self.name, 1, RetryWish(None));
        }
        let whom = self.authenticator.whom(repository).await;
        repository::problem(&self.name, whom, &refusal, operation)
    }

    pub(super) fn protocol(&self, reason: &str) -> Problem {
        Problem::Protocol { host: self.name.clone(), reason: reason.to_owned() }
    }

    /// The login for a call, where one is needed. Asking the token service is retried in here.
    pub(super) async fn grant(&self, call: &Call<'_>) -> Result<Option<Grant>, Problem> {
        let tokens = TokenService {
            host: &self.name,
            is_plain: self.base().scheme() == "http",
            clients: &self.clients,
            meter: &self.meter,
            retry: self.retry,
            limit: self.limit,
            looked_in: self.authenticator.looked_in(),
        };
        self.authenticator.grant(call.scope, call.repository, &tokens).await
    }

    /// The problem of a 401 that no login helps against.
    pub(super) async fn unauthorised(
        &self,
        call: &Call<'_>,
        refusal: Refusal,
        grant: Option<Grant>,
    ) -> Problem {
        let (host, detail) = (self.name.clone(), refusal.detail);
        match grant.map(|grant| (grant.origin, grant.is_of_service)) {
            // The token service knew the user, so the password is right, and the rights do not suffice.
            Some((Some(_), true)) => {
                let whom = self.authenticator.whom(call.repository).await;
                Problem::denied(&host, whom, call.operation, detail)
            }
            Some((Some(origin), false)) => Problem::CredentialsRefused { host, origin, detail },
            _ => Problem::NoCredentials { host, looked_in: self.authenticator.looked_in(), detail },
        }
    }

    async fn enter(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        let permit = self.lanes.enter(lane).await;
        let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = pause {
            tokio::time::sleep_until(until).await;
        }
        permit
    }

    /// Takes note of an answer that may pass; after 429 fewer requests go at once, and none before the time it
    /// names. Returns that time.
    fn slow_down(
        &self,
        lane: Lane,
        permit: Option<OwnedSemaphorePermit>,
        response: &Response,
        policy: RetryPolicy,
    ) -> Option<Duration> {
        let asked = retry::retry_after(response.headers(), Timestamp::now());
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            self.lanes.narrow(lane, permit);
            if let Some(wait) = asked.filter(|wait| policy.grants(*wait)) {
                let until = Instant::now().checked_add(wait);
                *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = until;
            }
        }
        asked
    }

    /// Whether `url` is at this registry itself.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base().origin()
    }
}

/// The problem of an answer that might have passed, but did not in that many attempts.
pub(super) fn exhausted(refusal: Refusal, host: &str, attempts: u32, wish: RetryWish) -> Problem {
    let (host, detail) = (host.to_owned(), refusal.detail);
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => Problem::TooManyRequests { host, attempts, wish, detail },
        status => Problem::ServerFailed { host, attempts, status: status.as_u16(), detail },
    }
}

/// `host[:port]` of a URL, as registries are named in settings.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What `future` gives, where it does so within `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    host: &str,
    future: impl Future<Output = T>,
) -> Result<T, Problem> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| Problem::Silent { host: host.to_owned(), seconds: limit.as_secs() })
}
