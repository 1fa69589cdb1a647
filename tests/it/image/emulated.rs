//! arm64 on amd64, by qemu: the image for arm64 makes what the one for amd64 makes, and a RUN for arm64 is executed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{has_containers, made, unpacked};
use crate::support::{Build, COOPER, Image, Outcome, tool};

/// Debian's path.
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// What the kernel recognises programs for arm64 by, `F`: the interpreter is opened now, whatever `/` is later; `P`:
/// programs keep the name they are called by. See the kernel's `Documentation/admin-guide/binfmt-misc.rst`, and qemu's `scripts/qemu-binfmt-conf.sh`.
const BINFMT: &str = concat!(
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:FP"
);

/// A small system for arm64, the sample app's steps on it.
const COPIES: &str = "FROM scratch AS base\nADD debug-arm64.tar /\nFROM base\nENV PATH=/busybox\nWORKDIR /app\n\
    COPY --chown=1001:1001 --chmod=640 src ./src/\nCOPY --from=base /busybox/busybox /own/\nUSER 1001\nCMD [\"sh\"]\n";
const RUN: &str = "USER 0\nRUN uname -m > /machine && chown -R 1002 /app\n\
    RUN read machine < /machine && test $machine = aarch64 && rm -r /own\n";

/// A namespace in which programs for arm64 are run by qemu, where that can be had: the kernel keeps one list of
/// interpreters per user namespace (since 6.7). Its ids are those outside, so that anything can be owned by anyone. Ends
/// with 77 where there is no such list.
fn emulating() -> Command {
    const SCRIPT: &str = r#"
unshare --user --mount --propagation private sleep infinity & holder=$!
trap "kill $holder" EXIT
own=$(readlink /proc/self/ns/user)
while [ "$(readlink /proc/$holder/ns/user)" = "$own" ]; do sleep 0.01; done
for ids in uid gid; do echo 0 0 65536 > /proc/$holder/${ids}_map; done
nsenter --user --mount --target $holder --setuid 0 --setgid 0 sh -euc "$INNER" sh "$@"
"#;
    const INNER: &str = r#"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 77
printf %s "$BINFMT" > /proc/sys/fs/binfmt_misc/register
exec "$@"
"#;
    let mut command = Command::new("sh");
    command
        .args(["-euc", SCRIPT, "sh"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("BINFMT", BINFMT)
        .env("INNER", INNER)
        .stdin(Stdio::null());
    command
}

fn project(steps: &str) -> Build {
    let archive = made::layouts().join("context/debug-arm64.tar");
    Build::new(steps).file("src/server.js", "serve()\n").file("src/page.js", "page()\n").prepare(|context| {
        fs::copy(archive, context.join("debug-arm64.tar")).unwrap();
    })
}

/// The arguments of both builds but for their places.
const OPTIONS: [&str; 5] = [
    "build",
    "--platform=linux/arm64",
    "--build-arg=SOURCE_DATE_EPOCH=1700000000",
    "--offline",
    "--progress=plain",
];

/// The digest of the image that the native program makes.
fn natively(build: &Build, mut command: Command) -> String {
    let layout = build.beside("native");
    command.arg(COOPER).args(OPTIONS);
    command.arg(format!("--store={}", build.beside("native-store").display()));
    command.arg(format!("--output=type=oci,dest={}", layout.display())).arg(build.context());
    Outcome::of(command.output().unwrap()).success();
    digest(&layout)
}

fn digest(layout: &Path) -> String {
    let index = fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// The root of the arm64 image, with the context at `/workspace`.
fn arm64_root(build: &Build) -> Image {
    let image = unpacked(&made::layouts().join("executor"), "arm64");
    let source = build.context().join(".").display().to_string();
    tool("cp", ["-R", &source, &image.rootfs().join("workspace").display().to_string()]);
    for name in ["proc", "dev", "sys", "tmp"] {
        fs::create_dir(image.rootfs().join(name)).unwrap();
    }
    image
}

#[test]
fn makes_the_same_layers_from_copies() {
    if !has_containers() {
        return;
    }
    let build = project(COPIES);
    let expected = natively(&build, Command::new("env"));
    let image = arm64_root(&build);
    let root = image.rootfs();
    fs::copy(QEMU, root.join("qemu")).expect("qemu-user-static is installed: run tests/tools/packages.sh");
    let mut command = Command::new("chroot");
    command.arg(root).args(["/qemu", "/kaniko/cooper"]).args(OPTIONS);
    command.args(["--store=/kaniko/store", "--output=type=oci,dest=/out", "/workspace"]);
    Outcome::of(command.output().unwrap()).success();
    assert_eq!(digest(&root.join("out")), expected);
}

/// The program for amd64 builds this, as qemu's emulation of arm64 (7.2) has neither `openat2` nor user namespaces.
#[test]
fn commands_for_arm64_are_executed_by_qemu() {
    if !has_containers() {
        return;
    }
    let check = emulating().arg("true").status().unwrap();
    if check.code() == Some(77) {
        eprintln!("skipped: this kernel has no binfmt_misc of one's own (Linux 6.7)");
        return;
    }
    assert!(check.success(), "no user namespace");
    let build = project(&format!("{COPIES}{RUN}"));
    natively(&build, emulating());
    let layout = build.beside("native");
    let image = unpacked(&layout, "arm64");
    assert_eq!(image.text("machine"), "aarch64\n");
    assert_eq!(image.at("app/src/server.js").owner, (1002, 1001));
    assert!(!image.files.contains_key("own"));
}
