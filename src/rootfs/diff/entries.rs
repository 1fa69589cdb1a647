//! From paths that changed to the entries of a layer.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use super::capability::capability;
use super::status::{Fingerprint, Status, fingerprint_with, open_file, read_link};
use super::{CAPABILITY, DiffError, DiffSettings};
use crate::layer::{Device, Entry, EntryKind, Metadata, TarWriter};

/// What is in a rootfs, or in the part of it that was touched, and what of it a layer must say.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Sorted by path, parents first.
    pub(super) present: Vec<(PathBuf, Status)>,
    /// Indices into `present`.
    pub(super) changed: BTreeSet<usize>,
    pub(super) gone: BTreeSet<PathBuf>,
}

/// How a changed file is found to be after it was written to the layer.
pub(super) type Written = HashMap<usize, Fingerprint>;

impl Changes {
    /// Adds the other names of what changed, and the parents of all.
    fn complete(&mut self) {
        let is_shared = |status: &Status| status.links > 1 && !status.is_directory();
        let shared: HashSet<u64> = self
            .changed
            .iter()
            .map(|index| &self.present[*index].1)
            .filter(|status| is_shared(status))
            .map(|status| status.inode)
            .collect();
        if !shared.is_empty() {
            let names = self
                .present
                .iter()
                .enumerate()
                .filter(|(_, (_, status))| is_shared(status) && shared.contains(&status.inode));
            self.changed.extend(names.map(|(index, _)| index));
        }
        let mut parents: BTreeSet<&Path> = BTreeSet::new();
        let changed = self.changed.iter().map(|index| self.present[*index].0.as_path());
        for path in changed.chain(self.gone.iter().map(PathBuf::as_path)) {
            for parent in path.ancestors().skip(1) {
                // The parents of a known parent are known.
                if parent.as_os_str().is_empty() || !parents.insert(parent) {
                    break;
                }
            }
        }
        let found = parents
            .into_iter()
            .filter_map(|parent| self.present.binary_search_by(|(path, _)| path.as_path().cmp(parent)).ok());
        let found: Vec<usize> = found.collect();
        self.changed.extend(found);
    }

    /// Writes the layer. Gives the number of entries that it has or that were left out, and the fingerprints of its
    /// files.
    pub(super) fn write(
        &mut self,
        root: BorrowedFd<'_>,
        settings: &DiffSettings,
        out: impl Write,
    ) -> Result<(u64, Written), DiffError> {
        self.complete();
        let count = self.changed.len() as u64 + self.gone.len() as u64;
        // The parents of what is left out stay, and the next name of a file is its first if that is left out.
        self.changed.retain(|index| !settings.ignores(&self.present[*index].0));
        self.gone.retain(|path| !settings.ignores(path));
        let latest_mtime = settings.latest_mtime;
        let mut writer = TarWriter::new(out);
        let mut first_names: HashMap<u64, &Path> = HashMap::new();
        let mut written = Written::new();
        let mut gone = self.gone.iter().peekable();
        for index in &self.changed {
            let (path, status) = &self.present[*index];
            while let Some(path) = gone.next_if(|gone| *gone < path) {
                writer.append(&Entry::whiteout(path), io::empty())?;
            }
            if status.links > 1 && !status.is_directory() {
                match first_names.get(&status.inode) {
                    Some(first) => {
                        let kind = EntryKind::Hardlink((*first).to_owned());
                        let metadata = metadata(status, latest_mtime);
                        writer.append(&Entry { path: path.clone(), metadata, kind }, io::empty())?;
                        continue;
                    }
                    None => first_names.insert(status.inode, path),
                };
            }
            if let Some(fingerprint) = append(&mut writer, root, path, status, latest_mtime)? {
                written.insert(*index, fingerprint);
            }
        }
        for path in gone {
            writer.append(&Entry::whiteout(path), io::empty())?;
        }
        let mut out = writer.finish()?;
        out.flush().map_err(|source| DiffError::Read { path: PathBuf::new(), source })?;
        Ok((count, written))
    }
}

fn metadata(status: &Status, latest_mtime: Option<i64>) -> Metadata {
    Metadata {
        mode: status.mode & 0o7777,
        uid: status.uid,
        gid: status.gid,
        mtime: latest_mtime.map_or(status.mtime.0, |latest| status.mtime.0.min(latest)),
        ..Metadata::default()
    }
}

/// Writes what is at `path`.
fn append(
    writer: &mut TarWriter<impl Write>,
    root: BorrowedFd<'_>,
    path: &Path,
    status: &Status,
    latest_mtime: Option<i64>,
) -> Result<Option<Fingerprint>, DiffError> {
    let failed = |source| DiffError::Read { path: path.to_owned(), source };
    let mut metadata = metadata(status, latest_mtime);
    let device = Device { major: rustix::fs::major(status.device), minor: rustix::fs::minor(status.device) };
    let kind = match status.kind() {
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => {
            let target = read_link(root, path).map_err(failed)?;
            EntryKind::Symlink(OsStr::from_bytes(&target).into())
        }
        FileType::CharacterDevice => EntryKind::CharDevice(device),
        FileType::BlockDevice => EntryKind::BlockDevice(device),
        FileType::Fifo => EntryKind::Fifo,
        _ => {
            let mut file = open_file(root, path).map_err(failed)?;
            if let Some(value) = capability(&file).map_err(failed)? {
                metadata.xattrs.insert(CAPABILITY.to_owned(), value);
            }
            let entry = Entry::file(path, metadata, status.size);
            let mut hashing = Hashing { source: &mut file, hasher: Sha256::new() };
            writer.append(&entry, &mut hashing)?;
            let hasher = hashing.hasher;
            return fingerprint_with(hasher, &file).map(Some).map_err(failed);
        }
    };
    writer.append(&Entry { path: path.to_owned(), metadata, kind }, io::empty())?;
    Ok(None)
}

/// Hashes what is read through it.
struct Hashing<R> {
    source: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
