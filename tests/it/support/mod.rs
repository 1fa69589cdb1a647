//! What tests of the program share: a project to build, a way to run `cooper`, bases, registries, and images as
//! independent tools see them.

mod base;
mod debian_registry;
mod image;
mod mounted;
mod object_store;
mod repository;
mod sample_app;
mod served;
mod web;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) use base::{base_layout, small_base_layout};
pub(crate) use debian_registry::DebianRegistry;
pub(crate) use image::{FileState, Image, list};
pub(crate) use mounted::Mounted;
pub(crate) use object_store::{ObjectStore, curl};
pub(crate) use repository::{Repositories, WorkingCopy};
pub(crate) use sample_app::{node_layout, sample_app};
pub(crate) use served::Served;
use tempfile::TempDir;
pub(crate) use web::{Reply, Request, WebServer, wait_for};

/// The program under test.
pub(crate) const COOPER: &str = env!("CARGO_BIN_EXE_cooper");

/// A build to be run: a context with a Dockerfile, in a directory of its own, with a store of its own.
#[must_use]
pub(crate) struct Build {
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    store: PathBuf,
    base: PathBuf,
    source: Option<String>,
}

impl Build {
    /// A build of this Dockerfile. `FROM base` begins with a small image of busybox, see [`base_layout`].
    pub(crate) fn new(dockerfile: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let base = base_layout().to_owned();
        let build =
            Self { directory, arguments: Vec::new(), environment: Vec::new(), store, base, source: None };
        std::fs::create_dir(build.context()).unwrap();
        build.file("Dockerfile", dockerfile)
    }

    /// The context's directory.
    pub(crate) fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    /// A place beside the context.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds a file to the context, making its parents.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.context().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Does something to the context.
    pub(crate) fn prepare(self, prepare: impl FnOnce(&Path)) -> Self {
        prepare(&self.context());
        self
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Uses this store instead of an empty one.
    pub(crate) fn store(mut self, store: impl Into<PathBuf>) -> Self {
        self.store = store.into();
        self
    }

    /// Uses this layout for `FROM base`.
    pub(crate) fn base(mut self, layout: &Path) -> Self {
        layout.clone_into(&mut self.base);
        self
    }

    /// Uses this as the context instead of the directory.
    pub(crate) fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Where the store is.
    pub(crate) fn store_path(&self) -> &Path {
        &self.store
    }

    /// The command, ready to be started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(COOPER);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_CONFIG", self.directory.path().join("no-docker-config"))
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("build")
            .args(["--store".as_ref(), self.store.as_os_str()])
            .args(["--progress", "plain"])
            .arg(format!("--build-context=base=oci-layout://{}:latest", self.base.display()))
            .args(&self.arguments)
            .arg(self.source.clone().map_or(self.context().into_os_string(), Into::into))
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub(crate) fn run(&self) -> Outcome {
        Outcome::of(self.command().output().unwrap())
    }

    /// Runs it, and looks at the image that comes out.
    #[track_caller]
    pub(crate) fn image(self) -> Image {
        let layout = self.beside("image");
        let build = self.arg("--output").arg(format!("type=oci,dest={}", layout.display()));
        build.run().success();
        Image::read(&layout, build.directory)
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    #[expect(clippy::needless_pass_by_value, reason = "what a command has printed is of no other use")]
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Ended with this code and said this (each of it).
    #[track_caller]
    pub(crate) fn failure(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in said {
            assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        }
        self
    }
}

/// Runs a program that must succeed, and gives what it printed.
#[track_caller]
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run tests/tools/packages.sh"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
