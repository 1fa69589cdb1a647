//! Several layers made into one, with the same file system as result.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::Contents;
use super::copy::everything;
use super::error::StepError;
use super::layers::Layers;
use super::result::FileSystem;
use super::writing::NewLayer;
use crate::exec::copy::Placed;
use crate::image::Time;
use crate::layer::{Entry, TarWriter};
use crate::rootfs::{Directory, Leaf, LeafKind, Node, Tree};

/// What `top` has that `base`, which it stands on, has not, as one layer on `base`. Blocks.
pub fn squash(
    base: &Arc<FileSystem>,
    top: &FileSystem,
    created: Time,
    layers: &Layers,
) -> Result<Arc<FileSystem>, StepError> {
    let placed = difference(&base.tree(layers)?, &top.tree(layers)?);
    let sources = top.layers().into_iter().map(|layer| (layer.layer.diff_id, layer)).collect();
    let contents = Contents { context: None, layers, sources, archives: HashMap::new() };
    let mut tar = TarWriter::new(NewLayer::begin(layers)?);
    contents.write(&placed, &mut tar)?;
    let layer = tar.finish()?.finish()?;
    Ok(Arc::new(FileSystem::on_top(Arc::clone(base), layer, created)))
}

/// The entries that make `to` of `from`: what is new or other, with the directories it is in, and a whiteout for
/// what is gone.
fn difference(from: &Tree, to: &Tree) -> Vec<Placed> {
    let mut changes = Changes::default();
    changes.compare(from.root(), to.root(), Path::new(""));
    let is_written = |path: &Path, leaf: Option<*const Leaf>| {
        changes.paths.contains(path) || leaf.is_some_and(|leaf| changes.leaves.contains(&leaf))
    };
    let mut placed: Vec<Placed> = everything(to)
        .into_iter()
        .filter(|placed| {
            let leaf = match to.get(&placed.entry.path) {
                Some(Node::Leaf(leaf)) => Some(Arc::as_ptr(&leaf)),
                _ => None,
            };
            is_written(&placed.entry.path, leaf)
        })
        .collect();
    placed
        .extend(changes.gone.into_iter().map(|path| Placed { entry: Entry::whiteout(path), content: None }));
    placed.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    placed
}

#[derive(Debug, Default)]
struct Changes {
    paths: BTreeSet<PathBuf>,
    /// Files of which one name changed: all names are written, or they would be different files.
    leaves: HashSet<*const Leaf>,
    gone: Vec<PathBuf>,
}

impl Changes {
    /// Takes note of what is different in a directory.
    fn compare(&mut self, from: &Directory, to: &Directory, path: &Path) {
        for (name, node) in to.children() {
            let path = path.join(name);
            match (from.get(name), node) {
                (Some(Node::Directory(old)), Node::Directory(new)) => {
                    if Arc::ptr_eq(old, new) {
                        continue;
                    }
                    if old.metadata != new.metadata {
                        self.note(&path);
                    }
                    self.compare(old, new, &path);
                }
                (Some(Node::Leaf(old)), Node::Leaf(new)) if is_same(old, new) => {}
                (_, Node::Leaf(leaf)) => {
                    self.note(&path);
                    self.leaves.insert(Arc::as_ptr(leaf));
                }
                (_, Node::Directory(new)) => {
                    self.note(&path);
                    self.compare(&Directory::default(), new, &path);
                }
            }
        }
        for (name, _) in from.children().filter(|(name, _)| to.get(name).is_none()) {
            self.note(path);
            self.gone.push(path.join(name));
        }
    }

    /// A path is written with all the directories it is in; the root is not.
    fn note(&mut self, path: &Path) {
        let inside = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        self.paths.extend(inside.map(Path::to_owned));
    }
}

fn is_same(old: &Arc<Leaf>, new: &Arc<Leaf>) -> bool {
    if Arc::ptr_eq(old, new) {
        return true;
    }
    let same_kind = match (&old.kind, &new.kind) {
        (LeafKind::File(old), LeafKind::File(new)) => old.size == new.size && old.source == new.source,
        (LeafKind::Symlink(old), LeafKind::Symlink(new)) => old == new,
        (LeafKind::CharDevice(old), LeafKind::CharDevice(new))
        | (LeafKind::BlockDevice(old), LeafKind::BlockDevice(new)) => old == new,
        (LeafKind::Fifo, LeafKind::Fifo) => true,
        _ => false,
    };
    same_kind && old.metadata == new.metadata
}
