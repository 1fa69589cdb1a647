//! COPY and ADD as layers, decided on trees alone.
//!
//! ```text
//! source tree ─► select (wildcards, links) ─┐
//!                                           ├─► arrange (parents, conflicts, owners, modes) ─► entries
//! destination tree ─► where it leads ───────┘
//! ```
//!
//! No file of the base image is unpacked, and no content is read: that happens when the entries are written.

mod archive;
mod arrange;
mod select;

use std::path::{Path, PathBuf};

pub use archive::{Archive, ArchiveError};
pub use arrange::{Arrangement, Placed, everything};
pub use select::{Selected, select, select_literally};

use crate::context::ignore::Ignore;
use crate::dockerfile::Chmod;
use crate::layer::Metadata;
use crate::rootfs::{Last, Node, Owner, Tree, TreeError};

/// How the files of one COPY are to be placed.
#[derive(Debug, Clone)]
pub struct CopyRules {
    /// The destination, absolute or relative to `/`.
    pub destination: PathBuf,
    /// Whether the destination was written as a directory: it ends in `/` or is `.`.
    pub into_directory: bool,
    /// `--chown`: given to everything, also to directories made on the way.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<Chmod>,
    /// `--parents`: paths keep what is before their last name.
    pub parents: bool,
    /// `--exclude`, against paths inside a copied directory.
    pub exclude: Ignore,
    /// Modification time of directories that have no model, in seconds since 1970.
    pub now: i64,
}

/// Why a COPY cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// A literal source does not exist.
    #[error("`{path}` was not found{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    NotFound {
        /// The source, as written.
        path: String,
        /// What there is with almost that name.
        nearest: Option<String>,
    },
    /// A wildcard pattern that cannot be.
    #[error("`{pattern}` is not a pattern: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Several files and one name to put them at.
    #[error("several files cannot be copied to the one name `{}`; end the destination with `/` to make it a directory", destination.display())]
    SeveralToOne {
        /// The destination.
        destination: PathBuf,
    },
    /// A file would take the place of a directory.
    #[error("cannot replace the directory `/{}` with the file `{}`", path.display(), source_path.display())]
    FileOverDirectory {
        /// The directory.
        path: PathBuf,
        /// The file.
        source_path: PathBuf,
    },
    /// A directory would take the place of a file.
    #[error("cannot copy the directory `{}` to `/{}`, which is not a directory", source_path.display(), path.display())]
    DirectoryOverFile {
        /// The file.
        path: PathBuf,
        /// The directory.
        source_path: PathBuf,
    },
    /// A hard link of an archive to a name that it has not brought before.
    #[error("the archive has a hard link `{path}` to `{target}`, which is not there")]
    ArchiveLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// `--parents` does not go through links.
    #[error("`--parents` cannot go through the symbolic link `{}`", path.display())]
    LinkedParent {
        /// The link.
        path: PathBuf,
    },
    /// A path cannot be followed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Places what was selected over the tree `base`; several calls for several sources share an arrangement.
pub fn arrange(
    arrangement: &mut Arrangement<'_>,
    selected: &[Selected],
    rules: &CopyRules,
) -> Result<(), CopyError> {
    for source in selected {
        if rules.parents {
            arrange_with_parents(arrangement, source, rules)?;
        } else {
            arrange_one(arrangement, source, rules)?;
        }
    }
    Ok(())
}

/// A single file goes to the destination, or into it when that is a directory; of a directory, the contents do.
fn arrange_one(
    arrangement: &mut Arrangement<'_>,
    source: &Selected,
    rules: &CopyRules,
) -> Result<(), CopyError> {
    let resolved = arrangement.resolve(&rules.destination)?;
    if let Node::Directory(directory) = &source.node {
        match resolved.node {
            Some(Node::Leaf(_)) => {
                return Err(CopyError::DirectoryOverFile {
                    path: resolved.path,
                    source_path: source.path.clone(),
                });
            }
            _ => arrangement.make_directories(&resolved.path, rules)?,
        }
        return arrangement.copy_children(directory, &source.path, &resolved.path, rules);
    }
    let existing_directory = matches!(resolved.node, Some(Node::Directory(_)));
    let target = if existing_directory || rules.into_directory {
        arrangement.make_directories(&resolved.path, rules)?;
        resolved.path.join(source.name())
    } else {
        if let Some(parent) = resolved.path.parent() {
            arrangement.make_directories(parent, rules)?;
        }
        resolved.path
    };
    arrangement.put_leaf(&target, &source.node, &source.path, rules)
}

/// `--parents`: the source's directories are made below the destination, with their own metadata.
fn arrange_with_parents(
    arrangement: &mut Arrangement<'_>,
    source: &Selected,
    rules: &CopyRules,
) -> Result<(), CopyError> {
    let resolved = arrangement.resolve(&rules.destination)?;
    arrangement.make_directories(&resolved.path, rules)?;
    let mut target = resolved.path;
    for (name, metadata) in &source.parents {
        target.push(name);
        arrangement.put_directory(&target, metadata, &source.path, rules)?;
    }
    if source.path.as_os_str().is_empty() || source.is_pivot {
        return match &source.node {
            Node::Directory(directory) => arrangement.copy_children(directory, &source.path, &target, rules),
            Node::Leaf(_) => Ok(()),
        };
    }
    target.push(source.name());
    match &source.node {
        Node::Directory(directory) => {
            arrangement.put_directory(&target, &directory.metadata, &source.path, rules)?;
            arrangement.copy_children(directory, &source.path, &target, rules)
        }
        leaf @ Node::Leaf(_) => arrangement.put_leaf(&target, leaf, &source.path, rules),
    }
}

/// The directories that WORKDIR makes: `path` and its missing parents, 0755.
pub fn make_working_directory(
    base: &Tree,
    path: &Path,
    owner: Owner,
    now: i64,
) -> Result<Vec<Placed>, CopyError> {
    let resolved = base.resolve(path, Last::Follow)?;
    if let Some(Node::Leaf(_)) = resolved.node {
        return Err(TreeError::NotADirectory { path: path.to_owned(), file: resolved.path }.into());
    }
    if resolved.node.is_some() {
        // BuildKit makes an empty layer of a directory that is there.
        return Ok(Vec::new());
    }
    let mut arrangement = Arrangement::new(base);
    let new = Metadata { mode: 0o755, uid: owner.uid, gid: owner.gid, mtime: now, ..Metadata::default() };
    arrangement.make_missing(&resolved.path, &new)?;
    Ok(arrangement.finish())
}

#[cfg(test)]
mod tests;
