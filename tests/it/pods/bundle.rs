//! A pod as a runtime makes it, by runc: the image has one directory with the program, `/` is an overlay, the kubelet's
//! files and volumes are mounted, `/proc` is masked.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary::binary;
use super::project::Project;
use super::variant::{Range, Seccomp, Variant};

/// Names a directory for the pods' files, where the target directory is slow: `/dev/shm`, for example.
const PLACE: &str = "COOPER_PODS";

/// Where in the pod the service account's token is.
pub(super) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What is in the token.
pub(super) const TOKEN_TEXT: &str = "token-of-the-pod";

/// A variable of the builder's environment that no command may see.
pub(super) const SECRET: &str = "secret-of-the-builder";

/// What `/etc/hosts` of the pod says.
pub(super) const HOSTS: &str = "127.0.0.1\tlocalhost\n10.1.2.3\tpod.example\n";

/// A pod that builds one Dockerfile and ends.
pub(super) struct Pod {
    directory: TempDir,
    name: String,
    /// What of it is in memory, and how many bytes at most: `/`, or the volume if there is one.
    disk: Option<(&'static str, u64)>,
}

impl Pod {
    /// A pod that builds this Dockerfile from the small base.
    pub(super) fn new(variant: &Variant, dockerfile: &str) -> Self {
        Self::of(variant, &Project::small(dockerfile))
    }

    /// Makes its bundle. The build's store is on a volume at `/store` if the variant has one, else in the pod's root.
    pub(super) fn of(variant: &Variant, project: &Project) -> Self {
        let place = std::env::var_os(PLACE).unwrap_or(env!("CARGO_TARGET_TMPDIR").into());
        let directory = tempfile::tempdir_in(place).unwrap();
        let name =
            format!("cooper-{}", directory.path().file_name().unwrap().to_string_lossy().replace('.', ""));
        let pod = Self { directory, name, disk: None };
        for name in [
            "lower/cooper",
            "upper",
            "work",
            "disk",
            "root",
            "context",
            "out",
            "store",
            "token",
            "files",
            "runc",
        ] {
            fs::create_dir_all(pod.path(name)).unwrap();
        }
        fs::copy(binary(), pod.path("lower/cooper/cooper")).unwrap();
        if variant.range == Range::FileCapabilities {
            let program = pod.path("lower/cooper/cooper");
            crate::support::tool("setcap", ["cap_setuid,cap_setgid+p".as_ref(), program.as_os_str()]);
        }
        if variant.range == Range::Subordinate {
            pod.add_newuidmap();
        }
        if variant.has_more {
            for name in ["bin", "etc/ssl/certs", "usr/share/doc", "root"] {
                fs::create_dir_all(pod.path("lower").join(name)).unwrap();
            }
            for name in
                ["bin/sh", "etc/ssl/certs/ca.pem", "etc/passwd", "usr/share/doc/cooper", "root/.profile"]
            {
                fs::write(pod.path("lower").join(name), "of the builder\n").unwrap();
            }
            std::os::unix::fs::symlink("usr/lib64", pod.path("lower/lib64")).unwrap();
        }
        fs::write(pod.path("context/Dockerfile"), &project.dockerfile).unwrap();
        (project.fill)(&pod.path("context"));
        fs::write(pod.path("token/token"), TOKEN_TEXT).unwrap();
        for (name, text) in [
            ("hosts", HOSTS),
            ("hostname", "the-pod\n"),
            ("resolv.conf", "nameserver 10.9.8.7\n"),
            ("termination-log", ""),
        ] {
            fs::write(pod.path("files").join(name), text).unwrap();
        }
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(pod.path(""), open).unwrap();
        for name in ["out", "store"] {
            fs::set_permissions(pod.path(name), Permissions::from_mode(0o777)).unwrap();
        }
        if let Some(first) = variant.first_id {
            for name in ["lower", "lower/cooper", "lower/cooper/cooper", "upper", "out", "store"] {
                chown(pod.path(name), Some(first), Some(first)).unwrap();
            }
        }
        fs::write(pod.path("config.json"), pod.config(variant, project).to_string()).unwrap();
        pod
    }

    /// Executes a shell script in place of the builder: `"$@"` is the build, and busybox is beside the program.
    pub(super) fn script(self, script: &str) -> Self {
        fs::copy("/bin/busybox", self.path("lower/cooper/busybox")).unwrap();
        self.amend(|config| {
            let build = config["process"]["args"].as_array().unwrap().clone();
            let shell = ["/cooper/busybox", "sh", "-c", script, "sh"].map(Value::from);
            config["process"]["args"] = [shell.to_vec(), build].concat().into();
        })
    }

