//! File trees without contents.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::layer::{Device, DiffId, Digest, Entry, EntryKind, Metadata};

/// How many symbolic links one resolution follows before it is called a loop; Linux's own limit.
const MAX_LINKS: usize = 40;

/// Everything known of a file tree but the bytes in its files: of an image, a stage or a build context.
///
/// Trees are persistent: a clone is one reference count, and changing a clone copies only the directories on the
/// way to the change. Two names of one file (hard links) are one [`Leaf`] behind two equal pointers.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Arc<Directory>,
}

/// What a name in a tree stands for.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Directory(Arc<Directory>),
    /// Anything else.
    Leaf(Arc<Leaf>),
}

/// A directory of a [`Tree`].
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Mode, owner, time, attributes.
    pub metadata: Metadata,
    children: BTreeMap<OsString, Node>,
}

/// A node that has no children.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Mode, owner, time, attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: LeafKind,
}

/// The type of a [`Leaf`].
#[derive(Debug, Clone)]
pub enum LeafKind {
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, as written.
    Symlink(PathBuf),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// A file's length, and where its bytes can be had.
#[derive(Debug, Clone)]
pub struct Content {
    /// Length in bytes.
    pub size: u64,
    /// Where to read them.
    pub source: ContentSource,
    /// The bytes themselves, for the few files whose text decides names: `/etc/passwd` and `/etc/group`.
    pub text: Option<Arc<[u8]>>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSource {
    /// At this path below the root of the build context the tree describes.
    Context(PathBuf),
    /// In the uncompressed tar of this layer, from `offset` on.
    Layer {
        /// The layer.
        diff_id: DiffId,
        /// Position of the first byte in the tar.
        offset: u64,
    },
    /// Here: the text of a here-document.
    Inline(Arc<[u8]>),
    /// In the store, as the whole of this blob: a download.
    Blob(Digest),
    /// In an open directory that is no context: a repository that was checked out.
    Directory {
        /// The directory.
        directory: OpenDirectory,
        /// The path in there.
        path: PathBuf,
    },
}

/// A directory whose files can be read, whatever becomes of its path.
#[derive(Debug, Clone)]
pub struct OpenDirectory(Arc<OwnedFd>);

impl PartialEq for OpenDirectory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OpenDirectory {}

impl OpenDirectory {
    /// Opens a directory.
    pub fn new(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(Arc::new(rustix::fs::open(path, flags, Mode::empty())?)))
    }

    /// Opens a file in it. Links are not followed.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve) {
            // Some sandboxes refuse openat2; the last component at least is never a link.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                rustix::fs::openat(&self.0, path, flags, Mode::empty())
            }
            opened => opened,
        };
        Ok(File::from(opened?))
    }
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The path without symbolic links, relative to the root; components that do not exist are kept as given.
    pub path: PathBuf,
    /// What is there.
    pub node: Option<Node>,
}

/// Whether the last component of a path is followed when it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// As `stat` does.
    Follow,
    /// As `lstat` does.
    Keep,
}

/// Why a path cannot be resolved, or a layer cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Links lead to links without end.
    #[error("too many levels of symbolic links in `{}`", path.display())]
    Loop {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A component that is not the last is a file.
    #[error("`{}` is not a directory, so `{}` cannot be in it", file.display(), path.display())]
    NotADirectory {
        /// The path that was asked for.
        path: PathBuf,
        /// The file in its way.
        file: PathBuf,
    },
    /// A hard link to a name that no layer so far has.
    #[error("layer {layer} has a hard link `{}` to `{}`, which does not exist", path.display(), target.display())]
    DanglingHardlink {
        /// The layer.
        layer: DiffId,
        /// The link.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
}

impl Node {
    /// Mode, owner, time, attributes.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Directory(directory) => &directory.metadata,
            Self::Leaf(leaf) => &leaf.metadata,
        }
    }

    /// The directory this is, if it is one.
    pub fn as_directory(&self) -> Option<&Arc<Directory>> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Leaf(_) => None,
        }
    }

    /// The target, if this is a symbolic link.
    pub fn as_symlink(&self) -> Option<&Path> {
        match self {
            Self::Leaf(leaf) => match &leaf.kind {
                LeafKind::Symlink(target) => Some(target),
                _ => None,
            },
            Self::Directory(_) => None,
        }
    }

    /// The content, if this is a regular file.
    pub fn as_file(&self) -> Option<&Content> {
        match self {
            Self::Leaf(leaf) => match &leaf.kind {
                LeafKind::File(content) => Some(content),
                _ => None,
            },
            Self::Directory(_) => None,
        }
    }
}

