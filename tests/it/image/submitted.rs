//! What `cooper submit --dry-run` prints, played by Podman: the Job's pod builds and pushes the sample app.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::play::Podman;
use super::seed::{REGISTRY, check, network};
use super::{has_containers, made};
use crate::support::{COOPER, Outcome};

const BUILDER: &str = "registry.local:5000/tools/cooper:0.1.0";

#[test]
fn the_pod_of_a_submission_builds_and_pushes() {
    if !has_containers() {
        return;
    }
    let network = network();
    let podman = Podman::new(&network);
    podman.load(&made::layouts().join("executor"), BUILDER);
    podman.log_in();
    let output = Command::new(COOPER)
        .env_clear()
        .env("HOME", network.path("home"))
        .args(["submit", "--dry-run=client", "-o", "pod", "--name", "sample", "--builder-image", BUILDER])
        .args(["--registry-secret", "registry-credentials", "--insecure-registry", REGISTRY])
        // What the Dockerfile names is at Docker Hub.
        .args(["--registry-mirror", REGISTRY, "-t", "registry.local:5000/test-webapp:1.0.0"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/test-webapp"))
        .output()
        .unwrap();
    let manifests = Outcome::of(output).success().stdout;

    let mut play = podman.command(&["kube", "play", "--network=host", "-"]);
    let mut child = play.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    Outcome::of(child.wait_with_output().unwrap()).success();
    let log = podman.wait("sample-build");
    assert!(log.contains("pushed registry.local:5000/test-webapp:1.0.0"), "{log}");
    // The last line is for programs, as that of a local build.
    assert!(log.lines().any(|line| line.starts_with("sha256:") && line.len() == 71), "{log}");
    check(&network);
}
