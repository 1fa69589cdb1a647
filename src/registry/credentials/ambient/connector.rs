//! Cooper's own HTTP client for the library that knows the clouds: it would otherwise look for the system's
//! certificates, which a scratch image does not have.

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};

use crate::registry::clients::Clients;

/// Hands out one client for everything.
#[derive(Debug)]
pub(super) struct Through(reqwest::Client);

impl Through {
    pub(super) fn new(clients: &Clients) -> Result<Self, String> {
        // Any host without settings of its own: the services of clouds are spoken to as everybody does.
        let client = clients.client("cloud.invalid", false).map_err(|error| error.to_string())?;
        Ok(Self(client))
    }
}

impl HttpConnector for Through {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
