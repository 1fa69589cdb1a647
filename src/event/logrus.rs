//! Lines as Kaniko logs them: for those who search logs for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;

use super::plain::printable;
use super::{ActivityId, BuildEvent, EventKind, Outcome, OutputStream, Reporter, Subject};

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing that Cooper logs.
    Panic,
    /// What ends the program.
    Fatal,
    /// What goes wrong.
    Error,
    /// What may be a mistake.
    Warning,
    /// What is done.
    Info,
    /// How it is done.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// By its name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The number of its ANSI colour.
    fn colour(self) -> u8 {
        match self {
            Self::Debug | Self::Trace => 37,
            Self::Warning => 33,
            Self::Panic | Self::Fatal | Self::Error => 31,
            Self::Info => 36,
        }
    }
}

/// How a line is written. See the Go library logrus, `TextFormatter` and `JSONFormatter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=info msg="…"`.
    Text,
    /// `INFO[0004] …`, with colours.
    Colour,
    /// `{"level":"info","msg":"…","time":"…"}`.
    Json,
}

/// How lines are logged.
#[derive(Debug, Clone, Copy)]
pub struct LogStyle {
    /// Their form.
    pub format: LogFormat,
    /// Which.
    pub level: LogLevel,
    /// Whether coloured lines have the time of day instead of the seconds since the start.
    pub timestamps: bool,
}

/// Writes lines in this style.
#[derive(Debug)]
pub struct Log<W> {
    style: LogStyle,
    began: Instant,
    output: Mutex<W>,
}

impl<W: Write> Log<W> {
    /// A log that begins now.
    pub fn new(style: LogStyle, output: W) -> Self {
        Self { style, began: Instant::now(), output: Mutex::new(output) }
    }

    /// Writes a line, if its level is wanted.
    pub fn log(&self, level: LogLevel, message: &str) {
        if level > self.style.level {
            return;
        }
        let line = self.line(level, message, Timestamp::now());
        let Ok(mut output) = self.output.lock() else { return };
        // Nobody may be reading any more; the build goes on.
        let _ = output.write_all(line.as_bytes());
    }

    fn line(&self, level: LogLevel, message: &str, now: Timestamp) -> String {
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ");
        match self.style.format {
            LogFormat::Json => {
                let line =
                    serde_json::json!({"level": level.name(), "msg": message, "time": time.to_string()});
                format!("{line}\n")
            }
            LogFormat::Text => {
                format!("time=\"{time}\" level={} msg={}\n", level.name(), quoted(message))
            }
            LogFormat::Colour => {
                let name = level.name().to_ascii_uppercase();
                let name = name.get(..4).unwrap_or_default();
                let colour = level.colour();
                let moment = if self.style.timestamps {
                    time.to_string()
                } else {
                    format!("{:04}", self.began.elapsed().as_secs())
                };
                format!("\u{1b}[{colour}m{name}\u{1b}[0m[{moment}] {message:<44} \n")
            }
        }
    }
}

/// A value as logrus writes it: in quotes unless it is one plain word.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Tells a build in Kaniko's words. What RUNs print goes to the two outputs as it is.
#[derive(Debug)]
pub struct LogrusReporter<L, O, E> {
    log: std::sync::Arc<Log<L>>,
    uses_cache: bool,
    outputs: Mutex<(O, E)>,
    running: Mutex<BTreeMap<ActivityId, (Subject, String, bool)>>,
}

impl<L: Write, O: Write, E: Write> LogrusReporter<L, O, E> {
    /// Logs to `log`; what RUNs print goes to `output` and `error_output`. Lines about the cache are for builds that
    /// use it.
    pub fn new(log: std::sync::Arc<Log<L>>, uses_cache: bool, output: O, error_output: E) -> Self {
        Self { log, uses_cache, outputs: Mutex::new((output, error_output)), running: Mutex::default() }
    }

    fn info(&self, message: &str) {
        self.log.log(LogLevel::Info, message);
    }

    fn debug(&self, message: &str) {
        self.log.log(LogLevel::Debug, message);
    }

    /// Says that an instruction is being carried out, at the first sign that it is: what a cache has is told when it
    /// ends.
    fn carry_out(&self, text: &str) {
        if self.uses_cache {
            self.info(&format!("No cached layer found for cmd {text}"));
        }
        self.info(text);
    }

