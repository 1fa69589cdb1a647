//! Debian's Buildah, in a store of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Case;
use crate::support::{small_base_layout, tool};

/// The version that the reasons in this suite are about: that of Debian 12.
const WRITTEN_FOR: &str = "buildah version 1.28.";

/// Whether this is the Buildah that the reasons in this suite are about.
pub(super) fn is_as_written_for() -> bool {
    tool("buildah", ["--version"]).starts_with(WRITTEN_FOR)
}

/// Builds a case; yields the image's name for skopeo, or what Buildah said.
pub(super) fn build(case: &Case, context: &Path, directory: &Path) -> Result<String, String> {
    let (root, run) = (directory.join("root"), directory.join("run"));
    let in_store =
        |name: &str| format!("containers-storage:[vfs@{}+{}]localhost/{name}", root.display(), run.display());
    // Where nothing but `scratch` is named, the base need not be there.
    if case.dockerfile.lines().any(|line| line.starts_with("FROM ") && !line.starts_with("FROM scratch"))
        || case.dockerfile.contains("base")
        || case.earlier.is_some()
    {
        let base = format!("oci:{}:latest", small_base_layout().display());
        tool("skopeo", ["copy", "-q", &base, &in_store("base:latest")]);
    }
    let run_buildah = |name: &str, arguments: &[&str], context: &Path| {
        let output = Command::new("buildah")
            .env("TMPDIR", directory)
            .args(["--storage-driver", "vfs", "--root"])
            .arg(&root)
            .arg("--runroot")
            .arg(&run)
            .args(["bud", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull=false"])
            .args(["--network", "host", "--tag", name])
            .args(arguments)
            .arg(context)
            .stdin(Stdio::null())
            .output();
        said(&output.expect("buildah is installed: run tests/tools/packages.sh"))
    };
    std::fs::create_dir_all(directory).unwrap();
    if let Some((name, dockerfile)) = case.earlier {
        let context = directory.join("earlier");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        run_buildah(name, &[], &context)?;
    }
    run_buildah("image", &case.arguments, context)?;
    Ok(in_store("image:latest"))
}

fn said(output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
