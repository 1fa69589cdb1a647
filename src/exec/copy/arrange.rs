//! Laying files over a tree.

mod archive;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CopyError, CopyRules};
use crate::context::ignore::Level;
use crate::dockerfile::Chmod;
use crate::layer::{Entry, EntryKind, Metadata};
use crate::rootfs::{Content, Directory, Last, Leaf, LeafKind, Node, Resolved, Tree, TreeError};

/// Entries of a layer in the making, over the tree they are laid on.
#[derive(Debug)]
pub struct Arrangement<'a> {
    base: &'a Tree,
    /// Sorted by path, so that parents come before what is in them.
    entries: BTreeMap<PathBuf, Draft>,
}

#[derive(Debug, Clone)]
struct Draft {
    metadata: Metadata,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    /// The source's leaf: two drafts of the same leaf are two names of one file.
    Leaf(Arc<Leaf>),
}

/// An entry of a layer and where its content comes from.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What goes into the tar.
    pub entry: Entry,
    /// Present exactly for regular files.
    pub content: Option<Content>,
}

impl<'a> Arrangement<'a> {
    /// Nothing yet, over `base`.
    pub fn new(base: &'a Tree) -> Self {
        Self { base, entries: BTreeMap::new() }
    }

    /// Refuses a destination that cannot take several files.
    pub fn require_directory(&self, destination: &Path) -> Result<(), CopyError> {
        match self.resolve(destination)?.node {
            Some(Node::Directory(_)) => Ok(()),
            _ => Err(CopyError::SeveralToOne { destination: destination.to_owned() }),
        }
    }

    /// Follows a destination path through links, in the base and in what was arranged so far.
    pub(super) fn resolve(&self, path: &Path) -> Result<Resolved, TreeError> {
        let resolved = self.base.resolve(path, Last::Follow)?;
        let node = match self.entries.get(&resolved.path) {
            Some(Draft { what: What::Directory, metadata }) => {
                Some(Node::Directory(Arc::new(Directory::new(metadata.clone()))))
            }
            Some(Draft { what: What::Leaf(leaf), .. }) => Some(Node::Leaf(Arc::clone(leaf))),
            None => resolved.node,
        };
        Ok(Resolved { path: resolved.path, node })
    }

    /// Makes sure that the (resolved) `path` is a directory: what exists stays as it is, what is missing is
    /// made with mode 0755, the rules' owner, and a mode given as a number.
    pub(super) fn make_directories(&mut self, path: &Path, rules: &CopyRules) -> Result<(), CopyError> {
        let owner = rules.owner.unwrap_or_default();
        // Setuid, setgid and sticky bits are not for directories made on the way, nor are symbolic modes.
        let mode = match rules.mode {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            _ => 0o755,
        };
        let new = Metadata { mode, uid: owner.uid, gid: owner.gid, mtime: rules.now, ..Metadata::default() };
        self.make_missing(path, &new)
    }

    /// Makes sure that the (resolved) `path` is a directory, making what is missing like `new`.
    pub(super) fn make_missing(&mut self, path: &Path, new: &Metadata) -> Result<(), CopyError> {
        let mut ancestor = PathBuf::new();
        for name in path {
            ancestor.push(name);
            let found = match self.entries.get(&ancestor) {
                Some(Draft { what: What::Directory, .. }) => continue,
                Some(Draft { what: What::Leaf(_), .. }) => None,
                None => match self.base.get(&ancestor) {
                    // An existing directory goes into the layer with its own metadata: a runtime that unpacks
                    // layers one by one would otherwise make up 0755 for it.
                    Some(Node::Directory(directory)) => Some(directory.metadata.clone()),
                    Some(Node::Leaf(_)) => None,
                    None => Some(new.clone()),
                },
            };
            let Some(metadata) = found else {
                return Err(TreeError::NotADirectory { path: path.to_owned(), file: ancestor }.into());
            };
            self.entries.insert(ancestor.clone(), Draft { metadata, what: What::Directory });
        }
        Ok(())
    }

    /// Puts a file, link or device at the (resolved) `path`, in place of any that is there.
    pub(super) fn put_leaf(
        &mut self,
        path: &Path,
        node: &Node,
        source: &Path,
        rules: &CopyRules,
    ) -> Result<(), CopyError> {
        let Node::Leaf(leaf) = node else { return Ok(()) };
        if self.is_directory(path) {
            return Err(CopyError::FileOverDirectory {
                path: path.to_owned(),
                source_path: source.to_owned(),
            });
        }
        let mut metadata = owned(&leaf.metadata, rules);
        if let (Some(mode), false) = (&rules.mode, matches!(leaf.kind, LeafKind::Symlink(_))) {
            metadata.mode = mode.apply(metadata.mode, false);
        }
        self.entries.insert(path.to_owned(), Draft { metadata, what: What::Leaf(Arc::clone(leaf)) });
        Ok(())
    }

