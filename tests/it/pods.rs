//! Builds with RUN in the pods that clusters make: the isolation that is chosen, the layers that come of it, what a
//! command gets to see. The pods are made by runc.

#![expect(clippy::print_stderr, reason = "the matrix is to be read by people")]

pub(crate) mod binary;
pub(crate) mod bundle;
mod mounts;
pub(crate) mod variant;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bundle::{Pod, SECRET, TOKEN, TOKEN_TEXT};
use serde_json::Value;
use variant::{CONTAINERD, CRIO, Seccomp, Variant};

/// Whatever commands do to files that a layer can tell of.
const DOCKERFILE: &str = r#"FROM base
RUN echo new:x:1234:1234::/home/new:/bin/sh >> /etc/passwd && sed -i s/staff:x:50:app/staff:x:50:app,new/ /etc/group \
    && mkdir -p /home/new /opt/app/bin && chown 1234:50 /home/new && chmod 2750 /home/new && echo one > /opt/app/one
RUN chown -R new:staff /opt/app && cp /bin/busybox /opt/app/bin/su && chmod 4755 /opt/app/bin/su \
    && ln /opt/app/one /opt/app/uno && ln -s one /opt/app/link && mkfifo /opt/app/fifo
RUN rm /usr/lib/one && mv /opt/app /opt/moved && mkdir /opt/app && rm -r /home/app && : >> /etc/group
RUN (setsid sleep 1000 &) ; sleep 1000 & echo started
WORKDIR /made/here
RUN <<EOF
set -e
test "$(cat /etc/resolv.conf)" = "nameserver 10.9.8.7"
grep -q pod.example /etc/hosts || grep -q buildkitsandbox /etc/hosts
echo script > script
EOF
RUN <<EOF
#!/bin/busybox sh
case $0 in /dev/pipes/*) echo found > found ;; esac
EOF
RUN --mount=type=tmpfs,target=/made/memory echo gone > /made/memory/file && ls /made > listing
ADD capable.tar /
RUN echo changed >> /capable/changed && mv /capable/kept /
USER new
RUN id > /home/new/id && ! touch /etc/not-allowed && test "$(ls -ld /home/new | cut -d' ' -f1)" = drwxr-s---
"#;

/// What a variant is expected to come to.
enum Expected {
    /// A build with this isolation.
    Isolation(&'static str),
    /// An error with all of these texts.
    Refusal(&'static [&'static str]),
}

use Expected::{Isolation, Refusal};

fn variants() -> Vec<(Variant, Expected)> {
    use Seccomp::{NoMount, RuntimeDefault, Unconfined};
    let user = |name, seccomp| Variant {
        uid: 1000,
        no_new_privileges: true,
        volume: true,
        ..Variant::root(name, &[], seccomp)
    };
    let own_users =
        |name, seccomp| Variant { first_id: Some(100_000), ..Variant::root(name, CONTAINERD, seccomp) };
    vec![
        (Variant::root("CRI-O, RuntimeDefault", CRIO, RuntimeDefault), Isolation("in-place")),
        (
            Variant::root("CRI-O, RuntimeDefault, volume", CRIO, RuntimeDefault).with_volume(),
            Isolation("in-place"),
        ),
        (
            Variant {
                has_more: true,
                ..Variant::root("CRI-O, RuntimeDefault, more in /", CRIO, RuntimeDefault)
            },
            Isolation("in-place"),
        ),
        (Variant::root("CRI-O, unconfined", CRIO, Unconfined), Isolation("userns")),
        (Variant::root("CRI-O, unconfined, volume", CRIO, Unconfined).with_volume(), Isolation("overlay")),
        (Variant::root("containerd, RuntimeDefault", CONTAINERD, RuntimeDefault), Isolation("in-place")),
        (
            Variant::root("containerd, RuntimeDefault, chroot", CONTAINERD, RuntimeDefault)
                .with_arguments(&["--isolation=chroot"]),
            Isolation("chroot"),
        ),
        (
            Variant::root("CRI-O, RuntimeDefault, chroot", CRIO, RuntimeDefault)
                .with_arguments(&["--isolation=chroot"]),
            Refusal(&["making device nodes, is refused", "capabilities: {add: [SYS_CHROOT, MKNOD]}"]),
        ),
        (Variant::root("containerd, unconfined", CONTAINERD, Unconfined), Isolation("userns")),
        (
            Variant::root("containerd, unconfined, volume", CONTAINERD, Unconfined).with_volume(),
            Isolation("overlay"),
        ),
        (Variant::root("containerd, AppArmor", CONTAINERD, NoMount), Isolation("in-place")),
        (Variant::root("CRI-O, AppArmor", CRIO, NoMount), Isolation("in-place")),
        (own_users("hostUsers: false, RuntimeDefault", RuntimeDefault), Isolation("in-place")),
        (own_users("hostUsers: false, unconfined, volume", Unconfined).with_volume(), Isolation("overlay")),
        (
            Variant {
                read_only: true,
                ..Variant::root("read-only root", CRIO, RuntimeDefault).with_volume()
            },
            Refusal(&["in-place: making `/.cooper", "readOnlyRootFilesystem: false"]),
        ),
        (
            Variant::root("root, all dropped, unconfined", &[], Unconfined),
            Refusal(&["found: root, all capabilities dropped", "capabilities: {add: [CHOWN, DAC_OVERRIDE"]),
        ),
        (
            user("restricted", RuntimeDefault),
            Refusal(&[
                "found: user 1000, all capabilities dropped, a seccomp profile, no privilege escalation",
                "runAsUser: 0",
                "seccompProfile: {type: Unconfined}",
            ]),
        ),
        // Its one id cannot own the base's files.
        (user("user 1000, unconfined", Unconfined), Refusal(&["home/app"])),
    ]
}

/// Whether pods can be made here.
fn has_pods() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: pods are made by root");
    }
    is_root
}

/// The isolation that the build says it uses.
fn isolation(log: &str) -> Option<&str> {
    let (_, rest) = log.split_once("isolation: ")?;
    rest.split([' ', '\n']).next()
}

fn diff_ids(layout: &Path) -> Vec<String> {
    let blob = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = blob(&index["manifests"][0]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_pod_builds_the_same_layers_or_says_what_it_needs() {
    if !has_pods() {
        return;
    }
    let mut table = format!("{:40} {:12} {:>7}  layers\n", "pod", "isolation", "seconds");
    let mut faults = String::new();
    let mut first: Option<(&str, Vec<String>)> = None;
    for (variant, expected) in variants() {
        let pod = Pod::new(&variant, DOCKERFILE);
        let began = std::time::Instant::now();
        let output = pod.run();
        let seconds = began.elapsed().as_secs_f64();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let chosen = isolation(&log).unwrap_or("refused");
        let mut result = String::new();
        match expected {
            Isolation(wanted) if output.status.success() && chosen == wanted => {
                let layers = diff_ids(&pod.image());
                let (name, same) = first.get_or_insert((variant.name, layers.clone()));
                if *same == layers {
                    result.push_str("the same");
                } else {
                    write!(result, "NOT those of {name}: {layers:#?}, {same:#?}").unwrap();
                    writeln!(faults, "{}: {result}", variant.name).unwrap();
                }
            }
            Refusal(texts) if !output.status.success() && texts.iter().all(|text| log.contains(text)) => {
                result.push_str("as expected: none");
            }
            _ => {
                result.push_str("NOT AS EXPECTED");
                writeln!(faults, "{}:\n{log}", variant.name).unwrap();
            }
        }
        writeln!(table, "{:40} {chosen:12} {seconds:7.2}  {result}", variant.name).unwrap();
    }
    eprintln!("{table}");
    assert!(faults.is_empty(), "{table}\n{faults}");
}

fn in_place() -> Variant {
    Variant::root("CRI-O, RuntimeDefault", CRIO, Seccomp::RuntimeDefault)
}

#[test]
fn in_place_a_command_gets_at_nothing_of_the_builder() {
    if !has_pods() {
        return;
    }
    // Each line must fail.
    let attempts = [
        format!("cat {TOKEN}/token"),
        "cat /proc/1/environ".to_owned(),
        format!("cat /proc/[0-9]*/environ 2>/dev/null | grep -q {}", SECRET.replace("secret", "[s]ecret")),
        format!("env | grep -q {SECRET}"),
        "ls /proc/1/root/".to_owned(),
        "ls /proc/1/cwd/".to_owned(),
        "readlink /proc/1/fd/1".to_owned(),
        "cat /proc/1/maps".to_owned(),
        "dd if=/proc/1/mem of=/dev/null bs=1 count=1 skip=4096".to_owned(),
        "readlink /proc/$PPID/fd/1".to_owned(),
        "dd if=/proc/$PPID/mem of=/dev/null bs=1 count=1 skip=4096".to_owned(),
        "kill -9 1; ! test -e /proc/1/status".to_owned(),
        "mount -t tmpfs tmpfs /tmp".to_owned(),
        "umount /workspace".to_owned(),
        "chroot / true".to_owned(),
        "unshare -U true".to_owned(),
        "unshare -m true".to_owned(),
        "mknod /tmp/disk b 8 0".to_owned(),
        "hostname other".to_owned(),
        "echo 1 > /proc/sys/vm/drop_caches".to_owned(),
        "test -s /etc/hostname".to_owned(),
    ];
    let mut script = String::from("FROM base\nRUN <<'EOF'\nfailed=0\n");
    for attempt in &attempts {
        let name = attempt.replace('\'', "");
        writeln!(script, "if ( {attempt} ) 2>/dev/null; then echo 'NOT REFUSED: {name}'; failed=1; fi")
            .unwrap();
    }
    script.push_str("exit $failed\nEOF\n");
    let output = Pod::new(&in_place(), &script).run();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(isolation(&log), Some("in-place"));
    for secret in [TOKEN_TEXT, SECRET] {
        let shown = log.lines().any(|line| line.starts_with("#2 | ") && line.contains(secret));
        assert!(!shown, "{log}");
    }
}

