//! Builds with RUN in the pods that clusters make: the isolation that is chosen, the layers that come of it, what a
//! command gets to see. The pods are made by runc.

#![expect(clippy::print_stderr, reason = "the matrix is to be read by people")]

pub(crate) mod binary;
pub(crate) mod bundle;
mod doctor;
mod faults;
mod layers;
mod matrix;
mod mounts;
mod project;
mod snooping;
pub(crate) mod variant;

use std::fmt::Write as _;
use std::fs;

use bundle::{Pod, SECRET, TOKEN, TOKEN_TEXT};
use variant::{CRIO, Seccomp, Variant};

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

/// A docker config with a password that no command may see.
const DOCKER_CONFIG: &str =
    r#"{"auths": {"registry.invalid": {"username": "user", "password": "password-of-the-registry"}}}"#;

#[test]
fn in_place_a_login_that_is_a_variable_is_nowhere() {
    if !has_pods() {
        return;
    }
    // Written so that the search does not find itself.
    let search = "FROM base\nRUN <<'EOF'\n\
        secret='[p]assword-of-the-registry'\n\
        processes=$(cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c \"$secret\")\n\
        files=$(find / -path /proc -prune -o -path /sys -prune -o -type f -exec grep -l \"$secret\" {} + 2>/dev/null)\n\
        echo \"processes: $processes, files: ${files:-none}\"\nEOF\n";
    let warning = "a RUN can read the logins in `/docker/config.json`";
    let overlay = Variant::root("CRI-O, volume", CRIO, Seccomp::Unconfined).with_volume();
    for (variant, is_mounted, found, warned) in [
        (in_place(), false, "processes: 0, files: none", 0),
        // Which shows that the search finds what is there.
        (in_place(), true, "processes: 0, files: /docker/config.json", 1),
        (overlay, true, "processes: 0, files: none", 0),
    ] {
        let pod = Pod::new(&variant, search);
        let pod = if is_mounted {
            pod.with_docker_config(DOCKER_CONFIG)
        } else {
            pod.with_variable("DOCKER_AUTH_CONFIG", DOCKER_CONFIG)
        };
        let output = pod.run();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(log.contains(found), "{}: {log}", variant.name);
        assert_eq!(log.matches(warning).count(), warned, "{}: {log}", variant.name);
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
    let message = pod.termination_message();
    let error = message["error"].as_str().unwrap();
    assert!(error.starts_with("/workspace/Dockerfile:2: ") && error.ends_with("exit code: 3"), "{message}");
}

#[test]
fn kubernetes_is_told_what_came_of_it() {
    if !has_pods() {
        return;
    }
    // A command cannot speak for the builder: the file is not there for it, or what it writes is written over.
    let dockerfile = "FROM base\nRUN echo lies > /dev/termination-log || true\n";
    for variant in
        [Variant::root("CRI-O, unconfined, volume", CRIO, Seccomp::Unconfined).with_volume(), in_place()]
    {
        let pod = Pod::new(&variant, dockerfile);
        let output = pod.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let message = pod.termination_message();
        let digest = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!((message["digest"].as_str(), message["error"].as_str()), (Some(&*digest), None));
    }
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
