//! Whether two builders have made the same image.
//!
//! Images are read back from the registry and laid out as trees: every path with its type, mode, owner, size and digest
//! of the contents, target, device number and `security.capability`. What is not compared, because builders rightly
//! differ there: modification times, history and the time of creation, the layers' number and bytes, which of several
//! names of a file is the first; the directories `dev`, `proc` and `sys`, and empty `etc/hosts`, `etc/hostname` and
//! `etc/resolv.conf`, which runtimes mount over.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::BenchError;
use crate::event::{Events, QuietReporter};
use crate::exec::{ImageLayer, Layers, Origin};
use crate::image::config::MAX_CONFIG;
use crate::image::{ImageConfig, ImageRef, Layer, Manifest, ManifestOrIndex, Platform};
use crate::layer::{Digest, Encoding, Entry, EntryKind, Hasher, TarReader};
use crate::registry::{Credentials, Registries, RegistrySettings};
use crate::store::Store;

/// An image as it is compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Appearance {
    tree: BTreeMap<PathBuf, Item>,
    config: BTreeMap<String, Value>,
    /// Bytes of all its layers.
    pub(super) size: u64,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    mode: u32,
    owner: (u32, u32),
    capability: Option<Vec<u8>>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    File { size: u64, digest: Digest },
    Directory,
    Link(PathBuf),
    Other(String),
}

/// The most links that are followed on the way to a path.
const MAX_LINKS: usize = 40;

/// The most differences that are listed.
const MAX_DIFFERENCES: usize = 8;

/// Reads the image `name` of an insecure registry. Fetched blobs go to the store `directory`.
pub(super) fn read(name: &str, directory: &Path) -> Result<Appearance, BenchError> {
    appearance(name, directory).map_err(|source| BenchError::Image { image: name.to_owned(), source })
}

fn appearance(name: &str, directory: &Path) -> Result<Appearance, Box<dyn Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let image: ImageRef = name.parse()?;
    let settings = RegistrySettings {
        insecure: [image.repository().registry()].into_iter().collect(),
        ..RegistrySettings::default()
    };
    let registries = Registries::new(settings, Credentials::anonymous())?;
    let repository = registries.repository(image.repository())?;
    let (manifest, config) = runtime.block_on(async {
        let fetched = repository.manifest(&image.selector()).await?;
        let manifest = match ManifestOrIndex::parse(&fetched.bytes, Some(&fetched.media_type))? {
            ManifestOrIndex::Manifest(manifest) => manifest,
            ManifestOrIndex::Index(index) => {
                let chosen = index.select(&Platform::host())?.digest.to_string();
                Manifest::parse(&repository.manifest(&chosen).await?.bytes)?
            }
        };
        let config = repository.blob_bytes(&manifest.config, MAX_CONFIG).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>((manifest, ImageConfig::parse(&config)?))
    })?;
    let store = Arc::new(Store::open(directory)?);
    let layers = Layers::new(store, registries, Events::new(Arc::new(QuietReporter)), Encoding::default());
    let mut tree = BTreeMap::new();
    for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let layer = Layer { diff_id: *diff_id, descriptor: descriptor.clone() };
        let origin = Origin::Registry(image.repository().clone());
        apply(layers.open_tar(&ImageLayer { layer, origin })?, &mut tree)?;
    }
    tree.retain(|path, item| !is_mounted_over(path, item));
    let size = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(Appearance { tree, config: facts(&config)?, size })
}

/// What runtimes mount over: builders leave it behind or not.
fn is_mounted_over(path: &Path, item: &Item) -> bool {
    let Some(path) = path.to_str() else { return false };
    match item.what {
        What::Directory => ["", "dev", "proc", "sys"].contains(&path),
        What::File { size: 0, .. } => ["etc/hosts", "etc/hostname", "etc/resolv.conf"].contains(&path),
        _ => false,
    }
}

