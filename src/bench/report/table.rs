//! The report for a terminal.

use std::fmt::Write as _;

use super::{Report, float, size, time};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for measured in &report.measurements {
        let _ = writeln!(text, "\n{} · {}: {}", measured.case, measured.mode, measured.mode.title());
        let _ = writeln!(
            text,
            "  {:16} {:>9} {:>19} {:>7} {:>9} {:>9} {:>10} {:>10} {:>10} {:>5}",
            "", "median", "least–most", "ratio", "cpu", "memory", "received", "sent", "written", "req"
        );
        for row in &measured.rows {
            let Some(wall) = row.spread(|sample| sample.wall) else {
                let reason = row.absent.as_deref().unwrap_or_default();
                let _ = writeln!(text, "  {:16} {}: {reason}", row.builder, row.verdict());
                continue;
            };
            let median = |of: fn(&super::Sample) -> f64| row.spread(of).map_or(0.0, |spread| spread.median);
            let _ = writeln!(
                text,
                "  {:16} {:>9} {:>19} {:>7} {:>9} {:>9} {:>10} {:>10} {:>10} {:>5.0}",
                row.builder,
                time(wall.median),
                format!("{}–{}", time(wall.least), time(wall.most)),
                measured.ratio(row).map_or_else(String::new, |ratio| format!("{ratio:.1}×")),
                time(median(|sample| sample.cpu)),
                size(median(|sample| float(sample.memory))),
                size(median(|sample| float(sample.received))),
                size(median(|sample| float(sample.sent))),
                size(median(|sample| float(sample.written))),
                median(|sample| float(sample.requests as u64)),
            );
            for difference in row.differences.iter().flatten() {
                let _ = writeln!(text, "    differs: {difference}");
            }
            if let Some(reason) = &row.absent {
                let _ = writeln!(text, "    stopped: {reason}");
            }
        }
    }
    if !report.targets.is_empty() {
        text.push_str("\nTargets\n");
    }
    for target in &report.targets {
        let state = match (&target.measured, target.is_met) {
            (None, _) => "not measured".to_owned(),
            (Some(measured), true) => format!("{measured}, met"),
            (Some(measured), false) => format!("{measured}, missed"),
        };
        let _ = writeln!(text, "  {} {}: {state}", target.number, target.what);
    }
    text
}
