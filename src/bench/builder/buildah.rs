//! Buildah with a storage of its own.

use std::path::PathBuf;
use std::process::Command;

use super::{Builder, Job, command, first_line};
use crate::bench::BenchError;
use crate::bench::aside::renew;
use crate::bench::case::Mode;

/// Buildah.
#[derive(Debug)]
pub(in crate::bench) struct Buildah {
    pub(in crate::bench) program: PathBuf,
    pub(in crate::bench) directory: PathBuf,
}

impl Buildah {
    fn arguments(&self) -> [String; 6] {
        // Natively only root can mount overlays; without, Buildah copies whole trees.
        let driver = if rustix::process::geteuid().is_root() { "overlay" } else { "vfs" };
        let place = |name: &str| self.directory.join(name).display().to_string();
        [
            "--storage-driver".into(),
            driver.into(),
            "--root".into(),
            place("root"),
            "--runroot".into(),
            place("run"),
        ]
    }
}

impl Builder for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn version(&self) -> Result<String, BenchError> {
        first_line(&self.program, &["--version"])
    }

    fn refusal(&self, mode: Mode) -> Option<String> {
        // `--cache-from` came with 1.29, without metadata of what is cached.
        mode.has_cache_repository().then(|| "not measured with a cache repository".to_owned())
    }

    fn forget(&mut self, _host: &str) -> Result<(), BenchError> {
        renew(&self.directory)
    }

    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError> {
        let mut build = command(&self.program, self.arguments());
        build.env("TMPDIR", &self.directory);
        build.args(["build", "--isolation", "chroot", "--network", "host", "--format", "docker"]);
        build.args(["--tls-verify=false", "--identity-label=false", "--layers", "--tag", job.image]);
        if job.anew {
            build.arg("--no-cache");
        }
        build.arg(job.context);
        let mut push = command(&self.program, self.arguments());
        push.env("TMPDIR", &self.directory);
        push.args(["push", "--tls-verify=false", job.image]);
        Ok(vec![build, push])
    }
}
