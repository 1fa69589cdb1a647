//! The report for a terminal.

use std::fmt::Write as _;

use super::{Cells, Report};

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
            let Some(cells) = Cells::of(measured, row) else {
                let reason = row.absent.as_deref().unwrap_or_default();
                let _ = writeln!(text, "  {:16} {}: {reason}", row.builder, row.verdict());
                continue;
            };
            let Cells { median, spread, ratio, cpu, memory, received, sent, written, requests } = cells;
            let _ = writeln!(
                text,
                "  {:16} {median:>9} {spread:>19} {ratio:>7} {cpu:>9} {memory:>9} {received:>10} {sent:>10} \
                 {written:>10} {requests:>5}",
                row.builder,
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
