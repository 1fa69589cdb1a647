//! What differs between two file trees, contents included.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::error::CommandError;
use super::super::source::{PlatformImage, Source, blocking};
use crate::cli::printable;
use crate::image::ImageConfig;
use crate::layer::{DiffId, Digest, Entry, EntryKind, Hasher, Metadata, TarError, TarReader, decompress};
use crate::rootfs::{ContentSource, LeafKind, Node, Tree};

/// A path at which two images differ.
#[derive(Debug, Serialize)]
pub(super) struct FileChange {
    /// From the root, with a leading slash.
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) change: Change,
}

#[derive(Debug, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub(super) enum Change {
    /// Only the second image has it.
    Added { b: String },
    /// Only the first image has it.
    Removed { a: String },
    /// Both have it.
    Changed { aspects: Vec<Aspect> },
}

impl Change {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed { .. } => "removed",
            Self::Changed { .. } => "changed",
        }
    }
}

/// One respect in which two files differ.
#[derive(Debug, Serialize)]
pub(super) struct Aspect {
    /// `type`, `mode`, `owner`, `content`, `target`, `device`, `attribute NAME` or `time`.
    name: String,
    a: String,
    b: String,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} → {}", self.name, printable(&self.a), printable(&self.b))
    }
}

/// What the layers that were read so far hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    layers: HashMap<DiffId, Vec<Entry>>,
    /// Of regular files, by layer and position.
    digests: HashMap<(DiffId, u64), Digest>,
}

impl Contents {
    /// The files of an image. Fetches the layers that were not read before.
    pub(super) async fn tree(
        &mut self,
        source: &Source,
        image: &PlatformImage,
        config: &ImageConfig,
    ) -> Result<Tree, CommandError> {
        let mut tree = Tree::empty();
        for (diff_id, layer) in config.rootfs.diff_ids.iter().zip(&image.manifest.layers) {
            let (image, digest) = (source.name().to_owned(), layer.digest);
            let unusable = move |source| CommandError::Layer { image, digest, source };
            if !self.layers.contains_key(diff_id) {
                let blob = source.blob(layer).await?;
                let unusable = unusable.clone();
                let read = blocking(move || read(blob).map_err(unusable)).await?;
                for (offset, content) in read.digests {
                    self.digests.insert((*diff_id, offset), content);
                }
                self.layers.insert(*diff_id, read.entries);
            }
            let entries = self.layers.get(diff_id).map(Vec::as_slice).unwrap_or_default();
            let applied = tree.apply(*diff_id, entries, |_| None);
            applied.map_err(|error| unusable(TarError::from_contents(io::Error::other(error))))?;
        }
        Ok(tree)
    }

    /// The paths at which the trees differ, sorted.
    pub(super) fn changes(&self, a: &Tree, b: &Tree, with_times: bool) -> Vec<FileChange> {
        let by_path = |tree: &Tree| -> BTreeMap<PathBuf, Node> { tree.walk().into_iter().collect() };
        let (a, b) = (by_path(a), by_path(b));
        let mut paths: Vec<&PathBuf> = a.keys().chain(b.keys()).collect();
        paths.sort();
        paths.dedup();
        let change = |path: &PathBuf| match (a.get(path), b.get(path)) {
            (Some(a), Some(b)) => {
                let aspects = self.aspects(a, b, with_times);
                (!aspects.is_empty()).then_some(Change::Changed { aspects })
            }
            (Some(a), None) => Some(Change::Removed { a: described(a) }),
            (None, Some(b)) => Some(Change::Added { b: described(b) }),
            (None, None) => None,
        };
        paths
            .into_iter()
            .filter_map(|path| Some(FileChange { path: shown(path), change: change(path)? }))
            .collect()
    }

