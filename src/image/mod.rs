//! Images: names, configs, manifests, and the layouts and archives that hold them.

pub mod canonical;
pub mod config;
mod descriptor;
pub mod history;
pub mod manifest;
mod platform;
mod reference;
mod time;

pub use config::{ConfigError, Healthcheck, History, ImageConfig, Nanoseconds, RootFs, RunConfig};
pub use descriptor::{Descriptor, Layer};
pub use manifest::{
    ImageFormat, Index, IndexEntry, Manifest, ManifestError, ManifestOrIndex, NoSuchPlatform,
};
pub use oci_spec::image::MediaType;
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ImageRef, ParseImageRefError, RepoName};
pub use time::{Time, TimeError};
