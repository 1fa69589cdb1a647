//! Laying the entries of an archive over a tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Arrangement, Draft, What, owned};
use crate::exec::copy::archive::Archive;
use crate::exec::copy::{CopyError, CopyRules};
use crate::layer::{Entry, EntryKind};
use crate::rootfs::{Content, ContentSource, Directory, Leaf, LeafKind, Node, Tree};

impl Arrangement<'_> {
    /// Unpacks an archive into the destination, which becomes a directory.
    ///
    /// Later entries replace what is in their place, directories merge. Links on the way are followed as by a process
    /// whose root the image is, also those that the archive itself has brought. `--chmod` means nothing here, and
    /// neither does what the archive says of its own root.
    pub fn unpack(&mut self, archive: &Archive, rules: &CopyRules) -> Result<(), CopyError> {
        let resolved = self.resolve(&rules.destination)?;
        if let Some(Node::Leaf(_)) = resolved.node {
            let source_path = PathBuf::from("archive");
            return Err(CopyError::DirectoryOverFile { path: resolved.path, source_path });
        }
        self.make_directories(&resolved.path, rules)?;
        let mut view = self.view();
        for entry in &archive.entries {
            if entry.path.as_os_str().is_empty() {
                continue;
            }
            let path = view.landing(&resolved.path.join(&entry.path))?;
            let Some(what) = draft(entry, archive, &view, &resolved.path)? else {
                return Err(dangling(entry));
            };
            self.unpack_entry(&mut view, &path, entry, what, rules);
        }
        Ok(())
    }

    /// The base with what was arranged so far on top.
    fn view(&self) -> Tree {
        let mut view = self.base.clone();
        for (path, draft) in &self.entries {
            place(&mut view, path, draft);
        }
        view
    }

    fn unpack_entry(&mut self, view: &mut Tree, path: &Path, entry: &Entry, what: What, rules: &CopyRules) {
        if let Some(parent) = path.parent() {
            self.make_directories_in(view, parent, rules);
        }
        // What was arranged inside a directory goes with it when something else takes its place.
        if !matches!(what, What::Directory) {
            self.entries.retain(|known, _| known == path || !known.starts_with(path));
        }
        let metadata = match &what {
            // Another name of a file has the metadata of the file.
            What::Leaf(leaf) => owned(&leaf.metadata, rules),
            What::Directory => owned(&entry.metadata, rules),
        };
        let draft = Draft { metadata, what };
        place(view, path, &draft);
        self.entries.insert(path.to_owned(), draft);
    }

    /// Makes missing parents of an entry, and brings existing ones into the layer.
    fn make_directories_in(&mut self, view: &mut Tree, path: &Path, rules: &CopyRules) {
        let mut ancestor = PathBuf::new();
        for name in path {
            ancestor.push(name);
            if self.entries.contains_key(&ancestor) {
                continue;
            }
            let metadata = if let Some(Node::Directory(directory)) = view.get(&ancestor) {
                directory.metadata.clone()
            } else {
                let owner = rules.owner.unwrap_or_default();
                crate::layer::Metadata {
                    uid: owner.uid,
                    gid: owner.gid,
                    mtime: rules.now,
                    ..crate::layer::Metadata::with_mode(0o755)
                }
            };
            let draft = Draft { metadata, what: What::Directory };
            place(view, &ancestor, &draft);
            self.entries.insert(ancestor.clone(), draft);
        }
    }
}

/// What an entry puts at its place; `None` for a hard link that leads nowhere.
fn draft(entry: &Entry, archive: &Archive, view: &Tree, root: &Path) -> Result<Option<What>, CopyError> {
    let kind = match &entry.kind {
        EntryKind::Directory => return Ok(Some(What::Directory)),
        EntryKind::Hardlink(target) => {
            let target = view.landing(&root.join(target))?;
            return Ok(match view.get(&target) {
                Some(Node::Leaf(leaf)) => Some(What::Leaf(leaf)),
                _ => None,
            });
        }
        EntryKind::File { size, offset } => LeafKind::File(Content {
            size: *size,
            source: ContentSource::Layer { diff_id: archive.digest, offset: *offset },
            text: None,
        }),
        EntryKind::Symlink(target) => LeafKind::Symlink(target.clone()),
        EntryKind::CharDevice(device) => LeafKind::CharDevice(*device),
        EntryKind::BlockDevice(device) => LeafKind::BlockDevice(*device),
        EntryKind::Fifo => LeafKind::Fifo,
        // No archive reader yields these.
        EntryKind::Whiteout | EntryKind::OpaqueWhiteout => return Ok(None),
    };
    Ok(Some(What::Leaf(Arc::new(Leaf { metadata: entry.metadata.clone(), kind }))))
}

fn place(view: &mut Tree, path: &Path, draft: &Draft) {
    match &draft.what {
        What::Leaf(leaf) => view.insert(path, Node::Leaf(Arc::clone(leaf))),
        What::Directory => {
            if !matches!(view.get(path), Some(Node::Directory(_))) {
                view.insert(path, Node::Directory(Arc::new(Directory::new(draft.metadata.clone()))));
            }
        }
    }
}

fn dangling(entry: &Entry) -> CopyError {
    let path = entry.path.display().to_string();
    let target = match &entry.kind {
        EntryKind::Hardlink(target) => target.display().to_string(),
        _ => String::new(),
    };
    CopyError::ArchiveLink { path, target }
}
