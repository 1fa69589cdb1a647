//! Azure Container Registry: a token of Microsoft's directory, exchanged at the registry for its own.
//!
//! ```text
//! workload identity: the pod's token file ─┐
//! client secret ───────────────────────────┼─► access token ─► POST /oauth2/exchange ─► refresh token
//! managed identity: metadata service ──────┘
//! ```
//!
//! See Microsoft's documentation of AAD tokens for Azure Container Registry (`AAD-OAuth.md` of Azure/acr), of workload
//! identity and of the instance metadata service.

use serde::Deserialize;
use url::form_urlencoded;

use super::{Asking, Failure, is_below};
use crate::registry::credentials::{Credential, Login, Secret};

const DOMAINS: [&str; 3] = ["azurecr.io", "azurecr.cn", "azurecr.us"];
/// Whom the access token is for.
const RESOURCE: &str = "https://management.azure.com/";
/// Where logins of directories are, unless the environment names another cloud's.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
/// The instance metadata service.
const METADATA: &str = "http://169.254.169.254";
/// The user's name that goes with a refresh token.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

pub(super) fn is_own(host: &str) -> bool {
    is_below(host, &DOMAINS) && !DOMAINS.contains(&host)
}

#[derive(Deserialize)]
struct AccessToken {
    access_token: Secret,
}

#[derive(Deserialize)]
struct RefreshToken {
    refresh_token: Secret,
}

/// The login for `host`, which exchanges tokens at `exchange`.
pub(super) async fn find(host: &str, exchange: &str, asking: &Asking<'_>) -> Result<Credential, Failure> {
    let of_workload = asking.variable("AZURE_FEDERATED_TOKEN_FILE");
    let is_configured = of_workload.is_some() || asking.variable("AZURE_CLIENT_SECRET").is_some();
    let failed = |reason| Failure { is_configured, reason };
    let (token, origin) = match (of_workload, asking.variable("AZURE_CLIENT_SECRET")) {
        (Some(path), _) => (by_workload(path, asking).await, "Azure workload identity"),
        (None, Some(secret)) => (by_secret(secret, asking).await, "$AZURE_CLIENT_SECRET"),
        (None, None) => (by_machine(asking).await, "Azure managed identity"),
    };
    let token = token.map_err(failed)?;
    let tenant = asking.variable("AZURE_TENANT_ID").map(|tenant| ("tenant", tenant));
    let fields = [("grant_type", "access_token"), ("service", host), ("access_token", token.reveal())];
    let form = encoded(fields.into_iter().chain(tenant));
    let answer: RefreshToken = post(exchange, form, asking).await.map_err(failed)?;
    let login = Login::IdentityToken { user: Some(NOBODY.to_owned()), token: answer.refresh_token };
    Ok(Credential { login, origin: origin.to_owned() })
}

fn encoded<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn post<T: serde::de::DeserializeOwned>(
    url: &str,
    form: String,
    asking: &Asking<'_>,
) -> Result<T, String> {
    let complete = |request: reqwest::RequestBuilder| {
        request.header("Content-Type", "application/x-www-form-urlencoded").body(form)
    };
    asking.json(url, complete, reqwest::Method::POST).await
}

/// The token of a Kubernetes service account that the directory believes.
async fn by_workload(path: &str, asking: &Asking<'_>) -> Result<Secret, String> {
    let assertion =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    from_directory(asking, &[("client_assertion_type", kind), ("client_assertion", assertion.trim())]).await
}

async fn by_secret(secret: &str, asking: &Asking<'_>) -> Result<Secret, String> {
    from_directory(asking, &[("client_secret", secret)]).await
}

/// An access token for whom `proof` proves.
async fn from_directory(asking: &Asking<'_>, proof: &[(&str, &str)]) -> Result<Secret, String> {
    let needed = |name: &str| {
        asking
            .variable(name)
            .ok_or_else(|| format!("the variable {name} is not set, which Azure logins need"))
    };
    let (tenant, client) = (needed("AZURE_TENANT_ID")?, needed("AZURE_CLIENT_ID")?);
    let authority = asking.variable("AZURE_AUTHORITY_HOST").unwrap_or(AUTHORITY).trim_end_matches('/');
    let scope = format!("{RESOURCE}.default");
    let fields = [("grant_type", "client_credentials"), ("client_id", client), ("scope", scope.as_str())];
    let form = encoded(fields.into_iter().chain(proof.iter().copied()));
    let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
    let token: AccessToken = post(&url, form, asking).await?;
    Ok(token.access_token)
}

