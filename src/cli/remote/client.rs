//! The service, as a client sees it.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use url::Url;

use crate::pipeline::describe;
use crate::registry::{CredentialPlaces, Credentials, Registries, RegistrySettings};
use crate::serve::{Build, BuildId, Request};

/// An answer that is longer is none.
const MAX_ANSWER: usize = 64 << 20;

/// Sends requests.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
}

/// RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    /// Fails when it is not said where the service is.
    pub(super) fn new(address: Option<&str>, token: Option<&str>) -> Result<Self, String> {
        let address = address
            .filter(|address| !address.is_empty())
            .ok_or("where is the service? Set COOPER_REMOTE, or write `--remote URL`")?;
        let mut base = Url::parse(address).map_err(|error| format!("`{address}` is no address: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(format!("`{address}` is no address: write https://HOST or http://HOST:PORT"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let token = token.filter(|token| !token.is_empty()).map(|token| {
            let header = HeaderValue::from_str(&format!("Bearer {token}"));
            header.map_err(|_| "the token has characters that cannot be sent".to_owned()).map(|mut header| {
                header.set_sensitive(true);
                header
            })
        });
        // The authorities and proxies of everything else that is fetched.
        let credentials =
            Credentials::load(&CredentialPlaces::default()).map_err(|error| describe(&error))?;
        let http = Registries::new(RegistrySettings::default(), credentials)
            .and_then(|registries| registries.web_client(&base))
            .map_err(|error| describe(&error))?;
        Ok(Self { http, base, token: token.transpose()? })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, String> {
        let url = self.base.join(path.trim_start_matches('/')).map_err(|error| error.to_string())?;
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token.clone());
        }
        Ok(request)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let response = request.send().await.map_err(|error| {
            format!("cannot reach the service at {}: {}", self.base, describe(&error.without_url()))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = text(response).await.unwrap_or_default();
        let detail = serde_json::from_str::<Problem>(&text).map(|problem| problem.detail);
        Err(match detail {
            Ok(detail) => format!("the service says: {detail} ({status})"),
            Err(_) => format!("{} answers {status}; is it Cooper's service?", self.base),
        })
    }

    /// Gets a text.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<String, String> {
        let response = self.send(self.request(Method::GET, path)?.query(query)).await?;
        text(response).await
    }

    /// A build.
    pub(super) async fn show(&self, id: &BuildId) -> Result<Build, String> {
        build(&self.get(&format!("/v1/builds/{id}"), &[]).await?)
    }

    /// Writes what is there to `output`.
    pub(super) async fn copy(&self, path: &str, output: &mut impl std::io::Write) -> Result<(), String> {
        let mut response = self.send(self.request(Method::GET, path)?).await?;
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error.without_url()))? {
            output.write_all(&chunk).map_err(|error| format!("cannot write: {error}"))?;
        }
        Ok(())
    }

    /// Cancels a build.
    pub(super) async fn cancel(&self, id: &BuildId) -> Result<Build, String> {
        let request = self.request(Method::DELETE, &format!("/v1/builds/{id}"))?;
        build(&text(self.send(request).await?).await?)
    }

    /// Asks for a build, with the context if it comes along.
    pub(super) async fn create(
        &self,
        request: &Request,
        context: Option<reqwest::Body>,
    ) -> Result<Build, String> {
        let json = serde_json::to_string(request).map_err(|error| error.to_string())?;
        let post = self.request(Method::POST, "/v1/builds")?;
        let post = match context {
            Some(body) => {
                let header = HeaderValue::from_bytes(json.as_bytes())
                    .map_err(|_| "the request has characters that cannot be sent".to_owned())?;
                post.header("Cooper-Build", header).header(CONTENT_TYPE, "application/x-tar").body(body)
            }
            None => post.header(CONTENT_TYPE, "application/json").body(json),
        };
        build(&text(self.send(post).await?).await?)
    }

    /// Opens the stream of a build's events behind `last`.
    pub(super) async fn events(&self, id: &BuildId, last: Option<&str>) -> Result<Response, String> {
        let mut request = self.request(Method::GET, &format!("/v1/builds/{id}/events"))?;
        request = request.header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        self.send(request).await
    }
}

async fn text(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error.without_url()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_ANSWER {
            return Err("the service's answer is too long".to_owned());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn build(text: &str) -> Result<Build, String> {
    serde_json::from_str(text).map_err(|error| format!("the service's answer makes no sense: {error}"))
}
