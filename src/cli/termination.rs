//! A pod's termination message: a file that Kubernetes gives a container, and reads when it has ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::exec::sandbox;
use crate::outcome::BuildOutcome;

/// Where Kubernetes has the file if a container names no `terminationMessagePath`.
const DEFAULT: &str = "/dev/termination-log";

/// Where the message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TerminationLog {
    /// To this file, which was asked for.
    Named(PathBuf),
    /// To the file that the pod has.
    OfPod,
    /// Nowhere.
    None,
}

impl TerminationLog {
    /// The file that was named, or that of the pod, if this is one and none of the `taken` files is it: what was
    /// asked for by its path is not written over.
    pub(super) fn find<'a>(named: Option<&Path>, taken: impl IntoIterator<Item = &'a Path>) -> Self {
        match named {
            Some(path) => Self::Named(path.to_owned()),
            None if taken.into_iter().any(|path| path == Path::new(DEFAULT)) => Self::None,
            None if is_pod() && existing(Path::new(DEFAULT)).is_ok() => Self::OfPod,
            None => Self::None,
        }
    }

    /// Whether the user named the file.
    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self, Self::Named(_))
    }

    /// Writes the message. Fails with a line that says why.
    pub(super) fn write(&self, outcome: &BuildOutcome) -> Result<(), String> {
        let (path, file) = match self {
            Self::None => return Ok(()),
            Self::Named(path) => (path.as_path(), File::create(path)),
            Self::OfPod => (Path::new(DEFAULT), existing(Path::new(DEFAULT))),
        };
        let written = file.and_then(|mut file| {
            file.set_len(0)?;
            file.write_all(outcome.termination_message().as_bytes())
        });
        written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))
    }
}

fn is_pod() -> bool {
    sandbox::is_container() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Opens a file that is there; nothing that a RUN could have put in its place is followed.
fn existing(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().write(true).custom_flags(flags.cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert!(existing(&at("file")).is_ok());
        assert!(existing(&at("link")).is_err() && existing(&at("none")).is_err());
        assert!(existing(directory.path()).is_err() && existing(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn what_was_asked_for_is_not_written_over() {
        let taken = [Path::new("/tmp/id"), Path::new(DEFAULT)];
        assert_eq!(TerminationLog::find(None, taken), TerminationLog::None);
        assert_eq!(TerminationLog::find(Some(Path::new("/x")), taken), TerminationLog::Named("/x".into()));
    }
}
