//! Reading the upper directory of an overlay. The lower layers are looked at only where the upper has something.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::capability::capability;
use super::entries::Changes;
use super::status::{Status, open_file, read_directory, read_link};
use super::{DiffError, DiffSettings, check_length};
use crate::rootfs::beneath;
use crate::rootfs::owner::Ownership;
use crate::rootfs::unpack::is_opaque;

/// Writes what the directory `upper` changes in `lower`. Gives the number of entries.
pub(crate) fn write_overlay(
    upper: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    ownership: Ownership,
    settings: &DiffSettings,
    out: impl Write,
) -> Result<u64, DiffError> {
    let mut reader = Reader { upper, lower, ownership, changes: Changes::default() };
    reader.walk(Path::new(""), Below { exists: true, hidden: false })?;
    let (count, _) = reader.changes.write(upper, settings, out)?;
    Ok(count)
}

struct Reader<'a> {
    upper: BorrowedFd<'a>,
    lower: BorrowedFd<'a>,
    ownership: Ownership,
    changes: Changes,
}

/// What the lower layers have at the place of a directory.
#[derive(Debug, Clone, Copy)]
struct Below {
    /// A directory.
    exists: bool,
    /// It does not show through: what the upper does not have is gone.
    hidden: bool,
}

impl Reader<'_> {
    fn walk(&mut self, path: &Path, below: Below) -> Result<(), DiffError> {
        check_length(path)?;
        let names = read_directory(self.upper, path, self.ownership)?;
        let lower = if below.exists { self.look_below(path, &names, below.hidden)? } else { Vec::new() };
        for (index, (name, status)) in names.into_iter().enumerate() {
            let below_it = lower.get(index).copied().flatten();
            let path = path.join(name);
            if status.is_nothing() {
                if below_it.is_some() {
                    self.changes.gone.insert(path);
                }
                continue;
            }
            let is_directory = status.is_directory();
            if !self.is_as_before(&path, &status, below_it.as_ref())? {
                self.changes.changed.insert(self.changes.present.len());
            }
            self.changes.present.push((path.clone(), status));
            if is_directory {
                let exists = below_it.is_some_and(|below| below.is_directory());
                let hidden = below.hidden || (exists && self.is_opaque(&path)?);
                self.walk(&path, Below { exists, hidden })?;
            }
        }
        Ok(())
    }

    /// What the lower layers have under each of `names`. If they are hidden, whatever else they have is gone.
    fn look_below(
        &mut self,
        path: &Path,
        names: &[(OsString, Status)],
        hidden: bool,
    ) -> Result<Vec<Option<Status>>, DiffError> {
        let directory = beneath::open_exactly(self.lower, path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(DiffError::read(path))?;
        let found = names.iter().map(|(name, _)| match Status::of(&directory, name, self.ownership) {
            Ok(status) => Ok(Some(status)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(None),
            Err(source) => Err(DiffError::Read { path: path.join(name), source }),
        });
        let found = found.collect::<Result<_, _>>()?;
        if hidden {
            let there: HashSet<&OsString> = names.iter().map(|(name, _)| name).collect();
            for (name, _) in read_directory(self.lower, path, self.ownership)? {
                if !there.contains(&name) {
                    self.changes.gone.insert(path.join(name));
                }
            }
        }
        Ok(found)
    }

    fn is_opaque(&self, path: &Path) -> Result<bool, DiffError> {
        beneath::open_exactly(self.upper, path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|directory| is_opaque(directory.as_fd()))
            .map_err(DiffError::read(path))
    }

    /// Whether the lower layers have the same there: it was copied up, and then nothing came of it.
    fn is_as_before(&self, path: &Path, status: &Status, below: Option<&Status>) -> Result<bool, DiffError> {
        let Some(below) = below else { return Ok(false) };
        if !status.looks_like(below) {
            return Ok(false);
        }
        let same = match status.kind() {
            FileType::RegularFile => self.has_same_contents(path),
            FileType::Symlink => {
                read_link(self.upper, path).and_then(|target| Ok(target == read_link(self.lower, path)?))
            }
            _ => Ok(true),
        };
        same.map_err(DiffError::read(path))
    }

    fn has_same_contents(&self, path: &Path) -> io::Result<bool> {
        let (mut one, mut other) = (open_file(self.upper, path)?, open_file(self.lower, path)?);
        if capability(&one)? != capability(&other)? {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            let count = fill(&mut one, &mut left)?;
            if fill(&mut other, &mut right)? != count || left[..count] != right[..count] {
                return Ok(false);
            }
            if count < left.len() {
                return Ok(true);
            }
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
