//! Which files of a tree the sources of a COPY mean.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::CopyError;
use crate::dockerfile::nearest;
use crate::layer::Metadata;
use crate::rootfs::glob::{self, Glob};
use crate::rootfs::{Directory, Last, Node, Tree, clean};

/// One file or directory that a source stands for.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The path that matched, relative to the root of the source; a link in it keeps its name.
    pub path: PathBuf,
    /// What is there, links followed.
    pub node: Node,
    /// With `--parents`: the directories above it that are made again, outermost first.
    pub parents: Vec<(OsString, Metadata)>,
    /// With `--parents`: the source ends at its pivot (`a/./`), so that only what is inside is meant.
    pub is_pivot: bool,
}

impl Selected {
    /// A file that is in no tree.
    pub fn file(name: &str, node: Node) -> Self {
        Self { path: PathBuf::from(name), node, parents: Vec::new(), is_pivot: false }
    }

    /// The name it gets inside a directory.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

/// Finds what `pattern` stands for in `tree`. A pattern with wildcards may match nothing; a literal path must exist.
pub fn select(tree: &Tree, pattern: &str, parents: bool) -> Result<Vec<Selected>, CopyError> {
    if parents {
        return select_with_parents(tree, pattern);
    }
    if !glob::has_wildcards(pattern) {
        return Ok(vec![select_literally(tree, pattern)?]);
    }
    let path = clean(Path::new(pattern));
    let mut selected = Vec::new();
    for path in matches(tree, &path, pattern)? {
        let resolved = tree.resolve(&path, Last::Follow)?;
        // A link that leads nowhere is not skipped: BuildKit fails as well.
        let node = resolved.node.ok_or_else(|| not_found(tree, &path.display().to_string()))?;
        selected.push(Selected { path, node, parents: Vec::new(), is_pivot: false });
    }
    Ok(selected)
}

/// Finds what is at `path` in `tree`, links followed inside it. No character is a wildcard.
pub fn select_literally(tree: &Tree, path: &str) -> Result<Selected, CopyError> {
    let cleaned = clean(Path::new(path));
    let resolved = tree.resolve(&cleaned, Last::Follow)?;
    let node = resolved.node.ok_or_else(|| not_found(tree, path))?;
    Ok(Selected { path: cleaned, node, parents: Vec::new(), is_pivot: false })
}

fn select_with_parents(tree: &Tree, pattern: &str) -> Result<Vec<Selected>, CopyError> {
    let (before, after) = match pattern.split_once("/./") {
        Some((before, after)) => (clean(Path::new(before)), after),
        None => (PathBuf::new(), pattern.strip_prefix("./").unwrap_or(pattern)),
    };
    let inside = clean(Path::new(after));
    let full = before.join(&inside);
    let paths = if glob::has_wildcards(pattern) {
        matches(tree, &full, pattern)?
    } else if tree.get(&full).is_some() {
        vec![full]
    } else {
        linked_parent(tree, &full)?;
        return Err(not_found(tree, pattern));
    };
    let mut selected = Vec::new();
    for path in paths {
        let Some(node) = tree.get(&path) else { continue };
        let depth = before.components().count();
        let mut parents = Vec::new();
        let mut ancestor = PathBuf::new();
        let names: Vec<&OsStr> = path.iter().collect();
        for (index, name) in names.iter().enumerate().take(names.len().saturating_sub(1)) {
            ancestor.push(name);
            if index >= depth
                && let Some(found) = tree.get(&ancestor)
            {
                parents.push(((*name).to_owned(), found.metadata().clone()));
            }
        }
        let is_pivot = names.len() <= depth;
        selected.push(Selected { path, node, parents, is_pivot });
    }
    Ok(selected)
}

fn linked_parent(tree: &Tree, path: &Path) -> Result<(), CopyError> {
    for ancestor in path.ancestors().skip(1) {
        if tree.get(ancestor).is_some_and(|node| node.as_symlink().is_some()) {
            return Err(CopyError::LinkedParent { path: ancestor.to_owned() });
        }
    }
    Ok(())
}

/// The paths below the root that match, sorted. Links on the way are followed in front of the first wildcard, and
/// are no directories behind it.
fn matches(tree: &Tree, path: &Path, pattern: &str) -> Result<Vec<PathBuf>, CopyError> {
    let bad = |reason: String| CopyError::BadPattern { pattern: pattern.to_owned(), reason };
    let elements: Vec<String> = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let mut found = Vec::new();
    let mut pending = vec![(PathBuf::new(), 0)];
    while let Some((prefix, position)) = pending.pop() {
        let Some(element) = elements.get(position) else {
            found.push(prefix);
            continue;
        };
        if element == "**" {
            // No directory at all, or any one and again.
            pending.push((prefix.clone(), position + 1));
            for (name, node) in children(tree, &prefix)?.iter().flat_map(|directory| directory.children()) {
                let is_last = position + 1 == elements.len();
                if matches!(node, Node::Directory(_)) {
                    pending.push((prefix.join(name), position));
                } else if is_last {
                    found.push(prefix.join(name));
                }
            }
            continue;
        }
        let in_front = !elements.iter().take(position + 1).any(|element| glob::has_wildcards(element));
        if in_front {
            pending.push((prefix.join(element), position + 1));
            continue;
        }
        let element = Glob::new(element).map_err(|error| bad(error.to_string()))?;
        let is_last = position + 1 == elements.len();
        for (name, node) in children(tree, &prefix)?.iter().flat_map(|directory| directory.children()) {
            if (is_last || node.as_directory().is_some()) && element.matches(&name.to_string_lossy()) {
                pending.push((prefix.join(name), position + 1));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn children(tree: &Tree, path: &Path) -> Result<Option<std::sync::Arc<Directory>>, CopyError> {
    match tree.resolve(path, Last::Follow) {
        Ok(resolved) => Ok(resolved.node.and_then(|node| node.as_directory().cloned())),
        // A file where the pattern wants a directory matches nothing.
        Err(crate::rootfs::TreeError::NotADirectory { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The error for a missing source, with the existing path that is most like it.
fn not_found(tree: &Tree, path: &str) -> CopyError {
    let cleaned = clean(Path::new(path));
    let mut parent = PathBuf::new();
    let mut advice = None;
    for name in &cleaned {
        let Ok(Some(directory)) = children(tree, &parent) else { break };
        if directory.get(name).is_none() {
            let names: Vec<String> =
                directory.children().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            advice = nearest(&name.to_string_lossy(), &names.iter().map(String::as_str).collect::<Vec<_>>())
                .map(|name| parent.join(name).display().to_string());
            break;
        }
        parent.push(name);
    }
    CopyError::NotFound { path: path.to_owned(), nearest: advice }
}
