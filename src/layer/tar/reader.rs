//! Reads tar streams of unknown origin.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::header::RawHeader;
use super::path::{Meaning, check_bytes, interpret, normalise, printable};
use super::pax::{Records, XATTR_PREFIX};
use super::{BLOCK, PathProblem, TarError, number, pax};
use crate::layer::{Device, Entry, EntryKind, Metadata};

/// Longest set of PAX records or GNU long name, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// Longest name of an extended attribute, in bytes: `XATTR_NAME_MAX` of Linux.
const MAX_XATTR_NAME: usize = 255;

/// How much of a tar stream is accepted.
#[derive(Debug, Clone, Copy)]
pub struct TarLimits {
    /// The most members.
    pub entries: u64,
    /// The most bytes of paths, link targets and PAX records in sum: what a listing of the stream costs in memory.
    pub metadata: u64,
}

impl Default for TarLimits {
    /// More than any layer seen has: four million members, one gibibyte of names and attributes.
    fn default() -> Self {
        Self { entries: 4_000_000, metadata: 1 << 30 }
    }
}

/// Iterates over the members of a tar stream.
///
/// Sockets for hostile input: every size is limited, every path normalised. After the last member the reader
/// drains its source, so that whatever hashes the stream on its way sees all of it.
#[derive(Debug)]
pub struct TarReader<R> {
    source: BufReader<R>,
    offset: u64,
    /// What is left of the current member's contents, and of the padding behind them.
    contents_left: u64,
    padding_left: u64,
    global: Records,
    limits: TarLimits,
    entries: u64,
    metadata: u64,
    whiteouts: Whiteouts,
    ended: bool,
}

/// Whether `.wh.` in names has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whiteouts {
    Removals,
    PlainNames,
}

/// The contents of the member just returned; empty for anything but a regular file.
#[derive(Debug)]
pub struct Contents<'a, R> {
    reader: &'a mut TarReader<R>,
}

