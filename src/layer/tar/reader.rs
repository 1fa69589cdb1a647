//! Reads tar streams of unknown origin.

use std::io::{self, BufRead as _, BufReader, Read};

use super::header::RawHeader;
use super::member::{self, Extensions, Whiteouts};
use super::pax::{self, Records};
use super::{BLOCK, TarError};
use crate::layer::{Entry, EntryKind};

/// Longest set of PAX records or GNU long name, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

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
/// Made for hostile input: every size is limited, every path normalised. After the last member the reader
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

/// The contents of the member just returned; empty for anything but a regular file.
#[derive(Debug)]
pub struct Contents<'a, R> {
    reader: &'a mut TarReader<R>,
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
                let dangles = !extensions.is_empty();
                return if dangles { Err(TarError::Truncated { offset: self.offset }) } else { Ok(None) };
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
                    if let Some(entry) = self.interpret(&header, &extensions, start)? {
                        return Ok(Some(entry));
                    }
                    extensions = Extensions::default();
                }
            }
        }
    }

    fn interpret(
        &mut self,
        header: &RawHeader,
        extensions: &Extensions,
        start: u64,
    ) -> Result<Option<Entry>, TarError> {
        let member = member::resolve(header, extensions, &self.global, self.whiteouts, start)?;
        self.begin_contents(member.size, start)?;
        self.count_metadata(member.names)?;
        let mut entry = member.entry;
        if let Some(EntryKind::File { offset, .. }) = entry.as_mut().map(|entry| &mut entry.kind) {
            *offset = self.offset;
        } else {
            // What a whiteout or a name without meaning contains is nobody's.
            self.padding_left += std::mem::take(&mut self.contents_left);
        }
        Ok(entry)
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
