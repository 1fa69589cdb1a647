//! `cooper llb` from outside: what it writes, and what it refuses.

use std::process::Command;

use bollard_buildkit_proto::pb;
use prost::Message as _;

use crate::support::{Build, COOPER, Outcome};

/// Runs `cooper llb` in the project of `build`.
fn llb(build: &Build, arguments: &[&str]) -> (Outcome, Vec<u8>) {
    let output = Command::new(COOPER)
        .arg("llb")
        .args(["--store".as_ref(), build.store_path().as_os_str()])
        .args(["--progress", "plain"])
        .args(arguments)
        .arg(build.context())
        .output()
        .unwrap();
    let definition = output.stdout.clone();
    (Outcome::of(output), definition)
}

#[test]
fn writes_a_definition_and_what_the_exporter_needs() {
    let dockerfile = "FROM scratch\nCOPY a /a\nENV NAME=\"x, y\"\nCMD [\"/a\"]\n";
    let build = Build::new(dockerfile).file("a", "a").file(".dockerignore", "*.log\n");
    let exporter = build.beside("exporter");
    let path = exporter.display().to_string();
    let (outcome, bytes) = llb(&build, &["-t", "r:5000/app:1", "--push", "--exporter-file", &path]);
    let outcome = outcome.success();
    assert!(outcome.stderr.contains("buildctl build --local context="), "{}", outcome.stderr);

    let definition = pb::Definition::decode(bytes.as_slice()).unwrap();
    // The context, the COPY, and the operation that names the result.
    assert_eq!(definition.def.len(), 3);
    assert_eq!(definition.source.unwrap().infos[0].data, dockerfile.as_bytes());

    let exporter = std::fs::read_to_string(exporter).unwrap();
    let rest = exporter.strip_prefix("type=image,\"name=r:5000/app:1\",push=true,").unwrap();
    let config = rest.trim().strip_prefix("\"containerimage.config=").unwrap().strip_suffix('"').unwrap();
    let config: serde_json::Value = serde_json::from_str(&config.replace("\"\"", "\"")).unwrap();
    assert_eq!(config["config"]["Cmd"][0], "/a");
    assert!(config["config"]["Env"].as_array().unwrap().contains(&"NAME=x, y".into()), "{config}");
    assert_eq!(config["history"].as_array().unwrap().len(), 3);
}

#[test]
fn what_a_daemon_cannot_see_is_refused_at_its_place() {
    let build = Build::new("FROM base\nCOPY a /a\n").file("a", "a");
    let layout =
        format!("--build-context=base=oci-layout://{}:latest", crate::support::base_layout().display());
    let (outcome, bytes) = llb(&build, &[&layout]);
    outcome.failure(1, &["push the image", "Dockerfile:1:1"]);
    assert!(bytes.is_empty());

    let build = Build::new("FROM scratch\nLABEL a=b\n");
    llb(&build, &[]).0.failure(1, &["the image has no files"]);
}
