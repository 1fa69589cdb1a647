//! What a build says, on the disk: `events.jsonl`, one event per line in the form of `--progress json`, and `log.txt`,
//! the same as text. Lines are only ever added, so that a place in a file names a moment for good.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::told;
use crate::event::{BuildEvent, PlainReporter, Reporter as _};
use crate::outcome::CacheUse;

/// The file of events.
pub(super) const EVENTS: &str = "events.jsonl";
/// The file of text.
pub(super) const LOG: &str = "log.txt";

/// Most bytes of an error that are kept.
const MAX_ERROR: usize = 16 << 10;

/// Takes down what a build says.
#[derive(Debug)]
pub(super) struct Journal {
    events: File,
    length: u64,
    text: PlainReporter<anstream::StripStream<File>>,
    log: File,
    limit: u64,
    is_cut: bool,
    /// What the build said last of why it fails.
    error: String,
}

/// What kind of event a line is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
    text: Option<String>,
}

impl Journal {
    /// Opens the files in `directory`; of events at most `limit` bytes are kept. A line that was not finished, because
    /// the service was killed, goes away.
    pub(super) fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        let path = directory.join(EVENTS);
        let mut events = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let length = end_of_last_line(&mut events)?;
        events.set_len(length)?;
        events.seek(SeekFrom::Start(length))?;
        let log = OpenOptions::new().create(true).append(true).open(directory.join(LOG))?;
        let text = PlainReporter::new(anstream::StripStream::new(log.try_clone()?));
        Ok(Self { events, length, text, log, limit, is_cut: length > limit, error: String::new() })
    }

    /// Takes a line that a worker wrote, without its end.
    pub(super) fn take(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(kind) = serde_json::from_slice::<Kind<'_>>(line).ok() else {
            return self.take_text(&String::from_utf8_lossy(line));
        };
        if kind.event == "error" {
            self.error = kind.text.unwrap_or_default();
            self.error.truncate(self.error.floor_char_boundary(MAX_ERROR));
            writeln!(self.log, "{}", anstream::adapter::strip_str(&self.error))?;
        }
        let is_bulk = matches!(&*kind.event, "output" | "progress");
        if is_bulk && self.length + line.len() as u64 > self.limit {
            if !self.is_cut {
                self.is_cut = true;
                self.note("there was more output than is kept; the rest is left out")?;
            }
            return Ok(());
        }
        self.append(line)?;
        if let Some(event) = told::parse(line) {
            self.text.report(&event);
        }
        Ok(())
    }

    /// Takes what is no event: the error that a build ends with is written for people.
    fn take_text(&mut self, line: &str) -> io::Result<()> {
        let line = anstream::adapter::strip_str(line).to_string();
        if self.error.len() + line.len() < MAX_ERROR {
            self.error.push_str(&line);
            self.error.push('\n');
        }
        writeln!(self.log, "{line}")
    }

    /// Says something of the service's own.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        let event = serde_json::json!({"at_ms": 0, "event": "note", "text": text});
        let line = event.to_string();
        self.append(line.as_bytes())?;
        writeln!(self.log, "{text}")
    }

    /// Takes an event of the service's own.
    pub(super) fn event(&mut self, event: &BuildEvent) -> io::Result<()> {
        self.append(&serde_json::to_vec(event)?)?;
        self.text.report(event);
        Ok(())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.events.write_all(&whole)?;
        self.length += whole.len() as u64;
        Ok(())
    }

    /// Why the build failed, in its own words.
    pub(super) fn error(&self) -> Option<String> {
        let text = self.error.trim();
        let text = text.strip_prefix("error: ").unwrap_or(text);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Where the last whole line ends.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    let mut buffer = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(begin))?;
        buffer.clear();
        file.take(end - begin).read_to_end(&mut buffer)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Most bytes at the end of a build's events in which what came of it is looked for.
const MAX_TAIL: u64 = 64 << 10;

/// What the caches were good for in a build that has said all, if it has said that.
pub(super) fn cache_use(directory: &Path) -> Option<CacheUse> {
    #[derive(Deserialize)]
    struct Line {
        event: String,
        cache: Option<CacheUse>,
    }
    let mut file = File::open(directory.join(EVENTS)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut tail).ok()?;
    let mut lines =
        tail.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    // An attempt that did not come so far must not be told of with the words of the one before.
    lines.find(|line| matches!(&*line.event, "finished" | "started"))?.cache
}

/// Where a build's files are.
pub(super) fn directory(data: &Path, id: &super::build::BuildId) -> PathBuf {
    data.join("builds").join(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_events_and_text_and_drops_half_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(EVENTS);
        std::fs::write(&path, "{\"event\":\"started\"}\n{\"event\":\"no").unwrap();
        let mut journal = Journal::open(directory.path(), 200).unwrap();
        journal.take(br#"{"at_ms":1,"event":"begun","id":1,"activity":"step","name":"RUN x"}"#).unwrap();
        for _ in 0..5 {
            let line = br#"{"at_ms":1,"event":"output","id":1,"stream":"stdout","line":"hello"}"#;
            journal.take(line).unwrap();
        }
        journal.take(b"\x1b[1merror\x1b[0m: it broke").unwrap();
        journal.take(b"help: do this").unwrap();
        assert_eq!(journal.error().unwrap(), "it broke\nhelp: do this");
        assert_eq!(cache_use(directory.path()), None);
        journal.take(br#"{"at_ms":2,"event":"finished","cache":{"hits":1,"steps":3}}"#).unwrap();
        journal.note("and more").unwrap();
        assert_eq!(cache_use(directory.path()), Some(CacheUse { hits: 1, steps: 3 }));
        journal.take(br#"{"at_ms":0,"event":"started","schema":1}"#).unwrap();
        assert_eq!(cache_use(directory.path()), None);
        let events = std::fs::read_to_string(path).unwrap();
        assert!(events.starts_with("{\"event\":\"started\"}\n{\"at_ms\":1,\"event\":\"begun\""), "{events}");
        assert!(events.matches("hello").count() < 5 && events.contains("more output"), "{events}");
        let log = std::fs::read_to_string(directory.path().join(LOG)).unwrap();
        assert!(log.contains("RUN x") && log.contains("hello") && log.contains("it broke"), "{log}");
        assert!(!log.contains('\x1b'), "{log}");
    }
}
