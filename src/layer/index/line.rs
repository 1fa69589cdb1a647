//! The lines of a serialised index.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::layer::tar::{MAX_PATH, check_attribute, normalise};
use crate::layer::{Device, Digest, Entry, EntryKind, Metadata};

/// The first line.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadLine {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) entries: u64,
    pub(super) texts: u64,
}

/// A line for one entry. One-letter keys: there are thousands of these lines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine<'a> {
    #[serde(rename = "p", borrow)]
    path: Bytes<'a>,
    #[serde(rename = "k", borrow)]
    kind: KindField<'a>,
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(rename = "t", default, skip_serializing_if = "is_zero")]
    mtime: i64,
    #[serde(rename = "x", borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<Cow<'a, str>, Bytes<'a>>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// A line for one text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextLine<'a> {
    #[serde(borrow)]
    path: Bytes<'a>,
    #[serde(borrow)]
    text: Bytes<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
enum KindField<'a> {
    #[serde(rename = "f")]
    File(u64, u64),
    #[serde(rename = "d")]
    Directory,
    #[serde(rename = "l", borrow)]
    Symlink(Bytes<'a>),
    #[serde(rename = "h", borrow)]
    Hardlink(Bytes<'a>),
    #[serde(rename = "c")]
    CharDevice(u32, u32),
    #[serde(rename = "b")]
    BlockDevice(u32, u32),
    #[serde(rename = "p")]
    Fifo,
    #[serde(rename = "w")]
    Whiteout,
    #[serde(rename = "o")]
    OpaqueWhiteout,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl<'a> EntryLine<'a> {
    pub(super) fn of(entry: &'a Entry, digests: &BTreeMap<u64, Digest>) -> Self {
        let digest = match &entry.kind {
            EntryKind::File { offset, .. } => digests.get(offset).copied(),
            _ => None,
        };
        let metadata = &entry.metadata;
        let kind = match &entry.kind {
            EntryKind::File { size, offset } => KindField::File(*size, *offset),
            EntryKind::Directory => KindField::Directory,
            EntryKind::Symlink(target) => KindField::Symlink(Bytes::of_path(target)),
            EntryKind::Hardlink(target) => KindField::Hardlink(Bytes::of_path(target)),
            EntryKind::CharDevice(device) => KindField::CharDevice(device.major, device.minor),
            EntryKind::BlockDevice(device) => KindField::BlockDevice(device.major, device.minor),
            EntryKind::Fifo => KindField::Fifo,
            EntryKind::Whiteout => KindField::Whiteout,
            EntryKind::OpaqueWhiteout => KindField::OpaqueWhiteout,
        };
        Self {
            path: Bytes::of_path(&entry.path),
            kind,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime,
            xattrs: metadata
                .xattrs
                .iter()
                .map(|(name, value)| (Cow::Borrowed(name.as_str()), Bytes(Cow::Borrowed(value.as_slice()))))
                .collect(),
            digest,
        }
    }

    /// The entry of this line, and where its contents begin with their digest; `None` when it is not one that a tar
    /// reader gives.
    pub(super) fn into_entry(self) -> Option<(Entry, Option<(u64, Digest)>)> {
        let device = |major, minor| Device { major, minor };
        let path = self.path.into_normal_path()?;
        let kind = match self.kind {
            // No file ends beyond what a file system can hold.
            KindField::File(size, offset) => {
                i64::try_from(offset.checked_add(size)?).ok()?;
                EntryKind::File { size, offset }
            }
            KindField::Directory => EntryKind::Directory,
            KindField::Symlink(target) => EntryKind::Symlink(target.into_target()?),
            KindField::Hardlink(target) => EntryKind::Hardlink(target.into_normal_path()?),
            KindField::CharDevice(major, minor) => EntryKind::CharDevice(device(major, minor)),
            KindField::BlockDevice(major, minor) => EntryKind::BlockDevice(device(major, minor)),
            KindField::Fifo => EntryKind::Fifo,
            KindField::Whiteout => EntryKind::Whiteout,
            KindField::OpaqueWhiteout => EntryKind::OpaqueWhiteout,
        };
        let may_be_root = matches!(kind, EntryKind::Directory | EntryKind::OpaqueWhiteout);
        let names_root = match &kind {
            EntryKind::Hardlink(target) => target.as_os_str().is_empty(),
            _ => false,
        };
        if self.mode > 0o7777 || names_root || (path.as_os_str().is_empty() && !may_be_root) {
            return None;
        }
        if self.xattrs.keys().any(|name| check_attribute(name).is_err()) {
            return None;
        }
        let xattrs =
            self.xattrs.into_iter().map(|(name, value)| (name.into_owned(), value.0.into_owned())).collect();
        let metadata = Metadata { mode: self.mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs };
        let digest = match (&kind, self.digest) {
            (EntryKind::File { offset, .. }, Some(digest)) => Some((*offset, digest)),
            (_, None) => None,
            (_, Some(_)) => return None,
        };
        Some((Entry { path, metadata, kind }, digest))
    }
}

impl<'a> TextLine<'a> {
    pub(super) fn of(path: &'a Path, text: &'a [u8]) -> Self {
        Self { path: Bytes::of_path(path), text: Bytes(Cow::Borrowed(text)) }
    }

    pub(super) fn into_text(self) -> Option<(PathBuf, Vec<u8>)> {
        Some((self.path.into_normal_path()?, self.text.0.into_owned()))
    }
}

/// Bytes as JSON text: what is no UTF-8 is written `\xff`, and a backslash `\\`.
#[derive(Debug)]
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'a> Bytes<'a> {
    fn of_path(path: &'a Path) -> Self {
        Self(Cow::Borrowed(path.as_os_str().as_bytes()))
    }

    fn into_normal_path(self) -> Option<PathBuf> {
        let path = normalise(&self.0).ok()?;
        // Length tells: normalising only ever removes.
        (path.as_os_str().len() == self.0.len()).then_some(path)
    }

    fn into_target(self) -> Option<PathBuf> {
        let acceptable = !self.0.is_empty() && self.0.len() <= MAX_PATH && !self.0.contains(&0);
        acceptable.then(|| OsString::from_vec(self.0.into_owned()).into())
    }
}

fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\\')
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        escaped.push_str(&chunk.valid().replace('\\', "\\\\"));
        escaped.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    Cow::Owned(escaped)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(after) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = escaped.strip_prefix('x')?.get(..2)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &escaped[3..];
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text with `\\xff` and `\\\\` as escapes")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        if text.contains('\\') { self.visit_str(text) } else { Ok(Bytes(Cow::Borrowed(text.as_bytes()))) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        unescape(text).map(|bytes| Bytes(Cow::Owned(bytes))).ok_or_else(|| E::custom("a malformed escape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_is_not_text() {
        for (bytes, text) in [
            (&b"etc/passwd"[..], "etc/passwd"),
            (b"a\\b", "a\\\\b"),
            (b"\xff\xfe\\", "\\xff\\xfe\\\\"),
            ("é\\x41".as_bytes(), "é\\\\x41"),
            (b"", ""),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).as_deref(), Some(bytes));
        }
        for text in ["\\", "\\y", "\\x", "\\x1", "\\xé", "\\xg0"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
