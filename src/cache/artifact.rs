//! The form of entries.
//!
//! ```text
//! manifest   config: the empty one; annotations: what it is, key, time
//!   layers   the layers above the base, lowest first: their real types; annotations: diff id, time
//!            lists of layers, zstd: what `LayerIndex` writes; annotation: the diff id of the layer they list
//! ```
//!
//! All that a build needs to know stands in the manifest, so that a hit costs one request.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::manifest::ManifestError;
use crate::image::{Descriptor, Layer, Manifest, MediaType, Time};
use crate::layer::{Compression, DiffId, Digest};

/// The config of artifacts that have none, and its type. See the OCI image specification, `manifest.md`, "Guidance for
/// an Empty Descriptor".
pub(super) const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The type of what a layer lists.
const INDEX_TYPE: &str = "application/vnd.cooper.layer-index.v2+zstd";

/// What entries are; another version is another kind.
const KIND: &str = "dev.cooper.cache";
const STEP: &str = "step-1";
const TREE: &str = "tree-1";

/// The key that an entry is for: it counts under no other tag.
const KEY: &str = "dev.cooper.key";

/// The layer that a blob is, or lists.
const DIFF_ID: &str = "dev.cooper.diff-id";

/// The time of OCI annotations.
const CREATED: &str = "org.opencontainers.image.created";

/// Longest compressed list of a layer that is accepted, in bytes.
pub const MAX_INDEX: u64 = 64 << 20;

/// The most layers above a base.
pub const MAX_LAYERS: usize = 250;

/// A step's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    /// The layers above the base, lowest first; the last is the step's own.
    pub layers: Vec<CachedLayer>,
}

/// A layer of a [`CachedStep`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedLayer {
    /// The layer.
    pub layer: Layer,
    /// When it was made.
    pub created: Time,
    /// The blob that says what it lists, if there is one.
    pub index: Option<Descriptor>,
}

/// Why an entry is none.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Something in it is missing or not what it should be.
    #[error("its {0} is missing or malformed")]
    Part(&'static str),
    /// It is for something else.
    #[error("it is an entry for another key")]
    OtherKey,
}

fn empty() -> Descriptor {
    Descriptor::new(MediaType::Other(EMPTY_TYPE.to_owned()), Digest::of(EMPTY), EMPTY.len() as u64)
}

/// Describes a blob that says what the layer `diff_id` lists.
pub(super) fn index_descriptor(diff_id: DiffId, digest: Digest, size: u64) -> Descriptor {
    let mut descriptor = Descriptor::new(MediaType::Other(INDEX_TYPE.to_owned()), digest, size);
    descriptor.annotations.insert(DIFF_ID.to_owned(), diff_id.to_string());
    descriptor
}

fn manifest(kind: &str, key: String, created: Option<Time>, layers: Vec<Descriptor>) -> Manifest {
    let mut annotations = BTreeMap::from([(KIND.to_owned(), kind.to_owned()), (KEY.to_owned(), key)]);
    annotations.extend(created.map(|time| (CREATED.to_owned(), time.to_string())));
    Manifest { media_type: MediaType::ImageManifest, config: empty(), layers, annotations }
}

impl CachedStep {
    /// When the step was carried out.
    pub fn created(&self) -> Option<Time> {
        self.layers.last().map(|layer| layer.created)
    }

    /// The entry for `key`.
    pub fn to_manifest(&self, key: Digest) -> Manifest {
        let mut blobs = Vec::new();
        for CachedLayer { layer, created, .. } in &self.layers {
            let mut descriptor = layer.descriptor.clone();
            descriptor.annotations = BTreeMap::from([
                (DIFF_ID.to_owned(), layer.diff_id.to_string()),
                (CREATED.to_owned(), created.to_string()),
            ]);
            blobs.push(descriptor);
        }
        let mut listed = BTreeSet::new();
        let indexes = self.layers.iter().filter_map(|layer| layer.index.clone());
        blobs.extend(indexes.filter(|index| listed.insert(index.digest)));
        manifest(STEP, key.to_string(), self.created(), blobs)
    }

    /// What the entry under `key` says. It may be hostile.
    pub fn parse(bytes: &[u8], key: Digest) -> Result<Self, EntryError> {
        let manifest = opened(bytes, STEP, &key.to_string())?;
        let mut layers = Vec::new();
        let mut indexes = BTreeMap::new();
        for descriptor in manifest.layers {
            let diff_id = DiffId(annotation(&descriptor.annotations, DIFF_ID, "diff id")?);
            if descriptor.media_type.as_ref() == INDEX_TYPE {
                if descriptor.size > MAX_INDEX {
                    return Err(EntryError::Part("list of a layer"));
                }
                indexes.insert(diff_id, descriptor);
                continue;
            }
            if Compression::of_layer(&descriptor.media_type).is_err() || layers.len() == MAX_LAYERS {
                return Err(EntryError::Part("list of layers"));
            }
            let created = annotation(&descriptor.annotations, CREATED, "time")?;
            let descriptor = Descriptor { annotations: BTreeMap::new(), ..descriptor };
            layers.push(CachedLayer { layer: Layer { diff_id, descriptor }, created, index: None });
        }
        for layer in &mut layers {
            layer.index = indexes.get(&layer.layer.diff_id).cloned();
        }
        if layers.is_empty() { Err(EntryError::Part("list of layers")) } else { Ok(Self { layers }) }
    }
}

