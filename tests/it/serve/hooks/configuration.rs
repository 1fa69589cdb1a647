//! `cooper.yaml`: looked through before, and read again when it changes.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BEFORE, Scene, built, ignored, push};
use crate::support::COOPER;

fn cooper(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(COOPER).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn mistakes_are_found_before_the_start() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cooper.yaml");
    let (is_good, said) = cooper(&["serve", "--config", example, "--check-config"]);
    assert!(is_good && said.contains("hooks: 4, repositories: 2, builds: 3"), "{said}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cooper.yaml");
    let text = std::fs::read_to_string(example).unwrap();
    std::fs::write(&path, text.replace("ignore_paths", "ignore_path")).unwrap();
    let file = path.display().to_string();
    let data = directory.path().join("data").display().to_string();
    let start = ["serve", "--config", &file, "--data", &data, "--allow-anonymous", "--listen", "127.0.0.1:0"];
    for arguments in [&["serve", "--config", &file, "--check-config"][..], &start] {
        let (is_good, said) = cooper(arguments);
        assert!(!is_good);
        assert!(said.contains("there is no field `ignore_path` here"), "{said}");
        assert!(said.contains("cooper.yaml:34:9"), "{said}");
        assert!(
            said.contains("ignore_path: [\"**/*.md\"]") && said.contains("did you mean `ignore_paths`?"),
            "{said}"
        );
    }
    let (is_good, said) = cooper(&["serve", "--config", "/nonexistent/cooper.yaml", "--check-config"]);
    assert!(!is_good && said.contains("cannot read the configuration"), "{said}");
    let (is_good, said) = cooper(&["serve", "--check-config"]);
    assert!(!is_good && said.contains("--config"), "{said}");
}

#[test]
fn changes_are_heeded_if_they_make_sense() {
    let scene = Scene::start(&[]);
    let commit = scene.copy.commit("first");
    let path = scene.configuration.path().join("cooper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let body = push("refs/heads/try", BEFORE, &commit);
    ignored(&scene.github("1", &body), "no pattern");
    std::fs::write(&path, text.replace("branches", "branhces")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    ignored(&scene.github("1", &body), "no pattern");
    let log = scene.service.log();
    assert!(log.contains("those before stay") && log.contains("branhces"), "{log}");
    std::fs::write(&path, text.replace("[main,", "[main, try,")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let id = built(&scene.github("1", &body));
    let build = scene.service.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(build["state"], "succeeded", "{build:#}");
    assert!(scene.service.registry.manifest("app", "try").is_some());
}