impl Directory {
    /// An empty directory.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, children: BTreeMap::new() }
    }

    /// Names and nodes, sorted by name.
    pub fn children(&self) -> impl Iterator<Item = (&OsStr, &Node)> {
        self.children.iter().map(|(name, node)| (name.as_os_str(), node))
    }

    /// The node of this name.
    pub fn get(&self, name: &OsStr) -> Option<&Node> {
        self.children.get(name)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::empty()
    }
}

impl Tree {
    /// A tree with nothing but a root of mode 0755.
    pub fn empty() -> Self {
        Self { root: Arc::new(Directory::new(Metadata::with_mode(0o755))) }
    }

    /// The root directory.
    pub fn root(&self) -> &Arc<Directory> {
        &self.root
    }

    /// What is at `path`, following no link at all. Both `/a/b` and `a/b` mean below the root.
    pub fn get(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Directory(Arc::clone(&self.root));
        for name in names(path) {
            let next = node.as_directory()?.get(name)?.clone();
            node = next;
        }
        Some(node)
    }

    /// Puts `node` at `path`, in place of whatever is there, making missing parents (0755, root).
    /// A parent that is not a directory is replaced by one.
    pub fn insert(&mut self, path: &Path, node: Node) {
        let names: Vec<&OsStr> = names(path).collect();
        let Some((last, parents)) = names.split_last() else {
            if let Node::Directory(directory) = node {
                self.root = directory;
            }
            return;
        };
        let mut directory = Arc::make_mut(&mut self.root);
        for name in parents {
            let child = directory
                .children
                .entry((*name).to_owned())
                .or_insert_with(|| Node::Directory(Arc::new(Directory::new(Metadata::with_mode(0o755)))));
            if let Node::Leaf(_) = child {
                *child = Node::Directory(Arc::new(Directory::new(Metadata::with_mode(0o755))));
            }
            let Node::Directory(next) = child else { return };
            directory = Arc::make_mut(next);
        }
        directory.children.insert((*last).to_owned(), node);
    }

    /// Takes away what is at `path`, if anything.
    pub fn remove(&mut self, path: &Path) {
        if self.get(path).is_none() {
            return;
        }
        let Some(name) = path.file_name() else { return };
        if let Some(directory) = self.directory_mut(path.parent().unwrap_or(Path::new(""))) {
            directory.children.remove(name);
        }
    }

    fn directory_mut(&mut self, path: &Path) -> Option<&mut Directory> {
        let mut directory = Arc::make_mut(&mut self.root);
        for name in names(path) {
            let Node::Directory(next) = directory.children.get_mut(name)? else { return None };
            directory = Arc::make_mut(next);
        }
        Some(directory)
    }