/// The identity of the machine, or of the app that the platform runs.
async fn by_machine(asking: &Asking<'_>) -> Result<Secret, String> {
    let client = asking.variable("AZURE_CLIENT_ID").map(|client| ("client_id", client));
    let of_app = asking.variable("IDENTITY_ENDPOINT").zip(asking.variable("IDENTITY_HEADER"));
    let (url, version, name, value) = if let Some((endpoint, header)) = of_app {
        (endpoint.to_owned(), "2019-08-01", "X-IDENTITY-HEADER", header)
    } else {
        let host = asking.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or(METADATA);
        let url = format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/'));
        (url, "2018-02-01", "Metadata", "true")
    };
    let query = encoded([("api-version", version), ("resource", RESOURCE)].into_iter().chain(client));
    let complete = |request: reqwest::RequestBuilder| request.header(name, value);
    let url = format!("{url}?{query}");
    let token: AccessToken = asking.json(&url, complete, reqwest::Method::GET).await?;
    Ok(token.access_token)
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{StandIn, asking_with, clients};
    use super::*;

    #[test]
    fn only_registries_of_azure_are_azures() {
        for (host, expected) in [
            ("team.azurecr.io", true),
            ("team.azurecr.cn", true),
            ("azurecr.io", false),
            ("teamazurecr.io", false),
            ("team.azurecr.io.evil.example", false),
        ] {
            assert_eq!(is_own(host), expected, "{host}");
        }
    }

    const REFRESH: (&str, &str) = ("POST /oauth2/exchange", r#"{"refresh_token":"refresh"}"#);

    async fn find_at(stand_in: &StandIn, variables: &[(&str, &str)]) -> Result<Credential, Failure> {
        let (variables, clients) = (asking_with(variables), clients());
        let exchange = format!("{}oauth2/exchange", stand_in.url());
        find("team.azurecr.io", &exchange, &Asking { variables: &variables, clients: &clients }).await
    }

    fn login() -> Login {
        Login::IdentityToken { user: Some(NOBODY.to_owned()), token: Secret::new("refresh") }
    }

    /// The protocol as Microsoft documents it, played by a stand-in: no cloud is asked.
    #[tokio::test]
    async fn recorded_protocol_of_workload_identity() {
        let stand_in = StandIn::new(vec![
            ("POST /tenant/oauth2/v2.0/token", r#"{"access_token":"access","expires_in":3599}"#),
            REFRESH,
        ]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "assertion\n").unwrap();
        let url = stand_in.url();
        let variables = [
            ("AZURE_FEDERATED_TOKEN_FILE", file.path().to_str().unwrap()),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_AUTHORITY_HOST", &url),
        ];
        let found = find_at(&stand_in, &variables).await;
        assert_eq!(found.unwrap().login, login());
        let requests = stand_in.requests();
        assert!(
            requests[0].contains("client_assertion=assertion") && requests[0].contains("client_id=client")
        );
        assert!(
            requests[1].contains("service=team.azurecr.io") && requests[1].contains("access_token=access")
        );
    }

    /// The same of the instance metadata service.
    #[tokio::test]
    async fn recorded_protocol_of_managed_identity() {
        let stand_in = StandIn::new(vec![
            ("GET /metadata/identity/oauth2/token", r#"{"access_token":"access"}"#),
            REFRESH,
        ]);
        let url = stand_in.url();
        let found = find_at(&stand_in, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url)]).await;
        assert_eq!(found.unwrap().login, login());
        assert!(stand_in.requests()[0].to_ascii_lowercase().contains("metadata: true"));
    }

    #[tokio::test]
    async fn what_is_configured_must_work() {
        let stand_in = StandIn::new(vec![]);
        let failure = find_at(&stand_in, &[("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token")]).await;
        let failure = failure.unwrap_err();
        assert!(failure.is_configured && failure.reason.contains("/nowhere/token"));
        let url = stand_in.url();
        let failure = find_at(&stand_in, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url)]).await;
        assert!(!failure.unwrap_err().is_configured);
    }
}
