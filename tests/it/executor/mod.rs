//! Kaniko's command line, from the outside: the program is started by Kaniko's names, with Kaniko's arguments.

mod cache;
mod commands;
mod contexts;
mod flags;
mod logs;
mod mistakes;
mod outputs;
mod registries;
mod seed;
mod warmer;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::registry::Registry;
use crate::support::{COOPER, Outcome, Served};

/// A run of the executor: a workspace, a Kaniko directory, and a registry with a base image for it all to go to.
#[must_use]
struct Executor {
    directory: TempDir,
    registry: Registry,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Executor {
    /// A build of this Dockerfile, where `FROM base` begins with a small image of busybox in the registry.
    fn new(dockerfile: &str) -> Self {
        Self::with(Registry::start(), dockerfile)
    }

    fn with(registry: Registry, dockerfile: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Served::base().put(&registry, "base", "1");
        let dockerfile = dockerfile.replace("FROM base", &format!("FROM {}/base:1", registry.host()));
        let executor = Self { directory, registry, arguments: Vec::new(), environment: Vec::new() };
        std::fs::create_dir_all(executor.at("kaniko")).unwrap();
        for name in ["executor", "warmer"] {
            symlink(COOPER, executor.at("kaniko").join(name)).unwrap();
        }
        executor.file("Dockerfile", &dockerfile)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn workspace(&self) -> PathBuf {
        self.at("workspace")
    }

    /// The name of an image in the registry.
    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.host())
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.workspace().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a flag with a path beside the workspace.
    fn path(self, flag: &str, path: &str) -> Self {
        let path = self.at(path).display().to_string();
        self.args([format!("{flag}={path}")])
    }

    fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With a destination.
    fn pushing(self) -> Self {
        let name = self.name("team/app:1");
        self.args(["--destination".to_owned(), name])
    }

    /// Writing a layout instead of pushing.
    fn local(self) -> Self {
        self.args(["--no-push"]).path("--oci-layout-path", "layout")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.at("kaniko").join(name));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_CONFIG", self.at("no-docker-config"))
            .env("RUST_BACKTRACE", "1")
            .env("KANIKO_DIR", self.at("kaniko"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    fn command(&self) -> Command {
        let mut command = self.program("executor");
        command.arg(format!("--context={}", self.workspace().display())).args(&self.arguments);
        command
    }

    fn run(&self) -> Outcome {
        Outcome::of(self.command().output().unwrap())
    }

    /// Builds to a layout, and gives what is in it.
    #[track_caller]
    fn built(self) -> Built {
        let executor = self.local();
        executor.run().success();
        let built = Built::read(&executor.at("layout"));
        Built { directory: Some(executor.directory), ..built }
    }

    /// The manifest that was pushed as `team/app:1`.
    #[track_caller]
    fn pushed(&self) -> Value {
        let manifest = self.registry.manifest("team/app", "1").expect("the image was pushed");
        serde_json::from_slice(&manifest).unwrap()
    }

    /// The digest of that.
    fn pushed_digest(&self) -> String {
        let manifest = self.registry.manifest("team/app", "1").expect("the image was pushed");
        cooper::layer::Digest::of(manifest).to_string()
    }
}

/// An image in a layout.
struct Built {
    /// What the layout is in, if it is nobody else's.
    #[expect(dead_code, reason = "dropping it removes the layout")]
    directory: Option<TempDir>,
    manifest: Value,
    config: Value,
    blobs: PathBuf,
}

impl Built {
    #[track_caller]
    fn read(layout: &Path) -> Self {
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let blobs = layout.join("blobs/sha256");
        let read = |descriptor: &Value| -> Value {
            let hex = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
            serde_json::from_slice(&std::fs::read(blobs.join(hex)).unwrap()).unwrap()
        };
        let manifest = read(&index["manifests"][0]);
        let config = read(&manifest["config"]);
        Self { directory: None, manifest, config, blobs }
    }

    fn layers(&self) -> &[Value] {
        self.manifest["layers"].as_array().unwrap()
    }

    /// How many layers the base has.
    fn base_layers() -> usize {
        Served::base().layers.len()
    }

    /// The bytes of a layer.
    fn layer(&self, position: usize) -> Vec<u8> {
        let digest = self.layers()[position]["digest"].as_str().unwrap().trim_start_matches("sha256:");
        std::fs::read(self.blobs.join(digest)).unwrap()
    }

    /// The paths that the layers above the base list, layer by layer, in the words of tar.
    fn added(&self) -> Vec<Vec<String>> {
        let own = Self::base_layers()..self.layers().len();
        own.map(|position| {
            let mut tar = Vec::new();
            let blob = self.layer(position);
            let mut reader = cooper::layer::decompress(blob.as_slice()).unwrap();
            std::io::Read::read_to_end(&mut reader, &mut tar).unwrap();
            let mut archive = tar::Archive::new(tar.as_slice());
            let entries = archive.entries().unwrap();
            entries
                .map(|entry| {
                    entry.unwrap().path().unwrap().display().to_string().trim_end_matches('/').to_owned()
                })
                .collect()
        })
        .collect()
    }
}
