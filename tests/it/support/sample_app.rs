//! The sample app of `fixtures/`, and the base it begins with.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Build, tool};

/// An OCI layout with a stand-in for `docker.io/library/node:20-alpine` under the tag `20-alpine`.
pub(crate) fn node_layout() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/stand-in-base.sh");
        tool("bash", [script.as_os_str()]).trim().into()
    })
}

/// A build of `fixtures/test-webapp`.
pub(crate) fn sample_app() -> Build {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/test-webapp");
    let dockerfile = std::fs::read_to_string(fixture.join("Dockerfile")).unwrap();
    Build::new(&dockerfile).prepare(|context| {
        tool("cp", ["-R".as_ref(), fixture.join(".").as_os_str(), context.as_os_str()]);
    })
}