    /// Follows symbolic links as a process whose root this tree is would: absolute targets start at the root,
    /// `..` stops there. Missing components are not an error: the rest of the path is taken literally.
    pub fn resolve(&self, path: &Path, last: Last) -> Result<Resolved, TreeError> {
        let mut pending: Vec<OsString> = reversed_parts(path);
        // The nodes on the way, so that `..` finds its parent again; none past the first missing component.
        let mut nodes = vec![Node::Directory(Arc::clone(&self.root))];
        let mut real: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                if real.pop().is_some() && nodes.len() > real.len() + 1 {
                    nodes.pop();
                }
                continue;
            }
            let here = if nodes.len() == real.len() + 1 { nodes.last() } else { None };
            let child = match here {
                None => None,
                Some(Node::Directory(directory)) => directory.get(&name).cloned(),
                Some(Node::Leaf(_)) => {
                    return Err(TreeError::NotADirectory {
                        path: path.to_owned(),
                        file: real.iter().collect(),
                    });
                }
            };
            match child {
                Some(node)
                    if node.as_symlink().is_some() && (last == Last::Follow || !pending.is_empty()) =>
                {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(TreeError::Loop { path: path.to_owned() });
                    }
                    if let Some(target) = node.as_symlink() {
                        if target.is_absolute() {
                            real.clear();
                            nodes.truncate(1);
                        }
                        pending.extend(reversed_parts(target));
                    }
                }
                Some(node) => {
                    real.push(name);
                    nodes.push(node);
                }
                None => real.push(name),
            }
        }
        let node = if nodes.len() == real.len() + 1 { nodes.pop() } else { None };
        Ok(Resolved { path: real.iter().collect(), node })
    }

    /// Lays a layer over the tree.
    ///
    /// Parents that are links in the tree so far are followed, as containerd does when it unpacks: a layer that
    /// says `bin/tool` over a base with `bin -> usr/bin` means `usr/bin/tool`. `text` gives the contents of the
    /// files that are kept (see [`Content::text`]).
    pub fn apply(
        &mut self,
        layer: DiffId,
        entries: &[Entry],
        text: impl Fn(&Path) -> Option<Arc<[u8]>>,
    ) -> Result<(), TreeError> {
        // Whiteouts speak of the layers below only, wherever they stand in the tar.
        for entry in entries {
            match entry.kind {
                EntryKind::Whiteout => {
                    let path = self.landing(&entry.path)?;
                    self.remove(&path);
                }
                EntryKind::OpaqueWhiteout => {
                    let path = self.landing(&entry.path)?;
                    if let Some(directory) = self.directory_mut(&path) {
                        directory.children.clear();
                    }
                }
                _ => {}
            }
        }
        for entry in entries {
            let metadata = || entry.metadata.clone();
            let kind = match &entry.kind {
                EntryKind::Whiteout | EntryKind::OpaqueWhiteout => continue,
                EntryKind::Directory => {
                    let path = self.landing(&entry.path)?;
                    if let Some(directory) = self.directory_mut(&path) {
                        directory.metadata = metadata();
                    } else {
                        self.insert(&path, Node::Directory(Arc::new(Directory::new(metadata()))));
                    }
                    continue;
                }
                EntryKind::Hardlink(target) => {
                    let path = self.landing(&entry.path)?;
                    let found = self.landing(target).map(|target| self.get(&target))?;
                    let Some(node @ Node::Leaf(_)) = found else {
                        let (path, target) = (entry.path.clone(), target.clone());
                        return Err(TreeError::DanglingHardlink { layer, path, target });
                    };
                    self.insert(&path, node);
                    continue;
                }
                EntryKind::File { size, offset } => LeafKind::File(Content {
                    size: *size,
                    source: ContentSource::Layer { diff_id: layer, offset: *offset },
                    text: text(&entry.path),
                }),
                EntryKind::Symlink(target) => LeafKind::Symlink(target.clone()),
                EntryKind::CharDevice(device) => LeafKind::CharDevice(*device),
                EntryKind::BlockDevice(device) => LeafKind::BlockDevice(*device),
                EntryKind::Fifo => LeafKind::Fifo,
            };
            let path = self.landing(&entry.path)?;
            self.insert(&path, Node::Leaf(Arc::new(Leaf { metadata: metadata(), kind })));
        }
        Ok(())
    }

    /// Where an entry of a layer lands: its parents resolved, its last name as it is.
    pub fn landing(&self, path: &Path) -> Result<PathBuf, TreeError> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => match self.resolve(parent, Last::Follow) {
                Ok(resolved) => Ok(resolved.path.join(name)),
                // A file where the layer wants a directory: `insert` puts a directory there.
                Err(TreeError::NotADirectory { .. }) => Ok(path.to_owned()),
                Err(error) => Err(error),
            },
            _ => Ok(PathBuf::new()),
        }
    }

    /// Every path below the root with its node, parents first, sorted by name within each directory.
    pub fn walk(&self) -> Vec<(PathBuf, Node)> {
        let mut found = Vec::new();
        walk_into(&self.root, Path::new(""), &mut found);
        found
    }
}

/// Everything below `directory`, parents first, sorted by name; paths begin with `prefix`.
pub fn walk_into(directory: &Directory, prefix: &Path, found: &mut Vec<(PathBuf, Node)>) {
    for (name, node) in directory.children() {
        let path = prefix.join(name);
        found.push((path.clone(), node.clone()));
        if let Node::Directory(child) = node {
            walk_into(child, &path, found);
        }
    }
}

/// A path below a root: `..` stops there, `.` and a leading `/` are nothing. No link is followed.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    cleaned
}

