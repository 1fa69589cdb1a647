//! Each project in each pod: the isolation that is chosen, and layers that are the same, or an error.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{iter, thread};

use Expected::{Isolation, Lacking, Refusal};

use super::bundle::Pod;
use super::has_pods;
use super::layers::Layers;
use super::project::{Needs, Project};
use super::variant::{CONTAINERD, CRIO, Range, Seccomp, Variant, WITH_ADMIN};

/// Names a variable with a text that the names of the wanted pods have in them; all are wanted without.
const ONLY: &str = "COOPER_POD";

/// What a variant is expected to come to.
pub(super) enum Expected {
    /// A build with this isolation.
    Isolation(&'static str),
    /// A build with this isolation, whose commands may not do some things: the layers that show it differ.
    Lacking(&'static str, &'static [Needs]),
    /// An error with all of these texts.
    Refusal(&'static [&'static str]),
}

/// The pods, and what is to come of a build in them. The layers of the first are those that the others are to have.
pub(super) fn variants() -> Vec<(Variant, Expected)> {
    use Seccomp::{NoMount, RuntimeDefault, Unconfined};
    const NO_SETCAP: Expected = Lacking("in-place", &[Needs::FileCapabilities]);
    // Who a process is, where it is only recorded, is either root with all capabilities or somebody without.
    const SINGLE_ID: &[Needs] = &[Needs::KeptCapabilities];
    let user = |name, seccomp| Variant {
        uid: 1000,
        no_new_privileges: true,
        volume: true,
        ..Variant::root(name, &[], seccomp)
    };
    let own_users =
        |name, seccomp| Variant { first_id: Some(100_000), ..Variant::root(name, CONTAINERD, seccomp) };
    vec![
        (Variant::root("CRI-O, unconfined, volume", CRIO, Unconfined).with_volume(), Isolation("overlay")),
        (Variant::root("CRI-O, RuntimeDefault", CRIO, RuntimeDefault), NO_SETCAP),
        (Variant::root("CRI-O, RuntimeDefault, volume", CRIO, RuntimeDefault).with_volume(), NO_SETCAP),
        (
            Variant {
                has_more: true,
                ..Variant::root("CRI-O, RuntimeDefault, more in /", CRIO, RuntimeDefault)
            },
            NO_SETCAP,
        ),
        (Variant::root("CRI-O, unconfined", CRIO, Unconfined), Isolation("userns")),
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
        (Variant::root("CRI-O, AppArmor", CRIO, NoMount), NO_SETCAP),
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
        // Its one id owns all files; whose they are to be is recorded.
        (user("user 1000, unconfined", Unconfined), Lacking("overlay", SINGLE_ID)),
        (
            user("user 1000, unconfined, plain", Unconfined).with_arguments(&["--isolation=userns"]),
            Lacking("userns", SINGLE_ID),
        ),
        (
            Variant {
                no_new_privileges: false,
                capabilities: CRIO,
                range: Range::FileCapabilities,
                ..user("user 1000, file capabilities", Unconfined)
            },
            Isolation("overlay"),
        ),
        (
            // They are refused, and the program works all the same.
            Variant {
                range: Range::FileCapabilities,
                ..user("user 1000, file capabilities, restricted", RuntimeDefault)
            },
            Refusal(&["found: user 1000, all capabilities dropped"]),
        ),
        (
            Variant {
                range: Range::FileCapabilities,
                ..user("user 1000, file capabilities, dropped", Unconfined)
            },
            Lacking("overlay", SINGLE_ID),
        ),
        (
            Variant {
                no_new_privileges: false,
                capabilities: WITH_ADMIN,
                range: Range::Subordinate,
                ..user("user 1000, newuidmap", Unconfined)
            },
            Isolation("overlay"),
        ),
    ]
}

/// What came of a build.
struct Built {
    isolation: String,
    took: Duration,
    /// The layers, and the pod that has them; or what is wrong.
    layers: Result<(Layers, Pod), String>,
}

impl Built {
    fn new(variant: &Variant, expected: &Expected, project: &Project) -> Self {
        let pod = Pod::of(variant, project);
        let began = Instant::now();
        let output = pod.run();
        let took = began.elapsed();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let isolation = super::isolation(&log).unwrap_or("refused").to_owned();
        let as_expected = match expected {
            Isolation(wanted) | Lacking(wanted, _) => output.status.success() && isolation == *wanted,
            Refusal(texts) => !output.status.success() && texts.iter().all(|text| log.contains(text)),
        };
        let layers = match (as_expected, expected) {
            (false, _) => Err(log),
            (true, Refusal(_)) => Err(String::new()),
            (true, _) => Ok((Layers::read(&pod.image()), pod)),
        };
        Self { isolation, took, layers }
    }

