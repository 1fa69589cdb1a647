//! `k8s/`: what it sends to a cluster is as Kubernetes' schemas say, and holds together.

mod n8n;
mod overlays;
mod service;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/kubernetes.sh");

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s").join(name)
}

/// Runs the script with this input; gives whether it succeeded, and all that it said.
fn script(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(SCRIPT);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A script that reads nothing closes its end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), if output.status.success() { said } else { said + &complaint })
}

/// The objects of some manifests, each as the schemas say.
#[track_caller]
fn objects(manifests: &str) -> Vec<Value> {
    let (is_valid, said) = script(&["validate"], manifests);
    assert!(is_valid, "{said}\n{manifests}");
    let (is_read, json) = script(&["json"], manifests);
    assert!(is_read, "{json}");
    serde_json::from_str(&json).unwrap()
}

/// The object of this kind.
#[track_caller]
fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {objects:#?}"))
}

#[test]
fn the_schemas_are_looked_at() {
    let (is_valid, said) = script(
        &["validate"],
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, imag: y}]}\n",
    );
    assert!(!is_valid && said.contains("'imag' was unexpected"), "{said}");
}

#[test]
fn single_files_are_valid() {
    for name in ["kaniko-pod.yaml", "job.yaml", "base/secret.yaml"] {
        assert_eq!(objects(&std::fs::read_to_string(directory(name)).unwrap()).len(), 1, "{name}");
    }
}
