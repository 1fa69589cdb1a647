//! What commands try in order to get at the pod, the builder, other builds: each must fail, in every isolation that
//! gives a command a root of its own.

use std::fmt::Write as _;

use super::bundle::{Pod, SECRET, TOKEN, TOKEN_TEXT};
use super::variant::{CONTAINERD, CRIO, Range, Seccomp, Variant};
use super::{has_pods, isolation};

/// Each line must fail.
fn attempts() -> Vec<String> {
    // Written so that the attempt does not find itself.
    let secret = SECRET.replace("secret", "[s]ecret");
    let mut attempts = vec![
        format!("cat {TOKEN}/token"),
        format!("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -q {secret}"),
        format!("env | grep -q {secret}"),
        format!("cat /proc/[0-9]*/root{TOKEN}/token"),
        "find / -xdev -name token | grep -q .".to_owned(),
    ];
    let fixed = [
        "ls /proc/[0-9]*/root/cooper",
        "ls /proc/[0-9]*/cwd/layers",
        "cat /proc/1/environ | grep -q .",
        "ls /proc/[0-9]*/root/workspace",
        "cat /cooper/cooper",
        "ls /cooper/store",
        "ls /store",
        "cat /workspace/Dockerfile",
        "ls /base",
        "ls /out",
        "find / -xdev -name of-another-stage | grep -q .",
        "test -e /dev/termination-log",
        "mount -t tmpfs tmpfs /tmp",
        "mount -o remount,rw /sys",
        "umount /proc",
        "umount /etc/hosts",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "hostname other",
        "mknod /tmp/disk b 8 0 && test -n \"$(head -c 1 /tmp/disk)\"",
        "mknod /tmp/memory c 1 1 && test -n \"$(head -c 1 /tmp/memory)\"",
        "test -n \"$(head -c 1 /proc/kcore)\"",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo core > /proc/sys/kernel/core_pattern",
        "kill -9 1; ! kill -0 1",
        "grep -q the-pod /etc/hostname",
    ];
    attempts.extend(fixed.map(str::to_owned));
    attempts
}

#[test]
fn a_command_gets_at_nothing_of_the_pod() {
    if !has_pods() {
        return;
    }
    let attempts = attempts();
    assert!(attempts.len() >= 20);
    let mut script = String::from(
        "FROM base AS other\nRUN echo text > /of-another-stage\nFROM base\nCOPY --from=other /etc/passwd /copied\n\
         RUN <<'EOF'\nfailed=0\n",
    );
    for attempt in &attempts {
        let name = attempt.replace('\'', "");
        writeln!(script, "if ( {attempt} ) >/dev/null 2>&1; then echo 'NOT REFUSED: {name}'; failed=1; fi")
            .unwrap();
    }
    script.push_str("exit $failed\nEOF\n");
    let user = |name| Variant {
        uid: 1000,
        no_new_privileges: true,
        ..Variant::root(name, &[], Seccomp::Unconfined).with_volume()
    };
    for (variant, expected) in [
        (Variant::root("CRI-O, volume", CRIO, Seccomp::Unconfined).with_volume(), "overlay"),
        (Variant::root("CRI-O", CRIO, Seccomp::Unconfined), "userns"),
        (Variant::root("containerd, volume", CONTAINERD, Seccomp::Unconfined).with_volume(), "overlay"),
        (user("user 1000"), "overlay"),
        (user("user 1000, plain").with_arguments(&["--isolation=userns"]), "userns"),
        (
            Variant {
                no_new_privileges: false,
                capabilities: CRIO,
                range: Range::FileCapabilities,
                ..user("user 1000, file capabilities")
            },
            "overlay",
        ),
        (
            Variant::root("containerd, chroot", CONTAINERD, Seccomp::RuntimeDefault)
                .with_arguments(&["--isolation=chroot"]),
            "chroot",
        ),
    ] {
        let name = variant.name;
        let output = Pod::new(&variant, &script).run();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}:\n{log}");
        assert_eq!(isolation(&log), Some(expected), "{name}");
        for secret in [TOKEN_TEXT, SECRET] {
            let shown = log.lines().any(|line| line.contains(" | ") && line.contains(secret));
            assert!(!shown, "{name}:\n{log}");
        }
    }
}

#[test]
fn in_a_chroot_a_secret_is_a_variable_or_an_error() {
    if !has_pods() {
        return;
    }
    let pod = |dockerfile| {
        let arguments = ["--isolation=chroot", "--secret=id=token,env=PASSWORD"];
        let variant = Variant::root("containerd, chroot", CONTAINERD, Seccomp::RuntimeDefault);
        Pod::new(&variant.with_arguments(&arguments), dockerfile).run()
    };
    let variable = pod("FROM base\nRUN --mount=type=secret,id=token,env=TOKEN test ${#TOKEN} = 21\n");
    assert!(variable.status.success(), "{}", String::from_utf8_lossy(&variable.stderr));
    let file = pod("FROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token\n");
    let log = String::from_utf8_lossy(&file.stderr);
    assert!(!file.status.success() && log.contains("Dockerfile:2"), "{log}");
    assert!(log.contains("a secret cannot be a file at `/run/secrets/token` here"), "{log}");
    assert!(log.contains("env=NAME"), "{log}");
}
