//! Images as independent tools see them: the config through skopeo, the files through umoci.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use cooper::layer::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::tool;

/// An image that was built, unpacked.
pub(crate) struct Image {
    /// The config, as skopeo gives it.
    pub(crate) config: Value,
    /// The manifest, likewise.
    pub(crate) manifest: Value,
    /// The files, by path without a leading slash; the root is the empty path.
    pub(crate) files: BTreeMap<String, FileState>,
    rootfs: PathBuf,
    _directory: TempDir,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileState {
    /// `directory`, `file`, `link`, `char`, `block`, `fifo` or `socket`.
    pub(crate) kind: &'static str,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner and group.
    pub(crate) owner: (u32, u32),
    /// Digest of a file's content, or the target of a link, or a device's number.
    pub(crate) content: String,
    /// The first path, in order, of those that are the same file.
    pub(crate) same_as: Option<String>,
    /// Capabilities, in hexadecimal.
    pub(crate) capability: Option<String>,
    /// Modification time.
    pub(crate) mtime: i64,
}

impl Image {
    /// Reads the only image in a layout, with skopeo and umoci. `directory` is kept as long as the image.
    #[track_caller]
    pub(crate) fn read(layout: &Path, directory: TempDir) -> Self {
        let source = format!("oci:{}", layout.display());
        let config =
            serde_json::from_str(&tool("skopeo", ["inspect", "--config", "--raw", &source])).unwrap();
        let manifest = serde_json::from_str(&tool("skopeo", ["inspect", "--raw", &source])).unwrap();
        // umoci wants a tag; a copy gives it one whatever the layout calls the image.
        let copy = directory.path().join("umoci-copy");
        tool("skopeo", ["copy", "-q", &source, &format!("oci:{}:image", copy.display())]);
        let rootfs = directory.path().join("umoci-rootfs");
        let image = format!("{}:image", copy.display());
        tool("umoci", ["raw", "unpack", "--image", &image, &rootfs.display().to_string()]);
        let files = list(&rootfs);
        Self { config, manifest, files, rootfs, _directory: directory }
    }

    /// The part of the config that says how the image is run.
    pub(crate) fn run_config(&self) -> &Value {
        &self.config["config"]
    }

    /// `created_by` of every entry of the history.
    pub(crate) fn history(&self) -> Vec<String> {
        let entries = self.config["history"].as_array().unwrap();
        entries.iter().map(|entry| entry["created_by"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The text of a file.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.rootfs.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The content of a file.
    #[track_caller]
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.rootfs.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Where the files are.
    pub(crate) fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// What is at a path.
    #[track_caller]
    pub(crate) fn at(&self, path: &str) -> &FileState {
        self.files.get(path).unwrap_or_else(|| panic!("there is no {path}; there is {:?}", self.files.keys()))
    }

    /// The paths below `prefix`.
    pub(crate) fn below(&self, prefix: &str) -> Vec<&str> {
        let prefix = format!("{prefix}/");
        self.files.keys().filter_map(|path| path.strip_prefix(&prefix)).collect()
    }
}

/// Everything in a directory, by path without a leading slash; the directory itself is the empty path.
pub(crate) fn list(root: &Path) -> BTreeMap<String, FileState> {
    let mut files = BTreeMap::new();
    let mut first_names: BTreeMap<(u64, u64), String> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        let name = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
        let kind = metadata.file_type();
        let (kind, content) = if kind.is_dir() {
            ("directory", String::new())
        } else if kind.is_symlink() {
            ("link", std::fs::read_link(entry.path()).unwrap().display().to_string())
        } else if kind.is_file() {
            ("file", Digest::of(std::fs::read(entry.path()).unwrap()).hex())
        } else if kind.is_char_device() {
            ("char", metadata.rdev().to_string())
        } else if kind.is_block_device() {
            ("block", metadata.rdev().to_string())
        } else if kind.is_fifo() {
            ("fifo", String::new())
        } else {
            ("socket", String::new())
        };
        let same_as = if metadata.nlink() > 1 && !metadata.is_dir() {
            let inode = (metadata.dev(), metadata.ino());
            Some(first_names.entry(inode).or_insert_with(|| name.clone()).clone())
        } else {
            None
        };
        let state = FileState {
            kind,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            content,
            same_as,
            capability: capability(entry.path()),
            mtime: metadata.mtime(),
        };
        files.insert(name, state);
    }
    files
}

fn capability(path: &Path) -> Option<String> {
    let mut buffer = [0_u8; 64];
    let length = rustix::fs::lgetxattr(path, "security.capability", &mut buffer).ok()?;
    Some(buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat())
}
