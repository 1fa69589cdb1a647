//! What can go wrong with `cooper registry`.

use std::io;
use std::path::PathBuf;

use crate::image::archive::UnpackError;
use crate::image::{
    ArchiveError, ConfigError, LayoutError, ManifestError, NoSuchPlatform, ParseImageRefError,
};
use crate::layer::{Digest, TarError};
use crate::registry::{CredentialsError, RegistryError, SettingsError};

/// Why a command did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Name(#[from] ParseImageRefError),
    /// What has several images was asked for one it has not.
    #[error("{image} is not there for this platform")]
    Platform {
        image: String,
        #[source]
        source: Box<NoSuchPlatform>,
    },
    #[error("the manifest {digest} of {image} cannot be used")]
    Manifest {
        image: String,
        digest: Digest,
        #[source]
        source: ManifestError,
    },
    #[error("the manifest {digest} of {image} lies below too many indexes")]
    TooDeep { image: String, digest: Digest },
    #[error("the config {digest} of {image} cannot be used")]
    Config {
        image: String,
        digest: Digest,
        #[source]
        source: ConfigError,
    },
    /// Something other than an image.
    #[error("{image} is no container image: its config is of the type `{media_type}`")]
    NoImage { image: String, media_type: String },
    #[error("layer {digest} of {image} is not a usable layer")]
    Layer {
        image: String,
        digest: Digest,
        #[source]
        source: TarError,
    },
    #[error("the blob {digest} of {image} cannot be read")]
    Blob {
        image: String,
        digest: Digest,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the result cannot be printed")]
    Print {
        #[source]
        source: io::Error,
    },
    #[error("cannot start")]
    Start {
        #[source]
        source: io::Error,
    },
    /// A command line that makes no sense.
    #[error("{0}")]
    Usage(String),
}
