//! What is to be built: the one thing that starts a build.
//!
//! Command lines, Jobs and the service all make a [`BuildRequest`]; making one has no side effects, and
//! [`BuildRequest::validate`] finds what cannot be before anything is fetched or written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::{CacheSource, CacheTarget};
use crate::context::source::ContextOrigin;
pub use crate::context::source::ContextSource;
use crate::exec::sandbox::{IsolationChoice, RunSettings};
use crate::exec::{AgentSource, SecretSource};
use crate::graph::NamedContext;
use crate::image::{ImageFormat, ImageRef, Platform};
use crate::layer::{Compression, Encoding};
use crate::registry::{Hosts, RegistrySettings};

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
    /// Whether a target that no stage is called may be a stage's number, as with Kaniko.
    #[serde(default)]
    pub numbered_targets: bool,
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
    /// Annotations of the manifests.
    pub annotations: BTreeMap<String, String>,
    /// How layers that are made are compressed.
    pub encoding: Encoding,
    /// Absolute paths that are left out of the layers that are made, with all that is below them.
    pub ignored_paths: Vec<PathBuf>,
    /// Whether all layers that are made become one.
    pub single_layer: bool,
    /// Stages to build besides the target; nothing is made of them.
    pub further_targets: Vec<String>,
    /// How the image is pushed.
    pub push: PushPolicy,
    /// How often looking up a base image that failed is tried again, besides what is tried again of itself.
    pub look_up_retries: u32,
    /// Whether results of earlier builds may be used.
    pub use_cache: bool,
    /// Whether those of RUN may.
    pub use_cached_runs: bool,
    /// Results of earlier builds that are older than this are not used.
    pub max_cache_age: Option<Duration>,
    /// `--cache-from`: where results are looked for that the store does not have.
    pub cache_from: Vec<CacheSource>,
    /// `--cache-to`: where results are put besides the store.
    pub cache_to: Vec<CacheTarget>,
    /// `--explain-cache`.
    pub explain_cache: bool,
    /// `--isolation`.
    pub isolation: IsolationChoice,
    /// `--shm-size`, `--ulimit`, `--emulator`.
    pub run: RunSettings,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`, by id.
    pub ssh_agents: BTreeMap<String, AgentSource>,
    /// `--add-host`: names and addresses that a RUN finds in `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// A directory in which Kaniko's warmer has kept base images.
    #[serde(default)]
    pub warmed_images: Option<PathBuf>,
    /// `--offline`: no registry is asked for anything.
    pub offline: bool,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
    /// How registries are reached.
    pub registries: RegistrySettings,
    /// The store's directory.
    pub store: PathBuf,
}

/// How an image is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PushPolicy {
    /// How often a push that failed is tried again as a whole, besides what is tried again of itself.
    pub retries: u32,
    /// Whether a tag that the registry does not let be overwritten counts as pushed.
    pub accept_immutable_tags: bool,
    /// Whether pushing is tried before there is anything to push.
    pub check_first: bool,
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
    /// Docker's format has no such layers.
    #[error("docker's image format has no layers compressed with zstd; use the oci format")]
    ZstdInDocker,
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
            numbered_targets: false,
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            tags: Vec::new(),
            outputs: Vec::new(),
            image_format: None,
            annotations: BTreeMap::new(),
            encoding: Encoding::default(),
            ignored_paths: Vec::new(),
            single_layer: false,
            further_targets: Vec::new(),
            push: PushPolicy::default(),
            look_up_retries: 0,
            use_cache: true,
            use_cached_runs: true,
            max_cache_age: None,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            explain_cache: false,
            isolation: IsolationChoice::Auto,
            run: RunSettings::default(),
            secrets: BTreeMap::new(),
            ssh_agents: BTreeMap::new(),
            extra_hosts: Vec::new(),
            warmed_images: None,
            offline: false,
            source_date_epoch: None,
            registries: RegistrySettings::default(),
            store,
        }
    }

    /// How registries are reached, and the servers of contexts: one of those may be named as not to be verified.
    pub fn registry_settings(&self) -> RegistrySettings {
        let mut settings = self.registries.clone();
        if let ContextSource::Remote(context) = &self.context
            && let ContextOrigin::Git(source) = &context.origin
            && source.skip_tls_verify
        {
            let port = source.url.port.map(|port| format!(":{port}")).unwrap_or_default();
            let host = format!("{}{port}", source.url.host);
            match &mut settings.skip_tls_verify {
                Hosts::Every => {}
                Hosts::Only(hosts) => {
                    hosts.insert(host);
                }
                Hosts::AllBut(hosts) => {
                    hosts.remove(&host);
                }
            }
        }
        settings
    }

    /// Whether there is to be an index even over a single platform: BuildKit's build argument says so.
    pub fn wants_index(&self) -> bool {
        let argument = self.build_args.get("BUILDKIT_MULTI_PLATFORM").map(String::as_str);
        matches!(argument, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// Checks what can be checked without looking at anything else.
    pub fn validate(&self) -> Result<(), RequestError> {
        if self.outputs.contains(&Output::Push) && self.tags.is_empty() {
            return Err(RequestError::NothingToPush);
        }
        if let Some(tag) = self.tags.iter().find(|tag| tag.digest().is_some()) {
            return Err(RequestError::TagWithDigest(tag.clone()));
        }
        if self.encoding.compression() == Compression::Zstd && self.image_format == Some(ImageFormat::Docker)
        {
            return Err(RequestError::ZstdInDocker);
        }
        if self.outputs.iter().filter(|output| output.is_stdout()).count() > 1 {
            return Err(RequestError::SeveralToStdout);
        }
        if self.platforms.len() > 1 || self.wants_index() {
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
