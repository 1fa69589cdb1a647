//! Base images, as planning needs them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::image::{ImageConfig, ImageRef, Layer, Platform};

/// An image that a Dockerfile begins with or copies from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseRequest {
    /// Where it is.
    pub source: BaseSource,
    /// The platform it is wanted for.
    pub platform: Platform,
}

/// Where a base image is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseSource {
    /// In a registry, or in the store under this name.
    Registry(ImageRef),
    /// In an OCI image layout.
    Layout {
        /// The directory.
        path: PathBuf,
        /// Tag or digest; the only image there if `None`.
        selector: Option<String>,
    },
}

impl BaseSource {
    /// Understands `oci-layout://PATH[:TAG|@DIGEST]`; `None` if `text` does not begin so.
    pub fn layout(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("oci-layout://")?;
        let (path, selector) = match rest.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') && !tag.is_empty() => (path, Some(tag)),
                _ => (rest, None),
            },
        };
        Some(Self::Layout { path: PathBuf::from(path), selector: selector.map(str::to_owned) })
    }
}

impl fmt::Display for BaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { path, selector: None } => write!(f, "oci-layout://{}", path.display()),
            Self::Layout { path, selector: Some(selector) } => {
                let separator = if selector.contains(':') { '@' } else { ':' };
                write!(f, "oci-layout://{}{separator}{selector}", path.display())
            }
        }
    }
}

/// A base image that was looked up: its config and its layers, not their contents.
#[derive(Debug, Clone)]
pub struct Base {
    /// The config.
    pub config: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// Whether its manifest is one of Docker's.
    pub is_docker: bool,
}

/// Base images by what was asked for.
pub type Bases = BTreeMap<BaseRequest, Base>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_by_path_tag_and_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, path, selector) in [
            ("oci-layout://a/b", "a/b", None),
            ("oci-layout:///a/b:20-alpine", "/a/b", Some("20-alpine")),
            (&format!("oci-layout://a@{digest}"), "a", Some(digest.as_str())),
            ("oci-layout://host:1/b", "host:1/b", None),
        ] {
            let expected = BaseSource::Layout { path: path.into(), selector: selector.map(str::to_owned) };
            assert_eq!(BaseSource::layout(text), Some(expected.clone()));
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(BaseSource::layout("node:20"), None);
    }
}
