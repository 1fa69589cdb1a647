//! Comparing a plain rootfs with the note of what was in it.
//!
//! Whatever a command does to a file changes at least one of inode, change time, modification time, size, mode,
//! owner and device. They are compared by *inequality*: "changed after the start" would miss files that were renamed,
//! and the clock that stamps them is coarse.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::baseline::{self, Baseline, Record};
use super::entries::{Changes, Written};
use super::status::{Status, fingerprint, read_directory};
use super::{DiffError, DiffSettings, check_length};
use crate::rootfs::owner::Ownership;

/// Writes what changed in `root` since `baseline` was noted, and notes how it is now. Gives the number of entries.
pub(crate) fn write_plain(
    root: BorrowedFd<'_>,
    baseline: &Path,
    ownership: Ownership,
    settings: &DiffSettings,
    out: impl Write,
) -> Result<u64, DiffError> {
    let old =
        File::open(baseline).and_then(|mut file| Baseline::read(&mut file)).map_err(DiffError::Baseline)?;
    let mut changes = Changes { present: walk(root, ownership)?, ..Changes::default() };
    let kept = compare(root, &old, &mut changes)?;
    let (count, written) = changes.write(root, settings, out)?;
    note(root, &old, kept, changes.present, &written)
        .map_err(DiffError::Baseline)?
        .replace(baseline)
        .map_err(DiffError::Baseline)?;
    Ok(count)
}

/// Notes what is in `root`, in the place of an older note. `fingerprints` are those that unpacking has given since
/// then; they are in the note now, and the file is removed.
pub(crate) fn write_baseline(
    root: BorrowedFd<'_>,
    fingerprints: &Path,
    path: &Path,
    ownership: Ownership,
) -> std::io::Result<()> {
    let old = match File::open(path) {
        Ok(mut file) => Baseline::read(&mut file)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Baseline::default(),
        Err(error) => return Err(error),
    };
    let known = old.records.iter().filter_map(|record| Some((record.status.inode, record.fingerprint?)));
    let mut by_inode: std::collections::HashMap<_, _> = known.collect();
    // Whatever was unpacked with the inode of something that is gone is among these.
    by_inode.extend(baseline::read_fingerprints(fingerprints)?);
    let present = walk(root, ownership).map_err(std::io::Error::other)?;
    let records = present.into_iter().map(|(path, status)| {
        let print = match status.kind() {
            FileType::RegularFile => by_inode.get(&status.inode).copied(),
            FileType::Symlink => fingerprint(root, &path, &status)?,
            _ => None,
        };
        Ok(Record { path, status, fingerprint: print })
    });
    Baseline { records: records.collect::<std::io::Result<_>>()? }.replace(path)?;
    match std::fs::remove_file(fingerprints) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Everything in `root`, sorted by path.
fn walk(root: BorrowedFd<'_>, ownership: Ownership) -> Result<Vec<(PathBuf, Status)>, DiffError> {
    let mut found = Vec::new();
    walk_into(root, Path::new(""), ownership, &mut found)?;
    Ok(found)
}

fn walk_into(
    root: BorrowedFd<'_>,
    path: &Path,
    ownership: Ownership,
    found: &mut Vec<(PathBuf, Status)>,
) -> Result<(), DiffError> {
    check_length(path)?;
    for (name, status) in read_directory(root, path, ownership)? {
        if status.is_nothing() {
            continue;
        }
        let path = path.join(name);
        found.push((path.clone(), status));
        if status.is_directory() {
            walk_into(root, &path, ownership, found)?;
        }
    }
    Ok(())
}

/// Index of the old record of each path that is as it was.
type Kept = Vec<Option<usize>>;

fn compare(root: BorrowedFd<'_>, old: &Baseline, changes: &mut Changes) -> Result<Kept, DiffError> {
    let mut kept = vec![None; changes.present.len()];
    let mut before = old.records.iter().enumerate().peekable();
    // The topmost path whose contents are spoken for: it is gone, or no directory any more.
    let mut covered: Option<&Path> = None;
    let mut gone = |record: &Record, covered: &mut Option<&Path>| {
        if covered.is_none_or(|covered| !record.path.starts_with(covered)) {
            changes.gone.insert(record.path.clone());
        }
    };
    for (index, (path, status)) in changes.present.iter().enumerate() {
        while let Some((_, record)) = before.next_if(|(_, record)| record.path < *path) {
            gone(record, &mut covered);
            if covered.is_none_or(|covered| !record.path.starts_with(covered)) {
                covered = Some(&record.path);
            }
        }
        let Some((number, record)) = before.next_if(|(_, record)| record.path == *path) else {
            changes.changed.insert(index);
            continue;
        };
        if record.status.is_directory() && !status.is_directory() {
            covered = Some(&record.path);
        }
        if is_as_before(root, record, status)? {
            kept[index] = Some(number);
        } else {
            changes.changed.insert(index);
        }
    }
    for (_, record) in before {
        gone(record, &mut covered);
        if covered.is_none_or(|covered| !record.path.starts_with(covered)) {
            covered = Some(&record.path);
        }
    }
    Ok(kept)
}

fn is_as_before(root: BorrowedFd<'_>, record: &Record, status: &Status) -> Result<bool, DiffError> {
    let before = &record.status;
    if status.is_directory() || !status.looks_like(before) {
        return Ok(status.looks_like(before));
    }
    if status.inode == before.inode && status.ctime == before.ctime {
        return Ok(true);
    }
    // Touched, but it looks as before: only the contents can tell.
    let print = fingerprint(root, &record.path, status).map_err(DiffError::read(&record.path))?;
    Ok(print == record.fingerprint)
}

/// The note for the next comparison.
fn note(
    root: BorrowedFd<'_>,
    old: &Baseline,
    kept: Kept,
    present: Vec<(PathBuf, Status)>,
    written: &Written,
) -> std::io::Result<Baseline> {
    let by_inode: std::collections::HashMap<u64, super::status::Fingerprint> =
        written.iter().map(|(index, print)| (present[*index].1.inode, *print)).collect();
    let records = present.into_iter().zip(kept).map(|((path, status), kept)| {
        let print = match (kept, status.kind()) {
            (Some(number), _) => old.records[number].fingerprint,
            (None, FileType::RegularFile) => by_inode.get(&status.inode).copied(),
            (None, _) => fingerprint(root, &path, &status)?,
        };
        Ok(Record { path, status, fingerprint: print })
    });
    Ok(Baseline { records: records.collect::<std::io::Result<_>>()? })
}
