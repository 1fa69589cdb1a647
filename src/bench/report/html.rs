//! The report as a page with charts that needs nothing else: no script, no font, no server.

use std::fmt::Write as _;

use super::{BuilderInfo, Measurement, Report, float, size, time};
use crate::bench::case::{Case, Mode};

/// Widths in the charts' own units.
const LABELS: f64 = 110.0;
const BARS: f64 = 470.0;
const VALUES: f64 = 180.0;
const ROW: f64 = 24.0;

const STYLE: &str = "
:root { color-scheme: light dark; --page: #fcfcfb; --text: #1c1c1a; --faint: #6b6b66; --line: #e2e2dd; --ours: #b45309; --theirs: #94a3b8; --good: #15803d; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --text: #ececea; --faint: #a0a09a; --line: #33332f; --ours: #f59e0b; --theirs: #64748b; --good: #4ade80; --bad: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; } .faint { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--faint); } td.number, th.number { text-align: right; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
svg { display: block; width: 100%; height: auto; min-width: 34rem; font: 13px system-ui, sans-serif; }
svg text { fill: var(--text); } svg .faint { fill: var(--faint); } svg .ours { fill: var(--ours); } svg .theirs { fill: var(--theirs); }
svg line { stroke: var(--text); stroke-width: 1.2; opacity: .55; }
";

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Cooper: benchmarks</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Benchmarks</h1>\n"
    );
    let machine = &report.machine;
    let _ = writeln!(
        page,
        "<p class=\"faint\">{} · {} × {} · {} · {}, Linux {} · medians of {} runs, builders taking turns</p>",
        escape(&report.date),
        machine.processors,
        escape(&machine.processor),
        size(float(machine.memory)),
        escape(&machine.system),
        escape(&machine.kernel),
        report.runs
    );
    targets(&mut page, report);
    for case in Case::ALL {
        let measured: Vec<_> = report.measurements.iter().filter(|measured| measured.case == case).collect();
        if measured.is_empty() {
            continue;
        }
        let _ = writeln!(page, "<h2>{}</h2>", escape(case.title()));
        for measured in measured {
            chart(&mut page, measured);
        }
    }
    published(&mut page, report);
    builders(&mut page, report);
    page.push_str("</body>\n</html>\n");
    page
}

fn targets(page: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    page.push_str("<h2>Targets</h2>\n<div class=\"scroll\"><table>\n");
    for target in &report.targets {
        let (class, verdict) = match (&target.measured, target.is_met) {
            (None, _) => ("faint", "not measured"),
            (_, true) => ("good", "met"),
            (_, false) => ("bad", "missed"),
        };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"{class}\">{verdict}</td></tr>",
            target.number,
            escape(&target.what),
            escape(target.measured.as_deref().unwrap_or("–"))
        );
    }
    page.push_str("</table></div>\n");
}

/// Bars from zero to the median, a thin line from least to most.
fn chart(page: &mut String, measured: &Measurement) {
    let _ = writeln!(
        page,
        "<h3>{} <span class=\"faint\">{}</span></h3>",
        measured.mode,
        escape(measured.mode.title())
    );
    let spreads: Vec<_> = measured.rows.iter().map(|row| row.spread(|sample| sample.wall)).collect();
    let longest = spreads.iter().flatten().map(|spread| spread.most).fold(f64::EPSILON, f64::max);
    let count = u32::try_from(measured.rows.len()).unwrap_or(u32::MAX);
    let (width, height) = (LABELS + BARS + VALUES, ROW * f64::from(count));
    let _ = writeln!(
        page,
        "<div class=\"scroll\"><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} {}: seconds by \
         builder\">",
        measured.case, measured.mode
    );
    let mut top = 0.0;
    for (row, spread) in measured.rows.iter().zip(spreads) {
        let middle = top + ROW / 2.0;
        let _ = writeln!(page, "<text x=\"0\" y=\"{}\">{}</text>", middle + 4.5, escape(&row.builder));
        match spread {
            None => {
                let reason = row.absent.as_deref().unwrap_or("not run");
                let reason: String = reason.chars().take(80).collect();
                let _ = writeln!(
                    page,
                    "<text class=\"faint\" x=\"{LABELS}\" y=\"{}\">{}: {}</text>",
                    middle + 4.5,
                    row.verdict(),
                    escape(&reason)
                );
            }
            Some(spread) => {
                let at = |seconds: f64| seconds / longest * BARS;
                let class = if row.builder == "cooper" { "ours" } else { "theirs" };
                let ratio = measured.ratio(row).filter(|_| row.builder != "cooper");
                let ratio = ratio.map_or_else(String::new, |ratio| format!(" · {ratio:.1}×"));
                let _ = writeln!(
                    page,
                    "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\
                     <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{}{ratio}</text>",
                    top + 4.0,
                    at(spread.median).max(1.0),
                    ROW - 8.0,
                    LABELS + at(spread.least),
                    LABELS + at(spread.most),
                    LABELS + at(spread.most) + 8.0,
                    middle + 4.5,
                    time(spread.median)
                );
            }
        }
        top += ROW;
    }
    page.push_str("</svg></div>\n");
    details(page, measured);
}