#[test]
fn in_place_the_root_is_as_it_was_after_a_failure() {
    if !has_pods() {
        return;
    }
    let pod = Pod::new(
        &in_place(),
        "FROM base\nRUN echo x > /etc/x && rm -r /home && (setsid sleep 1000 &) ; exit 3\n",
    );
    let output = pod.run();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{log}");
    let mut found: Vec<_> = fs::read_dir(pod.upper())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mount_points = ["base", "cooper", "dev", "etc", "out", "proc", "sys", "var", "workspace"];
    assert_eq!(found, mount_points, "{log}");
    let mut etc: Vec<_> =
        fs::read_dir(pod.upper().join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    etc.sort();
    assert_eq!(etc, ["hostname", "hosts", "resolv.conf"]);
    assert!(!pod.upper().join("cooper/store/rootfs/own/pod").exists());
}

#[test]
fn in_place_outlives_what_commands_do_to_the_root() {
    if !has_pods() {
        return;
    }
    let dockerfile = "FROM base\nRUN mv /etc /other && ln -s other /etc && mkdir -m 0 /nobodys && rm -r /home\n\
                      RUN test -e /other/passwd && test -d /nobodys && ! test -e /home && rm -r /nobodys /other /etc\n\
                      RUN ! test -e /etc/passwd && echo fine > /fine\n";
    let output = Pod::new(&in_place(), dockerfile).run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Pod::new(&in_place(), "FROM base\nRUN rm -rf /* 2>/dev/null; exit 0\n").run();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains("error"), "{log}");
}

#[test]
fn in_place_stages_take_turns() {
    if !has_pods() {
        return;
    }
    let dockerfile = "FROM base AS a\nRUN sleep 0.3; echo a > /a && ! test -e /b\n\
                      FROM base AS b\nRUN sleep 0.3; echo b > /b && ! test -e /a\n\
                      FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\n\
                      RUN test \"$(cat /a /b)\" = \"$(printf 'a\\nb')\"\n";
    let output = Pod::new(&in_place(), dockerfile).run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn in_place_a_signal_ends_the_pod() {
    use std::io::{BufRead as _, BufReader};
    if !has_pods() {
        return;
    }
    let pod = Pod::new(&in_place(), "FROM base\nRUN trap '' TERM; echo ready; sleep 1000\n");
    let mut child = pod.start();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("| ready")));
    pod.kill("TERM");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
}
