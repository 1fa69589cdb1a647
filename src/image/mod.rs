//! Images: names, configs, manifests, and the layouts and archives that hold them.

mod descriptor;
mod platform;
mod reference;

pub use descriptor::{Descriptor, Layer};
pub use oci_spec::image::MediaType;
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ImageRef, ParseImageRefError, RepoName};
