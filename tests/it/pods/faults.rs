//! Commands that misbehave and builds that are ended, in every isolation: nothing is left of them, and the next build
//! in the same pod works.

use std::fmt::Write as _;

use super::bundle::Pod;
use super::layers::Layers;
use super::project::Project;
use super::variant::{CONTAINERD, CRIO, Seccomp, Variant};
use super::{has_pods, isolation};

/// Pods with each of the isolations, which the first word of their name is.
fn isolations() -> [Variant; 5] {
    use Seccomp::{RuntimeDefault, Unconfined};
    [
        Variant::root("overlay", CRIO, Unconfined).with_volume(),
        Variant::root("userns", CRIO, Unconfined),
        Variant::root("in-place", CRIO, RuntimeDefault),
        Variant::root("chroot", CONTAINERD, RuntimeDefault).with_arguments(&["--isolation=chroot"]),
        // With a single id, and owners that are recorded.
        Variant {
            uid: 1000,
            no_new_privileges: true,
            ..Variant::root("overlay of user 1000", &[], Unconfined).with_volume()
        },
    ]
}

/// The isolation that a pod of the above is to have.
fn wanted(variant: &Variant) -> Option<&str> {
    variant.name.split(' ').next()
}

/// What is done after a build that failed: how it ended, what is left of it, and a build that is to work.
const AFTERWARDS: &str = r#"
echo $code > /out/code
cd /cooper
./busybox ps -o pid,args | ./busybox grep -v -e '^ *PID' -e busybox > /out/processes
./busybox cut -d' ' -f5 /proc/self/mountinfo > /out/mounts
./busybox ls / > /out/root
for store in /store /cooper/store; do
    ./busybox find $store/tmp $store/rootfs/*/builds $store/rootfs/own/pod -mindepth 1 -maxdepth 1
done > /out/left 2>/dev/null
"$@" --file /workspace/next > /out/next 2>&1
echo $? >> /out/next
"#;

/// Builds, and then what is above; `meanwhile` while it builds. Gives the pod, and the log of the build.
fn build(pod: Pod, meanwhile: &str) -> (Pod, String) {
    let script = format!(
        "/cooper/busybox ls / > /out/root-before; /cooper/busybox cut -d' ' -f5 /proc/self/mountinfo > /out/mounts-before
        \"$@\" > /out/log 2>&1 & builder=$!
        {meanwhile}
        wait $builder; code=$?
        {AFTERWARDS}"
    );
    let pod = pod.script(&script);
    pod.add("next", "FROM base\nRUN echo fine > /fine\n");
    let output = pod.run();
    let log = pod.out("log");
    assert!(output.status.success(), "{log}\n{}", String::from_utf8_lossy(&output.stderr));
    (pod, log)
}

/// That nothing is left of the build and the next one works.
#[track_caller]
fn assert_clean(pod: &Pod, variant: &Variant, log: &str) {
    let name = variant.name;
    assert_eq!(isolation(log), wanted(variant), "{log}");
    assert_eq!(pod.out("processes"), "", "{name}: {log}");
    assert_eq!(pod.out("mounts"), pod.out("mounts-before"), "{name}: {log}");
    assert_eq!(pod.out("left"), "", "{name}: {log}");
    let root: Vec<String> =
        pod.out("root").lines().filter(|entry| *entry != ".cooper").map(Into::into).collect();
    assert_eq!(root, pod.out("root-before").lines().collect::<Vec<_>>(), "{name}: {log}");
    let next = pod.out("next");
    assert!(next.ends_with("\n0\n"), "{name}: {log}\n{next}");
}

#[test]
fn a_signal_ends_a_command_and_leaves_nothing() {
    if !has_pods() {
        return;
    }
    for variant in isolations() {
        let dockerfile = "FROM base\nRUN trap '' TERM; setsid sleep 1000 & mkdir /new && echo half > /new/half; echo ready; sleep 1000\n";
        let meanwhile = "until /cooper/busybox grep -q '| ready' /out/log; do /cooper/busybox sleep 0.05; done; kill -TERM $builder";
        let (pod, log) = build(Pod::new(&variant, dockerfile), meanwhile);
        assert_eq!(pod.out("code"), "130\n", "{log}");
        assert_clean(&pod, &variant, &log);
    }
}

#[test]
fn a_fork_bomb_reaches_the_limit_and_ends_with_its_command() {
    if !has_pods() {
        return;
    }
    for variant in isolations() {
        let dockerfile =
            "FROM base\nRUN bomb() { bomb & bomb & sleep 1000; }; bomb & sleep 1; echo enough; exit 7\n";
        let pod = Pod::new(&variant, dockerfile).with_pid_limit(100);
        let (pod, log) = build(pod, "");
        // The shell ends when it cannot fork, or as it was told.
        assert!(["2\n", "7\n"].contains(&pod.out("code").as_str()), "{}: {log}", variant.name);
        assert_clean(&pod, &variant, &log);
    }
}

#[test]
fn a_full_disk_fails_the_build_and_is_empty_again() {
    if !has_pods() {
        return;
    }
    for variant in isolations() {
        for (command, code) in [
            ("dd if=/dev/zero of=/zero bs=1M", "1\n"),
            // It succeeds, and then there is no room for the layer.
            ("dd if=/dev/urandom of=/random bs=1M; true", "1\n"),
        ] {
            let pod =
                Pod::new(&variant, &format!("FROM base\nRUN {command}\n")).with_disk(&variant, 160 << 20);
            let (pod, log) = build(pod, "");
            assert_eq!(pod.out("code"), code, "{}: {log}", variant.name);
            assert!(log.contains("No space left on device"), "{}: {log}", variant.name);
            assert_clean(&pod, &variant, &log);
        }
    }
}

/// Links in place of directories, directories that nobody may enter.
const ROUGH: &str = r"FROM base
RUN mv /home /other && ln -s other /home && mkdir -m 0 /nobodys && mkdir -m 0 /nobodys/deeper && echo x > /nobodys/deeper/x && chmod 0 /nobodys/deeper/x
RUN test -d /home/app && test -e /nobodys/deeper/x && ! test -e /nobodys/x && echo y > /home/new
USER nobody
RUN ! ls /nobodys 2>/dev/null && test -s /etc/resolv.conf
USER root
RUN rm -r /nobodys /tmp && mkdir -m 0 /other/none && chmod 0 /other /usr/lib && ln -s var /tmp
RUN test -d /home/none && test -e /usr/lib/one && ! test -e /tmp && echo z > /etc/last
";

#[test]
fn rough_commands_come_to_the_same_layers() {
    if !has_pods() {
        return;
    }
    let mut faults = String::new();
    let mut first: Option<(Layers, Pod)> = None;
    for variant in isolations() {
        // With recorded owners the modes of what is there are not enforced: see docs/isolation.md.
        let rough = if variant.name.contains("user 1000") {
            ROUGH.replace("! ls /nobodys 2>/dev/null && ", "")
        } else {
            ROUGH.to_owned()
        };
        let pod = Pod::new(&variant, &rough);
        let output = pod.run();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {log}", variant.name);
        assert_eq!(isolation(&log), wanted(&variant), "{log}");
        let layers = Layers::read(&pod.image());
        let (wanted, _) = first.get_or_insert_with(|| (Layers::read(&pod.image()), pod));
        for layer in wanted.differing(&layers) {
            writeln!(faults, "{}, layer {layer}:\n{}", variant.name, wanted.difference(&layers, layer))
                .unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_link_may_take_the_place_of_etc() {
    if !has_pods() {
        return;
    }
    for variant in isolations() {
        let dockerfile = "FROM base\nRUN mv /etc /other; ln -sfn other /etc; exit 0\nRUN grep -q ^root: /etc/passwd || grep -q ^root: /other/passwd\n";
        let pod = Pod::new(&variant, dockerfile);
        let (pod, log) = build(pod, "");
        assert_eq!(pod.out("code"), "0\n", "{log}");
        assert_clean(&pod, &variant, &log);
        let layers = Layers::read(&pod.image());
        let entries = layers.entries(2);
        // As under Docker, what is mounted in it keeps an overlay's directory where it is, and is copied.
        let moves = wanted(&variant) != Some("overlay");
        let link = entries.get("etc").is_some_and(|entry| entry.starts_with("Symlink"));
        assert_eq!(link, moves, "{}: {entries:?}", variant.name);
        for (path, absent) in [("etc/hosts", true), ("etc/resolv.conf", true), ("other/hosts", moves)] {
            assert_eq!(!entries.contains_key(path), absent, "{}: {path} in {entries:?}", variant.name);
        }
    }
}

#[test]
fn a_command_may_remove_all_there_is() {
    if !has_pods() {
        return;
    }
    let debian = Project::debian();
    for variant in isolations() {
        let dockerfile = "FROM base\nRUN rm -rf --no-preserve-root / 2>/dev/null; exit 0\n";
        let pod = Pod::of(&variant, &Project { dockerfile: dockerfile.to_owned(), ..debian.clone() });
        let output = pod.run();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(isolation(&log), wanted(&variant), "{log}");
        if variant.name == "in-place" {
            // The store is in what it could remove.
            assert!(!output.status.success() && log.contains("error"), "{log}");
            continue;
        }
        assert!(output.status.success(), "{log}");
        let layers = Layers::read(&pod.image());
        let entries = layers.entries(layers.count() - 1);
        let gone = |path: &str| entries.get(path).is_some_and(|entry| entry.starts_with("Whiteout"));
        assert!(gone("usr") && gone("var") && gone("bin"), "{}: {entries:?}", variant.name);
        assert!(entries.values().all(|entry| !entry.starts_with("File")), "{}: {entries:?}", variant.name);
    }
}
