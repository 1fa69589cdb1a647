//! `cooper submit` and `cooper jobs`, against an API server in this process.

mod access;
pub(crate) mod api;
mod context;
mod dry_run;
mod follow;
mod jobs;
mod logins;
mod outages;
mod rollout;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use api::ApiServer;

use crate::support::{COOPER, Outcome};

/// A digest, as a build may have one.
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A run of the program beside a context of its own.
struct Submit {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    /// The context, if it is not the directory.
    source: Option<String>,
}

impl Submit {
    /// `cooper submit` of a small context, to this cluster.
    fn to(api: &ApiServer) -> Self {
        Self::nowhere().env("KUBECONFIG", &api.kubeconfig())
    }

    /// The same without a cluster.
    fn nowhere() -> Self {
        let submit = Self::bare().args(["submit", "-t", "registry.local:5000/team/app:1"]);
        submit.env("COOPER_BUILDER_IMAGE", Path::new("registry.local:5000/tools/cooper:1"))
    }

    /// Another command, for this cluster.
    fn jobs(api: &ApiServer) -> Self {
        Self::bare().arg("jobs").env("KUBECONFIG", &api.kubeconfig())
    }

    fn bare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let submit = Self { directory, arguments: Vec::new(), environment: Vec::new(), source: None };
        std::fs::create_dir(submit.context()).unwrap();
        submit.file("Dockerfile", "FROM scratch\nCOPY a /\n").file("a", "a")
    }

    fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.context().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn source(self, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..self }
    }

    fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    fn env(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.arguments.first().is_some_and(|first| first == "submit") {
            command.arg(self.source.clone().map_or(self.context(), PathBuf::from));
        }
        command
    }

    /// Runs it; a test that fails does not wait for longer than a minute.
    fn run(&self) -> Outcome {
        Outcome::of(self.command(&["timeout", "60", COOPER]).output().unwrap())
    }

    fn spawn(&self) -> Child {
        self.command(&[COOPER]).spawn().unwrap()
    }
}
