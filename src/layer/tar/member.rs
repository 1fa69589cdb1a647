//! From a header and what extended headers said before it to an entry.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::header::RawHeader;
use super::path::{Meaning, check_attribute, check_bytes, interpret, normalise, printable};
use super::pax::{Records, XATTR_PREFIX};
use super::{PathProblem, TarError, number};
use crate::layer::{Device, Entry, EntryKind, Metadata};

/// Whether `.wh.` in names has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    Removals,
    PlainNames,
}

/// What extended headers said about the member that follows them.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) records: Records,
    pub(super) long_path: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.long_path.is_none() && self.long_link.is_none()
    }
}

/// A member of the stream.
#[derive(Debug)]
pub(super) struct Member {
    /// Its entry, with the offset still 0. `None` when it means nothing in a layer.
    pub(super) entry: Option<Entry>,
    /// Length of the contents that follow, in bytes.
    pub(super) size: u64,
    /// Length of its path and link target, in bytes.
    pub(super) names: usize,
}

/// Resolves the member whose header is at `start`.
pub(super) fn resolve(
    header: &RawHeader,
    extensions: &Extensions,
    global: &Records,
    whiteouts: Whiteouts,
    start: u64,
) -> Result<Member, TarError> {
    let records = Lookup { own: &extensions.records, global };
    let raw_path = extensions.long_path.as_deref().or(records.get(b"path")).unwrap_or(&header.path);
    let raw_link = extensions.long_link.as_deref().or(records.get(b"linkpath")).unwrap_or(&header.link);
    if header.kind == b'S' || records.is_sparse() {
        return Err(TarError::Sparse { path: printable(raw_path) });
    }
    let wrong = |problem| TarError::Path { path: printable(raw_path), problem };
    let path = normalise(raw_path).map_err(wrong)?;
    let metadata = Metadata {
        mode: header.mode,
        uid: records.id(b"uid", header.uid).ok_or(TarError::Field { offset: start, field: "uid" })?,
        gid: records.id(b"gid", header.gid).ok_or(TarError::Field { offset: start, field: "gid" })?,
        mtime: match records.get(b"mtime") {
            None => header.mtime,
            Some(text) => number::parse_time(text)
                .ok_or(TarError::Field { offset: start, field: "modification time" })?,
        },
        xattrs: records.xattrs().map_err(wrong)?,
    };
    let kind = match header.kind {
        0 | b'0' | b'7' if header.kind != 0 || !raw_path.ends_with(b"/") => {
            let size = match records.get(b"size") {
                None => header.size,
                Some(text) => {
                    number::parse_decimal(text).ok_or(TarError::Field { offset: start, field: "size" })?
                }
            };
            EntryKind::File { size, offset: 0 }
        }
        // A file of the oldest format whose name ends in a slash is a directory.
        0 | b'5' => EntryKind::Directory,
        b'1' => EntryKind::Hardlink(hardlink_target(raw_link).map_err(wrong)?),
        b'2' => EntryKind::Symlink(symlink_target(raw_link).map_err(wrong)?),
        b'3' => EntryKind::CharDevice(device(header, start)?),
        b'4' => EntryKind::BlockDevice(device(header, start)?),
        b'6' => EntryKind::Fifo,
        kind => {
            return Err(TarError::UnknownKind { path: printable(raw_path), kind: printable(&[kind]) });
        }
    };
    let size = if let EntryKind::File { size, .. } = kind { size } else { 0 };
    let names = raw_path.len() + raw_link.len();
    let meaning = match whiteouts {
        Whiteouts::PlainNames => Meaning::Member(path),
        Whiteouts::Removals => interpret(path).map_err(wrong)?,
    };
    let entry = match meaning {
        Meaning::Nothing => None,
        Meaning::Whiteout(path) => Some(Entry::whiteout(path)),
        Meaning::Opaque(path) => {
            Some(Entry { path, metadata: Metadata::default(), kind: EntryKind::OpaqueWhiteout })
        }
        Meaning::Member(path) if path.as_os_str().is_empty() && kind != EntryKind::Directory => {
            return Err(wrong(PathProblem::Root));
        }
        Meaning::Member(path) => Some(Entry { path, metadata, kind }),
    };
    Ok(Member { entry, size, names })
}

fn hardlink_target(raw: &[u8]) -> Result<PathBuf, PathProblem> {
    let target = normalise(raw)?;
    if target.as_os_str().is_empty() { Err(PathProblem::NoTarget) } else { Ok(target) }
}

fn symlink_target(raw: &[u8]) -> Result<PathBuf, PathProblem> {
    check_bytes(raw)?;
    if raw.is_empty() { Err(PathProblem::NoTarget) } else { Ok(OsString::from_vec(raw.to_vec()).into()) }
}

fn device(header: &RawHeader, start: u64) -> Result<Device, TarError> {
    let number = |value: i64| {
        u32::try_from(value).map_err(|_| TarError::Field { offset: start, field: "device number" })
    };
    Ok(Device { major: number(header.device.0)?, minor: number(header.device.1)? })
}

/// PAX records that apply to one member: its own before the global ones.
struct Lookup<'a> {
    own: &'a Records,
    global: &'a Records,
}

impl<'a> Lookup<'a> {
    /// The value for `key`. An empty one takes back what a global header said.
    fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        let value = self.own.get(key).or_else(|| self.global.get(key))?;
        (!value.is_empty()).then_some(value)
    }

    /// A user or group id: the record's, else the header's. `None` when it does not fit.
    fn id(&self, key: &[u8], in_header: i64) -> Option<u32> {
        match self.get(key) {
            Some(text) => number::parse_decimal(text),
            None => u32::try_from(in_header).ok(),
        }
    }

    fn is_sparse(&self) -> bool {
        [self.own, self.global]
            .iter()
            .any(|records| records.keys().any(|key| key.starts_with(b"GNU.sparse.")))
    }

    fn xattrs(&self) -> Result<BTreeMap<String, Vec<u8>>, PathProblem> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in self.global.iter().chain(self.own) {
            let Some(name) = key.strip_prefix(XATTR_PREFIX) else { continue };
            let name = std::str::from_utf8(name).map_err(|_| PathProblem::Attribute)?;
            check_attribute(name)?;
            xattrs.insert(name.to_owned(), value.clone());
        }
        Ok(xattrs)
    }
}
