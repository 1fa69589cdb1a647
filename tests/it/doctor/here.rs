//! This machine: isolation and disk. Pods are in `pods/doctor.rs`.

use super::{Doctor, is_empty};
use crate::support::Outcome;

#[test]
fn says_how_commands_are_confined() {
    let doctor = Doctor::new();
    let diagnosis = doctor.diagnose();
    diagnosis.has("ok", "store-usable", &[&doctor.at("store").display().to_string()], &[]);
    let findings = diagnosis.report["findings"].as_array().unwrap();
    let isolation = findings.iter().find(|finding| finding["subject"] == "RUN").unwrap();
    let build = crate::support::Build::new("FROM base\nRUN true\n").store(doctor.at("store"));
    let said = build.run().success().stderr;
    let chosen = isolation["code"].as_str().unwrap().trim_start_matches("isolation-");
    assert!(said.contains(&format!("isolation: {chosen}")), "{isolation:#}\n{said}");
    assert_eq!(diagnosis.report["schema"], 1);
}

#[test]
fn a_store_that_cannot_be_is_an_error() {
    let diagnosis = Doctor::new().args(["--store", "/proc/none"]).diagnose();
    diagnosis.has("error", "store-unusable", &["`/proc/none` cannot be used"], &["--store DIR", "emptyDir"]);
    assert_eq!((diagnosis.code, &diagnosis.report["worst"]), (Some(1), &"error".into()));
}

#[test]
fn little_room_is_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let doctor = Doctor::new();
    let store = doctor.at("small");
    std::fs::create_dir(&store).unwrap();
    for (size, level, code) in [("100m", "error", "disk-full"), ("1g", "warning", "disk-low")] {
        let mut command = std::process::Command::new("unshare");
        let script = "mount -t tmpfs -o size=\"$0\" none \"$1\" && shift && exec \"$@\"";
        let inner = doctor.command();
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, size]);
        command.arg(&store).arg(inner.get_program()).args(inner.get_args());
        command.args(["--json".as_ref(), "--store".as_ref(), store.as_os_str()]);
        let outcome = Outcome::of(command.env("HOME", doctor.at("")).output().unwrap());
        let report =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        let diagnosis = super::Diagnosis { code: outcome.code, report };
        diagnosis.has(level, code, &["are free"], &["cooper store prune --max-size", "sizeLimit"]);
    }
    assert!(is_empty(&store));
}

#[test]
fn is_for_people_too() {
    let outcome = Outcome::of(Doctor::of("127.0.0.1:1").command().output().unwrap());
    let text = outcome.failure(1, &[]).stdout;
    assert!(
        text.contains("127.0.0.1:1\n  ✘ error[registry-down]: refuses the connection\n    help: "),
        "{text}"
    );
    assert!(text.starts_with("store\n  ✔ ") && !text.contains('\u{1b}'), "{text}");
    Outcome::of(Doctor::of("team/app").command().output().unwrap())
        .failure(2, &["`team` is no registry: write HOST, HOST:PORT"]);
}
