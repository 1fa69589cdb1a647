//! What is left of a build besides the image in a registry.

use super::{Built, Executor};
use crate::support::tool;

#[test]
fn digest_files_are_as_scripts_expect_them() {
    let executor = Executor::new("FROM base\nLABEL a=b\n").pushing();
    let second = executor.name("team/second");
    let executor = executor
        .args(["-d".to_owned(), second])
        .path("--digest-file", "new/directory/digest")
        .path("--image-name-with-digest-file", "names")
        .path("--image-name-tag-with-digest-file", "tags");
    // As /dev/termination-log: a file that is written to, and never replaced.
    std::fs::write(executor.at("names"), "longer than what comes ".repeat(100)).unwrap();
    let inode =
        |path: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(executor.at(path)).unwrap());
    let before = inode("names");
    executor.run().success();
    let digest = executor.pushed_digest();
    let text = |path: &str| std::fs::read_to_string(executor.at(path)).unwrap();
    assert_eq!(text("new/directory/digest"), digest);
    let (first, second) = (executor.name("team/app"), executor.name("team/second"));
    assert_eq!(text("names"), format!("{first}@{digest}\n{second}@{digest}\n"));
    assert_eq!(text("tags"), format!("{first}:1@{digest}\n{second}:latest@{digest}\n"));
    assert_eq!(inode("names"), before);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(executor.at("new")).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_termination_message_is_json() {
    let read = |executor: &Executor| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(executor.at("log")).unwrap()).unwrap()
    };
    let executor = Executor::new("FROM base\nCOPY a /\n").file("a", "").pushing();
    let executor = executor.path("--termination-log", "log");
    executor.run().success();
    let said = read(&executor);
    assert_eq!(said["image"], executor.name("team/app:1"));
    assert_eq!(said["digest"], executor.pushed_digest());
    assert_eq!((said["cache"]["steps"].as_u64(), said["error"].as_str()), (Some(1), None));

    let executor = executor.file("Dockerfile", "FROM scratch\nCOPY none /\n");
    executor.run().failure(1, &[]);
    assert!(read(&executor)["error"].as_str().unwrap().contains("/Dockerfile:2: "));
    // Mistakes in the command line too.
    let executor = executor.args(["--snapshot-mode=none"]);
    executor.run().failure(1, &[]);
    assert!(read(&executor)["error"].as_str().unwrap().contains("not a valid snapshot mode"));
}

#[test]
fn without_a_push_files_are_written_all_the_same() {
    let executor = Executor::new("FROM base\nLABEL a=b\n").pushing().local().path("--digest-file", "digest");
    let said = executor.run().success().stderr;
    assert!(said.contains("Skipping push to container registry due to --no-push flag"), "{said}");
    assert_eq!(executor.registry.manifest("team/app", "1"), None);
    let digest = std::fs::read_to_string(executor.at("digest")).unwrap();
    let blob = executor.at("layout/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    assert!(blob.is_file());
    Built::read(&executor.at("layout"));
    // The variable says the same.
    let executor = Executor::new("FROM base\nLABEL a=b\n").pushing().env("KANIKO_NO_PUSH", "true");
    executor.run().success();
    assert_eq!(executor.registry.manifest("team/app", "1"), None);
}

#[test]
fn archives_are_for_docker_load() {
    for (flag, destination, expected) in [
        ("--tar-path", None, "unset-repo/unset-image-name:latest"),
        ("--tarPath", Some("registry.example/team/app:1"), "registry.example/team/app:1"),
    ] {
        let executor = Executor::new("FROM base\nLABEL a=b\n").args(["--no-push"]).path(flag, "image.tar");
        let executor = executor.args(destination.map(|name| format!("--destination={name}")));
        executor.run().success();
        let archive = executor.at("image.tar").display().to_string();
        let manifest = tool("tar", ["-xOf", &archive, "manifest.json"]);
        assert!(manifest.contains(expected), "{manifest}");
        let inspected = tool("skopeo", ["inspect", "--config", &format!("docker-archive:{archive}")]);
        assert!(inspected.contains("\"a\": \"b\""), "{inspected}");
    }
}

#[test]
fn cloud_build_is_told_what_was_pushed() {
    let executor = Executor::new("FROM base\nLABEL a=b\n").pushing();
    let directory = executor.at("builder");
    std::fs::create_dir(&directory).unwrap();
    let executor = executor.env("BUILDER_OUTPUT", directory.display().to_string());
    executor.run().success();
    let line = std::fs::read_to_string(directory.join("images")).unwrap();
    let (name, digest) = (executor.name("team/app:1"), executor.pushed_digest());
    assert_eq!(line, format!("{{\"name\":\"{name}\",\"digest\":\"{digest}\"}}\n"));
}
