//! What was measured, and how it is shown.

mod html;
mod machine;
mod markdown;
mod statistics;
mod table;
mod targets;

use serde::Serialize;

pub(super) use machine::Machine;
use statistics::Spread;

use super::case::{Case, Mode};

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formats {
    /// For a terminal.
    Table,
    /// All numbers.
    Json,
    /// For `docs/`.
    Markdown,
    /// A page with charts that needs nothing else.
    Html,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When, in RFC 3339.
    date: String,
    machine: Machine,
    runs: usize,
    builders: Vec<BuilderInfo>,
    measurements: Vec<Measurement>,
    unmeasured: Vec<Unmeasured>,
    targets: Vec<targets::Outcome>,
    published: [Published; 5],
}

/// A builder, whether it was measured or not.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum BuilderInfo {
    Measured { name: String, version: String },
    NotRun { name: String, reason: String },
}

/// One mode of one case.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measurement {
    pub(super) case: Case,
    pub(super) mode: Mode,
    pub(super) rows: Vec<Row>,
}

/// A case that could not be measured, or not to its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Unmeasured {
    pub(super) case: Case,
    pub(super) reason: String,
}

/// What one builder came to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) builder: String,
    pub(super) samples: Vec<Sample>,
    /// Why there are no (further) samples.
    pub(super) absent: Option<String>,
    /// Whether that is because a build failed.
    pub(super) has_failed: bool,
    /// Bytes of the layers of its image, the base's too.
    pub(super) image_bytes: Option<u64>,
    /// What of its image is not as in Cooper's; `None` if they were not compared.
    pub(super) differences: Option<Vec<String>>,
}

/// One run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Seconds.
    pub(super) wall: f64,
    /// Seconds of all processors.
    pub(super) cpu: f64,
    /// Bytes.
    pub(super) memory: u64,
    /// Bytes.
    pub(super) written: u64,
    /// Bytes.
    pub(super) received: u64,
    /// Bytes.
    pub(super) sent: u64,
    pub(super) requests: usize,
    /// Layers of the base that were fetched.
    pub(super) base_layers: usize,
}

/// A part of the time that a build with Kaniko took in a cluster, as was published for the sample app.
#[derive(Debug, Clone, Copy, Serialize)]
struct Published {
    part: &'static str,
    seconds: u32,
}

/// 36 s in all: a pod for the builder, pulling the base, building, pushing the cache, pushing the image.
const PUBLISHED: [Published; 5] = [
    Published { part: "start of the pod", seconds: 29 },
    Published { part: "pull", seconds: 1 },
    Published { part: "build", seconds: 4 },
    Published { part: "cache push", seconds: 2 },
    Published { part: "push", seconds: 1 },
];

impl Row {
    pub(super) fn absent(builder: String, reason: String) -> Self {
        let (samples, absent) = (Vec::new(), Some(reason));
        Self { builder, samples, absent, has_failed: false, image_bytes: None, differences: None }
    }

    /// What to call it when there are no samples.
    fn verdict(&self) -> &'static str {
        if self.has_failed { "failed" } else { "not run" }
    }

    /// Median, least and most of something.
    fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(of))
    }
}

impl Measurement {
    /// The row of the last builder of this name: of several versions, the newest.
    fn row(&self, builder: &str) -> Option<&Row> {
        self.rows.iter().rfind(|row| row.builder.starts_with(builder))
    }

    /// How many times as long as Cooper's median.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let ours = self.row("cooper")?.spread(|sample| sample.wall)?.median;
        Some(row.spread(|sample| sample.wall)?.median / ours)
    }
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        runs: usize,
        builders: Vec<BuilderInfo>,
        measurements: Vec<Measurement>,
        unmeasured: Vec<Unmeasured>,
    ) -> Self {
        let targets = targets::outcomes(&measurements);
        let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { date, machine, runs, builders, measurements, unmeasured, targets, published: PUBLISHED }
    }

    /// Whether every image that was compared is equal to Cooper's, and no build has failed.
    pub fn is_sound(&self) -> bool {
        let mut rows = self.measurements.iter().flat_map(|measured| &measured.rows);
        self.unmeasured.is_empty()
            && rows.all(|row| !row.has_failed && row.differences.as_ref().is_none_or(Vec::is_empty))
    }

    /// The report in this form; `notes` are for Markdown and HTML, and are Markdown themselves.
    pub fn render(&self, format: Formats, notes: &str) -> Result<String, serde_json::Error> {
        Ok(match format {
            Formats::Table => table::render(self),
            Formats::Json => serde_json::to_string_pretty(self)? + "\n",
            Formats::Markdown => markdown::render(self, notes),
            Formats::Html => html::render(self),
        })
    }
}

/// What the reports in text show of a builder's runs.
struct Cells {
    median: String,
    /// The shortest and the longest time.
    spread: String,
    ratio: String,
    cpu: String,
    memory: String,
    received: String,
    sent: String,
    written: String,
    requests: String,
}

impl Cells {
    /// The cells of `row`; `None` if nothing was measured.
    fn of(measured: &Measurement, row: &Row) -> Option<Self> {
        let wall = row.spread(|sample| sample.wall)?;
        let median = |of: fn(&Sample) -> f64| row.spread(of).map_or(0.0, |spread| spread.median);
        Some(Self {
            median: time(wall.median),
            spread: format!("{}–{}", time(wall.least), time(wall.most)),
            ratio: measured.ratio(row).map_or_else(String::new, |ratio| format!("{ratio:.1}×")),
            cpu: time(median(|sample| sample.cpu)),
            memory: size(median(|sample| float(sample.memory))),
            received: size(median(|sample| float(sample.received))),
            sent: size(median(|sample| float(sample.sent))),
            written: size(median(|sample| float(sample.written))),
            requests: format!("{:.0}", median(|sample| float(sample.requests as u64))),
        })
    }
}

/// `3.2 MiB`.
fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// `12.3 s` or `45 ms`.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// A whole number as one that can be divided.
#[expect(clippy::cast_precision_loss, reason = "sizes and counts are far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}