fn apply(
    tar: impl std::io::Read,
    tree: &mut BTreeMap<PathBuf, Item>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut reader = TarReader::new(tar);
    let mut removed = Vec::new();
    let mut added: Vec<(Entry, Option<Digest>)> = Vec::new();
    let mut buffer = vec![0; 128 << 10];
    while let Some((entry, mut contents)) = reader.next_entry()? {
        let digest = if matches!(entry.kind, EntryKind::File { .. }) {
            let mut hasher = Hasher::new();
            loop {
                match contents.read(&mut buffer)? {
                    0 => break Some(hasher.finish()),
                    count => hasher.update(&buffer[..count]),
                }
            }
        } else {
            None
        };
        match entry.kind {
            EntryKind::Whiteout | EntryKind::OpaqueWhiteout => removed.push(entry),
            _ => added.push((entry, digest)),
        }
    }
    // Removals concern the layers below, wherever they stand.
    for entry in removed {
        let path = landing(tree, &entry.path);
        let keeps_itself = entry.kind == EntryKind::OpaqueWhiteout;
        tree.retain(|found, _| !found.starts_with(&path) || (keeps_itself && *found == path));
    }
    for (entry, digest) in added {
        put(tree, &entry, digest);
    }
    Ok(())
}

fn put(tree: &mut BTreeMap<PathBuf, Item>, entry: &Entry, digest: Option<Digest>) {
    let path = landing(tree, &entry.path);
    let metadata = &entry.metadata;
    let what = match &entry.kind {
        EntryKind::File { size, .. } => What::File { size: *size, digest: digest.unwrap_or(Digest::of("")) },
        EntryKind::Directory => What::Directory,
        EntryKind::Symlink(target) => What::Link(target.clone()),
        EntryKind::Hardlink(target) => {
            let target = landing(tree, target);
            if let Some(item) = tree.get(&target).cloned() {
                tree.insert(path, item);
            } else {
                let what = What::Other(format!("hard link to the missing {}", target.display()));
                tree.insert(path, Item { mode: 0, owner: (0, 0), capability: None, what });
            }
            return;
        }
        other => What::Other(format!("{other:?}")),
    };
    if what != What::Directory && tree.get(&path).is_some_and(|item| item.what == What::Directory) {
        tree.retain(|found, _| !found.starts_with(&path));
    }
    for parent in path.ancestors().skip(1) {
        // Runtimes make the directories that no layer describes.
        let implied = || Item { mode: 0o755, owner: (0, 0), capability: None, what: What::Directory };
        tree.entry(parent.to_owned()).or_insert_with(implied);
    }
    // A link's mode means nothing.
    let mode = if matches!(what, What::Link(_)) { 0o777 } else { metadata.mode & 0o7777 };
    let capability = metadata.xattrs.get("security.capability").cloned();
    tree.insert(path, Item { mode, owner: (metadata.uid, metadata.gid), capability, what });
}

/// Where a path leads when the links in its directory are followed.
fn landing(tree: &BTreeMap<PathBuf, Item>, path: &Path) -> PathBuf {
    let Some(name) = path.file_name() else { return PathBuf::new() };
    let mut waiting: Vec<PathBuf> = path
        .parent()
        .into_iter()
        .flat_map(Path::components)
        .rev()
        .map(|part| part.as_os_str().into())
        .collect();
    let (mut reached, mut links) = (PathBuf::new(), 0);
    while let Some(part) = waiting.pop() {
        match part.components().next() {
            Some(Component::Normal(part)) => reached.push(part),
            Some(Component::ParentDir) => {
                reached.pop();
                continue;
            }
            _ => continue,
        }
        if let Some(Item { what: What::Link(target), .. }) = tree.get(&reached)
            && links < MAX_LINKS
        {
            links += 1;
            reached.pop();
            if target.is_absolute() {
                reached.clear();
            }
            waiting.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
        }
    }
    reached.join(name)
}

