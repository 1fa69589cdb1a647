//! `--output`: where the image goes.

use std::path::PathBuf;
use std::str::FromStr;

use crate::request::{Destination, Output};

/// Why a text is no `--output`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseOutputError {
    /// A part that is not `key=value`.
    #[error("`{0}` is not of the form key=value; write type=oci|docker|tar|local,dest=PATH")]
    NotAPair(String),
    /// An unknown type.
    #[error("there is no output type `{0}`; there are oci, docker, tar, local and registry")]
    Type(String),
    /// An unknown key.
    #[error("an output has no `{0}`; it has type, dest and tar")]
    Key(String),
    /// No `dest`.
    #[error("`type={0}` needs `dest=PATH`")]
    NoDestination(&'static str),
    /// Not a boolean.
    #[error("`{0}` is neither true nor false")]
    Boolean(String),
}

impl FromStr for Output {
    type Err = ParseOutputError;

    /// As `docker buildx build --output`: `type=…,dest=…`, a bare directory, or `-` for a tar on standard output.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self::Tar(Destination::Stdout));
        }
        if !text.contains('=') {
            return Ok(Self::Local(text.into()));
        }
        let (mut kind, mut destination, mut tar) = (None, None, None);
        for part in text.split(',') {
            let (key, value) =
                part.split_once('=').ok_or_else(|| ParseOutputError::NotAPair(part.to_owned()))?;
            match key {
                "type" => kind = Some(value),
                "dest" => destination = Some(value),
                "tar" => {
                    let value = value.parse().map_err(|_| ParseOutputError::Boolean(value.to_owned()))?;
                    tar = Some(value);
                }
                "push" if value == "true" && kind.is_some_and(|kind| kind == "image") => {}
                other => return Err(ParseOutputError::Key(other.to_owned())),
            }
        }
        let file = |kind| match destination {
            Some("-") => Ok(Destination::Stdout),
            Some(path) => Ok(Destination::File(PathBuf::from(path))),
            None => Err(ParseOutputError::NoDestination(kind)),
        };
        match kind.unwrap_or_default() {
            "registry" | "image" => Ok(Self::Push),
            "docker" => Ok(Self::Docker(file("docker")?)),
            "tar" => Ok(Self::Tar(file("tar")?)),
            "local" => match destination {
                Some(path) => Ok(Self::Local(path.into())),
                None => Err(ParseOutputError::NoDestination("local")),
            },
            "oci" => match (destination, tar) {
                (Some(path), Some(false)) => Ok(Self::Oci(Destination::Directory(path.into()))),
                // A name that ends like an archive is one; else a layout is a directory, which is what one reads.
                (Some(path), None) if path != "-" && !is_archive_name(path) => {
                    Ok(Self::Oci(Destination::Directory(path.into())))
                }
                _ => Ok(Self::Oci(file("oci")?)),
            },
            other => Err(ParseOutputError::Type(other.to_owned())),
        }
    }
}

fn is_archive_name(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_buildx() {
        let file = |path: &str| Destination::File(path.into());
        for (text, expected) in [
            ("-", Output::Tar(Destination::Stdout)),
            ("out", Output::Local("out".into())),
            ("type=local,dest=out", Output::Local("out".into())),
            ("type=tar,dest=out.tar", Output::Tar(file("out.tar"))),
            ("type=docker,dest=-", Output::Docker(Destination::Stdout)),
            ("type=oci,dest=out.tar", Output::Oci(file("out.tar"))),
            ("type=oci,dest=out", Output::Oci(Destination::Directory("out".into()))),
            ("type=oci,dest=out,tar=true", Output::Oci(file("out"))),
            ("type=oci,dest=out.tar,tar=false", Output::Oci(Destination::Directory("out.tar".into()))),
            ("type=registry", Output::Push),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        for text in [
            "type=zip,dest=x",
            "type=oci",
            "dest=x",
            "type=oci,dest=x,y=z",
            "type=oci,dest",
            "type=oci,tar=x",
        ] {
            assert!(text.parse::<Output>().is_err(), "{text}");
        }
    }
}
