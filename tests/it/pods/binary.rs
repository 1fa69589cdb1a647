//! The program as it is in Cooper's image: without shared libraries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a static build that is there already.
const GIVEN: &str = "COOPER_STATIC";

/// The static program; built (some minutes the first time, in a directory of its own) unless it is given.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os(GIVEN).map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // Beside the directory for temporary files, which is in the target directory.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("static");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // Build scripts look at these and would start anew, whenever something else than a test has built before.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(manifest)
        .args(["build", "--quiet", "--locked", "--bin", "cooper", "--target", &target])
        .env("CARGO_TARGET_DIR", &directory)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status()
        .unwrap();
    assert!(status.success(), "no static build");
    directory.join(target).join("debug/cooper")
}