    /// What is wrong with it, given the same from the first pod.
    fn fault(&self, expected: &Expected, project: &Project, first: &Layers) -> Option<String> {
        let layers = match &self.layers {
            Err(log) => return (!log.is_empty()).then(|| log.clone()),
            Ok((layers, _)) => layers,
        };
        if layers.count() != first.count() {
            return Some(format!("{} layers, not {}", layers.count(), first.count()));
        }
        let lacks: &[Needs] = if let Lacking(_, lacks) = expected { lacks } else { &[] };
        let depend = project.depends.iter().filter(|(_, needs)| lacks.contains(needs));
        let wanted: Vec<usize> = depend.map(|(layer, _)| *layer).collect();
        let found = layers.differing(first);
        if found == wanted {
            return None;
        }
        let mut text = format!("the layers {found:?} differ from those of the first pod, not {wanted:?}\n");
        for layer in found.into_iter().filter(|layer| !wanted.contains(layer)) {
            writeln!(text, "layer {layer}:\n{}", layers.difference(first, layer)).unwrap();
        }
        Some(text)
    }
}

#[test]
fn every_pod_builds_the_same_layers_or_says_what_it_needs() {
    if !has_pods() {
        return;
    }
    let mut variants = variants();
    // The first is what the others are compared with.
    if let Ok(text) = std::env::var(ONLY) {
        variants = iter::zip(0.., variants)
            .filter(|(row, (variant, _))| *row == 0 || variant.name.contains(&text))
            .map(|(_, pair)| pair)
            .collect();
    }
    let projects = [Project::changes(), Project::sample_app(), Project::debian()];
    let (first, expected) = &variants[0];
    let firsts: Vec<Built> = projects.iter().map(|project| Built::new(first, expected, project)).collect();
    // Three columns of a row each: the isolation, the time, and the fault.
    let rows: Vec<_> = variants.iter().map(|_| Mutex::new(vec![None; projects.len()])).collect();
    let pairs =
        (0..variants.len()).flat_map(|variant| (0..projects.len()).map(move |project| (variant, project)));
    let waiting = Mutex::new(pairs.collect::<VecDeque<_>>());
    let work = || {
        while let Some((row, column)) =
            iter::once_with(|| waiting.lock().unwrap().pop_front()).next().flatten()
        {
            let ((variant, expected), project) = (&variants[row], &projects[column]);
            let built = (row > 0).then(|| Built::new(variant, expected, project));
            let built = built.as_ref().unwrap_or(&firsts[column]);
            let fault = match &firsts[column].layers {
                Ok((layers, _)) => built.fault(expected, project, layers),
                Err(log) => Some(log.clone()),
            };
            let result = if fault.is_some() { "WRONG" } else { "fine" };
            eprintln!("{}, {}: {result} after {:.1} s", variant.name, project.name, built.took.as_secs_f64());
            rows[row].lock().unwrap()[column] = Some((built.isolation.clone(), built.took, fault));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    let mut table = format!("{:40} {:10}", "pod", "isolation");
    for project in &projects {
        write!(table, " {:>18}", project.name).unwrap();
    }
    let mut faults = String::new();
    for ((variant, expected), row) in iter::zip(&variants, &rows) {
        let row = row.lock().unwrap();
        write!(table, "\n{:40} {:10}", variant.name, row[0].as_ref().unwrap().0).unwrap();
        for (project, cell) in iter::zip(&projects, row.iter()) {
            let (_, took, fault) = cell.as_ref().unwrap();
            let word = match (fault, expected) {
                (Some(_), _) => "WRONG",
                (None, Isolation(_)) => "same",
                (None, Lacking(..)) => "as can be",
                (None, Refusal(_)) => "refused",
            };
            write!(table, " {:>18}", format!("{word} {:.1} s", took.as_secs_f64())).unwrap();
            if let Some(fault) = fault {
                writeln!(faults, "{}, {}:\n{fault}", variant.name, project.name).unwrap();
            }
        }
    }
    eprintln!("{table}");
    assert!(faults.is_empty(), "{table}\n{faults}");
}
