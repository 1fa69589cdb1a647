//! A pod of Cooper's image by runc: CRI-O's capabilities, a seccomp profile like `RuntimeDefault`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::network::Network;
use super::{made, unpacked};
use crate::pods::bundle::{private_mounts, runtime_default};
use crate::pods::variant::CRIO;
use crate::support::{Image, Outcome};

/// A pod that builds once, with a writable layer of its own.
pub(super) struct Pod<'a> {
    network: &'a Network,
    directory: tempfile::TempDir,
    image: Image,
}

impl<'a> Pod<'a> {
    /// With the arguments of the entry point, a context, and credentials.
    pub(super) fn new(
        network: &'a Network,
        layouts: &Path,
        arguments: &[String],
        context: &Path,
        credentials: &Path,
    ) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = unpacked(&layouts.join("executor"), made::native());
        for name in ["upper", "work", "root", "runc"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("hosts", "127.0.0.1\tlocalhost registry.local\n");
        write("hostname", "kaniko-build\n");
        write("resolv.conf", "nameserver 127.0.0.1\n");
        write("termination-log", "");
        let pod = Self { network, directory, image };
        let config = pod.config(arguments, context, credentials);
        fs::write(pod.directory.path().join("config.json"), config.to_string()).unwrap();
        pod
    }

    /// Runs it to its end.
    pub(super) fn run(&self) -> Outcome {
        // In a mount namespace of its own, which takes the overlay with it whatever happens.
        let script = "cd \"$0\" && mount -t overlay overlay -o lowerdir=\"$1\",upperdir=upper,workdir=work root && \
                      exec runc --root \"$0/runc\" run --bundle . \"$2\"";
        let name = format!("image-{}", std::process::id());
        let mut command = self.network.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(self.directory.path())
            .arg(self.image.rootfs())
            .arg(name);
        Outcome::of(command.output().unwrap())
    }

    fn config(&self, arguments: &[String], context: &Path, credentials: &Path) -> Value {
        let settings = self.image.run_config();
        let mut words: Vec<Value> = settings["Entrypoint"].as_array().unwrap().clone();
        words.extend(arguments.iter().map(|argument| json!(argument)));
        let mut variables = settings["Env"].as_array().unwrap().clone();
        variables.push(json!("KUBERNETES_SERVICE_HOST=10.0.0.1"));
        let capabilities: Vec<String> = CRIO.iter().map(|name| format!("CAP_{name}")).collect();
        // Of a network there is one: the one that this is started in.
        let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": words,
                "env": variables,
                "cwd": settings["WorkingDir"],
                "capabilities": {
                    "bounding": capabilities, "permitted": capabilities, "effective": capabilities,
                },
            },
            "root": { "path": "root" },
            "hostname": "kaniko-build",
            "mounts": self.mounts(context, credentials),
            "linux": {
                "namespaces": namespaces,
                "seccomp": runtime_default(),
                "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        })
    }

    fn mounts(&self, context: &Path, credentials: &Path) -> Vec<Value> {
        let mut mounts = private_mounts();
        mounts.push(json!({ "destination": "/sys", "type": "bind", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] }));
        let mut bind = |source: &Path, destination: &str, access: &str| {
            mounts.push(json!({ "destination": destination, "type": "bind", "source": source,
                "options": ["rbind", "rprivate", access] }));
        };
        bind(context, "/workspace", "ro");
        bind(credentials, "/kaniko/.docker", "ro");
        for name in ["hosts", "hostname", "resolv.conf"] {
            bind(&self.directory.path().join(name), &format!("/etc/{name}"), "rw");
        }
        bind(&self.directory.path().join("termination-log"), "/dev/termination-log", "rw");
        mounts
    }
}
