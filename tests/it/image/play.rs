//! The pod of `k8s/`, as it stands there, through `podman kube play`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::network::Network;
use super::seed::{REGISTRY, check, files, network};
use super::{has_containers, made};
use crate::support::Outcome;

/// Podman with a storage of its own.
pub(super) struct Podman<'a> {
    network: &'a Network,
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["pod", "rm", "--force", "--all"]);
    }
}

impl<'a> Podman<'a> {
    pub(super) fn new(network: &'a Network) -> Self {
        // The limits are this machine's, the runtime and the cgroups those that work without systemd.
        let config = format!(
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\nbase_hosts_file = \"{}\"\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
            network.path("hosts").display()
        );
        fs::write(network.path("containers.conf"), config).unwrap();
        fs::write(network.path("hosts"), "127.0.0.1 localhost registry.local\n").unwrap();
        Self { network }
    }

    fn place(&self, name: &str) -> String {
        self.network.path(name).display().to_string()
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments).output().unwrap())
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.network.command("podman");
        command.env("CONTAINERS_CONF", self.network.path("containers.conf"));
        command.args(["--root", &self.place("storage"), "--runroot", &self.place("run")]);
        command.args(["--tmpdir", &self.place("podman"), "--storage-driver", "vfs"]);
        command.args(arguments);
        command
    }

    /// Puts an image of a layout into the storage, under a name.
    #[track_caller]
    pub(super) fn load(&self, layout: &Path, name: &str) {
        let source = format!("oci:{}", layout.display());
        let target =
            format!("containers-storage:[vfs@{}+{}]{name}", self.place("storage"), self.place("run"));
        self.network.tool("skopeo", &["copy", "-q", &source, &target]);
    }

    /// Makes the Secret `registry-credentials`.
    #[track_caller]
    pub(super) fn log_in(&self) {
        // A Secret of its own: Podman (4.3) mounts the values of those in the file as they are encoded, and heeds no
        // `items`.
        let login = serde_json::to_string(&self.network.log_in(REGISTRY)).unwrap();
        let secret = self.network.path("secret.yaml");
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: registry-credentials\ndata:\n  config.json: {login}\n"
        );
        fs::write(&secret, text).unwrap();
        self.run(&["secret", "create", "registry-credentials", &secret.display().to_string()]).success();
    }

    /// Waits for a container that must succeed; gives its log.
    #[track_caller]
    pub(super) fn wait(&self, container: &str) -> String {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let state = self
                .run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container])
                .success();
            let log = || {
                let log = self.run(&["logs", container]).success();
                log.stdout + &log.stderr
            };
            match state.stdout.trim() {
                "exited 0" => return log(),
                state if state.starts_with("exited") || Instant::now() > deadline => {
                    panic!("{state}\n{}", log())
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// A ConfigMap, as `kubectl create` makes it.
fn objects() -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: build-context\ndata:\n".to_owned();
    for (name, content) in files() {
        writeln!(text, "  {name}: {}", serde_json::to_string(&content).unwrap()).unwrap();
    }
    text.push_str("---\n");
    text
}

#[test]
fn the_pod_in_k8s_builds_and_pushes() {
    if !has_containers() {
        return;
    }
    let network = network();
    let podman = Podman::new(&network);
    podman.load(&made::layouts().join("executor"), "registry.local:5000/tools/cooper:0.1.0");
    let pod = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/kaniko-pod.yaml")).unwrap();
    let file = network.path("play.yaml");
    fs::write(&file, objects() + &pod).unwrap();
    podman.log_in();
    podman.run(&["kube", "play", "--network=host", &file.display().to_string()]).success();
    let log = podman.wait("kaniko-build-kaniko");
    assert!(log.contains("Pushed registry.local:5000/test-webapp@sha256:"), "{log}");
    check(&network);
}
