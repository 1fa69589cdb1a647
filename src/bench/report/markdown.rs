//! The report for `docs/`.

use std::fmt::Write as _;

use super::{BuilderInfo, Cells, Measurement, Report, Row, Unmeasured, float, size, time};
use crate::bench::case::{Case, Mode};

pub(super) fn render(report: &Report, notes: &str) -> String {
    let mut text = String::from("# Benchmarks\n\nWritten by `cooper bench`; do not edit. ");
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "Measured on {}: {} ({} processors), {} of memory, {}, Linux {}; load {} at the end. Medians of {} runs, least \
         to most in brackets, builders taking turns, everything pulled from and pushed to one registry on loopback \
         through a counting proxy.\n",
        report.date,
        machine.processor,
        machine.processors,
        size(float(machine.memory)),
        machine.system,
        machine.kernel,
        machine.load,
        report.runs
    );
    builders(&mut text, report);
    targets(&mut text, report);
    if !notes.trim().is_empty() {
        let _ = writeln!(text, "{}\n", notes.trim());
    }
    text.push_str("## Measurements\n\n");
    text.push_str(
        "`ratio` is the builder's median time over Cooper's. `cpu` is that of all processes of the build, the \
         daemon's in that time included; `memory` the sum of the most that each process had at once; `written` what \
         went to disks; `received` and `sent` what went over the registry's connections, seen from the builder.\n\n",
    );
    for case in Case::ALL {
        let measured: Vec<_> = report.measurements.iter().filter(|measured| measured.case == case).collect();
        if measured.is_empty() {
            continue;
        }
        let _ = writeln!(text, "### {}\n", case.title());
        for measured in measured {
            measurement(&mut text, measured);
        }
    }
    for Unmeasured { case, reason } in &report.unmeasured {
        let _ = writeln!(text, "### {}\n\nNot measured, or not to the end: {reason}\n", case.title());
    }
    published(&mut text, report);
    method(&mut text);
    text
}

fn builders(text: &mut String, report: &Report) {
    text.push_str("| builder | version |\n|---|---|\n");
    for builder in &report.builders {
        let _ = match builder {
            BuilderInfo::Measured { name, version } => writeln!(text, "| {name} | {version} |"),
            BuilderInfo::NotRun { name, reason } => writeln!(text, "| {name} | not run: {reason} |"),
        };
    }
    text.push('\n');
}

fn targets(text: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    text.push_str("## Targets\n\n| | target | measured | |\n|---|---|---|---|\n");
    for target in &report.targets {
        let measured = target.measured.as_deref().unwrap_or("not measured");
        let verdict = match (&target.measured, target.is_met) {
            (None, _) => "",
            (_, true) => "met",
            (_, false) => "**missed**",
        };
        let _ = writeln!(text, "| {} | {} | {measured} | {verdict} |", target.number, target.what);
    }
    text.push('\n');
}

fn measurement(text: &mut String, measured: &Measurement) {
    let _ = writeln!(text, "**{}**: {}\n", measured.mode, measured.mode.title());
    text.push_str("| builder | time | ratio | cpu | memory | received | sent | written | requests |\n");
    text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in &measured.rows {
        line(text, measured, row);
    }
    text.push('\n');
    for row in &measured.rows {
        if let Some(reason) = row.absent.as_ref().filter(|_| !row.samples.is_empty()) {
            let _ = writeln!(text, "{} stopped early: {reason}\n", row.builder);
        }
    }
    equality(text, measured);
}

fn line(text: &mut String, measured: &Measurement, row: &Row) {
    let Some(cells) = Cells::of(measured, row) else {
        let reason = row.absent.as_deref().unwrap_or_default();
        let _ = writeln!(text, "| {} | {}: {reason} | | | | | | | |", row.builder, row.verdict());
        return;
    };
    let Cells { median, spread, ratio, cpu, memory, received, sent, written, requests } = cells;
    let _ = writeln!(
        text,
        "| {} | {median} ({spread}) | {ratio} | {cpu} | {memory} | {received} | {sent} | {written} | {requests} |",
        row.builder,
    );
}

fn equality(text: &mut String, measured: &Measurement) {
    let compared: Vec<_> =
        measured.rows.iter().filter_map(|row| Some((row, row.differences.as_ref()?))).collect();
    let equal: Vec<&str> = compared
        .iter()
        .filter(|(_, differences)| differences.is_empty())
        .map(|(row, _)| row.builder.as_str())
        .collect();
    if !equal.is_empty() {
        let _ = writeln!(text, "Image equal to that of {}.\n", equal.join(", "));
    }
    for (row, differences) in compared.iter().filter(|(_, differences)| !differences.is_empty()) {
        let _ = writeln!(text, "The image of {} differs from Cooper's:\n", row.builder);
        for difference in *differences {
            let _ = writeln!(text, "- `{difference}`");
        }
        text.push('\n');
    }
}

/// The published build, beside what was measured here of the same app.
fn published(text: &mut String, report: &Report) {
    let total: u32 = report.published.iter().map(|part| part.seconds).sum();
    text.push_str("## The published build\n\n");
    let _ = write!(
        text,
        "A published build of the sample app with Kaniko in a cluster took about 36 s; its parts, rounded one by one, add up to {total} s: "
    );
    let parts: Vec<String> =
        report.published.iter().map(|part| format!("{} s {}", part.seconds, part.part)).collect();
    let _ = write!(text, "{}. ", parts.join(", "));
    let here = report
        .measurements
        .iter()
        .find(|measured| (measured.case, measured.mode) == (Case::Sample, Mode::Cold))
        .and_then(|measured| Some((measured.row("cooper")?, measured.row("kaniko")?)))
        .and_then(|(ours, theirs)| {
            let wall = |row: &Row| row.spread(|sample| sample.wall).map(|spread| time(spread.median));
            Some((wall(ours)?, wall(theirs)?))
        });
    match here {
        Some((ours, theirs)) => {
            let _ = writeln!(
                text,
                "Here, without a pod to wait for, the same build took {theirs} with Kaniko and {ours} with Cooper, \
                 pulling and pushing included.\n"
            );
        }
        None => text.push_str("It was not measured in this run.\n\n"),
    }
}

fn method(text: &mut String) {
    text.push_str(
        "## How it is measured\n\n\
         - Before each run the builder forgets what it must not know, disks are synchronised, and the counters are set \
         back; none of this is measured. A daemon is started anew for a cold run.\n\
         - Kaniko's executor runs in a scratch root of its own (mount and process namespace, `/proc`, `/dev`, the \
         context mounted at `/workspace`), as in its image; starting that takes some milliseconds and counts.\n\
         - Buildah runs with its own storage, `--isolation chroot`, `--layers`; building and pushing count.\n\
         - Processor time and bytes written are the kernel's (`/proc/PID/stat`, `/proc/PID/io`), exact to 10 ms; \
         memory is `VmHWM`, looked at every 10 ms.\n\
         - After the last run the images are read back and compared: every path's type, mode, owner, contents, link \
         target and capabilities, and the config. Not compared: times, history, how layers are cut, which name of a \
         file is the first, mount points (`/dev`, `/proc`, `/sys`) and empty `/etc/hosts`, `/etc/hostname`, \
         `/etc/resolv.conf`.\n",
    );
}
