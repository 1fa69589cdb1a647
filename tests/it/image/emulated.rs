//! The image for arm64, run by qemu on amd64: it makes what the image for amd64 makes for arm64.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{has_containers, made, unpacked};
use crate::support::{Build, Image, Outcome, tool};

/// Debian's path.
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// What the kernel recognises programs for arm64 by, and `F`: the interpreter is opened now, whatever `/` is later. See
/// the kernel's `Documentation/admin-guide/binfmt-misc.rst`, and qemu's `scripts/qemu-binfmt-conf.sh`.
const BINFMT: &str = concat!(
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F"
);

/// A small system for arm64, the sample app's steps on it.
const COPIES: &str = "FROM scratch AS base\nADD debug-arm64.tar /\nFROM base\nENV PATH=/busybox\nWORKDIR /app\n\
    COPY --chown=1001:1001 --chmod=640 src ./src/\nCOPY --from=base /busybox/busybox /own/\nUSER 1001\nCMD [\"sh\"]\n";
const RUN: &str = "USER 0\nRUN uname -m > /machine && adduser -D -H -u 1002 other && chown -R other /app\n\
    RUN test \"$(cat /machine)\" = aarch64 && rm -r /own\n";

/// A namespace in which programs for arm64 are run by qemu, where that can be had: the kernel keeps one list of
/// interpreters per user namespace (since 6.7).
fn emulating(script: &str) -> Command {
    let begin = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && printf '%s' \"$BINFMT\" \
                 > /proc/sys/fs/binfmt_misc/register || exit 77\n";
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-users=0,0,65536",
            "--map-groups=0,0,65536",
            "--mount",
            "--propagation",
            "private",
        ])
        .args(["sh", "-euc", &format!("{begin}{script}")])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("BINFMT", BINFMT)
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
fn natively(build: &Build, prefix: &mut Command) -> String {
    let mut command = std::mem::replace(prefix, Command::new("true"));
    let layout = build.beside("native");
    command.arg(super::super::support::COOPER).args(OPTIONS);
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
    let expected = natively(&build, &mut Command::new("env"));
    let image = arm64_root(&build);
    let root = image.rootfs();
    fs::copy(QEMU, root.join("qemu")).expect("qemu-user-static is installed: run tests/tools/packages.sh");
    let mut command = Command::new("chroot");
    command.arg(root).args(["/qemu", "/kaniko/cooper"]).args(OPTIONS);
    command.args(["--store=/kaniko/store", "--output=type=oci,dest=/out", "/workspace"]);
    Outcome::of(command.output().unwrap()).success();
    assert_eq!(digest(&root.join("out")), expected);
}

#[test]
fn makes_the_same_layers_from_runs() {
    if !has_containers() {
        return;
    }
    let check = emulating("exit 0").status().unwrap();
    if check.code() == Some(77) {
        eprintln!("skipped: this kernel has no binfmt_misc of one's own (Linux 6.7)");
        return;
    }
    assert!(check.success(), "no user namespace");
    let build = project(&format!("{COPIES}{RUN}"));
    let mut prefix = emulating("exec \"$@\"");
    prefix.arg("sh");
    let expected = natively(&build, &mut prefix);
    let image = arm64_root(&build);
    let script = "for place in proc dev sys; do mount --rbind /$place \"$1/$place\"; done; root=$1; shift\n\
                  exec chroot \"$root\" \"$@\"";
    let mut command = emulating(script);
    command.arg("sh").arg(image.rootfs()).arg("/kaniko/cooper").args(OPTIONS);
    command.args(["--store=/kaniko/store", "--output=type=oci,dest=/out", "/workspace"]);
    Outcome::of(command.output().unwrap()).success();
    assert_eq!(digest(&image.rootfs().join("out")), expected);
}
