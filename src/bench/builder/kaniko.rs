//! Kaniko: its executor in a scratch root, as in its image; or in a pod.

use std::path::PathBuf;
use std::process::Command;

use super::{Builder, Job, command, first_line};
use crate::bench::BenchError;
use crate::bench::aside::renew;
use crate::bench::case::Mode;

/// What makes a root of its own for the executor, as a container runtime does: a mount and a process namespace, `/proc`,
/// `/dev`, the context and what the kubelet mounts. `$1` is the root, `$2` the context; the rest is the command.
const CONTAINER: &str = r#"
set -e
root=$1 context=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
for file in hosts resolv.conf; do
    mount --bind "/etc/$file" "$root/etc/$file"
done
mount --bind "$context" "$root/workspace"
cd "$root"
exec chroot "$root" "$@"
"#;

/// Kaniko's executor, in a root that is made anew for each build.
#[derive(Debug)]
pub(in crate::bench) struct Kaniko {
    pub(in crate::bench) name: String,
    pub(in crate::bench) executor: PathBuf,
    pub(in crate::bench) root: PathBuf,
}

/// What all of Kaniko's builds are told.
fn flags(job: &Job<'_>) -> Vec<String> {
    let mut flags: Vec<String> =
        ["--insecure", "--insecure-pull", "--force"].into_iter().map(str::to_owned).collect();
    flags.push(format!("--destination={}", job.image));
    if let Some(cache) = job.cache {
        flags.push("--cache=true".to_owned());
        flags.push("--cache-copy-layers=true".to_owned());
        flags.push(format!("--cache-repo={cache}"));
    }
    flags
}

/// Kaniko keeps nothing between builds.
fn refusal(mode: Mode) -> Option<String> {
    mode.keeps_state().then(|| "keeps nothing between builds: see cold".to_owned())
}

impl Builder for Kaniko {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> Result<String, BenchError> {
        first_line(&self.executor, &["version"])
    }

    fn refusal(&self, mode: Mode) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("a root of its own for the executor can be made by root only".to_owned());
        }
        refusal(mode)
    }

    fn forget(&mut self, _host: &str) -> Result<(), BenchError> {
        renew(&self.root)?;
        let failed = |source| BenchError::io(&self.root, source);
        for directory in ["kaniko/.docker", "kaniko/ssl/certs", "etc", "proc", "dev", "workspace"] {
            std::fs::create_dir_all(self.root.join(directory)).map_err(failed)?;
        }
        for (file, text) in [
            ("etc/nsswitch.conf", "hosts: files dns\n"),
            ("etc/hosts", ""),
            ("etc/resolv.conf", ""),
            ("kaniko/.docker/config.json", "{}\n"),
        ] {
            std::fs::write(self.root.join(file), text).map_err(failed)?;
        }
        std::fs::copy(&self.executor, self.root.join("kaniko/executor")).map_err(failed)?;
        Ok(())
    }

    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError> {
        let mut build = Command::new("unshare");
        build.env_clear().env("PATH", "/usr/local/bin:/kaniko:/usr/sbin:/usr/bin:/sbin:/bin");
        build.env("HOME", "/root").env("USER", "root").env("DOCKER_CONFIG", "/kaniko/.docker/");
        build.env("SSL_CERT_DIR", "/kaniko/ssl/certs");
        build.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER, "sh"]);
        build.arg(&self.root).arg(job.context);
        build.args(["/kaniko/executor", "--context=dir:///workspace", "--dockerfile=/workspace/Dockerfile"]);
        build.args(flags(job));
        Ok(vec![build])
    }
}

/// Kaniko in a pod, by `kubectl`. The registry must have a name that the cluster knows, and what is measured of time is
/// the whole way of the pod; of processor and memory nothing is known.
#[derive(Debug)]
pub(in crate::bench) struct KanikoPod {
    pub(in crate::bench) kubectl: PathBuf,
    pub(in crate::bench) image: String,
}

impl Builder for KanikoPod {
    fn name(&self) -> &'static str {
        "kaniko-pod"
    }

    fn version(&self) -> Result<String, BenchError> {
        Ok(self.image.clone())
    }

    fn refusal(&self, mode: Mode) -> Option<String> {
        refusal(mode)
    }

    fn forget(&mut self, _host: &str) -> Result<(), BenchError> {
        Ok(())
    }

    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError> {
        // The context goes in through standard input, as Kaniko's own instructions have it.
        let script = r#"context=$1; shift; tar -cz -C "$context" . | "$@""#;
        let mut build = command("sh".as_ref(), ["-c", script, "sh"]);
        build.arg(job.context).arg(&self.kubectl);
        build.args(["run", "cooper-bench-kaniko", "--rm", "--stdin", "--restart=Never", "--quiet"]);
        build.arg(format!("--image={}", self.image)).args(["--", "--context=tar://stdin"]);
        build.args(flags(job));
        Ok(vec![build])
    }
}
