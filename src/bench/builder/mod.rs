//! The builders that are compared.

mod buildah;
mod buildkit;
mod cooper;
mod kaniko;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) use buildah::Buildah;
pub(super) use buildkit::{Address, BuildKit};
pub(super) use cooper::Cooper;
pub(super) use kaniko::{Kaniko, KanikoPod};

use super::BenchError;
use super::case::Mode;

/// One build that a builder is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// The files, with the Dockerfile.
    pub(super) context: &'a Path,
    /// The registry, `localhost:PORT`.
    pub(super) host: &'a str,
    /// Where the image goes.
    pub(super) image: &'a str,
    /// The repository for cached steps, in a mode that has one.
    pub(super) cache: Option<&'a str>,
    /// Whether steps are done anew although results are at hand.
    pub(super) anew: bool,
}

/// A builder.
pub(super) trait Builder {
    /// What it is called in reports.
    fn name(&self) -> &str;

    /// What it says of its version.
    fn version(&self) -> Result<String, BenchError>;

    /// Why it cannot be measured in this mode, if so.
    fn refusal(&self, mode: Mode) -> Option<String>;

    /// Throws away all that earlier builds have left. Not measured.
    fn forget(&mut self, host: &str) -> Result<(), BenchError>;

    /// What builds and pushes, one command after the other.
    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError>;

    /// The process that works for these commands, if there is one.
    fn daemon(&self) -> Option<u32> {
        None
    }
}

/// The first line that a program prints about its version.
fn first_line(program: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output =
        output.map_err(|source| BenchError::Start { program: program.display().to_string(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Where a program is: as given, or on the path.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// A command with arguments.
fn command<S: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
