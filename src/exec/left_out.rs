//! `--ignore-path`: what is left out of the layer of a COPY.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::copy::Placed;
use crate::layer::{Entry, EntryKind};
use crate::rootfs::diff;

/// Of the entries of a COPY, those that go into the layer. Of a file whose first name stays out, the next name is the file.
pub(super) fn kept(placed: &[Placed], ignored: &[PathBuf]) -> Vec<Placed> {
    let is_ignored = |path: &Path| diff::is_ignored(path, ignored);
    let mut first_names: HashMap<&Path, &Path> = HashMap::new();
    let mut kept = Vec::new();
    for item in placed.iter().filter(|placed| !is_ignored(&placed.entry.path)) {
        let path = item.entry.path.as_path();
        let item = match &item.entry.kind {
            EntryKind::Hardlink(target) if is_ignored(target) => {
                if let Some(first) = first_names.get(target.as_path()) {
                    let kind = EntryKind::Hardlink((*first).to_owned());
                    Placed { entry: Entry { kind, ..item.entry.clone() }, content: None }
                } else {
                    first_names.insert(target, path);
                    let file = placed.iter().find(|placed| placed.entry.path == *target).unwrap_or(item);
                    let entry = Entry { path: path.to_owned(), ..file.entry.clone() };
                    Placed { entry, content: file.content.clone() }
                }
            }
            _ => item.clone(),
        };
        kept.push(item);
    }
    kept
}
