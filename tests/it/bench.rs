//! `cooper bench`, with what CI has: Cooper and Buildah on the sample app, once.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{COOPER, Outcome, node_layout, tool};

/// The harness with its bases in a directory of its own.
fn bench(directory: &Path, arguments: &[&str]) -> (Outcome, Value) {
    let bases = directory.join("bases");
    std::fs::create_dir_all(&bases).unwrap();
    std::os::unix::fs::symlink(node_layout(), bases.join("node")).unwrap();
    let json = directory.join("report.json");
    let output = Command::new(COOPER)
        .args(["bench", "--runs", "1"])
        .args(["--fixtures".as_ref(), Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").as_os_str()])
        .args(["--bases".as_ref(), bases.as_os_str()])
        .args(["--work".as_ref(), directory.join("work").as_os_str()])
        .args(["--json".as_ref(), json.as_os_str()])
        .args(["--markdown".as_ref(), directory.join("report.md").as_os_str()])
        .args(["--html".as_ref(), directory.join("report.html").as_os_str()])
        .args(arguments)
        .output()
        .unwrap();
    let report = std::fs::read(json).map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap());
    (Outcome::of(output), report)
}

#[test]
fn measures_cooper_and_buildah_and_finds_their_images_equal() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--case", "sample=cold,warm", "--buildah", "buildah", "--kaniko", "/no/such/executor"];
    let (outcome, report) = bench(directory.path(), &arguments);
    // Buildah keeps files that ordinary users cannot remove.
    tool("chmod", ["-R".as_ref(), "u+rwX".as_ref(), directory.path().as_os_str()]);
    let outcome = outcome.success();
    let measurements = report["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 2, "{}", outcome.stderr);
    for measured in measurements {
        let rows = measured["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["differences"], serde_json::json!([]), "{rows:?}");
        for row in rows {
            let sample = &row["samples"][0];
            assert!(sample["wall"].as_f64().unwrap() > 0.0, "{sample}");
            assert!(sample["memory"].as_u64().unwrap() > 1 << 20, "{sample}");
            assert!(sample["requests"].as_u64().unwrap() > 3, "{sample}");
            assert!(sample["sent"].as_u64().unwrap() > 1000, "{sample}");
        }
    }
    let (cold, warm) = (&measurements[0]["rows"][0]["samples"][0], &measurements[1]["rows"][0]["samples"][0]);
    assert!(cold["received"].as_u64().unwrap() > 10 << 20, "the base was fetched: {cold}");
    assert!(warm["received"].as_u64().unwrap() < 1 << 20, "the base was at hand: {warm}");
    assert!(cold["base_layers"].as_u64().unwrap() > 0 && warm["base_layers"] == 0);
    let missing =
        report["builders"].as_array().unwrap().iter().filter_map(|builder| builder["reason"].as_str());
    let missing: Vec<_> = missing.collect();
    assert!(missing.contains(&"there is no `/no/such/executor`"), "{missing:?}");
    let markdown = std::fs::read_to_string(directory.path().join("report.md")).unwrap();
    assert!(markdown.contains("Image equal to that of buildah."), "{markdown}");
    let html = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("<script"), "{html}");
}

#[test]
fn hands_a_pod_the_context_through_kubectl() {
    let directory = tempfile::tempdir().unwrap();
    // Does what the pod would do, by other means; the pod itself needs a cluster.
    let kubectl = directory.path().join("kubectl");
    let script = format!(
        "#!/bin/sh\nset -e\n[ \"$1 $2\" = 'run cooper-bench-kaniko' ]\ncase \"$*\" in *--image=kaniko:1*--context=tar://stdin*) ;; *) exit 9 ;; esac\n\
         for argument; do case $argument in --destination=*) image=${{argument#*=}} ;; esac; done\n\
         mkdir {0}/pod\ntar -xz -C {0}/pod\n\
         exec {COOPER} build --push --store {0}/pod-store --insecure-registry \"${{image%%/*}}\" --tag \"$image\" {0}/pod\n",
        directory.path().display()
    );
    std::fs::write(&kubectl, script).unwrap();
    tool("chmod", ["+x".as_ref(), kubectl.as_os_str()]);
    let kubectl = kubectl.to_str().unwrap();
    let arguments = ["--case", "sample=cold,kept", "--kaniko-pod", "kaniko:1", "--kubectl", kubectl];
    let (outcome, report) =
        bench(directory.path(), &[&arguments[..], &["--registry-name", "127.0.0.1"]].concat());
    outcome.success();
    let rows = &report["measurements"][0]["rows"];
    assert_eq!(
        (&rows[1]["builder"], &rows[1]["differences"]),
        (&"kaniko-pod".into(), &serde_json::json!([]))
    );
    let kept = &report["measurements"][1]["rows"][1];
    assert_eq!(kept["absent"], "keeps nothing between builds: see cold");
}

#[test]
fn says_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let (outcome, _) = bench(directory.path(), &["--case", "files=cold"]);
    outcome.failure(1, &["busybox", "tests/tools/bench-bases.sh"]);
    let (outcome, _) = bench(&directory.path().join("other"), &["--case", "files=lukewarm"]);
    outcome.failure(2, &["there is no mode `lukewarm`"]);
}
