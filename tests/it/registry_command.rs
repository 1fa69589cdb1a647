//! `cooper registry`, with a real docker-registry, and skopeo as the judge.

mod copy;
mod diff;
mod inspect;
mod remove;
mod verify;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Build, COOPER, DebianRegistry, Outcome, tool};

/// A registry, and a directory for what is copied out of it.
struct Stage {
    registry: DebianRegistry,
    directory: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { registry: DebianRegistry::start(), directory: tempfile::tempdir().unwrap() }
    }

    /// `HOST/NAME`.
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Builds an image with this Dockerfile and pushes it.
    #[track_caller]
    fn push(&self, dockerfile: &str, name: &str) {
        self.push_with(Build::new(dockerfile), name);
    }

    #[track_caller]
    fn push_with(&self, build: Build, name: &str) {
        let build = build.env("DOCKER_CONFIG", self.registry.docker_config().display().to_string());
        build.arg("--push").arg("--tag").arg(self.name(name)).run().success();
    }

    /// `cooper registry …`
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(COOPER);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_CONFIG", self.registry.docker_config())
            .arg("registry")
            .args(arguments);
        Outcome::of(command.output().unwrap())
    }

    /// The same, with a result as JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let outcome = self.run(&[arguments, &["--format", "json"]].concat()).success();
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// The tags of a repository, sorted.
    #[track_caller]
    fn tags(&self, name: &str) -> Vec<String> {
        let tags = self.json(&["tags", &self.name(name)])["tags"].clone();
        serde_json::from_value(tags).unwrap()
    }

    /// What skopeo says of an image.
    #[track_caller]
    fn skopeo(&self, arguments: &[&str], name: &str) -> String {
        let authfile = self.registry.docker_config().join("config.json").display().to_string();
        let image = format!("docker://{}", self.name(name));
        let options = ["inspect", "--tls-verify=false", "--authfile", &authfile];
        tool("skopeo", [&options[..], arguments, &[&image]].concat())
    }

    /// The digest of an image by skopeo.
    #[track_caller]
    fn digest(&self, name: &str) -> String {
        self.skopeo(&["--format", "{{.Digest}}"], name).trim().to_owned()
    }
}

/// An index of two images, without a base.
fn for_two_platforms(text: &str) -> Build {
    let dockerfile =
        "FROM scratch\nARG TARGETARCH\nCOPY file /file\nENV ARCH=$TARGETARCH\nCOPY $TARGETARCH /own\n";
    let build = Build::new(dockerfile).file("file", text).file("amd64", "a").file("arm64", "b");
    build.arg("--platform").arg("linux/amd64,linux/arm64")
}
