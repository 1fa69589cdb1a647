//! Amazon's Elastic Container Registry: `GetAuthorizationToken`, signed by whoever the pod is to Amazon.
//!
//! Who that is (keys in variables, web identity of a service account, task role, EKS pod identity, instance) finds the
//! library that also reads S3. See the API reference of Amazon ECR and of Amazon ECR Public.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::{BackoffConfig, RetryConfig};
use serde::Deserialize;

use super::{Asking, Failure};
use crate::registry::credentials::{Credential, Login, Secret};

/// A registry of Amazon's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    region: String,
    /// Of the API: `ecr` or `ecr-public`.
    service: &'static str,
    /// The API's host.
    api: String,
}

impl Registry {
    /// What `host` is, by exactly the forms that Amazon documents.
    pub(super) fn of(host: &str) -> Option<Self> {
        let host = host.strip_suffix(":443").unwrap_or(host);
        if host == "public.ecr.aws" {
            let api = "api.ecr-public.us-east-1.amazonaws.com".to_owned();
            return Some(Self { region: "us-east-1".to_owned(), service: "ecr-public", api });
        }
        let labels: Vec<&str> = host.split('.').collect();
        let (account, kind, region, domain) = match labels.as_slice() {
            [account, "dkr", kind @ ("ecr" | "ecr-fips"), region, "amazonaws", "com"] => {
                (account, *kind, *region, "amazonaws.com")
            }
            [account, "dkr", "ecr", region, "amazonaws", "com", "cn"] => {
                (account, "ecr", *region, "amazonaws.com.cn")
            }
            _ => return None,
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_region = !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_account || !is_region {
            return None;
        }
        let api = match kind {
            "ecr-fips" => format!("ecr-fips.{region}.{domain}"),
            _ => format!("api.ecr.{region}.{domain}"),
        };
        Some(Self { region: region.to_owned(), service: "ecr", api })
    }

    /// The call that gives a login.
    fn target(&self) -> &'static str {
        match self.service {
            "ecr-public" => "SpencerFrontendService.GetAuthorizationToken",
            _ => "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Data,
}

/// A list from the one API, an object from the other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Several(Vec<Authorization>),
    One(Authorization),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: Secret,
}

pub(super) async fn find(registry: &Registry, asking: &Asking<'_>) -> Result<Credential, Failure> {
    const SIGNS: [&str; 5] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_ENDPOINT_URL_ECR",
    ];
    let is_configured = SIGNS.iter().any(|name| asking.variable(name).is_some());
    ask(registry, asking).await.map_err(|reason| Failure { is_configured, reason })
}

