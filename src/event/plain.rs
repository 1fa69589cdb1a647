//! Plain lines, for logs: `--progress plain`, and wherever there is no terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use anstyle::{AnsiColor, Style};

use super::{ActivityId, ActivityKind, BuildEvent, EventKind, Outcome, Reporter};

/// Writes events as lines that begin with the number of their activity, in the manner of `docker buildx`.
#[derive(Debug)]
pub struct PlainReporter<W> {
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    output: W,
    names: BTreeMap<ActivityId, (ActivityKind, String)>,
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

impl<W: Write + Send> PlainReporter<W> {
    /// Writes to `output`, with ANSI styles: wrap it in an `anstream` to have them taken out where they do not
    /// belong.
    pub fn new(output: W) -> Self {
        Self { state: Mutex::new(State { output, names: BTreeMap::new() }) }
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
            EventKind::Started { .. } | EventKind::Progress { .. } => Ok(()),
            EventKind::Note { text } => writeln!(self.output, "{DIM}{text}{DIM:#}"),
            EventKind::Warning { text } => writeln!(self.output, "{text}"),
            EventKind::Begun { id, activity, name } => {
                self.names.insert(*id, (*activity, name.clone()));
                // Internal work is only worth a line when it is over.
                if *activity == ActivityKind::Internal {
                    return Ok(());
                }
                writeln!(self.output, "{DIM}#{}{DIM:#} {BOLD}{name}{BOLD:#}", id.0)
            }
            EventKind::Output { id, line, .. } => {
                writeln!(self.output, "{DIM}#{} |{DIM:#} {}", id.0, printable(line))
            }
            EventKind::Ended { id, outcome, duration_ms } => {
                let Some((activity, name)) = self.names.remove(id) else { return Ok(()) };
                let seconds = seconds(*duration_ms);
                let what =
                    if activity == ActivityKind::Internal { format!("{name} ") } else { String::new() };
                match outcome {
                    Outcome::Done => {
                        writeln!(
                            self.output,
                            "{DIM}#{}{DIM:#} {what}{GOOD}done{GOOD:#} {DIM}{seconds}{DIM:#}",
                            id.0
                        )
                    }
                    Outcome::Cached => {
                        writeln!(self.output, "{DIM}#{}{DIM:#} {what}{GOOD}cached{GOOD:#}", id.0)
                    }
                    Outcome::Failed => {
                        writeln!(
                            self.output,
                            "{DIM}#{}{DIM:#} {BAD}failed{BAD:#} {name} {DIM}{seconds}{DIM:#}",
                            id.0
                        )
                    }
                }
            }
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
