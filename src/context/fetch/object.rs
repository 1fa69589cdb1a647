//! Archives in object stores.
//!
//! Credentials and endpoints come from the variables of the stores' own tools: `AWS_*` with `S3_ENDPOINT` and
//! `S3_FORCE_PATH_STYLE`, `GOOGLE_APPLICATION_CREDENTIALS` with `STORAGE_EMULATOR_HOST`, `AZURE_STORAGE_ACCESS_KEY`;
//! without them, from what the cloud gives to the pod.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::context::source::ObjectAddress;
use crate::registry::Registries;
use crate::web::StreamReader;

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store cannot be addressed with what the environment says.
    #[error("the object store cannot be used with the credentials and the endpoint of the environment")]
    Settings(#[source] object_store::Error),
    /// Its name is none.
    #[error("the object's name is none that a store can have")]
    Name(#[source] object_store::path::Error),
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The store wants other credentials.
    #[error("the store refuses access: check the credentials in the environment")]
    Refused(#[source] object_store::Error),
    /// The store does not give it.
    #[error("the store does not give it")]
    Get(#[source] object_store::Error),
    /// The store went silent.
    #[error("the store said nothing for {0} seconds")]
    Silent(u64),
}

/// Hands out the client that registries are spoken to with.
#[derive(Debug)]
struct Connector(Registries);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Whichever host it is for, the settings of no registry are meant.
        let failed = |source| object_store::Error::Generic { store: "HTTP", source };
        let client = self.0.tls_client().map_err(|error| failed(Box::new(error)))?;
        Ok(HttpClient::new(client))
    }
}

/// Opens an object; also tells its length.
pub(super) async fn open(
    address: &ObjectAddress,
    registries: &Registries,
) -> Result<(StreamReader, u64), ObjectError> {
    let store = store(address, registries)?;
    let path = Path::parse(address.key().trim_start_matches('/')).map_err(ObjectError::Name)?;
    let limit = registries.stall_limit();
    let silent = |_| ObjectError::Silent(limit.as_secs());
    let result = tokio::time::timeout(limit, store.get(&path)).await.map_err(silent)?;
    let result = result.map_err(|error| match error {
        object_store::Error::NotFound { .. } => ObjectError::NotFound,
        error @ (object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. }) => ObjectError::Refused(error),
        error => ObjectError::Get(error),
    })?;
    let size = result.meta.size;
    Ok((StreamReader::new(result.into_stream(), limit), size))
}

fn store(address: &ObjectAddress, registries: &Registries) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let connector = Connector(registries.clone());
    let store: Arc<dyn ObjectStore> = match address {
        ObjectAddress::S3 { bucket, .. } => {
            let mut builder =
                AmazonS3Builder::from_env().with_bucket_name(bucket).with_http_connector(connector);
            // Kaniko's variables, which come before the cloud's own.
            if let Some(endpoint) = set("S3_ENDPOINT") {
                let is_plain = endpoint.starts_with("http://");
                builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
            } else if let Some(endpoint) = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL")) {
                let is_plain = endpoint.starts_with("http://");
                builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
            } else {
                // Buckets of Amazon's are hosts.
                builder = builder.with_virtual_hosted_style_request(true);
            }
            if let Some(text) = set("S3_FORCE_PATH_STYLE") {
                let force = text.eq_ignore_ascii_case("true") || text == "1";
                builder = builder.with_virtual_hosted_style_request(!force);
            }
            Arc::new(builder.build().map_err(ObjectError::Settings)?)
        }
        ObjectAddress::Google { bucket, .. } => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_http_connector(connector);
            if let Some(host) = set("STORAGE_EMULATOR_HOST") {
                let url = if host.contains("://") { host } else { format!("http://{host}") };
                builder = builder
                    .with_base_url(url.trim_end_matches('/'))
                    .with_skip_signature(true)
                    .with_client_options(ClientOptions::new().with_allow_http(true));
            }
            Arc::new(builder.build().map_err(ObjectError::Settings)?)
        }
        ObjectAddress::Azure { account, domain, container, .. } => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_account(account)
                .with_container_name(container)
                .with_http_connector(connector);
            match set("AZURE_STORAGE_ENDPOINT") {
                // An emulator, or a private endpoint.
                Some(endpoint) => {
                    let is_plain = endpoint.starts_with("http://");
                    builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
                }
                None => builder = builder.with_endpoint(format!("https://{account}.{domain}")),
            }
            Arc::new(builder.build().map_err(ObjectError::Settings)?)
        }
    };
    Ok(store)
}
