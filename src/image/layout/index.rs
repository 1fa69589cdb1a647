//! The list of images of a layout, and how names are looked up and entered in it.

use serde_json::{Map, Value, json};

use super::{IMAGE_NAME, REF_NAME};
use crate::image::{Bundle, ImageRef, Index, IndexEntry, ManifestError, canonical};

/// A name for an image in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct LayoutName {
    full: String,
    tag: String,
}

impl LayoutName {
    /// The name under which `reference` is entered; one without a tag has none.
    pub(in crate::image) fn of(reference: &ImageRef) -> Option<Self> {
        let tag = reference.tag()?.to_owned();
        Some(Self { full: format!("{}:{tag}", reference.repository()), tag })
    }

    /// Repository and tag, without a digest.
    pub(in crate::image) fn full(&self) -> &str {
        &self.full
    }
}

/// The names of an entry: what its annotations say.
fn names(entry: &IndexEntry) -> (Option<&str>, Option<&str>) {
    let get = |key| entry.descriptor.annotations.get(key).map(String::as_str);
    (get(IMAGE_NAME), get(REF_NAME))
}

/// Finds an image by full name, by tag, or by what some tools write into the tag: a full name.
pub(super) fn find<'a>(index: &'a Index, name: &str) -> Option<&'a IndexEntry> {
    let normal = name.parse::<ImageRef>().ok().as_ref().and_then(LayoutName::of);
    let by = |wanted: &str| {
        index.manifests.iter().find(|entry| {
            let (full, tag) = names(entry);
            full == Some(wanted) || tag == Some(wanted)
        })
    };
    by(name).or_else(|| by(normal?.full()))
}

/// The names of all images, for messages.
pub(super) fn list(index: &Index) -> String {
    let mut found: Vec<&str> =
        index.manifests.iter().filter_map(|entry| names(entry).0.or(names(entry).1)).collect();
    found.dedup();
    match found.as_slice() {
        [] => "none with a name".to_owned(),
        found => found.join(", "),
    }
}

/// The `index.json` that lists `bundle` under `names`, merged into `existing`: an entry with one of the names is
/// replaced, all else stays as it is.
pub(in crate::image) fn index_document(
    existing: Option<Value>,
    bundle: &Bundle,
    names: &[LayoutName],
) -> Result<Vec<u8>, ManifestError> {
    let mut document = match existing {
        Some(Value::Object(document)) => document,
        _ => Map::from_iter([("schemaVersion".to_owned(), json!(2))]),
    };
    document.insert("mediaType".to_owned(), json!("application/vnd.oci.image.index.v1+json"));
    let mut manifests = match document.remove("manifests") {
        Some(Value::Array(manifests)) => manifests,
        _ => Vec::new(),
    };
    let added = new_entries(bundle, names)?;
    manifests.retain(|known| !added.iter().any(|new| is_replaced_by(known, new)));
    manifests.extend(added);
    document.insert("manifests".to_owned(), Value::Array(manifests));
    canonical::to_vec(&document).map_err(ManifestError::Write)
}

fn new_entries(bundle: &Bundle, names: &[LayoutName]) -> Result<Vec<Value>, ManifestError> {
    let mut bare = serde_json::to_value(bundle.root()).map_err(ManifestError::Write)?;
    if let Some(platform) = bundle.platform() {
        let mut value = json!({ "architecture": platform.architecture(), "os": platform.os() });
        if let Some(variant) = platform.variant() {
            value["variant"] = json!(variant);
        }
        if let Some(version) = platform.os_version() {
            value["os.version"] = json!(version);
        }
        bare["platform"] = value;
    }
    if names.is_empty() {
        return Ok(vec![bare]);
    }
    let entries = names.iter().map(|name| {
        let mut entry = bare.clone();
        entry["annotations"] = json!({ IMAGE_NAME: name.full, REF_NAME: name.tag });
        entry
    });
    Ok(entries.collect())
}

/// Whether two entries claim the same name: the full one where both have it, else the tag. Entries without a name
/// are the same when their contents are.
fn is_replaced_by(known: &Value, new: &Value) -> bool {
    let name = |entry: &Value, key: &str| entry["annotations"][key].as_str().map(str::to_owned);
    match (name(known, IMAGE_NAME), name(new, IMAGE_NAME)) {
        (Some(known), Some(new)) => known == new,
        _ => match (name(known, REF_NAME), name(new, REF_NAME)) {
            (Some(known), Some(new)) => known == new,
            (None, None) => known["digest"] == new["digest"],
            _ => false,
        },
    }
}
