//! Builds with RUN in the pods that clusters make: the isolation that is chosen, the layers that come of it, what a
//! command gets to see. The pods are made by runc.

mod binary;
mod bundle;
mod mounts;
mod variant;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bundle::{Pod, TOKEN, TOKEN_TEXT};
use serde_json::Value;
use variant::{CONTAINERD, CRIO, Seccomp, Variant};

/// Whatever commands do to files that a layer can tell of.
const DOCKERFILE: &str = r#"FROM base
RUN adduser -D -u 1234 -h /home/new new && addgroup new staff && mkdir -p /opt/app/bin && echo one > /opt/app/one
RUN chown -R new:staff /opt/app && cp /bin/busybox /opt/app/bin/su && chmod 4755 /opt/app/bin/su \
    && ln /opt/app/one /opt/app/uno && ln -s one /opt/app/link && mkfifo /opt/app/fifo
RUN rm /usr/lib/one && mv /opt/app /opt/moved && mkdir /opt/app && rm -r /home/app && : >> /etc/group
RUN (setsid sleep 1000 &) ; sleep 1000 & echo started
WORKDIR /made/here
RUN <<EOF
set -e
test "$(cat /etc/resolv.conf)" = "nameserver 10.9.8.7"
grep -q buildkitsandbox /etc/hosts
echo script > script
EOF
RUN --mount=type=tmpfs,target=/made/memory echo gone > /made/memory/file && ls /made > listing
USER new
RUN id > /home/new/id && ! touch /etc/not-allowed && test "$(ls -ld /home/new | cut -d' ' -f1)" = drwxr-sr-x
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
        (Variant::root("CRI-O, RuntimeDefault, volume", CRIO, RuntimeDefault).with_volume(), Isolation("in-place")),
        (Variant::root("CRI-O, unconfined", CRIO, Unconfined), Isolation("userns")),
        (Variant::root("CRI-O, unconfined, volume", CRIO, Unconfined).with_volume(), Isolation("overlay")),
        (Variant::root("containerd, RuntimeDefault", CONTAINERD, RuntimeDefault), Isolation("in-place")),
        (Variant::root("containerd, unconfined", CONTAINERD, Unconfined), Isolation("userns")),
        (Variant::root("containerd, unconfined, volume", CONTAINERD, Unconfined).with_volume(), Isolation("overlay")),
        (Variant::root("containerd, AppArmor", CONTAINERD, NoMount), Isolation("in-place")),
        (Variant::root("CRI-O, AppArmor", CRIO, NoMount), Isolation("in-place")),
        (own_users("hostUsers: false, RuntimeDefault", RuntimeDefault), Isolation("in-place")),
        (own_users("hostUsers: false, unconfined, volume", Unconfined).with_volume(), Isolation("overlay")),
        (
            Variant { read_only: true, ..Variant::root("read-only root", CRIO, RuntimeDefault).with_volume() },
            Refusal(&["in-place: ", "readOnlyRootFilesystem: false"]),
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
            Refusal(texts)
                if !output.status.success() && texts.iter().all(|text| log.contains(text)) =>
            {
                result.push_str("as expected: none");
            }
            _ => {
                result.push_str("NOT AS EXPECTED");
                writeln!(faults, "{}:\n{log}", variant.name).unwrap();
            }
        }
        writeln!(table, "{:40} {chosen:12} {seconds:7.2}  {result}", variant.name).unwrap();
    }
    println!("{table}");
    assert!(faults.is_empty(), "{table}\n{faults}");
}
