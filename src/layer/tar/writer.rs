//! Writes tar streams whose bytes depend on the entries and nothing else.

use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::ActualSize;
use super::path::{check_attribute, check_bytes, check_normal, is_reserved, printable};
use super::{BLOCK, OPAQUE_NAME, PathProblem, TarError, WHITEOUT_PREFIX, number, pax};
use crate::layer::{Entry, EntryKind};

/// Writes entries in ustar format, with PAX records for what ustar cannot say: long names, extended attributes,
/// large numbers, times before 1970. No names of users and groups, no fractions of seconds, no padding at the end.
#[derive(Debug)]
#[must_use = "a tar stream is complete only after `finish`"]
pub struct TarWriter<W: Write> {
    /// What is behind it has work to do for each piece it is given, however small: hashing, handing to a thread.
    target: BufWriter<W>,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `target`, in pieces of about 128 KiB.
    pub fn new(target: W) -> Self {
        Self { target: BufWriter::with_capacity(COPY_BUFFER, target), buffer: Vec::new() }
    }

    /// Writes one member. `contents` must have exactly the announced length, which is 0 for all but regular files.
    pub fn append(&mut self, entry: &Entry, mut contents: impl Read) -> Result<(), TarError> {
        let path = entry.path.as_os_str().as_bytes();
        let header = encode(entry).map_err(|problem| TarError::Path { path: printable(path), problem })?;
        self.write(path, &header)?;
        let size = match entry.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        };
        self.copy(path, &mut contents, size)?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or_default();
        self.write(path, &[0; BLOCK][..padding])
    }

    /// Writes the two zero blocks that end a tar stream.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.write(b"", &[0; 2 * BLOCK])?;
        let ended = self.target.into_inner().map_err(io::IntoInnerError::into_error);
        ended.map_err(|source| TarError::Write { path: printable(b""), source })
    }

    fn write(&mut self, path: &[u8], bytes: &[u8]) -> Result<(), TarError> {
        self.target.write_all(bytes).map_err(|source| TarError::Write { path: printable(path), source })
    }

    fn copy(&mut self, path: &[u8], contents: &mut impl Read, size: u64) -> Result<(), TarError> {
        let changed = |actual| TarError::SizeChanged { path: printable(path), expected: size, actual };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(COPY_BUFFER, 0);
        let mut left = size;
        loop {
            // One byte more than is left, so that a source that grew is noticed.
            let wanted = usize::try_from(left.saturating_add(1)).unwrap_or(COPY_BUFFER).min(COPY_BUFFER);
            match contents.read(&mut buffer[..wanted]) {
                Ok(0) if left > 0 => return Err(changed(ActualSize::Only(size - left))),
                Ok(0) => break,
                Ok(count) if count as u64 > left => return Err(changed(ActualSize::More)),
                Ok(count) => {
                    left -= count as u64;
                    self.write(path, &buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Contents { path: printable(path), source }),
            }
        }
        self.buffer = buffer;
        Ok(())
    }
}

const COPY_BUFFER: usize = 128 << 10;