/// What a config says to a runtime: without what says nothing, and what only names the builder.
fn facts(config: &ImageConfig) -> Result<BTreeMap<String, Value>, serde_json::Error> {
    let Value::Object(fields) = serde_json::to_value(&config.config)? else { return Ok(BTreeMap::new()) };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Number(_) => false,
    };
    let mut facts: BTreeMap<String, Value> = fields
        .into_iter()
        .filter(|(name, value)| {
            !is_empty(value) && !["Image", "Hostname", "ArgsEscaped"].contains(&name.as_str())
        })
        .collect();
    facts.insert("platform".to_owned(), format!("{}/{}", config.os, config.architecture).into());
    Ok(facts)
}

impl Appearance {
    /// What of `other` is not as in this one; nothing, if they are equal.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let paths: BTreeSet<&PathBuf> = self.tree.keys().chain(other.tree.keys()).collect();
        for path in paths {
            let (here, there) = (self.tree.get(path), other.tree.get(path));
            if here != there {
                found.push(format!("/{}: {} instead of {}", path.display(), said(there), said(here)));
            }
        }
        let names: BTreeSet<&String> = self.config.keys().chain(other.config.keys()).collect();
        for name in names {
            let (here, there) = (self.config.get(name), other.config.get(name));
            if here != there {
                let said = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                found.push(format!("config {name}: {} instead of {}", said(there), said(here)));
            }
        }
        let more = found.len().saturating_sub(MAX_DIFFERENCES);
        if more > 0 {
            found.truncate(MAX_DIFFERENCES);
            found.push(format!("and {more} more"));
        }
        found
    }
}

fn said(item: Option<&Item>) -> String {
    let Some(Item { mode, owner: (user, group), capability, what }) = item else {
        return "nothing".to_owned();
    };
    let what = match what {
        What::File { size, digest } => format!("file of {size} bytes {}", &digest.hex()[..8]),
        What::Directory => "directory".to_owned(),
        What::Link(target) => format!("link to {}", target.display()),
        What::Other(text) => text.clone(),
    };
    let capability = if capability.is_some() { " with capabilities" } else { "" };
    format!("{what} {mode:04o} {user}:{group}{capability}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Metadata, TarWriter};

    fn tree(layers: &[&[Entry]]) -> BTreeMap<PathBuf, Item> {
        let mut tree = BTreeMap::new();
        for layer in layers {
            let mut tar = TarWriter::new(Vec::new());
            for entry in *layer {
                let text: &[u8] = if matches!(entry.kind, EntryKind::File { .. }) { b"abc" } else { b"" };
                tar.append(entry, text).unwrap();
            }
            apply(tar.finish().unwrap().as_slice(), &mut tree).unwrap();
        }
        tree
    }

    fn file(path: &str) -> Entry {
        Entry::file(path, Metadata::with_mode(0o644), 3)
    }

    fn directory(path: &str) -> Entry {
        Entry::directory(path, Metadata::with_mode(0o755))
    }

    fn appearance(tree: BTreeMap<PathBuf, Item>) -> Appearance {
        Appearance { tree, config: BTreeMap::new(), size: 0 }
    }

    #[test]
    fn layers_do_not_matter_but_their_sum_does() {
        let link = |path: &str, kind| Entry { path: path.into(), metadata: Metadata::with_mode(0o777), kind };
        let lib = link("lib", EntryKind::Symlink("usr/lib".into()));
        let split = tree(&[
            &[directory("usr/lib"), lib.clone(), file("gone"), file("old/file")],
            &[file("lib/one"), link("two", EntryKind::Hardlink("usr/lib/one".into()))],
            &[Entry::whiteout("gone"), Entry::whiteout("old"), directory("old")],
        ]);
        let whole = tree(&[&[file("usr/lib/one"), lib, file("two"), directory("old")]]);
        assert_eq!(appearance(split).differences(&appearance(whole)), Vec::<String>::new());
    }

    #[test]
    fn says_what_differs() {
        let one = appearance(tree(&[&[file("a"), file("b")]]));
        let mut changed = file("a");
        changed.metadata.uid = 7;
        let other = appearance(tree(&[&[changed]]));
        let differences = one.differences(&other);
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences[0].contains("0644 7:0 instead of"), "{differences:?}");
        assert!(differences[1].starts_with("/b: nothing instead of file of 3 bytes"), "{differences:?}");
    }
}
