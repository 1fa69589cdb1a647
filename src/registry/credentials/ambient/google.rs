//! Artifact Registry and Container Registry: an access token as password.
//!
//! A service account's key is itself a password there. Other identities (a user of gcloud, the pod's by the metadata
//! server) have tokens. See Google's documentation, "Configure authentication to Artifact Registry for Docker".

use std::time::Duration;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, RetryConfig};
use serde::Deserialize;

use super::{Asking, Failure, is_below};
use crate::registry::credentials::{Credential, Login, Secret};

/// Where registries of Google are.
const DOMAINS: [&str; 2] = ["gcr.io", "pkg.dev"];
/// The file of a key is a few kilobytes.
const MAX_KEY: u64 = 1 << 20;
/// Who the metadata server is called.
const METADATA: &str = "http://metadata.google.internal";

pub(super) fn is_own(host: &str) -> bool {
    is_below(host, &DOMAINS)
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: Secret,
}

pub(super) async fn find(asking: &Asking<'_>) -> Result<Credential, Failure> {
    let configured = |reason: String| Failure { is_configured: true, reason };
    let file = asking.variable("GOOGLE_APPLICATION_CREDENTIALS").map(str::to_owned).or_else(|| {
        let home = asking.variable("HOME")?;
        let path = format!("{home}/.config/gcloud/application_default_credentials.json");
        std::path::Path::new(&path).is_file().then_some(path)
    });
    let Some(path) = file else {
        let reason = |reason| Failure { is_configured: false, reason };
        let token = from_metadata(asking).await.map_err(reason)?;
        return Ok(with_token(token, "Google's metadata server"));
    };
    let text = read_key(&path).map_err(configured)?;
    let key: Key = serde_json::from_str(text.reveal())
        .map_err(|_| configured(format!("`{path}` is not a JSON file of Google's credentials")))?;
    if key.kind == "service_account" {
        let login = Login::Password { user: "_json_key".to_owned(), password: text };
        return Ok(Credential { login, origin: path });
    }
    let token = from_file(&path, asking).await.map_err(configured)?;
    Ok(with_token(token, &path))
}

fn with_token(token: Secret, origin: &str) -> Credential {
    let login = Login::Password { user: "oauth2accesstoken".to_owned(), password: token };
    Credential { login, origin: origin.to_owned() }
}

fn read_key(path: &str) -> Result<Secret, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_KEY).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read `{path}`: {error}"))?;
    Ok(Secret::new(text))
}

/// The token of the service account that the pod or machine runs as.
async fn from_metadata(asking: &Asking<'_>) -> Result<Secret, String> {
    let host = asking.variable("GCE_METADATA_HOST").map(|host| format!("http://{host}"));
    let host = host.as_deref().unwrap_or(METADATA);
    let url = format!("{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let told = |request: reqwest::RequestBuilder| {
        // A machine without a metadata server should not have to wait for it.
        request.header("Metadata-Flavor", "Google").timeout(Duration::from_secs(3))
    };
    let token: Token = asking.json(&url, told, reqwest::Method::GET).await?;
    Ok(token.access_token)
}

/// The token of whom the file tells about, exchanged as the file says.
async fn from_file(path: &str, asking: &Asking<'_>) -> Result<Secret, String> {
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: super::LIMIT };
    let store = GoogleCloudStorageBuilder::new()
        .with_bucket_name("unused")
        .with_config(GoogleConfigKey::ApplicationCredentials, path)
        .with_retry(retry)
        .with_http_connector(super::connector::Through::new(asking.clients)?)
        .build()
        .map_err(|error| format!("`{path}`: {error}"))?;
    let credential = store.credentials().get_credential().await;
    let credential = credential.map_err(|error| format!("`{path}`: {error}"))?;
    Ok(Secret::new(credential.bearer.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{StandIn, asking_with, clients};
    use super::*;

    /// The protocol of the metadata server, as Google documents it, played by a stand-in: no cloud is asked.
    #[tokio::test]
    async fn recorded_protocol_of_the_metadata_server() {
        let stand_in = StandIn::new(vec![(
            "GET /computeMetadata/v1/instance/service-accounts/default/token",
            r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#,
        )]);
        let variables = asking_with(&[("GCE_METADATA_HOST", &stand_in.host())]);
        let clients = clients();
        let found = find(&Asking { variables: &variables, clients: &clients }).await.unwrap();
        assert_eq!(
            found.login,
            Login::Password { user: "oauth2accesstoken".into(), password: Secret::new("ya29.token") }
        );
        assert!(stand_in.requests()[0].to_ascii_lowercase().contains("metadata-flavor: google"));
    }

    #[tokio::test]
    async fn the_key_of_a_service_account_is_a_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = r#"{"type":"service_account","private_key":"x"}"#;
        std::fs::write(file.path(), key).unwrap();
        let variables = asking_with(&[("GOOGLE_APPLICATION_CREDENTIALS", file.path().to_str().unwrap())]);
        let clients = clients();
        let found = find(&Asking { variables: &variables, clients: &clients }).await.unwrap();
        let login = Login::Password { user: "_json_key".into(), password: Secret::new(key) };
        assert_eq!(found.login, login);
        std::fs::write(file.path(), "nothing").unwrap();
        let failure = find(&Asking { variables: &variables, clients: &clients }).await.unwrap_err();
        assert!(failure.is_configured && failure.reason.contains("is not a JSON file"));
    }

    #[tokio::test]
    async fn a_machine_without_metadata_server_is_nobody() {
        let variables = asking_with(&[("GCE_METADATA_HOST", "127.0.0.1:1")]);
        let clients = clients();
        let failure = find(&Asking { variables: &variables, clients: &clients }).await.unwrap_err();
        assert!(!failure.is_configured);
    }
}
