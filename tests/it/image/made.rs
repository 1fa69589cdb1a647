//! The image, made by `image/make.sh`, with programs that are compiled quickly, or that are there already: see
//! [`GIVEN`], and `binary` for the machine at hand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use crate::pods::binary::binary;
use crate::support::tool;

/// Names a static build for the other architecture.
const GIVEN: &str = "COOPER_STATIC_OTHER";

/// A directory with the layouts `executor` and `debug`, each for both platforms.
pub(super) fn layouts() -> &'static Path {
    static LAYOUTS: OnceLock<PathBuf> = OnceLock::new();
    LAYOUTS.get_or_init(|| make(Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

fn make(directory: &Path) -> PathBuf {
    let out = directory.join("image");
    std::fs::create_dir_all(&out).unwrap();
    // nextest runs each test in a process of its own: one makes it, the others wait.
    let lock = File::create(directory.join("image.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = directory.parent().unwrap();
    let mut programs = Vec::new();
    for (architecture, cpu) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let program = if cpu == std::env::consts::ARCH {
            binary().to_owned()
        } else if let Some(given) = std::env::var_os(GIVEN) {
            given.into()
        } else {
            let mut command = Command::new("bash");
            command
                .arg(root.join("image/program.sh"))
                .args([architecture, "dev"])
                .env("CARGO_TARGET_DIR", target);
            let output = command.stderr(std::process::Stdio::inherit()).output().unwrap();
            assert!(output.status.success(), "no program for {architecture}");
            String::from_utf8(output.stdout).unwrap().trim().into()
        };
        programs.push((architecture, cpu, program));
    }
    let recipe = root.join("image/make.sh");
    let made: Vec<_> =
        programs.iter().map(|(_, _, program)| program).chain([&recipe]).map(|path| made_at(path)).collect();
    let stamp = format!("{made:?}");
    let stamp_file = out.join("stamp");
    if std::fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return out;
    }
    let mut command = Command::new("bash");
    command
        .arg(&recipe)
        .env("OUT", &out)
        // umoci knows no Zstandard.
        .env("COMPRESSION", "gzip")
        .env("LEVEL", "1")
        .env("CARGO_TARGET_DIR", target);
    for (architecture, cpu, program) in programs {
        let small = out.join(format!("program-{architecture}"));
        let is_native = cpu == std::env::consts::ARCH;
        let strip = if is_native { "strip".to_owned() } else { format!("{cpu}-linux-gnu-strip") };
        tool(&strip, ["-o".as_ref(), small.as_os_str(), program.as_os_str()]);
        command.env(format!("PROGRAM_{}", architecture.to_uppercase()), small);
    }
    // What is made this way is never small enough.
    let output = command.env("LIMIT", "").env("PROGRESS", "quiet").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(stamp_file, stamp).unwrap();
    out
}

fn made_at(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// The architecture at hand, in Go's naming.
pub(super) fn native() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" }
}