/// The names in `path`, taking `.` and a leading `/` for nothing. `..` must have been resolved before.
fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The names in `path`, last first, with `..` kept.
fn reversed_parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u8) -> DiffId {
        DiffId(Digest::of([number]))
    }

    fn directory(path: &str) -> Entry {
        Entry::directory(path, Metadata::with_mode(0o755))
    }

    fn file(path: &str) -> Entry {
        Entry::file(path, Metadata::with_mode(0o644), 1)
    }

    fn link(path: &str, target: &str) -> Entry {
        Entry { path: path.into(), metadata: Metadata::default(), kind: EntryKind::Symlink(target.into()) }
    }

    fn tree(layers: &[&[Entry]]) -> Tree {
        let mut tree = Tree::empty();
        for (number, entries) in (0..).zip(layers) {
            tree.apply(layer(number), entries, |_| None).unwrap();
        }
        tree
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.walk().into_iter().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn layers_cover_and_remove() {
        let base = [directory("a"), file("a/x"), file("a/y"), directory("b"), file("b/z")];
        let opaque =
            Entry { path: "b".into(), metadata: Metadata::default(), kind: EntryKind::OpaqueWhiteout };
        let upper = [file("b/new"), opaque, Entry::whiteout("a/x")];
        assert_eq!(paths(&tree(&[&base, &upper])), ["a", "a/y", "b", "b/new"]);
    }

    #[test]
    fn a_file_and_a_directory_replace_each_other() {
        assert_eq!(paths(&tree(&[&[directory("a"), file("a/x")], &[file("a")]])), ["a"]);
        assert_eq!(paths(&tree(&[&[file("a")], &[directory("a"), file("a/x")]])), ["a", "a/x"]);
        assert_eq!(paths(&tree(&[&[file("a")], &[file("a/x")]])), ["a", "a/x"]);
    }

    #[test]
    fn entries_follow_linked_parents_but_replace_links() {
        let base = [directory("usr"), directory("usr/bin"), link("bin", "usr/bin")];
        assert_eq!(paths(&tree(&[&base, &[file("bin/tool")]])), ["bin", "usr", "usr/bin", "usr/bin/tool"]);
        assert_eq!(
            paths(&tree(&[&base, &[directory("bin"), file("bin/tool")]])),
            ["bin", "bin/tool", "usr", "usr/bin"]
        );
    }

    #[test]
    fn hard_links_share_a_leaf() {
        let hard =
            Entry { path: "b".into(), metadata: Metadata::default(), kind: EntryKind::Hardlink("a".into()) };
        let tree = tree(&[&[file("a")], std::slice::from_ref(&hard)]);
        let (Some(Node::Leaf(a)), Some(Node::Leaf(b))) = (tree.get(Path::new("a")), tree.get(Path::new("b")))
        else {
            panic!("two leaves")
        };
        assert!(Arc::ptr_eq(&a, &b));
        let error = Tree::empty().apply(layer(0), &[hard], |_| None).unwrap_err();
        assert!(matches!(error, TreeError::DanglingHardlink { .. }));
    }

    #[test]
    fn resolves_like_a_process_in_the_root() {
        let tree = tree(&[&[
            directory("usr"),
            directory("usr/lib"),
            file("usr/lib/x"),
            link("lib", "usr/lib"),
            link("abs", "/lib"),
            link("up", "../../../usr"),
            link("loop", "loop"),
            link("dangling", "nowhere/else"),
        ]]);
        for (path, last, real, exists) in [
            ("/lib/x", Last::Follow, "usr/lib/x", true),
            ("abs/x", Last::Follow, "usr/lib/x", true),
            ("abs", Last::Keep, "abs", true),
            ("up/lib", Last::Follow, "usr/lib", true),
            ("/../../usr/./lib/..", Last::Follow, "usr", true),
            ("lib/none/deep", Last::Follow, "usr/lib/none/deep", false),
            ("lib/none/../x", Last::Follow, "usr/lib/x", true),
            ("dangling", Last::Follow, "nowhere/else", false),
            ("/", Last::Follow, "", true),
        ] {
            let resolved = tree.resolve(Path::new(path), last).unwrap();
            assert_eq!((resolved.path.to_str().unwrap(), resolved.node.is_some()), (real, exists), "{path}");
        }
        assert!(matches!(tree.resolve(Path::new("loop"), Last::Follow), Err(TreeError::Loop { .. })));
        assert!(matches!(
            tree.resolve(Path::new("usr/lib/x/y"), Last::Follow),
            Err(TreeError::NotADirectory { .. })
        ));
    }

    #[test]
    fn a_clone_is_not_changed_with_its_origin() {
        let one = tree(&[&[directory("a"), file("a/x")]]);
        let mut two = one.clone();
        two.remove(Path::new("a/x"));
        assert_eq!((paths(&one).len(), paths(&two).len()), (2, 1));
    }
}
