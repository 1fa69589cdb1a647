//! Names of images, wherever they are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::image::{ArchiveKind, ImageRef, RepoName};

/// Where an image is, or shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a registry.
    Registry(ImageRef),
    /// In an OCI image layout, under this tag; without one, the only image there is.
    Layout { path: PathBuf, tag: Option<String> },
    /// In an archive, as its only image.
    Archive { path: PathBuf, kind: ArchiveKind },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file = |path: &str, kind| match path {
            "" => Err(format!("`{text}` names no file")),
            path => Ok(Self::Archive { path: path.into(), kind }),
        };
        if let Some(rest) = text.strip_prefix("oci-layout://") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            if path.is_empty() || tag.as_deref() == Some("") {
                return Err(format!("`{text}` does not name an OCI layout: write oci-layout://PATH[:TAG]"));
            }
            return Ok(Self::Layout { path: path.into(), tag });
        }
        if let Some(path) = text.strip_prefix("oci-archive://") {
            return file(path, ArchiveKind::Oci);
        }
        if let Some(path) = text.strip_prefix("docker-archive://") {
            return file(path, ArchiveKind::Docker);
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        if name.contains("://") {
            return Err(format!(
                "`{text}` is not supported: write a name in a registry, oci-layout://PATH[:TAG], oci-archive://FILE or docker-archive://FILE"
            ));
        }
        name.parse().map(Self::Registry).map_err(|error: crate::image::ParseImageRefError| error.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => write!(f, "{name}"),
            Self::Layout { path, tag: None } => write!(f, "oci-layout://{}", path.display()),
            Self::Layout { path, tag: Some(tag) } => write!(f, "oci-layout://{}:{tag}", path.display()),
            Self::Archive { path, kind: ArchiveKind::Oci } => write!(f, "oci-archive://{}", path.display()),
            Self::Archive { path, kind: ArchiveKind::Docker } => {
                write!(f, "docker-archive://{}", path.display())
            }
        }
    }
}

/// A registry, or one repository of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shelf {
    /// `registry:5000`
    Registry(String),
    /// `registry:5000/team/app`
    Repository(RepoName),
}

impl FromStr for Shelf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As in image names: what looks like a host is one.
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        if !text.contains('/') && is_host(text) {
            return Ok(Self::Registry(text.to_owned()));
        }
        let name: ImageRef = text.parse().map_err(|error| format!("{error}"))?;
        let path = name.repository().path();
        if name.digest().is_some() || !text.ends_with(path.rsplit('/').next().unwrap_or(path)) {
            return Err(format!("`{text}` has a tag or digest: name a repository, without one"));
        }
        Ok(Self::Repository(name.repository().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_they_print() {
        for text in [
            "docker.io/library/app:1",
            "localhost:5000/a/b:c",
            "oci-layout://a/b",
            "oci-layout:///a/b:1.0",
            "oci-archive://x.tar",
            "docker-archive:///x:y.tar",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("docker://app".parse::<Place>().unwrap().to_string(), "docker.io/library/app:latest");
        for text in ["", "oci-layout://", "oci-layout://a:", "oci-archive://", "https://x/y", "UPPER"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn shelves_have_no_tags() {
        let repository = |registry: &str, path: &str| Ok(Shelf::Repository(RepoName::new(registry, path)));
        for (text, expected) in [
            ("localhost:5000", Ok(Shelf::Registry("localhost:5000".to_owned()))),
            ("registry.example.com", Ok(Shelf::Registry("registry.example.com".to_owned()))),
            ("localhost:5000/a/b", repository("localhost:5000", "a/b")),
            ("app", repository("docker.io", "library/app")),
            ("localhost:5000/a:1", Err(())),
            ("a/b:1", Err(())),
        ] {
            assert_eq!(text.parse::<Shelf>().map_err(|_| ()), expected, "{text}");
        }
    }
}