    /// Puts a directory with the source's metadata at the (resolved) `path`, merging with one that is there.
    pub(super) fn put_directory(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        source: &Path,
        rules: &CopyRules,
    ) -> Result<(), CopyError> {
        let in_the_way = match self.entries.get(path) {
            Some(draft) => matches!(draft.what, What::Leaf(_)),
            None => matches!(self.base.get(path), Some(Node::Leaf(_))),
        };
        if in_the_way {
            return Err(CopyError::DirectoryOverFile {
                path: path.to_owned(),
                source_path: source.to_owned(),
            });
        }
        let mut metadata = owned(metadata, rules);
        if let Some(mode) = &rules.mode {
            metadata.mode = mode.apply(metadata.mode, true);
        }
        self.entries.insert(path.to_owned(), Draft { metadata, what: What::Directory });
        Ok(())
    }

    /// Copies what is in `directory` into the (resolved) directory `target`.
    pub(super) fn copy_children(
        &mut self,
        directory: &Directory,
        source: &Path,
        target: &Path,
        rules: &CopyRules,
    ) -> Result<(), CopyError> {
        let mut pending = vec![(Arc::new(directory.clone()), PathBuf::new(), Level::default())];
        // Excluded directories, in which there may be something that a later `!pattern` takes back.
        let mut left_out = BTreeMap::new();
        while let Some((directory, inside, level)) = pending.pop() {
            for (name, node) in directory.children() {
                let inside = inside.join(name);
                let level = rules.exclude.enter(&level, &inside);
                if level.is_excluded() {
                    if let Node::Directory(child) = node
                        && rules.exclude.may_include_below(&inside)
                    {
                        left_out.insert(inside.clone(), Arc::clone(child));
                        pending.push((Arc::clone(child), inside, level));
                    }
                    continue;
                }
                for parent in outer_directories(&inside) {
                    if let Some(directory) = left_out.remove(parent) {
                        let (from, to) = (source.join(parent), target.join(parent));
                        self.put_directory(&to, &directory.metadata, &from, rules)?;
                    }
                }
                let (from, to) = (source.join(&inside), target.join(&inside));
                match node {
                    Node::Leaf(_) => self.put_leaf(&to, node, &from, rules)?,
                    Node::Directory(child) => {
                        self.put_directory(&to, &child.metadata, &from, rules)?;
                        pending.push((Arc::clone(child), inside, level));
                    }
                }
            }
        }
        Ok(())
    }

    fn is_directory(&self, path: &Path) -> bool {
        match self.entries.get(path) {
            Some(draft) => matches!(draft.what, What::Directory),
            None => matches!(self.base.get(path), Some(Node::Directory(_))),
        }
    }

    /// The entries in the order in which they are written. Names of one file become hard links to the first.
    pub fn finish(self) -> Vec<Placed> {
        let mut first_names: HashMap<*const Leaf, PathBuf> = HashMap::new();
        self.entries
            .into_iter()
            .map(|(path, Draft { metadata, what })| {
                let leaf = match what {
                    What::Directory => {
                        return Placed { entry: Entry::directory(path, metadata), content: None };
                    }
                    What::Leaf(leaf) => leaf,
                };
                if matches!(leaf.kind, LeafKind::File(_)) {
                    if let Some(first) = first_names.get(&Arc::as_ptr(&leaf)) {
                        let kind = EntryKind::Hardlink(first.clone());
                        return Placed { entry: Entry { path, metadata, kind }, content: None };
                    }
                    first_names.insert(Arc::as_ptr(&leaf), path.clone());
                }
                let (kind, content) = match &leaf.kind {
                    LeafKind::File(content) => {
                        (EntryKind::File { size: content.size, offset: 0 }, Some(content.clone()))
                    }
                    LeafKind::Symlink(target) => (EntryKind::Symlink(target.clone()), None),
                    LeafKind::CharDevice(device) => (EntryKind::CharDevice(*device), None),
                    LeafKind::BlockDevice(device) => (EntryKind::BlockDevice(*device), None),
                    LeafKind::Fifo => (EntryKind::Fifo, None),
                };
                Placed { entry: Entry { path, metadata, kind }, content }
            })
            .collect()
    }
}

/// A whole tree, as one tar holds it.
pub fn everything(tree: &Tree) -> Vec<Placed> {
    let nothing = Tree::empty();
    let entries = tree.walk().into_iter().map(|(path, node)| {
        let metadata = node.metadata().clone();
        let what = match node {
            Node::Directory(_) => What::Directory,
            Node::Leaf(leaf) => What::Leaf(leaf),
        };
        (path, Draft { metadata, what })
    });
    Arrangement { base: &nothing, entries: entries.collect() }.finish()
}

/// The directories that `path` is in, outermost first.
fn outer_directories(path: &Path) -> impl Iterator<Item = &Path> {
    let mut outer: Vec<&Path> = path.ancestors().skip(1).collect();
    // The last one is the empty path.
    outer.pop();
    outer.into_iter().rev()
}

/// A file's metadata in a layer: with the rules' owner, and of its attributes only the capabilities, as BuildKit.
fn owned(metadata: &Metadata, rules: &CopyRules) -> Metadata {
    let mut metadata = metadata.clone();
    metadata.xattrs.retain(|name, _| name == "security.capability");
    if let Some(owner) = rules.owner {
        (metadata.uid, metadata.gid) = (owner.uid, owner.gid);
    }
    metadata
}
