//! Git repositories, made by git itself.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::tool;

/// A directory of bare repositories, to be served.
pub(crate) struct Repositories(TempDir);

impl Repositories {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes a repository `NAME.git`, empty, with a working copy that can be changed and pushed.
    pub(crate) fn create(&self, name: &str) -> WorkingCopy {
        let bare = self.path().join(format!("{name}.git"));
        tool("git", ["init", "-q", "--bare", "-b", "main", &bare.display().to_string()]);
        let copy = WorkingCopy { directory: tempfile::tempdir().unwrap() };
        copy.git(&["init", "-q", "-b", "main"]);
        copy.git(&["remote", "add", "origin", &bare.display().to_string()]);
        copy
    }
}

/// A working copy of a repository.
pub(crate) struct WorkingCopy {
    directory: TempDir,
}

impl WorkingCopy {
    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Commits everything and pushes it, with all tags; gives the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.push();
        self.id("HEAD")
    }

    /// Pushes all branches and tags.
    pub(crate) fn push(&self) {
        self.git(&["push", "-q", "--all", "origin"]);
        self.git(&["push", "-q", "--tags", "origin"]);
    }

    /// The id of an object.
    pub(crate) fn id(&self, name: &str) -> String {
        self.git(&["rev-parse", name]).trim().to_owned()
    }

    /// Runs git in it.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let directory = self.directory.path().display().to_string();
        let settings = [
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.org",
            "-c",
            "protocol.file.allow=always",
            "-c",
            "safe.directory=*",
        ];
        tool("git", ["-C", &directory].iter().chain(&settings).chain(arguments))
    }
}
