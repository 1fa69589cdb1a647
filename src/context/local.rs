//! A context that is a directory.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata as FileMetadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::ignore::{Ignore, Level};
use crate::layer::{Device, Metadata};
use crate::rootfs::{Content, ContentSource, Directory, Leaf, LeafKind, Node, OpenDirectory, Tree};

/// The files of a directory.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    directory: OpenDirectory,
    tree: Tree,
}

/// Why a context cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory, or something in it, cannot be read.
    #[error("cannot read `{}` in the build context", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The context is elsewhere, and what is to be done with it fetches nothing.
    #[error("the build context `{context}` is not a directory: it is fetched by `cooper build` only")]
    NotHere {
        /// What was given.
        context: String,
    },
    /// The context is a file.
    #[error("the build context `{}` is not a directory", path.display())]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
}

/// In the directory of a mounted ConfigMap or Secret, the link to the directory that has the files now.
const KUBERNETES_DATA: &str = "..data";

/// The only extended attribute that an image keeps.
const CAPABILITY: &str = "security.capability";

/// Larger than any version of the kernel's `vfs_ns_cap_data`.
const MAX_CAPABILITY: usize = 64;

impl Context {
    /// Lists the files below `root` that `ignore` leaves over. No content is read.
    ///
    /// Owners become 0:0, as in every context that a client sends to BuildKit. The layout in which the kubelet
    /// mounts ConfigMaps and Secrets (`file -> ..data/file`, `..data -> ..2026_11_22`) is seen through: the files
    /// are plain files, and the kubelet's own names do not exist.
    pub fn load(root: &Path, ignore: &Ignore) -> Result<Self, ContextError> {
        let _span = tracing::info_span!("list context").entered();
        let failed = |source| ContextError::Read { path: root.to_owned(), source };
        let metadata = std::fs::metadata(root).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(ContextError::NotADirectory { path: root.to_owned() });
        }
        let directory = OpenDirectory::new(root).map_err(failed)?;
        let mut listing = Listing {
            root,
            ignore,
            foreign: None,
            tree: Tree::empty(),
            linked: HashMap::new(),
            left_out: BTreeMap::new(),
            is_kubernetes: std::fs::symlink_metadata(root.join(KUBERNETES_DATA))
                .is_ok_and(|found| found.is_symlink()),
        };
        listing.walk()?;
        Ok(Self { root: root.to_owned(), directory, tree: listing.tree })
    }

    /// The files.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where they are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is something at `path` in the directory that the rules leave out. For messages about what is not
    /// in the tree.
    pub fn hides(&self, path: &str) -> bool {
        let path = Path::new(path.trim_start_matches('/'));
        let is_inside =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        is_inside && self.tree.get(path).is_none() && self.root.join(path).symlink_metadata().is_ok()
    }

    /// Opens a file at the path that [`ContentSource::Context`] gives. Links are not followed: one that has taken
    /// the file's place since the listing leads nowhere.
    pub fn open(&self, path: &Path) -> Result<File, ContextError> {
        self.directory.open(path).map_err(|source| ContextError::Read { path: path.to_owned(), source })
    }

    /// The files of a directory that is no context; its contents are read without one.
    pub(crate) fn load_foreign(root: &Path) -> Result<Tree, ContextError> {
        let failed = |source| ContextError::Read { path: root.to_owned(), source };
        let mut listing = Listing {
            root,
            ignore: &Ignore::default(),
            foreign: Some(OpenDirectory::new(root).map_err(failed)?),
            tree: Tree::empty(),
            linked: HashMap::new(),
            left_out: BTreeMap::new(),
            is_kubernetes: false,
        };
        listing.walk()?;
        Ok(listing.tree)
    }
}

/// The making of a context's tree.
struct Listing<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    /// Where contents are, if not in a context.
    foreign: Option<OpenDirectory>,
    tree: Tree,
    /// Files with several names, by device and inode.
    linked: HashMap<(u64, u64), Arc<Leaf>>,
    /// Excluded directories, in which there may be something that a later `!pattern` takes back.
    left_out: BTreeMap<PathBuf, Metadata>,
    is_kubernetes: bool,
}

