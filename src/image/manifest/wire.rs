//! The documents as they stand in registries.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::format::{DOCKER_LIST, DOCKER_MANIFEST};
use super::{Index, IndexEntry, MAX_ITEMS, MAX_MANIFEST, Manifest, ManifestError, ManifestOrIndex};
use crate::image::{Descriptor, Platform};

/// What tells the documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: u64,
    media_type: Option<MediaType>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    Manifest,
    Index,
}

impl Document {
    fn of(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::ImageManifest => Some(Self::Manifest),
            MediaType::ImageIndex => Some(Self::Index),
            MediaType::Other(text) if text == DOCKER_MANIFEST => Some(Self::Manifest),
            MediaType::Other(text) if text == DOCKER_LIST => Some(Self::Index),
            _ => None,
        }
    }

    fn media_type(self) -> MediaType {
        match self {
            Self::Manifest => MediaType::ImageManifest,
            Self::Index => MediaType::ImageIndex,
        }
    }
}

pub(super) fn parse(bytes: &[u8], announced: Option<&MediaType>) -> Result<ManifestOrIndex, ManifestError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ManifestError::TooLarge { size: bytes.len() });
    }
    let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
    let (document, media_type) = identify(&probe, announced)?;
    match document {
        Document::Manifest => {
            let wire: WireManifest<'_> = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
            check_count(wire.layers.len())?;
            Ok(ManifestOrIndex::Manifest(Manifest {
                media_type,
                config: wire.config.into_owned(),
                layers: wire.layers.into_owned(),
                annotations: wire.annotations.unwrap_or_default().into_owned(),
            }))
        }
        Document::Index => {
            let wire: WireIndex<'_> = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
            check_count(wire.manifests.len())?;
            Ok(ManifestOrIndex::Index(Index {
                media_type,
                manifests: wire.manifests.into_iter().map(WireEntry::into_entry).collect(),
                annotations: wire.annotations.unwrap_or_default().into_owned(),
            }))
        }
    }
}

fn check_count(count: usize) -> Result<(), ManifestError> {
    if count > MAX_ITEMS { Err(ManifestError::TooMany { count }) } else { Ok(()) }
}

/// Decides what a document is. One that different readers could take for different things is refused: see
/// CVE-2021-41190.
fn identify(probe: &Probe, announced: Option<&MediaType>) -> Result<(Document, MediaType), ManifestError> {
    if probe.schema_version == 1 || probe.fs_layers.is_some() {
        return Err(ManifestError::Schema1);
    }
    if probe.schema_version != 2 {
        return Err(ManifestError::Version { version: probe.schema_version });
    }
    let ambiguous = |evidence: String| ManifestError::Ambiguous {
        document: probe.media_type.as_ref().map(ToString::to_string).unwrap_or_default(),
        evidence,
    };
    let looks_like = match (probe.manifests.is_some(), probe.config.is_some() || probe.layers.is_some()) {
        (true, true) => return Err(ambiguous("has the parts of a manifest and of an index".to_owned())),
        (true, false) => Document::Index,
        (false, _) => Document::Manifest,
    };
    // A type that names neither, such as application/json of a careless server, announces nothing.
    let announced = announced.filter(|media_type| Document::of(media_type).is_some());
    if let (Some(inside), Some(outside)) = (&probe.media_type, announced)
        && inside != outside
    {
        return Err(ambiguous(format!("was announced as `{outside}`")));
    }
    let Some(media_type) = probe.media_type.as_ref().or(announced) else {
        return Ok((looks_like, looks_like.media_type()));
    };
    match Document::of(media_type) {
        Some(document) if document == looks_like => Ok((document, media_type.clone())),
        Some(_) => Err(ambiguous("has the parts of another".to_owned())),
        None => Err(ManifestError::Type {
            found: media_type.to_string(),
            wanted: "the type of an image manifest or index",
        }),
    }
}

/// A manifest. The order of the fields is that of the Go implementations.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireManifest<'a> {
    schema_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<Cow<'a, MediaType>>,
    config: Cow<'a, Descriptor>,
    layers: Cow<'a, [Descriptor]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Cow<'a, BTreeMap<String, String>>>,
}

impl<'a> WireManifest<'a> {
    pub(super) fn of(manifest: &'a Manifest) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(Cow::Borrowed(&manifest.media_type)),
            config: Cow::Borrowed(&manifest.config),
            layers: Cow::Borrowed(&manifest.layers),
            annotations: some_unless_empty(&manifest.annotations),
        }
    }
}

/// An index.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireIndex<'a> {
    schema_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<Cow<'a, MediaType>>,
    manifests: Vec<WireEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Cow<'a, BTreeMap<String, String>>>,
}

impl<'a> WireIndex<'a> {
    pub(super) fn of(index: &'a Index) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(Cow::Borrowed(&index.media_type)),
            manifests: index.manifests.iter().map(WireEntry::of).collect(),
            annotations: some_unless_empty(&index.annotations),
        }
    }
}

fn some_unless_empty(map: &BTreeMap<String, String>) -> Option<Cow<'_, BTreeMap<String, String>>> {
    (!map.is_empty()).then_some(Cow::Borrowed(map))
}

#[derive(Serialize, Deserialize)]
struct WireEntry<'a> {
    #[serde(flatten)]
    descriptor: Cow<'a, Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<WirePlatform>,
}

impl<'a> WireEntry<'a> {
    fn of(entry: &'a IndexEntry) -> Self {
        let platform = entry.platform.as_ref().map(WirePlatform::of);
        Self { descriptor: Cow::Borrowed(&entry.descriptor), platform }
    }

    fn into_entry(self) -> IndexEntry {
        let platform = self.platform.map(WirePlatform::into_platform);
        IndexEntry { descriptor: self.descriptor.into_owned(), platform }
    }
}

#[derive(Serialize, Deserialize)]
struct WirePlatform {
    architecture: String,
    os: String,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl WirePlatform {
    fn of(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture().to_owned(),
            os: platform.os().to_owned(),
            os_version: platform.os_version().map(str::to_owned),
            variant: platform.variant().map(str::to_owned),
        }
    }

    fn into_platform(self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref()).with_os_version(self.os_version)
    }
}
