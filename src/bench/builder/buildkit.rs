//! BuildKit: `buildctl`, and a daemon that is started here or was there before.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Builder, Job, command, first_line};
use crate::bench::BenchError;
use crate::bench::aside::renew;
use crate::bench::case::Mode;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the daemon is.
#[derive(Debug)]
pub(in crate::bench) enum Address {
    /// Already running there. What it uses is not counted: only `buildctl` is.
    Given(String),
    /// Started by us, from this program, with all it keeps in this directory.
    Own {
        /// `buildkitd`.
        program: PathBuf,
        /// Emptied when it is to forget.
        directory: PathBuf,
    },
}

/// BuildKit.
#[derive(Debug)]
pub(in crate::bench) struct BuildKit {
    buildctl: PathBuf,
    address: Address,
    daemon: Option<Child>,
}

impl BuildKit {
    pub(in crate::bench) fn new(buildctl: PathBuf, address: Address) -> Self {
        Self { buildctl, address, daemon: None }
    }

    fn address(&self) -> String {
        match &self.address {
            Address::Given(address) => address.clone(),
            Address::Own { directory, .. } => format!("unix://{}/buildkitd.sock", directory.display()),
        }
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = rustix::process::Pid::from_child(&daemon);
        // It unmounts what it has mounted; if it does not end by itself, it is ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(daemon.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }

    fn start(&mut self, program: &Path, directory: &Path, host: &str) -> Result<(), BenchError> {
        renew(directory)?;
        let failed = |source| BenchError::io(directory, source);
        let config = directory.join("buildkitd.toml");
        let text = format!(
            "root = \"{0}/root\"\n[grpc]\naddress = [\"unix://{0}/buildkitd.sock\"]\n\
             [worker.oci]\nenabled = true\n[worker.containerd]\nenabled = false\n\
             [registry.\"{host}\"]\nhttp = true\n",
            directory.display()
        );
        std::fs::write(&config, text).map_err(failed)?;
        let log = File::create(directory.join("buildkitd.log")).map_err(failed)?;
        // It needs `runc`, which Debian keeps beside the administrator's programs.
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        let started = Command::new(program)
            .env("PATH", path)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn();
        let name = || program.display().to_string();
        self.daemon = Some(started.map_err(|source| BenchError::Start { program: name(), source })?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ask = command(&self.buildctl, ["--addr", &self.address(), "debug", "workers"]);
            let answered = ask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if answered.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(BenchError::Silent { program: name(), log: directory.join("buildkitd.log") });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Builder for BuildKit {
    fn name(&self) -> &'static str {
        "buildkit"
    }

    fn version(&self) -> Result<String, BenchError> {
        first_line(&self.buildctl, &["--version"])
    }

    fn refusal(&self, _mode: Mode) -> Option<String> {
        None
    }

    fn forget(&mut self, host: &str) -> Result<(), BenchError> {
        self.stop();
        match &self.address {
            Address::Own { program, directory } => {
                let (program, directory) = (program.clone(), directory.clone());
                self.start(&program, &directory, host)
            }
            Address::Given(address) => {
                let mut prune = command(&self.buildctl, ["--addr", address, "prune", "--all"]);
                let name = || self.buildctl.display().to_string();
                let output = prune.stdin(Stdio::null()).output();
                let output = output.map_err(|source| BenchError::Start { program: name(), source })?;
                if output.status.success() {
                    return Ok(());
                }
                Err(BenchError::Refused {
                    program: name(),
                    said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                })
            }
        }
    }

    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError> {
        let mut build = command(&self.buildctl, ["--addr", &self.address(), "build", "--progress", "plain"]);
        build.args(["--frontend", "dockerfile.v0"]);
        for name in ["context", "dockerfile"] {
            build.arg("--local").arg(format!("{name}={}", job.context.display()));
        }
        build.arg("--output").arg(format!("type=image,name={},push=true,registry.insecure=true", job.image));
        if job.anew {
            build.arg("--no-cache");
        }
        if let Some(cache) = job.cache {
            let place = format!("type=registry,ref={cache}:buildcache,registry.insecure=true");
            build.arg("--import-cache").arg(&place);
            build.arg("--export-cache").arg(format!("{place},mode=max"));
        }
        Ok(vec![build])
    }

    fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }
}