    /// Executes the doctor in place of the builder, with the same store.
    pub(super) fn doctor(self) -> Self {
        self.amend(|config| {
            let words = config["process"]["args"].as_array().unwrap();
            let store = words.iter().position(|word| word == "--store").unwrap();
            let store = [words[store].clone(), words[store + 1].clone()];
            let doctor = ["/cooper/cooper", "doctor", "--json"].map(Value::from);
            config["process"]["args"] = [doctor.to_vec(), store.to_vec()].concat().into();
        })
    }

    /// Adds a file to the context.
    pub(super) fn add(&self, name: &str, text: &str) {
        fs::write(self.path("context").join(name), text).unwrap();
    }

    /// With so many processes and threads at most.
    pub(super) fn with_pid_limit(self, limit: u64) -> Self {
        self.amend(|config| config["linux"]["resources"] = json!({ "pids": { "limit": limit } }))
    }

    /// With so many bytes at most where the store is.
    pub(super) fn with_disk(mut self, variant: &Variant, size: u64) -> Self {
        self.disk = Some((if variant.volume { "store" } else { "root" }, size));
        self
    }

    /// With a further variable for the builder.
    pub(super) fn with_variable(self, name: &str, value: &str) -> Self {
        let variable = format!("{name}={value}");
        self.amend(|config| config["process"]["env"].as_array_mut().unwrap().push(variable.into()))
    }

    /// With docker's config mounted as a Secret is, at `/docker/config.json`.
    pub(super) fn with_docker_config(self, text: &str) -> Self {
        fs::create_dir(self.path("docker")).unwrap();
        fs::write(self.path("docker/config.json"), text).unwrap();
        let mount = json!({ "destination": "/docker", "type": "bind", "source": self.path("docker"),
            "options": ["rbind", "rprivate", "ro"] });
        let pod = self.amend(|config| config["mounts"].as_array_mut().unwrap().push(mount));
        pod.with_variable("DOCKER_CONFIG", "/docker")
    }

