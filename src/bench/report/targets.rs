//! The promises that Cooper is held to, and what came of them.

use serde::Serialize;

use super::{Measurement, Row, Sample, float};
use crate::bench::case::{Case, Mode};

/// One promise.
struct Target {
    number: u8,
    case: Case,
    mode: Mode,
    promise: Promise,
}

enum Promise {
    /// So many times faster than this builder.
    Faster(f64, &'static str),
    /// At most so many times the bytes that this builder sends.
    Sent(f64, &'static str),
    /// Less than so many bytes of memory.
    Memory(u64),
    /// Fewer requests.
    Requests(usize),
    /// No layer of the base is fetched.
    NoBaseLayer,
}

/// What came of a promise.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub(super) number: u8,
    pub(super) what: String,
    /// What was measured; `None` if nothing was.
    pub(super) measured: Option<String>,
    pub(super) is_met: bool,
}

const MEBIBYTE: u64 = 1 << 20;

#[rustfmt::skip]
const TARGETS: [Target; 14] = [
    Target { number: 1, case: Case::Sample, mode: Mode::Cold, promise: Promise::Faster(8.0, "kaniko") },
    Target { number: 1, case: Case::Sample, mode: Mode::Cold, promise: Promise::Faster(2.5, "buildkit") },
    Target { number: 2, case: Case::Copy, mode: Mode::Edited, promise: Promise::Faster(40.0, "kaniko") },
    Target { number: 2, case: Case::Copy, mode: Mode::Edited, promise: Promise::NoBaseLayer },
    Target { number: 3, case: Case::Sample, mode: Mode::Cached, promise: Promise::Faster(4.0, "kaniko") },
    Target { number: 3, case: Case::Sample, mode: Mode::Cached, promise: Promise::Faster(2.0, "buildkit") },
    Target { number: 3, case: Case::Sample, mode: Mode::Cached, promise: Promise::Requests(25) },
    Target { number: 4, case: Case::Sample, mode: Mode::Warm, promise: Promise::Faster(3.0, "buildkit") },
    Target { number: 5, case: Case::Files, mode: Mode::Cold, promise: Promise::Faster(15.0, "kaniko") },
    Target { number: 5, case: Case::Files, mode: Mode::Cold, promise: Promise::Faster(8.0, "buildkit") },
    Target { number: 5, case: Case::Large, mode: Mode::Cold, promise: Promise::Faster(2.5, "kaniko") },
    Target { number: 5, case: Case::Large, mode: Mode::Cold, promise: Promise::Sent(1.03, "kaniko") },
    Target { number: 5, case: Case::Large, mode: Mode::Cold, promise: Promise::Memory(64 * MEBIBYTE) },
    Target { number: 6, case: Case::Debian, mode: Mode::Cold, promise: Promise::Faster(8.0, "kaniko") },
];

/// What came of the promises that something was measured for.
pub(super) fn outcomes(measurements: &[Measurement]) -> Vec<Outcome> {
    let judged = TARGETS.iter().filter_map(|target| {
        let found = |measured: &&Measurement| (measured.case, measured.mode) == (target.case, target.mode);
        measurements.iter().find(found).map(|measured| judge(target, measured))
    });
    judged.collect()
}

fn judge(target: &Target, measured: &Measurement) -> Outcome {
    let place = format!("{} {}", target.case, target.mode);
    let ours = |of: fn(&Sample) -> f64| measured.row("cooper")?.spread(of);
    let (what, found) = match target.promise {
        Promise::Faster(factor, builder) => {
            let row = measured.row(builder);
            let ratio = row.and_then(|row| measured.ratio(row));
            let what = format!("{place}: at least {factor}× faster than {}", name(row, builder));
            (what, ratio.map(|ratio| (format!("{ratio:.1}×"), ratio >= factor)))
        }
        Promise::Sent(factor, builder) => {
            let row = measured.row(builder);
            let theirs = row.and_then(|row| row.spread(|sample| float(sample.sent)));
            let ratio = ours(|sample| float(sample.sent))
                .zip(theirs)
                .map(|(ours, theirs)| ours.median / theirs.median);
            let what = format!("{place}: at most {factor}× the bytes that {} sends", name(row, builder));
            (what, ratio.map(|ratio| (format!("{ratio:.3}×"), ratio <= factor)))
        }
        Promise::Memory(limit) => {
            let most = ours(|sample| float(sample.memory)).map(|spread| spread.most);
            let what = format!("{place}: less than {} of memory", super::size(float(limit)));
            (what, most.map(|most| (super::size(most), most < float(limit))))
        }
        Promise::Requests(limit) => {
            let most = ours(|sample| float(sample.requests as u64)).map(|spread| spread.most);
            let what = format!("{place}: fewer than {limit} requests");
            (what, most.map(|most| (format!("{most:.0}"), most < float(limit as u64))))
        }
        Promise::NoBaseLayer => {
            let most = ours(|sample| float(sample.base_layers as u64)).map(|spread| spread.most);
            let what = format!("{place}: no layer of the base is fetched");
            (what, most.map(|most| (format!("{most:.0}"), most < 0.5)))
        }
    };
    let (measured, is_met) = match found {
        Some((measured, is_met)) => (Some(measured), is_met),
        None => (None, false),
    };
    Outcome { number: target.number, what, measured, is_met }
}

fn name<'a>(row: Option<&'a Row>, builder: &'a str) -> &'a str {
    row.map_or(builder, |row| row.builder.as_str())
}
