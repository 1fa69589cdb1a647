//! `cooper doctor`: each finding, and what it advises.

mod documented;
mod here;
mod registries;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{COOPER, Outcome};

/// A visit of the doctor.
pub(super) struct Doctor {
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// What the doctor said.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) code: Option<i32>,
    pub(super) report: Value,
}

impl Doctor {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Examines a repository.
    pub(super) fn of(name: &str) -> Self {
        Self::new().args(["--registry", name])
    }

    pub(super) fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// With credentials for the user `user` of a registry.
    pub(super) fn log_in(self, host: &str, password: &str) -> Self {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("user:{password}"));
        let config = serde_json::json!({"auths": {host: {"auth": login}}}).to_string();
        self.config(&config)
    }

    /// With this `config.json`.
    pub(super) fn config(self, text: &str) -> Self {
        let directory = self.at("docker");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.json"), text).unwrap();
        self.env("DOCKER_CONFIG", directory.display().to_string())
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(COOPER);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_CONFIG", self.at("no-docker-config"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("doctor")
            .args(["--store".as_ref(), self.at("store").as_os_str()])
            .args(&self.arguments)
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(super) fn diagnose(&self) -> Diagnosis {
        let outcome = Outcome::of(self.command().arg("--json").output().unwrap());
        let report =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        Diagnosis { code: outcome.code, report }
    }
}

impl Diagnosis {
    /// The only finding with this code.
    #[track_caller]
    pub(super) fn finding(&self, code: &str) -> &Value {
        let findings = self.report["findings"].as_array().unwrap();
        let mut found = findings.iter().filter(|finding| finding["code"] == code);
        let first = found.next().unwrap_or_else(|| panic!("no {code} in {:#}", self.report));
        assert!(found.next().is_none(), "several {code} in {:#}", self.report);
        first
    }

    /// There is this finding, of this level, which says all of this and advises all of that.
    #[track_caller]
    pub(super) fn has(&self, level: &str, code: &str, said: &[&str], advised: &[&str]) -> &Self {
        let finding = self.finding(code);
        assert_eq!(finding["level"], level, "{finding:#}");
        for (field, texts) in [("found", said), ("advice", advised)] {
            for text in texts {
                let value = finding[field].as_str().unwrap_or_default();
                assert!(value.contains(text), "{text:?} is not in {field} of {finding:#}");
            }
        }
        self
    }

    #[track_caller]
    pub(super) fn has_not(&self, code: &str) -> &Self {
        let findings = self.report["findings"].as_array().unwrap();
        assert!(findings.iter().all(|finding| finding["code"] != code), "{code} is in {:#}", self.report);
        self
    }

    /// The text of the file that a finding wants at `path`.
    #[track_caller]
    pub(super) fn file(&self, code: &str, path: &str) -> &str {
        let files = self.finding(code)["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path);
        file.unwrap_or_else(|| panic!("no {path} in {files:#?}"))["text"].as_str().unwrap()
    }
}

/// Whether a file of a directory is there.
pub(super) fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}