/// The header blocks of an entry: its PAX records, if it needs any, and the ustar header.
fn encode(entry: &Entry) -> Result<Vec<u8>, PathProblem> {
    let path = written_path(entry)?;
    let link = match &entry.kind {
        EntryKind::Symlink(target) => symlink_bytes(target)?,
        EntryKind::Hardlink(target) => hardlink_bytes(target)?,
        _ => b"",
    };
    let mut records = Vec::new();
    let mut header = Header::new(type_flag(&entry.kind));
    if !header.set_path(&path) {
        pax::push(&mut records, b"path", &path);
    }
    if !header.set_link(link) {
        pax::push(&mut records, b"linkpath", link);
    }
    header.set_numbers(entry, &mut records)?;
    for (name, value) in &entry.metadata.xattrs {
        check_attribute(name)?;
        pax::push(&mut records, &[pax::XATTR_PREFIX, name.as_bytes()].concat(), value);
    }
    let mut blocks = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let mut extension = Header::new(b'x');
        extension.set_path(b"PaxHeaders.0");
        number::write_octal(&mut extension.fields().mode, 0o644);
        number::write_octal(&mut extension.fields().size, records.len() as u64);
        blocks.extend_from_slice(&extension.finish());
        blocks.extend_from_slice(&records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    blocks.extend_from_slice(&header.finish());
    Ok(blocks)
}

/// The path as it stands in the stream.
fn written_path(entry: &Entry) -> Result<Vec<u8>, PathProblem> {
    check_normal(&entry.path)?;
    if is_reserved(&entry.path) {
        return Err(PathProblem::Reserved);
    }
    let path = entry.path.as_os_str().as_bytes();
    let is_root = path.is_empty();
    let written = match &entry.kind {
        EntryKind::Directory if is_root => b"./".to_vec(),
        EntryKind::Directory => [path, b"/"].concat(),
        EntryKind::OpaqueWhiteout if is_root => OPAQUE_NAME.to_vec(),
        EntryKind::OpaqueWhiteout => [path, b"/", OPAQUE_NAME].concat(),
        _ if is_root => return Err(PathProblem::Root),
        EntryKind::Whiteout => {
            let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            [&path[..name], WHITEOUT_PREFIX, &path[name..]].concat()
        }
        _ => path.to_vec(),
    };
    check_bytes(&written)?;
    Ok(written)
}

fn symlink_bytes(target: &Path) -> Result<&[u8], PathProblem> {
    let target = target.as_os_str().as_bytes();
    check_bytes(target)?;
    if target.is_empty() { Err(PathProblem::NoTarget) } else { Ok(target) }
}

fn hardlink_bytes(target: &Path) -> Result<&[u8], PathProblem> {
    check_normal(target)?;
    symlink_bytes(target)
}

fn type_flag(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::File { .. } | EntryKind::Whiteout | EntryKind::OpaqueWhiteout => b'0',
        EntryKind::Hardlink(_) => b'1',
        EntryKind::Symlink(_) => b'2',
        EntryKind::CharDevice(_) => b'3',
        EntryKind::BlockDevice(_) => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// A ustar header block in the making.
struct Header(tar::Header);

impl Header {
    fn new(kind: u8) -> Self {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_old_mut();
        fields.linkflag = [kind];
        for field in
            [&mut fields.mode[..], &mut fields.uid, &mut fields.gid, &mut fields.size, &mut fields.mtime]
        {
            number::write_octal(field, 0);
        }
        if let Some(fields) = header.as_ustar_mut() {
            number::write_octal(&mut fields.dev_major, 0);
            number::write_octal(&mut fields.dev_minor, 0);
        }
        Self(header)
    }

    fn fields(&mut self) -> &mut tar::OldHeader {
        self.0.as_old_mut()
    }

    /// Stores the path in the name field, or split at a slash in prefix and name. When it does not fit, stores
    /// what does, for readers that know no PAX, and returns `false`.
    fn set_path(&mut self, path: &[u8]) -> bool {
        let Some(fields) = self.0.as_ustar_mut() else { return false };
        if path.len() <= fields.name.len() {
            fields.name[..path.len()].copy_from_slice(path);
            return true;
        }
        // The slash itself is not stored, and one at the end belongs to the name.
        let longest_prefix = fields.prefix.len().min(path.len().saturating_sub(2));
        let slash = path[..=longest_prefix].iter().rposition(|byte| *byte == b'/');
        match slash {
            Some(slash) if slash > 0 && path.len() - slash - 1 <= fields.name.len() => {
                fields.prefix[..slash].copy_from_slice(&path[..slash]);
                fields.name[..path.len() - slash - 1].copy_from_slice(&path[slash + 1..]);
                true
            }
            _ => {
                let length = fields.name.len();
                fields.name.copy_from_slice(&path[..length]);
                false
            }
        }
    }

    fn set_link(&mut self, link: &[u8]) -> bool {
        let field = &mut self.fields().linkname;
        let length = link.len().min(field.len());
        field[..length].copy_from_slice(&link[..length]);
        length == link.len()
    }

    fn set_numbers(&mut self, entry: &Entry, records: &mut Vec<u8>) -> Result<(), PathProblem> {
        let metadata = &entry.metadata;
        let fields = self.fields();
        number::write_octal(&mut fields.mode, u64::from(metadata.mode & 0o7777));
        let mut store = |field: &mut [u8], key: &[u8], value: i128| {
            if !u64::try_from(value).is_ok_and(|value| number::write_octal(field, value)) {
                pax::push(records, key, value.to_string().as_bytes());
            }
        };
        if let EntryKind::File { size, .. } = entry.kind {
            store(&mut fields.size, b"size", size.into());
        }
        store(&mut fields.uid, b"uid", metadata.uid.into());
        store(&mut fields.gid, b"gid", metadata.gid.into());
        store(&mut fields.mtime, b"mtime", metadata.mtime.into());
        if let EntryKind::CharDevice(device) | EntryKind::BlockDevice(device) = entry.kind
            && let Some(fields) = self.0.as_ustar_mut()
            && !(number::write_octal(&mut fields.dev_major, device.major.into())
                && number::write_octal(&mut fields.dev_minor, device.minor.into()))
        {
            return Err(PathProblem::Device);
        }
        Ok(())
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.0.set_cksum();
        *self.0.as_bytes()
    }
}