    fn end(&self, subject: &Subject, name: &str, is_told: bool, outcome: Outcome, duration_ms: u64) {
        match (subject, outcome) {
            (Subject::Instruction { text, .. }, Outcome::Cached) => {
                self.info(&format!("Using caching version of cmd: {text}"));
            }
            (Subject::Instruction { text, executes }, Outcome::Done) => {
                if !is_told {
                    self.carry_out(text);
                }
                self.info(if *executes {
                    "Taking snapshot of full filesystem..."
                } else {
                    "Taking snapshot of files..."
                });
            }
            (Subject::Instruction { text, .. }, Outcome::Failed) if !is_told => self.carry_out(text),
            (Subject::Destination { pinned, .. }, Outcome::Done) => self.info(&format!("Pushed {pinned}")),
            _ => self.debug(&format!("{name}: {outcome:?} after {duration_ms} ms")),
        }
    }
}

impl<L: Write + Send, O: Write + Send, E: Write + Send> Reporter for LogrusReporter<L, O, E> {
    fn report(&self, event: &BuildEvent) {
        let Ok(mut running) = self.running.lock() else { return };
        match &event.kind {
            EventKind::Started { .. }
            | EventKind::Progress { .. }
            | EventKind::Image { .. }
            | EventKind::Error { .. }
            | EventKind::Finished(_) => {}
            EventKind::Note { text } => self.info(&printable(text)),
            EventKind::Warning { text } => {
                let text = anstream::adapter::strip_str(text).to_string();
                self.log.log(LogLevel::Warning, text.trim_end());
            }
            EventKind::Explained { name, answer, place, changes } => {
                self.info(&printable(&super::explained::line(name, *answer, place.as_deref(), changes)));
            }
            EventKind::Begun { id, name, subject, .. } => {
                match subject {
                    Subject::Base { image, registry } => {
                        self.info(&format!("Retrieving image manifest {image}"));
                        if let Some(registry) = registry {
                            self.info(&format!("Retrieving image {image} from registry {registry}"));
                        }
                    }
                    Subject::Destination { image, .. } => self.info(&format!("Pushing image to {image}")),
                    Subject::Instruction { text, .. } if self.uses_cache => {
                        self.info(&format!("Checking for cached layer of cmd {}...", printable(text)));
                    }
                    Subject::Instruction { .. } | Subject::Other => self.debug(&printable(name)),
                }
                running.insert(*id, (subject.clone(), printable(name), false));
            }
            EventKind::Output { id, stream, line } => {
                if let Some((Subject::Instruction { text, .. }, _, is_told @ false)) = running.get_mut(id) {
                    *is_told = true;
                    self.carry_out(&printable(text));
                }
                let Ok(mut outputs) = self.outputs.lock() else { return };
                let (output, error_output) = &mut *outputs;
                // Nobody may be reading any more; the build goes on.
                let _ = match stream {
                    OutputStream::Stdout => writeln!(output, "{line}"),
                    OutputStream::Stderr => writeln!(error_output, "{line}"),
                };
            }
            EventKind::Ended { id, outcome, duration_ms } => {
                if let Some((subject, name, is_told)) = running.remove(id) {
                    self.end(&subject, &name, is_told, *outcome, *duration_ms);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_those_of_logrus() {
        let now: Timestamp = "2026-11-22T11:00:00.5Z".parse().unwrap();
        let style = |format, timestamps| LogStyle { format, level: LogLevel::Info, timestamps };
        for (style, expected) in [
            (style(LogFormat::Text, false), "time=\"2026-11-22T11:00:00Z\" level=info msg=\"a \\\"b\\\"\"\n"),
            (
                style(LogFormat::Json, false),
                "{\"level\":\"info\",\"msg\":\"a \\\"b\\\"\",\"time\":\"2026-11-22T11:00:00Z\"}\n",
            ),
            (
                style(LogFormat::Colour, false),
                "\u{1b}[36mINFO\u{1b}[0m[0000] a \"b\"                                        \n",
            ),
            (
                style(LogFormat::Colour, true),
                "\u{1b}[36mINFO\u{1b}[0m[2026-11-22T11:00:00Z] a \"b\"                                        \n",
            ),
        ] {
            assert_eq!(Log::new(style, Vec::new()).line(LogLevel::Info, "a \"b\"", now), expected);
        }
        let text = Log::new(style(LogFormat::Text, false), Vec::new());
        assert!(text.line(LogLevel::Warning, "word", now).ends_with("level=warning msg=word\n"));
    }

    #[test]
    fn levels_include_those_before_them() {
        for (level, expected) in [("warn", 1), ("Info", 2), ("panic", 0)] {
            let level = LogLevel::parse(level).unwrap();
            let log = Log::new(LogStyle { format: LogFormat::Text, level, timestamps: false }, Vec::new());
            log.log(LogLevel::Warning, "w");
            log.log(LogLevel::Info, "i");
            let output = log.output.into_inner().unwrap();
            assert_eq!(String::from_utf8(output).unwrap().lines().count(), expected);
        }
        assert_eq!(LogLevel::parse("loud"), None);
    }
}
