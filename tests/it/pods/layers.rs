//! The layers of an image in a layout, and in what two of them differ.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use cooper::layer::{Digest, EntryKind, TarReader, decompress};
use serde_json::Value;

/// So many differences are told of.
const SHOWN: usize = 20;

/// The layers of the only image in a layout.
pub(super) struct Layers {
    blobs: PathBuf,
    /// The digest of the blob and that of what is in it, in hexadecimal.
    layers: Vec<(String, String)>,
}

impl Layers {
    pub(super) fn read(layout: &Path) -> Self {
        let blobs = layout.join("blobs/sha256");
        let json = |digest: &Value| -> Value {
            serde_json::from_slice(&fs::read(blobs.join(hex(digest))).unwrap()).unwrap()
        };
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifest = json(&index["manifests"][0]["digest"]);
        let config = json(&manifest["config"]["digest"]);
        let blob_digests = manifest["layers"].as_array().unwrap().iter().map(|layer| hex(&layer["digest"]));
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(hex);
        let layers = blob_digests.zip(diff_ids).collect();
        Self { blobs, layers }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.layers.len()
    }

    /// Which of the first layers differ in both.
    pub(super) fn differing(&self, other: &Self) -> Vec<usize> {
        let pairs = self.layers.iter().zip(&other.layers).enumerate();
        pairs.filter(|(_, ((_, one), (_, two)))| one != two).map(|(number, _)| number).collect()
    }

    /// In what a layer differs from that of another image, for people.
    pub(super) fn difference(&self, other: &Self, layer: usize) -> String {
        let (here, there) = (self.entries(layer), other.entries(layer));
        let mut lines = Vec::new();
        for (path, line) in &here {
            match there.get(path) {
                Some(same) if same == line => {}
                Some(line_there) => lines.push(format!("  {path}: {line}\n    there: {line_there}")),
                None => lines.push(format!("  {path}: {line}\n    not there")),
            }
        }
        lines.extend(
            there
                .iter()
                .filter(|(path, _)| !here.contains_key(*path))
                .map(|(p, l)| format!("  not here: {p}: {l}")),
        );
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        format!("{}\n  and {more} more", lines.join("\n"))
    }

    /// What a layer has at each path, in a line.
    pub(super) fn entries(&self, layer: usize) -> BTreeMap<String, String> {
        let blob = File::open(self.blobs.join(&self.layers[layer].0)).unwrap();
        let mut tar = TarReader::new(decompress(blob).unwrap());
        let mut entries = BTreeMap::new();
        while let Some((entry, mut contents)) = tar.next_entry().unwrap() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut contents, &mut bytes).unwrap();
            let what = match &entry.kind {
                EntryKind::File { .. } => format!("File({})", Digest::of(&bytes).hex()),
                kind => format!("{kind:?}"),
            };
            let metadata = &entry.metadata;
            let line = format!(
                "{what} {:o} {}:{} at {} {:?}",
                metadata.mode, metadata.uid, metadata.gid, metadata.mtime, metadata.xattrs
            );
            entries.insert(entry.path.display().to_string(), line);
        }
        entries
    }
}

fn hex(digest: &Value) -> String {
    digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
}
