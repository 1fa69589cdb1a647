//! The serialised form: a head line that announces how much follows, then a line of JSON per entry and per text.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::line::{EntryLine, HeadLine, TextLine};
use super::{IndexError, KEPT_TEXTS, LayerIndex};

const FORMAT: &str = "cooper.layer-index";
const VERSION: u32 = 2;

/// Longest line in bytes: an entry with the most attributes a tar reader accepts, all escaped.
const MAX_LINE: u64 = 8 << 20;

/// The most entries, as for tar streams.
const MAX_ENTRIES: u64 = 4_000_000;

/// The most bytes in sum: what an index may cost in memory.
const MAX_TOTAL: u64 = 2 << 30;

pub(super) fn write(index: &LayerIndex, mut writer: impl Write) -> Result<(), IndexError> {
    let head = HeadLine {
        format: FORMAT.to_owned(),
        version: VERSION,
        entries: index.entries.len() as u64,
        texts: index.texts.len() as u64,
    };
    write_line(&mut writer, &head)?;
    for entry in &index.entries {
        write_line(&mut writer, &EntryLine::of(entry, &index.digests))?;
    }
    for (path, text) in &index.texts {
        write_line(&mut writer, &TextLine::of(path, text))?;
    }
    writer.flush().map_err(IndexError::Write)
}

fn write_line(writer: &mut impl Write, line: &impl Serialize) -> Result<(), IndexError> {
    serde_json::to_writer(&mut *writer, line).map_err(|error| IndexError::Write(error.into()))?;
    writer.write_all(b"\n").map_err(IndexError::Write)
}

pub(super) fn read(reader: impl BufRead) -> Result<LayerIndex, IndexError> {
    let mut lines = Lines { reader: reader.take(MAX_TOTAL), buffer: Vec::new(), number: 0 };
    let head = match lines.next::<HeadLine>() {
        Ok(head) if head.format == FORMAT && head.version == VERSION => head,
        Err(error @ IndexError::Read(_)) => return Err(error),
        _ => return Err(IndexError::Version { expected: VERSION }),
    };
    if head.entries > MAX_ENTRIES || head.texts > KEPT_TEXTS.len() as u64 {
        return Err(IndexError::TooLarge { line: 1 });
    }
    let mut index = LayerIndex::default();
    // What is announced is believed up to a point: memory is given for what is there.
    index.entries.reserve(usize::try_from(head.entries.min(100_000)).unwrap_or_default());
    for _ in 0..head.entries {
        let entry = lines.next::<EntryLine<'_>>()?.into_entry();
        let (entry, digest) = entry.ok_or(IndexError::Unacceptable { line: lines.number })?;
        index.digests.extend(digest);
        index.entries.push(entry);
    }
    for _ in 0..head.texts {
        let text = lines.next::<TextLine<'_>>()?.into_text();
        let (path, text) = text.ok_or(IndexError::Unacceptable { line: lines.number })?;
        index.texts.insert(path, text);
    }
    lines.expect_end()?;
    Ok(index)
}

struct Lines<R> {
    reader: std::io::Take<R>,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next<'a, T: Deserialize<'a>>(&'a mut self) -> Result<T, IndexError> {
        self.buffer.clear();
        let read = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut self.buffer);
        read.map_err(IndexError::Read)?;
        let Some((b'\n', line)) = self.buffer.split_last() else {
            let too_large = self.buffer.len() as u64 == MAX_LINE || self.reader.limit() == 0;
            return Err(if too_large {
                IndexError::TooLarge { line: self.number + 1 }
            } else {
                IndexError::Truncated { lines: self.number }
            });
        };
        self.number += 1;
        serde_json::from_slice(line).map_err(|source| IndexError::Malformed { line: self.number, source })
    }

    fn expect_end(&mut self) -> Result<(), IndexError> {
        let more = self.reader.fill_buf().map_err(IndexError::Read)?;
        if more.is_empty() { Ok(()) } else { Err(IndexError::TooLarge { line: self.number + 1 }) }
    }
}
