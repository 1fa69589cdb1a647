//! The config of an image: what runs, on what, from which layers, and how it came about.
//!
//! Fields and omissions are those of BuildKit, which are the OCI image specification's (`config.md`) plus Docker's
//! `Healthcheck`, `OnBuild` and `Shell`. What other tools add is kept as it is.

mod environment;
mod health;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use health::{Healthcheck, Nanoseconds};

use super::{Platform, Time, canonical};
use crate::layer::{DiffId, Digest};

/// Longest config that is accepted, in bytes.
pub const MAX_CONFIG: usize = 8 << 20;

/// Why bytes are not an image config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Longer than any honest config.
    #[error("the image config has {size} bytes: more than {MAX_CONFIG} are not accepted")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// No JSON, or not of the form of a config.
    #[error("the image config is malformed")]
    Malformed(#[source] serde_json::Error),
    /// It cannot be written as JSON.
    #[error("the image config cannot be written")]
    Write(#[source] serde_json::Error),
}

/// The config of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Architecture in Go's naming.
    #[serde(deserialize_with = "lenient")]
    pub architecture: String,
    /// Operating system in Go's naming.
    #[serde(deserialize_with = "lenient")]
    pub os: String,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub variant: String,
    /// Version of the operating system, for Windows.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub os_version: String,
    /// Who made the image: MAINTAINER.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub author: String,
    /// When the image was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// How a container of this image runs.
    #[serde(deserialize_with = "lenient")]
    pub config: RunConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How the image came about, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub history: Vec<History>,
    /// What this program has no field for.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How a container runs unless told otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    /// User and group, as written in USER.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub user: String,
    /// Ports by number and protocol: `80/tcp`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value` in order. See [`RunConfig::env`] and [`RunConfig::set_env`].
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub env: Vec<String>,
    /// The program, with the arguments that always come first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub entrypoint: Vec<String>,
    /// The arguments that a user may replace, or the program when there is no entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub cmd: Vec<String>,
    /// Paths whose contents should outlive a container.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub volumes: BTreeSet<String>,
    /// Where the program starts.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub working_dir: String,
    /// Free-form notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
    /// What a container is sent to end it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub stop_signal: String,
    /// How to tell whether a container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Whether `Cmd` or `Entrypoint` is a command line for a shell. Deprecated, but written by BuildKit.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "lenient")]
    pub args_escaped: bool,
    /// What shell forms are run with, unless `/bin/sh -c`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub shell: Vec<String>,
    /// Instructions for builds that start from this image.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub on_build: Vec<String>,
    /// What this program has no field for.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The layers of an image, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// Digests of the uncompressed layers.
    #[serde(default, deserialize_with = "lenient")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new() }
    }
}

/// One step of how an image came about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// The instruction. See [`crate::image::history`] for how it is written.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub created_by: String,
    /// Who.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub author: String,
    /// Which program.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "lenient")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// The config of an image from scratch.
    pub fn for_platform(platform: &Platform) -> Self {
        let mut config = Self::default();
        config.set_platform(platform);
        config
    }

    /// Says what the image runs on.
    pub fn set_platform(&mut self, platform: &Platform) {
        platform.architecture().clone_into(&mut self.architecture);
        platform.os().clone_into(&mut self.os);
        platform.variant().unwrap_or_default().clone_into(&mut self.variant);
        platform.os_version().unwrap_or_default().clone_into(&mut self.os_version);
    }

    /// Reads a config. Unknown keys are kept, `null` means absent.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_CONFIG {
            return Err(ConfigError::TooLarge { size: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(ConfigError::Malformed)
    }

    /// Writes the config in canonical form, the bytes whose digest names the image.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ConfigError> {
        canonical::to_vec(self).map_err(ConfigError::Write)
    }

    /// The digest of [`ImageConfig::to_bytes`]: Docker's image id.
    pub fn digest(&self) -> Result<Digest, ConfigError> {
        Ok(Digest::of(self.to_bytes()?))
    }

    /// What the image runs on, in normal form.
    pub fn platform(&self) -> Platform {
        let variant = Some(self.variant.as_str()).filter(|variant| !variant.is_empty());
        Platform::new(&self.os, &self.architecture, variant).with_os_version(Some(self.os_version.clone()))
    }
}

impl ImageConfig {
    /// Puts a layer on top, with the step that made it.
    pub fn push_layer(&mut self, diff_id: DiffId, step: History) {
        self.rootfs.diff_ids.push(diff_id);
        self.history.push(History { empty_layer: false, ..step });
    }

    /// Records a step that made no layer.
    pub fn push_empty(&mut self, step: History) {
        self.history.push(History { empty_layer: true, ..step });
    }
}

fn layers() -> String {
    "layers".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Takes `null` for an absent value, as Go's JSON does: Docker writes it for empty lists and maps.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Sets as Go writes them: maps with empty objects as values.
mod set {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    #[derive(Serialize)]
    struct Empty {}

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|item| (item, Empty {})))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map: Option<BTreeMap<String, Option<Map<String, Value>>>> = Option::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
