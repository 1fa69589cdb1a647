//! Images: names, configs, manifests, and the layouts and archives that hold them.

pub mod archive;
mod bundle;
pub mod canonical;
pub mod config;
mod descriptor;
pub mod history;
pub mod layout;
pub mod manifest;
mod platform;
mod reference;
#[cfg(test)]
mod sample;
mod saved;
mod time;

pub use archive::{ArchiveError, ArchiveKind};
pub use bundle::{Blob, BlobSource, Bundle};
pub use config::{ConfigError, Healthcheck, History, ImageConfig, Nanoseconds, RootFs, RunConfig};
pub use descriptor::{Descriptor, Layer};
pub use layout::{Layout, LayoutError};
pub use manifest::{
    ImageFormat, Index, IndexEntry, Manifest, ManifestError, ManifestOrIndex, NoSuchPlatform,
};
pub use oci_spec::image::MediaType;
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ImageRef, ParseImageRefError, RepoName};
pub use saved::{SavedImage, SavedImageError};
pub use time::{Time, TimeError};