/// The tag of the entry that says what a layer lists.
pub(super) fn tree_tag(diff_id: DiffId) -> String {
    format!("tree-{}", diff_id.0.hex())
}

/// The entry that says what a layer lists.
pub(super) fn tree_manifest(diff_id: DiffId, index: Descriptor) -> Manifest {
    manifest(TREE, diff_id.to_string(), None, vec![index])
}

/// The blob with what the layer `diff_id` lists, by the entry for it. It may be hostile.
pub fn parse_tree(bytes: &[u8], diff_id: DiffId) -> Result<Descriptor, EntryError> {
    let manifest = opened(bytes, TREE, &diff_id.to_string())?;
    let [index] = <[Descriptor; 1]>::try_from(manifest.layers).map_err(|_| EntryError::Part("list"))?;
    let listed: Digest = annotation(&index.annotations, DIFF_ID, "diff id")?;
    if index.media_type.as_ref() != INDEX_TYPE || index.size > MAX_INDEX || DiffId(listed) != diff_id {
        return Err(EntryError::Part("list"));
    }
    Ok(index)
}

fn opened(bytes: &[u8], kind: &str, key: &str) -> Result<Manifest, EntryError> {
    let manifest = Manifest::parse(bytes)?;
    let get = |name: &str| manifest.annotations.get(name).map(String::as_str);
    if get(KIND) != Some(kind) {
        return Err(EntryError::Part("kind"));
    }
    if get(KEY) != Some(key) {
        return Err(EntryError::OtherKey);
    }
    Ok(manifest)
}

fn annotation<T: std::str::FromStr>(
    annotations: &BTreeMap<String, String>,
    name: &str,
    what: &'static str,
) -> Result<T, EntryError> {
    annotations.get(name).and_then(|text| text.parse().ok()).ok_or(EntryError::Part(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> CachedStep {
        let layer = |text: &str, index: bool| {
            let diff_id = DiffId(Digest::of(text));
            CachedLayer {
                layer: Layer {
                    diff_id,
                    descriptor: Descriptor::new(
                        MediaType::ImageLayerGzip,
                        Digest::of([text, "z"].concat()),
                        7,
                    ),
                },
                created: Time::from_epoch(1_700_000_000).unwrap(),
                index: index.then(|| index_descriptor(diff_id, Digest::of([text, "i"].concat()), 9)),
            }
        };
        CachedStep { layers: vec![layer("one", true), layer("two", false), layer("one", true)] }
    }

    #[test]
    fn steps_are_read_as_written() {
        let key = Digest::of("key");
        let bytes = step().to_manifest(key).to_bytes().unwrap();
        assert_eq!(CachedStep::parse(&bytes, key).unwrap(), step());
        // Under another key it is nothing.
        assert!(matches!(CachedStep::parse(&bytes, Digest::of("other")), Err(EntryError::OtherKey)));
    }

    #[test]
    fn malformed_entries_are_none() {
        let key = Digest::of("key");
        let text = String::from_utf8(step().to_manifest(key).to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("step-1", "step-2"),
            ("dev.cooper.diff-id", "x"),
            ("image.layer.v1.tar+gzip", "image.layer.v1.zip"),
            ("2023-11-14T22:13:20Z", "yesterday"),
            ("\"size\": 9", "\"size\": 99999999999"),
            ("\"layers\"", "\"manifests\""),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(CachedStep::parse(text.replace(from, to).as_bytes(), key).is_err(), "{from}");
        }
        assert!(
            CachedStep::parse(
                CachedStep { layers: vec![] }.to_manifest(key).to_bytes().unwrap().as_slice(),
                key
            )
            .is_err()
        );
    }

    #[test]
    fn trees_are_for_one_layer() {
        let (one, two) = (DiffId(Digest::of("one")), DiffId(Digest::of("two")));
        let index = index_descriptor(one, Digest::of("i"), 9);
        let bytes = tree_manifest(one, index.clone()).to_bytes().unwrap();
        assert_eq!(parse_tree(&bytes, one).unwrap(), index);
        assert!(matches!(parse_tree(&bytes, two), Err(EntryError::OtherKey)));
        let swapped = tree_manifest(two, index).to_bytes().unwrap();
        assert!(parse_tree(&swapped, two).is_err());
    }
}
