//! What is built in the pods: projects with a base, and what of it depends on more than every pod has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cooper::layer::{Entry, Metadata, TarWriter};

use crate::support::{base_layout, node_layout, tool};

/// Something that can be built in a pod.
#[derive(Clone)]
pub(super) struct Project {
    pub(super) name: &'static str,
    pub(super) dockerfile: String,
    /// The layout that `FROM base` is in, and the tag it has there.
    pub(super) base: (PathBuf, &'static str),
    /// Puts into the context what it has beside the Dockerfile.
    pub(super) fill: fn(&Path),
    /// A directory that is the context `archive`.
    pub(super) archive: Option<PathBuf>,
    /// The layers, from 0 and the base's included, that depend on something not every pod has.
    pub(super) depends: &'static [(usize, Needs)],
}

/// What a command may do in some pods only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Giving a file capabilities (`setcap`).
    FileCapabilities,
    /// Keeping capabilities while becoming another user (`setpriv`).
    KeptCapabilities,
}

impl Project {
    /// A small base of busybox.
    pub(super) fn small(dockerfile: &str) -> Self {
        Self {
            name: "busybox",
            dockerfile: dockerfile.to_owned(),
            base: (base_layout().to_owned(), "latest"),
            fill: |context| fs::write(context.join("capable.tar"), capable()).unwrap(),
            archive: None,
            depends: &[],
        }
    }

    /// Whatever commands do to files that a layer can tell of.
    pub(super) fn changes() -> Self {
        Self::small(include_str!("changes.Dockerfile"))
    }

    /// The sample app of `fixtures/`, from a stand-in for node's image.
    pub(super) fn sample_app() -> Self {
        let dockerfile = fs::read_to_string(fixture("test-webapp/Dockerfile")).unwrap();
        Self {
            name: "sample app",
            dockerfile: dockerfile.replace("docker.io/library/node:20-alpine", "base"),
            base: (node_layout().to_owned(), "20-alpine"),
            fill: |context| {
                for name in ["src", "package.json"] {
                    let path = fixture("test-webapp").join(name);
                    tool("cp", ["-R".as_ref(), path.as_os_str(), context.as_os_str()]);
                }
            },
            archive: None,
            depends: &[],
        }
    }

    /// A Debian in which packages are installed, and what else administrators do.
    pub(super) fn debian() -> Self {
        static MADE: OnceLock<PathBuf> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/debian-base.sh");
            tool("bash", [script.as_os_str()]).trim().into()
        });
        Self {
            name: "Debian",
            dockerfile: include_str!("debian.Dockerfile").to_owned(),
            base: (made.join("layout"), "latest"),
            fill: |_| {},
            archive: Some(made.join("archive")),
            // The base and `tidy` are 0 and 1.
            depends: &[(2, Needs::FileCapabilities), (6, Needs::KeptCapabilities)],
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// An archive of two programs with file capabilities.
fn capable() -> Vec<u8> {
    // Version 2, effective: CAP_NET_RAW.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let mut tar = TarWriter::new(Vec::new());
    for path in ["capable/changed", "capable/kept"] {
        let mut metadata = Metadata { mtime: 1_000_000_000, ..Metadata::with_mode(0o755) };
        metadata.xattrs.insert("security.capability".to_owned(), value.clone());
        tar.append(&Entry::file(path, metadata, 4), &b"ping"[..]).unwrap();
    }
    tar.finish().unwrap()
}
