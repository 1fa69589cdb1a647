//! Plain lines, for logs: `--progress plain`, and wherever there is no terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use anstyle::{AnsiColor, Style};
use indicatif::HumanBytes;

use super::{ActivityId, ActivityKind, BuildEvent, EventKind, Outcome, Reporter};

/// Writes events as lines that begin with the number of their activity, in the manner of `docker buildx`.
#[derive(Debug)]
pub struct PlainReporter<W> {
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    output: W,
    running: BTreeMap<ActivityId, Running>,
    /// Whose line was the last one.
    last: Option<ActivityId>,
}

#[derive(Debug)]
struct Running {
    activity: ActivityKind,
    name: String,
    /// How many bytes it has moved.
    moved: u64,
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

impl<W: Write + Send> PlainReporter<W> {
    /// Writes to `output`, with ANSI styles: wrap it in an `anstream` to have them taken out where they do not
    /// belong.
    pub fn new(output: W) -> Self {
        Self { state: Mutex::new(State { output, running: BTreeMap::new(), last: None }) }
    }
}

impl<W: Write + Send> Reporter for PlainReporter<W> {
    fn report(&self, event: &BuildEvent) {
        let Ok(mut state) = self.state.lock() else { return };
        // Nobody may be reading any more; the build goes on.
        let _ = state.write(&event.kind);
    }
}

impl<W: Write> State<W> {
    fn write(&mut self, kind: &EventKind) -> std::io::Result<()> {
        match kind {
            EventKind::Started { .. }
            | EventKind::Image { .. }
            | EventKind::Error { .. }
            | EventKind::Finished(_) => Ok(()),
            EventKind::Note { text } => self.line(None, &format!("{DIM}{text}{DIM:#}")),
            EventKind::Warning { text } => self.line(None, text),
            EventKind::Explained { name, answer, place, changes } => {
                let text = super::explained::line(name, *answer, place.as_deref(), changes);
                self.line(None, &format!("{DIM}{}{DIM:#}", printable(&text)))
            }
            EventKind::Begun { id, activity, name, .. } => {
                let (activity, name) = (*activity, printable(name));
                let title = format!("{BOLD}{name}{BOLD:#}");
                self.running.insert(*id, Running { activity, name, moved: 0 });
                // Internal work is only worth a line when it is over.
                if activity == ActivityKind::Internal { Ok(()) } else { self.line(Some(*id), &title) }
            }
            EventKind::Progress { id, done, .. } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.moved = *done;
                }
                Ok(())
            }
            EventKind::Output { id, line, .. } => {
                self.line(Some(*id), &format!("{DIM}|{DIM:#} {}", printable(line)))
            }
            EventKind::Ended { id, outcome, duration_ms } => {
                let Some(running) = self.running.remove(id) else { return Ok(()) };
                self.end(*id, &running, *outcome, &seconds(*duration_ms))
            }
        }
    }

    fn end(
        &mut self,
        id: ActivityId,
        running: &Running,
        outcome: Outcome,
        seconds: &str,
    ) -> std::io::Result<()> {
        // Right below the activity's other lines its number says enough.
        let name = if self.last == Some(id) { String::new() } else { format!("{} ", running.name) };
        let moved = match running.moved {
            0 => String::new(),
            bytes => format!("{} ", HumanBytes(bytes)),
        };
        let text = match outcome {
            Outcome::Done => format!("{name}{GOOD}done{GOOD:#} {DIM}{moved}{seconds}{DIM:#}"),
            Outcome::Cached => format!("{name}{GOOD}cached{GOOD:#}"),
            Outcome::Failed => format!("{name}{BAD}failed{BAD:#} {DIM}{seconds}{DIM:#}"),
            // What was never announced need not be taken back.
            Outcome::Stopped if running.activity == ActivityKind::Internal => return Ok(()),
            Outcome::Stopped => format!("{name}{DIM}stopped {seconds}{DIM:#}"),
        };
        self.line(Some(id), &text)
    }

    fn line(&mut self, id: Option<ActivityId>, text: &str) -> std::io::Result<()> {
        self.last = id;
        match id {
            Some(id) => writeln!(self.output, "{DIM}#{}{DIM:#} {text}", id.0),
            None => writeln!(self.output, "{text}"),
        }
    }
}

/// A duration as people read it.
pub(super) fn seconds(milliseconds: u64) -> String {
    format!("{}.{:02}s", milliseconds / 1000, milliseconds % 1000 / 10)
}

/// A line of a RUN's output made safe to print: of a line that was rewritten with carriage returns only the last
/// state is shown, and control characters other than colours are dropped.
pub(super) fn printable(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut printable = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                let mut sequence = String::new();
                while let Some(next) = characters.next_if(|c| c.is_ascii_digit() || *c == ';') {
                    sequence.push(next);
                }
                if characters.next_if_eq(&'m').is_some() {
                    printable.push_str("\u{1b}[");
                    printable.push_str(&sequence);
                    printable.push('m');
                } else {
                    characters.next();
                }
            }
        } else if !character.is_control() || character == '\t' {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_names_what_the_line_above_does_not() {
        let begun = |id, name: &str| EventKind::Begun {
            id: ActivityId(id),
            activity: ActivityKind::Step,
            name: name.to_owned(),
            subject: crate::event::Subject::Other,
        };
        let ended = |id, outcome| EventKind::Ended { id: ActivityId(id), outcome, duration_ms: 1234 };
        let mut state = State { output: Vec::new(), running: BTreeMap::new(), last: None };
        for kind in [
            begun(1, "one"),
            EventKind::Progress { id: ActivityId(1), done: 2048, total: None },
            ended(1, Outcome::Done),
            begun(2, "two"),
            begun(3, "three"),
            ended(2, Outcome::Failed),
            ended(3, Outcome::Stopped),
        ] {
            state.write(&kind).unwrap();
        }
        let text = anstream::adapter::strip_bytes(&state.output).into_vec();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r"
        #1 one
        #1 done 2.00 KiB 1.23s
        #2 two
        #3 three
        #2 two failed 1.23s
        #3 three stopped 1.23s
        ");
    }

    #[test]
    fn output_is_made_safe() {
        for (line, shown) in [
            ("plain", "plain"),
            ("10%\r20%\r30%", "30%"),
            ("windows\r", "windows"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}[1;1Hcleared", "cleared"),
            ("bell\u{7}", "bell"),
        ] {
            assert_eq!(printable(line), shown);
        }
    }
}