fn details(page: &mut String, measured: &Measurement) {
    page.push_str("<details><summary class=\"faint\">processor, memory, bytes, requests, images</summary>\n");
    page.push_str("<div class=\"scroll\"><table>\n<tr><th></th>");
    for name in ["cpu", "memory", "received", "sent", "written", "requests"] {
        let _ = write!(page, "<th class=\"number\">{name}</th>");
    }
    page.push_str("<th>image</th></tr>\n");
    for row in measured.rows.iter().filter(|row| !row.samples.is_empty()) {
        let median = |of: fn(&super::Sample) -> f64| row.spread(of).map_or(0.0, |spread| spread.median);
        let _ = write!(page, "<tr><td>{}</td>", escape(&row.builder));
        for cell in [
            time(median(|sample| sample.cpu)),
            size(median(|sample| float(sample.memory))),
            size(median(|sample| float(sample.received))),
            size(median(|sample| float(sample.sent))),
            size(median(|sample| float(sample.written))),
            format!("{:.0}", median(|sample| float(sample.requests as u64))),
        ] {
            let _ = write!(page, "<td class=\"number\">{cell}</td>");
        }
        let image = match &row.differences {
            None => String::new(),
            Some(differences) if differences.is_empty() => {
                "<span class=\"good\">equal to Cooper's</span>".to_owned()
            }
            Some(differences) => {
                format!("<span class=\"bad\">differs</span> {}", escape(&differences.join("; ")))
            }
        };
        let _ = writeln!(page, "<td>{image}</td></tr>");
    }
    page.push_str("</table></div></details>\n");
}

/// The published build as one bar of its parts, and Cooper's cold build of the same app to the same scale.
fn published(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>The published build</h2>\n<p>The sample app with Kaniko in a cluster, 36 s as published: ",
    );
    let parts: Vec<String> =
        report.published.iter().map(|part| format!("{} s {}", part.seconds, part.part)).collect();
    let _ = writeln!(page, "{}.</p>", escape(&parts.join(", ")));
    let total: u32 = report.published.iter().map(|part| part.seconds).sum();
    let at = |seconds: f64| seconds / f64::from(total) * BARS;
    let here = report
        .measurements
        .iter()
        .find(|measured| (measured.case, measured.mode) == (Case::Sample, Mode::Cold))
        .and_then(|measured| measured.row("cooper")?.spread(|sample| sample.wall));
    let height = if here.is_some() { 2.0 * ROW } else { ROW };
    let _ = writeln!(
        page,
        "<div class=\"scroll\"><svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"the published build\">\n\
         <text x=\"0\" y=\"16.5\">published</text>",
        LABELS + BARS + VALUES
    );
    let mut left = LABELS;
    for part in report.published {
        let width = at(f64::from(part.seconds));
        let _ = writeln!(
            page,
            "<rect class=\"theirs\" x=\"{left:.1}\" y=\"4\" width=\"{:.1}\" height=\"16\" rx=\"2\"><title>{}: {} s\
             </title></rect>",
            (width - 1.5).max(1.0),
            part.part,
            part.seconds
        );
        left += width;
    }
    let _ = writeln!(page, "<text x=\"{:.1}\" y=\"16.5\">36 s</text>", left + 8.0);
    if let Some(spread) = here {
        let width = at(spread.median).max(1.0);
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"40.5\">cooper, here</text>\
             <rect class=\"ours\" x=\"{LABELS}\" y=\"28\" width=\"{width:.1}\" height=\"16\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"40.5\">{}, without a pod to wait for</text>",
            LABELS + width + 8.0,
            time(spread.median)
        );
    }
    page.push_str("</svg></div>\n");
}

fn builders(page: &mut String, report: &Report) {
    page.push_str("<h2>Builders</h2>\n<div class=\"scroll\"><table>\n");
    for builder in &report.builders {
        let (name, text) = match builder {
            BuilderInfo::Measured { name, version } => (name, version.clone()),
            BuilderInfo::NotRun { name, reason } => (name, format!("not run: {reason}")),
        };
        let _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&text));
    }
    page.push_str("</table></div>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