impl Listing<'_> {
    fn walk(&mut self) -> Result<(), ContextError> {
        let (root, ignore, is_kubernetes) = (self.root, self.ignore, self.is_kubernetes);
        let mut walk = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
        // What the patterns say of the root, and of the directories on the way to the entry at hand.
        let mut levels = vec![Level::default()];
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| ContextError::Read {
                path: error.path().unwrap_or(root).to_owned(),
                source: error.into(),
            })?;
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
            let is_directory = entry.file_type().is_dir();
            let is_kubelets = is_kubernetes
                && entry.depth() == 1
                && entry.file_name().as_encoded_bytes().starts_with(b"..");
            levels.truncate(entry.depth());
            let level = levels.last().map(|parent| ignore.enter(parent, &path)).unwrap_or_default();
            let is_excluded = is_kubelets || level.is_excluded();
            levels.push(level);
            // An excluded directory is entered only if something in it may be taken back.
            let is_entered =
                is_directory && !is_kubelets && (!is_excluded || ignore.may_include_below(&path));
            if is_directory && !is_entered {
                walk.skip_current_dir();
            }
            if is_excluded && !is_entered {
                continue;
            }
            let metadata = entry
                .metadata()
                .map_err(|error| ContextError::Read { path: path.clone(), source: error.into() })?;
            if is_excluded {
                self.left_out.insert(path, described(&metadata));
                continue;
            }
            self.add_left_out(&path);
            self.add(&path, &metadata)?;
        }
        Ok(())
    }

    /// Adds the excluded directories that `path` is in after all.
    fn add_left_out(&mut self, path: &Path) {
        if self.left_out.is_empty() {
            return;
        }
        let mut outer: Vec<&Path> = path.ancestors().skip(1).collect();
        outer.reverse();
        for directory in outer {
            if let Some(metadata) = self.left_out.remove(directory) {
                self.tree.insert(directory, Node::Directory(Arc::new(Directory::new(metadata))));
            }
        }
    }

    fn add(&mut self, path: &Path, metadata: &FileMetadata) -> Result<(), ContextError> {
        let failed = |source| ContextError::Read { path: path.to_owned(), source };
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.tree.insert(path, Node::Directory(Arc::new(Directory::new(described(metadata)))));
            return Ok(());
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(self.root.join(path)).map_err(failed)?;
            if self.is_kubernetes && target.starts_with(KUBERNETES_DATA) {
                return self.add_kubernetes(path);
            }
            self.insert(path, metadata, LeafKind::Symlink(target));
            return Ok(());
        }
        let kind = if kind.is_file() {
            let inode = (metadata.dev(), metadata.ino());
            if metadata.nlink() > 1
                && let Some(leaf) = self.linked.get(&inode)
            {
                self.tree.insert(path, Node::Leaf(Arc::clone(leaf)));
                return Ok(());
            }
            self.file(path.to_owned(), metadata.len())
        } else if kind.is_char_device() {
            LeafKind::CharDevice(device(metadata.rdev()))
        } else if kind.is_block_device() {
            LeafKind::BlockDevice(device(metadata.rdev()))
        } else if kind.is_fifo() {
            LeafKind::Fifo
        } else {
            // BuildKit's client sends a socket as an empty file.
            LeafKind::File(Content { size: 0, source: ContentSource::Inline(Arc::from([])), text: None })
        };
        self.insert(path, metadata, kind);
        Ok(())
    }

    /// A key of a ConfigMap or Secret, or a directory of keys: what the link leads to, as plain files.
    fn add_kubernetes(&mut self, path: &Path) -> Result<(), ContextError> {
        let failed = |source| ContextError::Read { path: path.to_owned(), source };
        let root = std::fs::canonicalize(self.root).map_err(failed)?;
        let real = std::fs::canonicalize(self.root.join(path)).map_err(failed)?;
        let Ok(inside) = real.strip_prefix(&root) else {
            let error = io::Error::other("the link leads out of the mounted volume");
            return Err(failed(error));
        };
        for entry in WalkDir::new(&real).sort_by_file_name() {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let below = entry.path().strip_prefix(&real).unwrap_or(Path::new(""));
            // `join` with an empty path would add a slash.
            let path = if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) };
            if self.ignore.excludes(&path) {
                continue;
            }
            let metadata = entry.metadata().map_err(|error| failed(error.into()))?;
            if metadata.is_dir() {
                self.tree.insert(&path, Node::Directory(Arc::new(Directory::new(described(&metadata)))));
            } else if metadata.is_file() {
                let source =
                    if below.as_os_str().is_empty() { inside.to_owned() } else { inside.join(below) };
                self.insert(&path, &metadata, self.file(source, metadata.len()));
            }
        }
        Ok(())
    }

    fn file(&self, path: PathBuf, size: u64) -> LeafKind {
        let source = match &self.foreign {
            None => ContentSource::Context(path),
            Some(directory) => ContentSource::Directory { directory: directory.clone(), path },
        };
        LeafKind::File(Content { size, source, text: None })
    }

    fn insert(&mut self, path: &Path, metadata: &FileMetadata, kind: LeafKind) {
        let mut described = described(metadata);
        if let LeafKind::File(Content { source: ContentSource::Context(source), .. }) = &kind
            && let Some(capability) = capability(&self.root.join(source))
        {
            described.xattrs.insert(CAPABILITY.to_owned(), capability);
        }
        let leaf = Arc::new(Leaf { metadata: described, kind });
        if metadata.nlink() > 1 && metadata.is_file() {
            self.linked.insert((metadata.dev(), metadata.ino()), Arc::clone(&leaf));
        }
        self.tree.insert(path, Node::Leaf(leaf));
    }
}