/// What extended headers said about the member that follows them.
#[derive(Debug, Default)]
struct Extensions {
    records: Records,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads a layer: `.wh.` names are removals.
    pub fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(1 << 16, source),
            offset: 0,
            contents_left: 0,
            padding_left: 0,
            global: Records::new(),
            limits: TarLimits::default(),
            entries: 0,
            metadata: 0,
            whiteouts: Whiteouts::Removals,
            ended: false,
        }
    }

    /// Reads an archive that is no layer, such as the source of an ADD: `.wh.` names mean nothing.
    pub fn of_archive(source: R) -> Self {
        Self { whiteouts: Whiteouts::PlainNames, ..Self::new(source) }
    }

    /// The same reader with other limits.
    #[must_use]
    pub fn with_limits(self, limits: TarLimits) -> Self {
        Self { limits, ..self }
    }

    /// How many bytes of the uncompressed stream were consumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next member and its contents, which need not be read. `None` at the end, when the source is drained.
    pub fn next_entry(&mut self) -> Result<Option<(Entry, Contents<'_, R>)>, TarError> {
        Ok(self.advance()?.map(|entry| (entry, Contents { reader: self })))
    }

    /// Reads to the end of the source and gives it back.
    pub fn finish(mut self) -> Result<R, TarError> {
        while self.advance()?.is_some() {}
        Ok(self.source.into_inner())
    }

    fn advance(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_contents()?;
            let start = self.offset;
            let Some(block) = self.next_header()? else {
                let dangling = !extensions.records.is_empty()
                    || extensions.long_path.is_some()
                    || extensions.long_link.is_some();
                return if dangling { Err(TarError::Truncated { offset: self.offset }) } else { Ok(None) };
            };
            let header = RawHeader::decode(&block, start)?;
            self.count_entry()?;
            match header.kind {
                b'x' | b'g' => {
                    let bytes = self.read_extension(&header, start)?;
                    let records =
                        if header.kind == b'g' { &mut self.global } else { &mut extensions.records };
                    pax::parse(&bytes, records).ok_or(TarError::Pax { offset: start })?;
                }
                b'L' => extensions.long_path = Some(self.read_long_name(&header, start)?),
                b'K' => extensions.long_link = Some(self.read_long_name(&header, start)?),
                _ => {
                    if let Some(entry) = self.interpret(header, &extensions, start)? {
                        return Ok(Some(entry));
                    }
                    extensions = Extensions::default();
                }
            }
        }
    }

    fn count_entry(&mut self) -> Result<(), TarError> {
        self.entries += 1;
        // Extended headers count too: a stream of nothing else must end.
        if self.entries > self.limits.entries.saturating_mul(2) {
            return Err(TarError::TooManyEntries { limit: self.limits.entries });
        }
        Ok(())
    }

    fn count_metadata(&mut self, bytes: usize) -> Result<(), TarError> {
        self.metadata = self.metadata.saturating_add(bytes as u64);
        if self.metadata > self.limits.metadata {
            return Err(TarError::TooMuchMetadata { limit: self.limits.metadata });
        }
        Ok(())
    }

    /// The next block that is no zero block. At the end of the archive or of the stream: drains, and `None`.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.offset;
        let Some(block) = self.read_block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        // Two zero blocks are the end; writers that leave one out are common enough.
        match self.read_block()? {
            Some(second) if second != [0; BLOCK] => Err(TarError::Checksum { offset: start }),
            _ => {
                self.drain()?;
                self.ended = true;
                Ok(None)
            }
        }
    }

    /// A whole block, or `None` when the stream ends before it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated { offset: self.offset }),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { offset: self.offset, source }),
            }
        }
        Ok(Some(block))
    }

    fn drain(&mut self) -> Result<(), TarError> {
        while self.skip(u64::MAX)? > 0 {}
        Ok(())
    }

    fn skip_contents(&mut self) -> Result<(), TarError> {
        let mut left = self.contents_left + self.padding_left;
        while left > 0 {
            match self.skip(left)? {
                0 => return Err(TarError::Truncated { offset: self.offset }),
                count => left -= count,
            }
        }
        (self.contents_left, self.padding_left) = (0, 0);
        Ok(())
    }

    /// Consumes some bytes, at most `most`. 0 at the end of the source.
    fn skip(&mut self, most: u64) -> Result<u64, TarError> {
        loop {
            match self.source.fill_buf() {
                Ok(buffer) => {
                    let count = buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                    self.source.consume(count);
                    self.offset += count as u64;
                    return Ok(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { offset: self.offset, source }),
            }
        }
    }

    fn begin_contents(&mut self, size: u64, start: u64) -> Result<(), TarError> {
        // Keeps every sum of offsets and sizes inside 64 bits.
        if size > i64::MAX.cast_unsigned() - self.offset - BLOCK as u64 {
            return Err(TarError::Field { offset: start, field: "size" });
        }
        self.contents_left = size;
        self.padding_left = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn read_extension(&mut self, header: &RawHeader, start: u64) -> Result<Vec<u8>, TarError> {
        if header.size > MAX_EXTENSION {
            return Err(TarError::ExtensionTooLarge {
                offset: start,
                size: header.size,
                limit: MAX_EXTENSION,
            });
        }
        self.begin_contents(header.size, start)?;
        let mut bytes = Vec::new();
        let read = Contents { reader: self }.read_to_end(&mut bytes);
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => TarError::Truncated { offset: self.offset },
            _ => TarError::Read { offset: self.offset, source },
        })?;
        self.count_metadata(bytes.len())?;
        Ok(bytes)
    }

    fn read_long_name(&mut self, header: &RawHeader, start: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_extension(header, start)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// Turns a header with its extensions into an entry; `None` when it means nothing in a layer.
    fn interpret(
        &mut self,
        header: RawHeader,
        extensions: &Extensions,
        start: u64,
    ) -> Result<Option<Entry>, TarError> {
        let records = Lookup { own: &extensions.records, global: &self.global };
        let field = |field| TarError::Field { offset: start, field };
        let raw_path =
            extensions.long_path.as_deref().or(records.get(b"path")).unwrap_or(&header.path).to_vec();
        let raw_link =
            extensions.long_link.as_deref().or(records.get(b"linkpath")).unwrap_or(&header.link).to_vec();
        let wrong = |problem| TarError::Path { path: printable(&raw_path), problem };
        if header.kind == b'S' || records.is_sparse() {
            return Err(TarError::Sparse { path: printable(&raw_path) });
        }
        let id = |key: &[u8], value: i64, name| match records.get(key) {
            Some(text) => number::parse_decimal(text).ok_or(field(name)),
            None => u32::try_from(value).map_err(|_| field(name)),
        };
        let size = match records.get(b"size") {
            Some(text) => number::parse_decimal(text).ok_or(field("size"))?,
            None => header.size,
        };
        let mtime = match records.get(b"mtime") {
            Some(text) => number::parse_time(text).ok_or(field("modification time"))?,
            None => header.mtime,
        };
        let metadata = Metadata {
            mode: header.mode,
            uid: id(b"uid", header.uid, "uid")?,
            gid: id(b"gid", header.gid, "gid")?,
            mtime,
            xattrs: records.xattrs().map_err(wrong)?,
        };
        let path = normalise(&raw_path).map_err(wrong)?;
        let is_root = path.as_os_str().is_empty();
        // A file of the oldest format whose name ends in a slash is a directory.
        let kind = if header.kind == 0 && raw_path.ends_with(b"/") { b'5' } else { header.kind };
        let is_file = matches!(kind, 0 | b'0' | b'7');
        self.begin_contents(if is_file { size } else { 0 }, start)?;
        self.count_metadata(raw_path.len() + raw_link.len())?;

        let path = match self.whiteouts {
            Whiteouts::PlainNames => Meaning::Member(path),
            Whiteouts::Removals => interpret(path).map_err(wrong)?,
        };
        let path = match path {
            Meaning::Member(path) => path,
            Meaning::Nothing => return Ok(None),
            Meaning::Whiteout(path) => return Ok(Some(Entry::whiteout(path))),
            Meaning::Opaque(path) => {
                let metadata = Metadata::default();
                return Ok(Some(Entry { path, metadata, kind: EntryKind::OpaqueWhiteout }));
            }
        };
        let device = || {
            let number = |value| u32::try_from(value).map_err(|_| field("device number"));
            Ok::<_, TarError>(Device { major: number(header.device.0)?, minor: number(header.device.1)? })
        };
        let kind = match kind {
            _ if is_file => EntryKind::File { size, offset: self.offset },
            b'1' => EntryKind::Hardlink(hardlink_target(&raw_link).map_err(wrong)?),
            b'2' => EntryKind::Symlink(symlink_target(raw_link).map_err(wrong)?),
            b'3' => EntryKind::CharDevice(device()?),
            b'4' => EntryKind::BlockDevice(device()?),
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            kind => {
                return Err(TarError::UnknownKind { path: printable(&raw_path), kind: printable(&[kind]) });
            }
        };
        if is_root && kind != EntryKind::Directory {
            return Err(wrong(PathProblem::Root));
        }
        Ok(Some(Entry { path, metadata, kind }))
    }
}

