//! Bars on a terminal: `--progress tty`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anstyle::{AnsiColor, Style};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::{printable, seconds};
use super::{ActivityId, ActivityKind, BuildEvent, EventKind, Outcome, Reporter};

const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Shows what is under way as bars at the bottom and what is over as lines above them.
#[derive(Debug)]
pub struct TerminalReporter {
    screen: MultiProgress,
    running: Mutex<BTreeMap<ActivityId, Running>>,
}

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    activity: ActivityKind,
    name: String,
    /// What a step printed: shown in full when the step fails.
    output: Vec<String>,
}

/// How many of a step's last lines are kept to be shown when it fails.
const KEPT_LINES: usize = 200;

impl TerminalReporter {
    /// Shows on the terminal behind standard error.
    pub fn new() -> Self {
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            running: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        // A closed terminal must not end the build.
        let _ = self.screen.println(text);
    }
}

impl Default for TerminalReporter {
    fn default() -> Self {
        Self::new()
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {prefix}  {wide_msg:.dim}  {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner:.cyan} {prefix} {bar:24.cyan/dim} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:.dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("━━─")
}

/// How much of a name is shown beside a bar; the line it leaves at its end has all of it.
const SHOWN_CHARACTERS: usize = 60;

fn shortened(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

impl Reporter for TerminalReporter {
    fn report(&self, event: &BuildEvent) {
        let Ok(mut running) = self.running.lock() else { return };
        match &event.kind {
            // What came of it is said when the bars are gone.
            EventKind::Started { .. }
            | EventKind::Image { .. }
            | EventKind::Error { .. }
            | EventKind::Finished(_) => {}
            EventKind::Note { text } => self.line(&format!("{DIM}{text}{DIM:#}")),
            EventKind::Warning { text } => self.line(text),
            EventKind::Explained { name, answer, place, changes } => {
                let text = super::explained::line(name, *answer, place.as_deref(), changes);
                self.line(&format!("{DIM}{}{DIM:#}", printable(&text)));
            }
            EventKind::Begun { id, activity, name, .. } => {
                let (activity, name) = (*activity, printable(name));
                let bar = self.screen.add(ProgressBar::new_spinner().with_style(spinner()));
                bar.set_prefix(shortened(&name));
                bar.enable_steady_tick(std::time::Duration::from_millis(100));
                running.insert(*id, Running { bar, activity, name, output: Vec::new() });
            }
            EventKind::Progress { id, done, total } => {
                let Some(Running { bar, .. }) = running.get(id) else { return };
                if let (Some(total), None) = (total, bar.length()) {
                    bar.set_style(bytes());
                    bar.set_length(*total);
                }
                bar.set_position(*done);
            }
            EventKind::Output { id, line, .. } => {
                let Some(entry) = running.get_mut(id) else { return };
                let line = printable(line);
                entry.bar.set_message(anstream::adapter::strip_str(&line).to_string());
                if entry.output.len() == KEPT_LINES {
                    entry.output.remove(0);
                }
                entry.output.push(line);
            }
            EventKind::Ended { id, outcome, duration_ms } => {
                let Some(entry) = running.remove(id) else { return };
                entry.bar.finish_and_clear();
                self.screen.remove(&entry.bar);
                let (name, seconds) = (&entry.name, seconds(*duration_ms));
                let moved = match entry.bar.position() {
                    0 => String::new(),
                    bytes => format!("{} ", HumanBytes(bytes)),
                };
                match outcome {
                    Outcome::Done if entry.activity == ActivityKind::Internal => {}
                    Outcome::Stopped => {}
                    Outcome::Done => {
                        self.line(&format!("{GOOD}✔{GOOD:#} {name} {DIM}{moved}{seconds}{DIM:#}"));
                    }
                    Outcome::Cached => {
                        self.line(&format!("{GOOD}✔{GOOD:#} {name} {DIM}cached{DIM:#}"));
                    }
                    Outcome::Failed => {
                        self.line(&format!("{BAD}✘{BAD:#} {name} {DIM}{seconds}{DIM:#}"));
                        for line in &entry.output {
                            self.line(&format!("  {DIM}│{DIM:#} {line}"));
                        }
                    }
                }
            }
        }
    }

    fn finish(&self) {
        // Clearing a terminal that is gone is no loss.
        let _ = self.screen.clear();
    }
}
