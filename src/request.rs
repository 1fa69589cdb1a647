//! What is to be built: the one thing that starts a build.
//!
//! Command lines, Jobs and the service all make a [`BuildRequest`]; making one has no side effects, and
//! [`BuildRequest::validate`] finds what cannot be before anything is fetched or written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cache::{CacheSource, CacheTarget};
use crate::exec::sandbox::IsolationChoice;
use crate::exec::{AgentSource, SecretSource};
use crate::graph::NamedContext;
use crate::image::{ImageFormat, ImageRef, Platform};
use crate::layer::Encoding;
use crate::registry::RegistrySettings;

/// A Dockerfile that is longer than this is none.
pub const MAX_DOCKERFILE: u64 = 16 << 20;

/// Everything a build needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The files that COPY and ADD see.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`; the one this program runs on if there is none.
    pub platforms: Vec<Platform>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--tag`.
    pub tags: Vec<ImageRef>,
    /// Where the image goes.
    pub outputs: Vec<Output>,
    /// `--image-format`; the base's if not given.
    pub image_format: Option<ImageFormat>,
    /// How new layers are compressed.
    pub compression: Encoding,
    /// Whether results of earlier builds may be used.
    pub use_cache: bool,
    /// `--cache-from`: where results are looked for that the store does not have.
    pub cache_from: Vec<CacheSource>,
    /// `--cache-to`: where results are put besides the store.
    pub cache_to: Vec<CacheTarget>,
    /// `--explain-cache`.
    pub explain_cache: bool,
    /// `--isolation`.
    pub isolation: IsolationChoice,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`, by id.
    pub ssh_agents: BTreeMap<String, AgentSource>,
    /// `--add-host`: names and addresses that a RUN finds in `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// `--offline`: no registry is asked for anything.
    pub offline: bool,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
    /// How registries are reached.
    pub registries: RegistrySettings,
    /// The store's directory.
    pub store: PathBuf,
}

/// Where the files of the build context are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextSource {
    /// In a directory.
    Directory(PathBuf),
    /// There are none.
    Empty,
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerfileSource {
    /// `Dockerfile` (or `dockerfile`) in the context.
    InContext,
    /// In this file; a path that does not exist as given is looked for in the context.
    Path(PathBuf),
    /// Here.
    Text(String),
}

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// To the registries of the tags.
    Push,
    /// To an OCI image layout: a directory, or a tar of one.
    Oci(Destination),
    /// To an archive for `docker load`.
    Docker(Destination),
    /// The files, as a tar.
    Tar(Destination),
    /// The files, in a directory.
    Local(PathBuf),
}

/// A place for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// A file.
    File(PathBuf),
    /// A directory.
    Directory(PathBuf),
    /// Standard output.
    Stdout,
}

/// Why a request cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is nowhere to push to.
    #[error("there is nothing to push: name the image with `--tag REGISTRY/NAME:TAG`")]
    NothingToPush,
    /// A digest is what comes out, not what can be asked for.
    #[error("`{0}` has a digest, which only the build can tell; give a tag")]
    TagWithDigest(ImageRef),
    /// Two things want standard output.
    #[error("only one output can go to standard output")]
    SeveralToStdout,
    /// Some outputs hold one platform only.
    #[error("`{output}` holds one platform; give one `--platform`, or use `--push` or `--output type=oci`")]
    OnePlatformOnly {
        /// The output.
        output: &'static str,
    },
}

impl BuildRequest {
    /// A build of the directory `context` for the platform at hand, with nothing else said.
    pub fn new(context: PathBuf, store: PathBuf) -> Self {
        Self {
            context: ContextSource::Directory(context),
            dockerfile: DockerfileSource::InContext,
            contexts: BTreeMap::new(),
            build_args: BTreeMap::new(),
            target: None,
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            tags: Vec::new(),
            outputs: Vec::new(),
            image_format: None,
            compression: Encoding::default(),
            use_cache: true,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            explain_cache: false,
            isolation: IsolationChoice::Auto,
            secrets: BTreeMap::new(),
            ssh_agents: BTreeMap::new(),
            extra_hosts: Vec::new(),
            offline: false,
            source_date_epoch: None,
            registries: RegistrySettings::default(),
            store,
        }
    }

    /// Checks what can be checked without looking at anything else.
    pub fn validate(&self) -> Result<(), RequestError> {
        if self.outputs.contains(&Output::Push) && self.tags.is_empty() {
            return Err(RequestError::NothingToPush);
        }
        if let Some(tag) = self.tags.iter().find(|tag| tag.digest().is_some()) {
            return Err(RequestError::TagWithDigest(tag.clone()));
        }
        if self.outputs.iter().filter(|output| output.is_stdout()).count() > 1 {
            return Err(RequestError::SeveralToStdout);
        }
        if self.platforms.len() > 1 {
            for output in &self.outputs {
                let output = match output {
                    Output::Push | Output::Oci(_) => continue,
                    Output::Docker(_) => "type=docker",
                    Output::Tar(_) => "type=tar",
                    Output::Local(_) => "type=local",
                };
                return Err(RequestError::OnePlatformOnly { output });
            }
        }
        Ok(())
    }
}

impl Output {
    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(
            self,
            Self::Oci(Destination::Stdout)
                | Self::Docker(Destination::Stdout)
                | Self::Tar(Destination::Stdout)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_cannot_be() {
        let request = BuildRequest::new("context".into(), "store".into());
        assert_eq!(request.validate(), Ok(()));
        let push = BuildRequest { outputs: vec![Output::Push], ..request.clone() };
        assert_eq!(push.validate(), Err(RequestError::NothingToPush));
        let tag: ImageRef = "registry/app:1".parse().unwrap();
        let tagged = BuildRequest { tags: vec![tag.clone()], ..push.clone() };
        assert_eq!(tagged.validate(), Ok(()));
        let pinned = tag.with_digest(crate::layer::Digest::of(""));
        let pinned = BuildRequest { tags: vec![pinned.clone()], ..push };
        assert!(matches!(pinned.validate(), Err(RequestError::TagWithDigest(_))));
        let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse().unwrap()).to_vec();
        let several =
            BuildRequest { platforms, outputs: vec![Output::Local("out".into())], ..request.clone() };
        assert_eq!(several.validate(), Err(RequestError::OnePlatformOnly { output: "type=local" }));
        let outputs = vec![Output::Tar(Destination::Stdout), Output::Oci(Destination::Stdout)];
        assert_eq!(BuildRequest { outputs, ..request }.validate(), Err(RequestError::SeveralToStdout));
    }
}
