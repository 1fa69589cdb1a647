//! Registries: pulling and pushing by the OCI distribution protocol.
//!
//! ```text
//! RegistrySettings ─┐                          ┌─► manifest()  manifest_digest()  put_manifest()
//!                   ├─► Registries ─► Repository ─► blob() ─► BlobStream (verified, resumes)
//! Credentials ──────┘       │                  └─► upload()  mount()  has_blob()
//!                           │
//!                one Host per registry: Clients (TLS, pool) · Authenticator (tokens by scope)
//!                                       Lanes (concurrency) · RetryPolicy · Traffic
//! ```
//!
//! Everything that is pulled is checked against its digest while it streams; a transfer that breaks off is taken
//! up where it broke. Credentials are looked for only when a registry asks, go only to the registry they are for,
//! and never follow a redirect to another host.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cooper::image::ImageRef;
//! use cooper::registry::{CredentialPlaces, Credentials, Registries, RegistrySettings};
//!
//! let credentials = Credentials::load(&CredentialPlaces::from_environment())?;
//! let registries = Registries::new(RegistrySettings::default(), credentials)?;
//! let image: ImageRef = "node:20-alpine".parse()?;
//! let manifest = registries.repository(image.repository())?.manifest(&image.selector()).await?;
//! # Ok(()) }
//! ```

mod answer;
mod auth;
mod blob;
mod challenge;
mod clients;
mod credentials;
mod deletion;
mod diagnosis;
mod error;
mod greeting;
mod host;
mod lanes;
mod listing;
mod manifest;
mod operation;
mod outgoing;
mod places;
mod reach;
mod registries;
mod repository;
mod retry;
mod scheme;
mod session;
mod settings;
mod source;
mod token;
mod traffic;
mod upload;

pub use blob::BlobStream;
pub use credentials::{
    AmbientLogins, Credential, CredentialPlaces, Credentials, CredentialsError, Login, Secret, Variables,
};
pub use error::{Detail, Problem, RegistryError, RetryWish};
pub use greeting::{Greeting, Reply, registry_alone};
pub use manifest::FetchedManifest;
pub use operation::{ManifestName, Operation};
pub use places::KnownPlaces;
pub use reach::{OutOfReach, ParseReachError, Reach};
pub use registries::Registries;
pub use repository::Repository;
pub use retry::RetryPolicy;
#[cfg(feature = "serve")]
pub(crate) use retry::{jitter, retry_after};
pub use settings::{ClientCertificate, Hosts, Mirror, RegistrySettings, SettingsError};
pub use source::{BlobSource, ByteStream, RemoteBlob};
pub use traffic::Traffic;
pub use upload::Uploaded;