    fn amend(self, amend: impl FnOnce(&mut Value)) -> Self {
        let path = self.path("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        amend(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        self
    }

    /// What the pod has written to its volume `/out`.
    pub(super) fn out(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap_or_default()
    }

    /// What the pod has written for Kubernetes.
    pub(super) fn termination_message(&self) -> Value {
        let text = fs::read_to_string(self.path("files/termination-log")).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the image goes.
    pub(super) fn image(&self) -> PathBuf {
        self.path("out/image")
    }

    /// What the pod has written to its root.
    pub(super) fn upper(&self) -> PathBuf {
        self.path("upper")
    }

    /// Starts it.
    pub(super) fn start(&self) -> Child {
        // In a mount namespace of its own, which takes the overlay with it whatever happens.
        let disk = match self.disk {
            None => String::new(),
            Some(("store", size)) => format!("mount -t tmpfs -o mode=777,size={size} none store;"),
            // An overlay's upper and work directories are in one file system.
            Some((_, size)) => format!(
                "mount -t tmpfs -o mode=755,size={size} none disk; mkdir disk/upper disk/work; \
                 UPPER=disk/upper; WORK=disk/work;"
            ),
        };
        let script = format!(
            "set -e; UPPER=upper; WORK=work; {disk} \
             mount -t overlay overlay -o lowerdir=lower,upperdir=$UPPER,workdir=$WORK root; \
             exec runc --root \"$PWD/runc\" run --bundle . \"$0\""
        );
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, &self.name])
            .current_dir(self.path(""))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs it to its end.
    pub(super) fn run(&self) -> Output {
        self.start().wait_with_output().unwrap()
    }

    /// Sends a signal to its first process.
    pub(super) fn kill(&self, signal: &str) {
        let root = self.path("runc");
        let mut runc = Command::new("runc");
        let status = runc.arg("--root").arg(root).args(["kill", &self.name, signal]).status().unwrap();
        assert!(status.success());
    }

    /// Puts the programs that map ranges of ids, and what they need, into the builder's image.
    fn add_newuidmap(&self) {
        for program in ["newuidmap", "newgidmap"] {
            let source = Path::new("/usr/bin").join(program);
            let libraries = crate::support::tool("ldd", [&source]);
            let libraries =
                libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
            for file in libraries.chain([source]) {
                let target = self.path("lower").join(file.strip_prefix("/").unwrap());
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::copy(&file, &target).unwrap();
                if file.ends_with(program) {
                    fs::set_permissions(target, Permissions::from_mode(0o4755)).unwrap();
                }
            }
        }
        fs::create_dir_all(self.path("lower/etc")).unwrap();
        for (file, text) in [
            ("passwd", "root:x:0:0::/:/bin/sh\nbuilder:x:1000:1000::/:/bin/sh\n"),
            ("subuid", "builder:300000:65536\n"),
            ("subgid", "builder:300000:65536\n"),
        ] {
            fs::write(self.path("lower/etc").join(file), text).unwrap();
        }
    }

    fn config(&self, variant: &Variant, project: &Project) -> Value {
        let store = match variant {
            Variant { volume: true, .. } => "/store",
            Variant { has_more: true, .. } => "/root/.cache/cooper",
            _ => "/cooper/store",
        };
        let base = format!("--build-context=base=oci-layout:///base:{}", project.base.1);
        let archive = project.archive.as_ref().map(|_| "--build-context=archive=/packages");
        let arguments = [
            &["/cooper/cooper", "build", "--offline", "--progress=plain", "--store", store],
            &["--build-arg=SOURCE_DATE_EPOCH=1700000000"][..],
            &[&base, "--output=type=oci,dest=/out/image"],
            archive.as_slice(),
            &variant.arguments,
            &["/workspace"],
        ]
        .concat();
        let capabilities: Vec<String> =
            variant.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
        let held: &[String] = if variant.uid == 0 { &capabilities } else { &[] };
        let mut namespaces = vec!["pid", "ipc", "uts", "mount", "network"];
        if variant.first_id.is_some() {
            namespaces.push("user");
        }
        let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
        let mut linux = json!({
            "namespaces": namespaces,
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        });
        if let Some(first) = variant.first_id {
            let ids = json!([{ "containerID": 0, "hostID": first, "size": 65536 }]);
            linux["uidMappings"] = ids.clone();
            linux["gidMappings"] = ids;
        }
        match variant.seccomp {
            Seccomp::Unconfined => {}
            Seccomp::RuntimeDefault => linux["seccomp"] = runtime_default(),
            Seccomp::NoMount => linux["seccomp"] = no_mount(),
        }
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": variant.uid, "gid": variant.uid },
                "args": arguments,
                "env": ["PATH=/usr/bin:/bin", "KUBERNETES_SERVICE_HOST=10.0.0.1", format!("PASSWORD={SECRET}")],
                "cwd": "/",
                "capabilities": { "bounding": capabilities, "permitted": held, "effective": held },
                "noNewPrivileges": variant.no_new_privileges,
            },
            "root": { "path": "root", "readonly": variant.read_only },
            "hostname": "the-pod",
            "mounts": self.mounts(variant.volume, project),
            "linux": linux,
        })
    }

    fn mounts(&self, has_volume: bool, project: &Project) -> Vec<Value> {
        let mut mounts = private_mounts();
        mounts.extend([
            json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"] }),
            json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"] }),
        ]);
        let mut bind = |source: &Path, destination: &str, access: &str| {
            mounts.push(json!({ "destination": destination, "type": "bind", "source": source,
                "options": ["rbind", "rprivate", access] }));
        };
        bind(&self.path("context"), "/workspace", "rw");
        bind(&project.base.0, "/base", "ro");
        if let Some(archive) = &project.archive {
            bind(archive, "/packages", "ro");
        }
        bind(&self.path("out"), "/out", "rw");
        bind(&self.path("token"), TOKEN, "ro");
        for name in ["hosts", "hostname", "resolv.conf"] {
            bind(&self.path("files").join(name), &format!("/etc/{name}"), "rw");
        }
        bind(&self.path("files/termination-log"), "/dev/termination-log", "rw");
        if has_volume {
            bind(&self.path("store"), "/store", "rw");
        }
        mounts
    }
}

fn refusing(rules: &[Value]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": rules,
    })
}

/// What the runtimes' default profiles refuse to a root without `SYS_ADMIN`.
pub(crate) fn runtime_default() -> Value {
    let clone = |flag: u64| {
        json!({ "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }] })
    };
    refusing(&[
        json!({ "names": ["unshare", "setns", "mount", "umount", "umount2", "pivot_root", "mount_setattr", "move_mount",
            "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "bpf", "keyctl", "add_key", "request_key",
            "userfaultfd", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register",
            "open_by_handle_at", "sethostname", "setdomainname", "pidfd_getfd"],
            "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }),
        clone(0x1000_0000), // CLONE_NEWUSER
        clone(0x0002_0000), // CLONE_NEWNS
        clone(0x2000_0000), // CLONE_NEWPID
    ])
}

/// `AppArmor`'s `deny mount`.
fn no_mount() -> Value {
    refusing(&[
        json!({ "names": ["mount", "move_mount", "fsmount", "open_tree", "mount_setattr", "pivot_root"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }),
    ])
}

/// What a runtime makes anew for every pod.
pub(crate) fn private_mounts() -> Vec<Value> {
    vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc",
            "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }),
        json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] }),
    ]
}