/// The capabilities of a file, where the file system has them and lets us know.
fn capability(path: &Path) -> Option<Vec<u8>> {
    let mut buffer = [0_u8; MAX_CAPABILITY];
    let length = rustix::fs::lgetxattr(path, CAPABILITY, &mut buffer).ok()?;
    buffer.get(..length).map(<[u8]>::to_vec)
}

/// A file's metadata as it goes into an image.
fn described(metadata: &FileMetadata) -> Metadata {
    Metadata { mode: metadata.mode() & 0o7777, mtime: metadata.mtime(), ..Metadata::default() }
}

fn device(number: u64) -> Device {
    Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn paths(context: &Context) -> Vec<String> {
        context.tree().walk().into_iter().map(|(path, _)| path.display().to_string()).collect()
    }

    fn text(context: &Context, path: &str) -> String {
        let node = context.tree().get(Path::new(path)).unwrap();
        let ContentSource::Context(source) = node.as_file().unwrap().source.clone() else { panic!() };
        let mut text = String::new();
        context.open(&source).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lists_what_is_not_ignored() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a.txt", "dir/b.txt", "dir/keep/c.txt", "node_modules/x/y"] {
            write(root.path(), path, path);
        }
        let ignore = Ignore::parse("node_modules\ndir\n!dir/keep\n").unwrap();
        let context = Context::load(root.path(), &ignore).unwrap();
        assert_eq!(paths(&context), ["a.txt", "dir", "dir/keep", "dir/keep/c.txt"]);
        assert_eq!(text(&context, "dir/keep/c.txt"), "dir/keep/c.txt");
    }

    #[test]
    fn sees_through_a_mounted_config_map() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "..2026_11_22/app.js", "1");
        write(root.path(), "..2026_11_22/Dockerfile", "2");
        symlink("..2026_11_22", root.path().join("..data")).unwrap();
        symlink("..data/app.js", root.path().join("app.js")).unwrap();
        symlink("..data/Dockerfile", root.path().join("Dockerfile")).unwrap();
        symlink("app.js", root.path().join("own-link")).unwrap();
        let context = Context::load(root.path(), &Ignore::default()).unwrap();
        assert_eq!(paths(&context), ["Dockerfile", "app.js", "own-link"]);
        assert_eq!(text(&context, "app.js"), "1");
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_file_leads_nowhere() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "dir/a", "inside");
        let context = Context::load(root.path(), &Ignore::default()).unwrap();
        std::fs::rename(root.path().join("dir"), root.path().join("old")).unwrap();
        symlink("/etc", root.path().join("dir")).unwrap();
        assert!(context.open(Path::new("dir/passwd")).is_err());
        assert!(context.open(Path::new("../etc/passwd")).is_err());
    }

    #[test]
    fn names_of_one_file_share_a_leaf() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", "x");
        std::fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
        let context = Context::load(root.path(), &Ignore::default()).unwrap();
        let leaf = |path: &str| match context.tree().get(Path::new(path)) {
            Some(Node::Leaf(leaf)) => leaf,
            other => panic!("{other:?}"),
        };
        assert!(Arc::ptr_eq(&leaf("a"), &leaf("b")));
    }
}