    fn aspects(&self, a: &Node, b: &Node, with_times: bool) -> Vec<Aspect> {
        let mut aspects = Vec::new();
        let mut compare = |name: &str, a: String, b: String| {
            if a != b {
                aspects.push(Aspect { name: name.to_owned(), a, b });
            }
        };
        compare("type", kind(a).to_owned(), kind(b).to_owned());
        let (old, new) = (a.metadata(), b.metadata());
        compare("mode", format!("{:o}", old.mode), format!("{:o}", new.mode));
        compare("owner", owner(old), owner(new));
        if kind(a) == kind(b) {
            let name = match kind(a) {
                "link" => "target",
                "file" => "content",
                _ => "device",
            };
            compare(name, self.content(a), self.content(b));
        }
        let names: HashSet<&String> = old.xattrs.keys().chain(new.xattrs.keys()).collect();
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        for name in names {
            let value = |metadata: &Metadata| {
                metadata.xattrs.get(name).map_or("none".to_owned(), |value| hexadecimal(value))
            };
            compare(&format!("attribute {name}"), value(old), value(new));
        }
        if with_times {
            compare("time", old.mtime.to_string(), new.mtime.to_string());
        }
        aspects
    }

    /// What tells contents apart: size and digest, the target of a link, the numbers of a device.
    fn content(&self, node: &Node) -> String {
        let Node::Leaf(leaf) = node else { return String::new() };
        match &leaf.kind {
            LeafKind::File(content) => {
                let digest = match content.source {
                    ContentSource::Layer { diff_id, offset } => self.digests.get(&(diff_id, offset)),
                    _ => None,
                };
                let digest = digest.map(ToString::to_string).unwrap_or_default();
                format!("{} bytes {digest}", content.size)
            }
            LeafKind::Symlink(target) => target.to_string_lossy().into_owned(),
            LeafKind::CharDevice(device) | LeafKind::BlockDevice(device) => {
                format!("{}:{}", device.major, device.minor)
            }
            LeafKind::Fifo => String::new(),
        }
    }
}

struct ReadLayer {
    entries: Vec<Entry>,
    digests: Vec<(u64, Digest)>,
}

/// Reads a layer to its end, hashing its files.
fn read(blob: Box<dyn Read + Send>) -> Result<ReadLayer, TarError> {
    let blob = io::BufReader::with_capacity(1 << 17, blob);
    let tar = decompress(blob).map_err(TarError::from_contents)?;
    let mut reader = TarReader::new(tar);
    let mut layer = ReadLayer { entries: Vec::new(), digests: Vec::new() };
    let mut buffer = vec![0; 1 << 16];
    while let Some((entry, mut contents)) = reader.next_entry()? {
        if let EntryKind::File { offset, .. } = entry.kind {
            let mut hasher = Hasher::new();
            loop {
                match contents.read(&mut buffer).map_err(TarError::from_contents)? {
                    0 => break,
                    count => hasher.update(&buffer[..count]),
                }
            }
            layer.digests.push((offset, hasher.finish()));
        }
        layer.entries.push(entry);
    }
    Ok(layer)
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory(_) => "directory",
        Node::Leaf(leaf) => match leaf.kind {
            LeafKind::File(_) => "file",
            LeafKind::Symlink(_) => "link",
            LeafKind::CharDevice(_) => "character device",
            LeafKind::BlockDevice(_) => "block device",
            LeafKind::Fifo => "pipe",
        },
    }
}

fn owner(metadata: &Metadata) -> String {
    format!("{}:{}", metadata.uid, metadata.gid)
}

fn described(node: &Node) -> String {
    let metadata = node.metadata();
    let size = node.as_file().map(|content| format!(" {}", super::bytes(content.size))).unwrap_or_default();
    let target = node.as_symlink().map(|target| format!(" → {}", target.display())).unwrap_or_default();
    format!("{} {:o} {}{size}{target}", kind(node), metadata.mode, owner(metadata))
}

fn shown(path: &Path) -> String {
    format!("/{}", path.to_string_lossy())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
