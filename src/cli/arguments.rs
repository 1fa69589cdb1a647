//! Values on command lines.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::context::source::{ContextOrigin, ContextSource, buildx};
use crate::graph::NamedContext;
use crate::image::ImageRef;
use crate::registry::RegistrySettings;
use crate::request::{DockerfileSource, MAX_DOCKERFILE};

/// How registries are to be spoken to.
#[derive(Debug, Args)]
pub(super) struct TrustArguments {
    /// Registry that speaks plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure_registries: Vec<String>,
    /// Registry whose TLS certificate is not checked
    #[arg(long = "skip-tls-verify-registry", value_name = "HOST")]
    unverified_registries: Vec<String>,
    /// Authority to trust for a registry
    #[arg(long = "registry-certificate", value_name = "HOST=PEM", value_parser = certificate)]
    registry_certificates: Vec<(String, PathBuf)>,
}

impl TrustArguments {
    /// The settings that say so, and leave the rest as it is.
    pub(super) fn settings(&self) -> RegistrySettings {
        RegistrySettings {
            insecure: self.insecure_registries.iter().cloned().collect(),
            skip_tls_verify: self.unverified_registries.iter().cloned().collect(),
            certificates: self.registry_certificates.iter().cloned().collect(),
            ..RegistrySettings::default()
        }
    }
}

/// What `--file` names. Reads standard input for `-`, and nothing else.
pub(super) fn dockerfile_source(file: Option<&Path>) -> Result<DockerfileSource, String> {
    match file {
        None => Ok(DockerfileSource::InContext),
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            let failed = |error| format!("cannot read standard input: {error}");
            let limit = MAX_DOCKERFILE + 1;
            io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
            if text.len() as u64 == limit {
                return Err(format!("standard input is longer than {MAX_DOCKERFILE} bytes"));
            }
            Ok(DockerfileSource::Text(text))
        }
        Some(path) => Ok(DockerfileSource::Path(path.to_owned())),
    }
}

/// Splits `KEY=VALUE`; of a bare `KEY` the value is that of the environment variable, and nothing if there is none.
pub(super) fn key_value(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

/// The build argument, or else the environment variable, which becomes one, as with `docker buildx`. See
/// reproducible-builds.org, `SOURCE_DATE_EPOCH`.
pub(super) fn source_date_epoch(build_args: &mut BTreeMap<String, String>) -> Result<Option<i64>, String> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    if !build_args.contains_key(NAME)
        && let Ok(text) = std::env::var(NAME)
    {
        build_args.insert(NAME.to_owned(), text);
    }
    let text = build_args.get(NAME).filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse().map_err(|_| format!("{NAME} is `{text}`; it must be a whole number of seconds"))
    })
    .transpose()
}

/// `HOST=PEM` of `--registry-certificate`.
pub(super) fn certificate(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => Ok((host.to_owned(), path.into())),
        _ => Err("write HOST=PEM-FILE".to_owned()),
    }
}

/// `NAME=VALUE` of `--build-context`.
pub(super) fn named_context(text: &str) -> Result<(String, NamedContext), String> {
    let Some((name, value)) =
        text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
    else {
        return Err(
            "write NAME=PATH, NAME=docker-image://IMAGE, NAME=oci-layout://PATH[:TAG] or NAME=URL".to_owned()
        );
    };
    let context = if let Some(image) = value.strip_prefix("docker-image://") {
        NamedContext::Image(image.parse::<ImageRef>().map_err(|error| error.to_string())?)
    } else if value.starts_with("oci-layout://") {
        NamedContext::Layout(value.to_owned())
    } else {
        match buildx::parse(value).map_err(|error| error.to_string())? {
            ContextSource::Directory(path) => NamedContext::Directory(path),
            ContextSource::Remote(context) if context.origin == ContextOrigin::Stdin => {
                return Err("standard input can be the main context only".to_owned());
            }
            ContextSource::Remote(context) => NamedContext::Remote(context),
            ContextSource::Empty => return Err(format!("`{value}` is no context")),
        }
    };
    Ok((name.to_owned(), context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_contexts() {
        let image = NamedContext::Image("alpine".parse().unwrap());
        for (text, expected) in [
            ("src=../src", Ok(("src", NamedContext::Directory("../src".into())))),
            ("a=docker-image://alpine", Ok(("a", image))),
            ("a=oci-layout://x:1", Ok(("a", NamedContext::Layout("oci-layout://x:1".into())))),
            ("a=ftp://x", Err(())),
            ("a=-", Err(())),
            ("a", Err(())),
            ("=a", Err(())),
        ] {
            let found = named_context(text).map_err(|_| ());
            assert_eq!(found, expected.map(|(name, context)| (name.to_owned(), context)), "{text}");
        }
    }
}
