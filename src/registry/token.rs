//! Token services: a credential in, a bearer token for some scopes out.
//!
//! Two protocols, both of the distribution project: `GET` with Basic authentication (or none), and `OAuth2` `POST`
//! for identity tokens. Services that lack the second answer 404, 405 or 401, and are asked with the first.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use url::form_urlencoded;

use super::answer;
use super::auth::{Grant, sensitive};
use super::challenge::Bearer;
use super::clients::Clients;
use super::credentials::{Credential, Login, Secret};
use super::diagnosis::diagnose;
use super::error::{Problem, RetryWish};
use super::host::{authority, exhausted, within};
use super::retry::{self, RetryPolicy};
use super::traffic::Meter;

/// Tokens are a few kilobytes.
const TOKEN_LIMIT: usize = 1 << 20;
/// What the specification says a token lasts where nothing is said.
const USUAL_SECONDS: u64 = 60;
/// Longer lives are not believed: a build that long can ask again.
const LONGEST_SECONDS: u64 = 12 * 3600;

/// Fetches tokens on behalf of one registry.
#[derive(Debug)]
pub(super) struct TokenService<'a> {
    /// The registry.
    pub(super) host: &'a str,
    /// Whether the registry itself is spoken to without encryption.
    pub(super) is_plain: bool,
    pub(super) clients: &'a Clients,
    pub(super) meter: &'a Meter,
    pub(super) retry: RetryPolicy,
    pub(super) limit: Duration,
    pub(super) looked_in: String,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

impl TokenService<'_> {
    /// A token for `scopes`.
    pub(super) async fn fetch(
        &self,
        bearer: &Bearer,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Grant, Problem> {
        let realm = self.realm(bearer, credential)?;
        let response = match credential.map(|credential| &credential.login) {
            Some(Login::IdentityToken { user, token }) => {
                let body = exchange_form(bearer, scopes, token);
                let response = self
                    .ask(
                        &realm,
                        |request| {
                            request
                                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                                .body(body.clone())
                        },
                        Method::POST,
                    )
                    .await?;
                let lacks = matches!(
                    response.status(),
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNAUTHORIZED
                );
                match user {
                    Some(user) if lacks => self.get(&realm, bearer, scopes, Some((user, token))).await?,
                    _ => response,
                }
            }
            Some(Login::Password { user, password }) => {
                self.get(&realm, bearer, scopes, Some((user, password))).await?
            }
            Some(Login::RegistryToken(_)) | None => self.get(&realm, bearer, scopes, None).await?,
        };
        self.read(&authority(&realm), response, credential).await
    }

    /// The URL of the service, where credentials may be sent to it.
    fn realm(&self, bearer: &Bearer, credential: Option<&Credential>) -> Result<Url, Problem> {
        let realm = answer::printable(&bearer.realm);
        let Some(url) = Url::parse(&bearer.realm).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
        else {
            let reason = format!("it names `{realm}` as its token service, which is not a URL");
            return Err(Problem::Protocol { host: self.host.to_owned(), reason });
        };
        let declared = self.is_plain || self.clients.is_plain(&authority(&url));
        if url.scheme() == "http" && credential.is_some() && !declared {
            return Err(Problem::InsecureRealm { host: self.host.to_owned(), realm });
        }
        Ok(url)
    }

    async fn get(
        &self,
        realm: &Url,
        bearer: &Bearer,
        scopes: &[String],
        login: Option<(&String, &Secret)>,
    ) -> Result<Response, Problem> {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(bearer.service.iter().map(|service| ("service", service)));
            query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        }
        let header = login.and_then(|(user, password)| basic(user, password));
        let with_login = |request: RequestBuilder| match &header {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        };
        self.ask(&url, with_login, Method::GET).await
    }

    /// Asks until there is an answer that is not worth another try.
    async fn ask(
        &self,
        url: &Url,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
        method: Method,
    ) -> Result<Response, Problem> {
        let host = authority(url);
        let client = self
            .clients
            .client(&host, url.scheme() == "http")
            .map_err(|source| Problem::Settings { source })?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.meter.request();
            let sending = complete(client.request(method.clone(), url.clone())).send();
            let result = match within(self.limit, &host, sending).await? {
                Ok(response) if !retry::may_pass(response.status()) => return Ok(response),
                Ok(response) => Ok(response),
                Err(error) => Err(diagnose(error, &host, self.limit)),
            };
            let asked = match &result {
                Ok(response) => retry::retry_after(response.headers(), Timestamp::now()),
                Err(problem) if problem.may_pass() => None,
                Err(_) => return result,
            };
            match (self.retry.delay(attempt, asked, retry::jitter()), result) {
                (Some(delay), _) => tokio::time::sleep(delay).await,
                (None, Err(problem)) => return Err(problem),
                (None, Ok(response)) => {
                    let wish = RetryWish(asked.filter(|wait| !self.retry.grants(*wait)));
                    return Err(exhausted(answer::refusal(response).await, &host, attempt, wish));
                }
            }
        }
    }

    async fn read(
        &self,
        service: &str,
        response: Response,
        credential: Option<&Credential>,
    ) -> Result<Grant, Problem> {
        let host = self.host.to_owned();
        let status = response.status();
        if !status.is_success() {
            let refusal = answer::refusal(response).await;
            let detail = refusal.detail;
            return Err(match (status, credential) {
                // 400 is how OAuth2 says `invalid_grant`, of an identity token that has run out.
                (
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST,
                    Some(Credential { login, origin }),
                ) if status != StatusCode::BAD_REQUEST || matches!(login, Login::IdentityToken { .. }) => {
                    Problem::CredentialsRefused { host, origin: origin.clone(), detail }
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                    Problem::NoCredentials { host, looked_in: self.looked_in.clone(), detail }
                }
                _ => Problem::Rejected { host: service.to_owned(), status: status.as_u16(), detail },
            });
        }
        let reading = answer::read_all(service, response, "token", TOKEN_LIMIT);
        let body = within(self.limit, service, reading).await??;
        self.meter.received(body.len());
        let odd = || Problem::Protocol {
            host: service.to_owned(),
            reason: "its token service answered without a token".to_owned(),
        };
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| odd())?;
        let tokens = [answer.token, answer.access_token];
        let token = tokens.into_iter().flatten().find(|token| !token.reveal().is_empty()).ok_or_else(odd)?;
        let header = sensitive(&format!("Bearer {}", token.reveal())).ok_or_else(odd)?;
        let seconds = answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(USUAL_SECONDS);
        let lifetime = Duration::from_secs(seconds.min(LONGEST_SECONDS));
        let origin = credential.map(|credential| credential.origin.clone());
        Ok(Grant::of_service(header, origin, lifetime))
    }
}

/// The body of an `OAuth2` exchange, RFC 6749 section 6.
fn exchange_form(bearer: &Bearer, scopes: &[String], token: &Secret) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", "cooper");
    form.append_pair("service", bearer.service.as_deref().unwrap_or_default());
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.reveal());
    form.finish()
}

/// `Basic` with this name and password; base64 holds no character that a header could not.
pub(super) fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
}