fn hardlink_target(raw: &[u8]) -> Result<PathBuf, PathProblem> {
    let target = normalise(raw)?;
    if target.as_os_str().is_empty() { Err(PathProblem::NoTarget) } else { Ok(target) }
}

fn symlink_target(raw: Vec<u8>) -> Result<PathBuf, PathProblem> {
    check_bytes(&raw)?;
    if raw.is_empty() { Err(PathProblem::NoTarget) } else { Ok(OsString::from_vec(raw).into()) }
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

    fn is_sparse(&self) -> bool {
        [self.own, self.global]
            .iter()
            .any(|records| records.keys().any(|key| key.starts_with(b"GNU.sparse.")))
    }

    fn xattrs(&self) -> Result<std::collections::BTreeMap<String, Vec<u8>>, PathProblem> {
        let mut xattrs = std::collections::BTreeMap::new();
        for (key, value) in self.global.iter().chain(self.own) {
            let Some(name) = key.strip_prefix(XATTR_PREFIX) else { continue };
            let name = std::str::from_utf8(name).map_err(|_| PathProblem::Attribute)?;
            if name.is_empty() || name.len() > MAX_XATTR_NAME {
                return Err(PathProblem::Attribute);
            }
            xattrs.insert(name.to_owned(), value.clone());
        }
        Ok(xattrs)
    }
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.reader.contents_left).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.source.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                TarError::Truncated { offset: self.reader.offset },
            ));
        }
        self.reader.offset += count as u64;
        self.reader.contents_left -= count as u64;
        Ok(count)
    }
}