async fn ask(registry: &Registry, asking: &Asking<'_>) -> Result<Credential, String> {
    let identity = identity(registry, asking).await?;
    let url = match asking.variable("AWS_ENDPOINT_URL_ECR") {
        Some(url) => url.trim_end_matches('/').to_owned() + "/",
        None => format!("https://{}/", registry.api),
    };
    let mut request = HttpRequest::new(HttpRequestBody::from("{}".to_owned()));
    *request.method_mut() = reqwest::Method::POST;
    *request.uri_mut() = url.parse().map_err(|_| format!("`{url}` is not a URL"))?;
    for (name, value) in [("x-amz-target", registry.target()), ("content-type", "application/x-amz-json-1.1")]
    {
        request.headers_mut().insert(name, reqwest::header::HeaderValue::from_static(value));
    }
    let signer = AwsAuthorizer::new(&identity, registry.service, &registry.region);
    signer.try_authorize(&mut request, None).map_err(|error| error.to_string())?;
    let headers = request.headers().clone();
    let answer: Answer =
        asking.json(&url, |request| request.headers(headers).body("{}"), reqwest::Method::POST).await?;
    let token = match answer.authorization_data {
        Data::One(one) => Some(one.authorization_token),
        Data::Several(several) => several.into_iter().next().map(|first| first.authorization_token),
    };
    let login = token.and_then(|token| {
        let text = String::from_utf8(STANDARD.decode(token.reveal()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Login::Password { user: user.to_owned(), password: Secret::new(password) })
    });
    let login = login.ok_or_else(|| format!("{url}: there is no login in the answer"))?;
    Ok(Credential { login, origin: format!("Amazon ECR in {}", registry.region) })
}

/// Who this process is to Amazon.
async fn identity(
    registry: &Registry,
    asking: &Asking<'_>,
) -> Result<std::sync::Arc<object_store::aws::AwsCredential>, String> {
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 1, retry_timeout: super::LIMIT };
    let mut builder = AmazonS3Builder::new();
    for (name, value) in asking.variables.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value.reveal());
        }
    }
    if let Some(endpoint) = asking.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_metadata_endpoint(endpoint);
    }
    let store = builder
        .with_bucket_name("unused")
        .with_region(&registry.region)
        .with_retry(retry)
        .with_http_connector(super::connector::Through::new(asking.clients)?)
        .build()
        .map_err(|error| error.to_string())?;
    let identity = tokio::time::timeout(super::LIMIT, store.credentials().get_credential()).await;
    identity
        .map_err(|_| "nobody says who this pod is to Amazon".to_owned())?
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{StandIn, asking_with, clients};
    use super::*;

    #[test]
    fn only_amazons_hosts_are_amazons() {
        for (host, api) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", Some("api.ecr.eu-central-1.amazonaws.com")),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("api.ecr.cn-north-1.amazonaws.com.cn")),
            ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", Some("ecr-fips.us-east-1.amazonaws.com")),
            ("public.ecr.aws", Some("api.ecr-public.us-east-1.amazonaws.com")),
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example", None),
            ("1234.dkr.ecr.eu-central-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.evil/x.amazonaws.com", None),
            ("evil-public.ecr.aws", None),
            ("amazonaws.com", None),
        ] {
            assert_eq!(Registry::of(host).map(|registry| registry.api).as_deref(), api, "{host}");
        }
    }

    /// `AWS4-HMAC-SHA256` over the call, and the answer's form, as Amazon documents them, played by a stand-in.
    #[tokio::test]
    async fn recorded_protocol_with_keys_in_variables() {
        let token = STANDARD.encode("AWS:password");
        let answer = format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":1}}]}}"#);
        let stand_in = StandIn::new(vec![("POST /", &answer)]);
        let variables = asking_with(&[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
            ("AWS_ENDPOINT_URL_ECR", &stand_in.url()),
        ]);
        let registry = Registry::of("123456789012.dkr.ecr.eu-central-1.amazonaws.com").unwrap();
        let clients = clients();
        let found = find(&registry, &Asking { variables: &variables, clients: &clients }).await.unwrap();
        let login = Login::Password { user: "AWS".into(), password: Secret::new("password") };
        assert_eq!(found.login, login);
        let request = stand_in.requests().remove(0).to_ascii_lowercase();
        for part in [
            "x-amz-target: amazonec2containerregistry_v20150921.getauthorizationtoken",
            "authorization: aws4-hmac-sha256 credential=akidexample/",
            "/eu-central-1/ecr/aws4_request",
        ] {
            assert!(request.contains(part), "{part}\n{request}");
        }
    }

    /// The instance metadata service's second version: a session token first, then the role, then its keys.
    #[tokio::test]
    async fn recorded_protocol_of_an_instance_role() {
        let token = STANDARD.encode("AWS:of the role");
        let answer = format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}"}}]}}"#);
        let keys = r#"{"AccessKeyId":"ASIAROLE","SecretAccessKey":"s","Token":"session","Expiration":"2099-01-01T00:00:00Z"}"#;
        let stand_in = StandIn::new(vec![
            ("PUT /latest/api/token", "imds-token"),
            ("GET /latest/meta-data/iam/security-credentials/node-role", keys),
            ("GET /latest/meta-data/iam/security-credentials/", "node-role"),
            ("POST /", &answer),
        ]);
        let variables = asking_with(&[
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", stand_in.url().trim_end_matches('/')),
            ("AWS_ENDPOINT_URL_ECR", &stand_in.url()),
        ]);
        let registry = Registry::of("123456789012.dkr.ecr.eu-central-1.amazonaws.com").unwrap();
        let clients = clients();
        let found = find(&registry, &Asking { variables: &variables, clients: &clients }).await.unwrap();
        let login = Login::Password { user: "AWS".into(), password: Secret::new("of the role") };
        assert_eq!(found.login, login);
        let last = stand_in.requests().pop().unwrap().to_ascii_lowercase();
        assert!(
            last.contains("x-amz-security-token: session") && last.contains("credential=asiarole/"),
            "{last}"
        );
    }
}
