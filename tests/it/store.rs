//! `cooper store` beside builds, after builds that were killed, and killed itself. Issue 5, "Caches".

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Build, COOPER, Outcome};

/// `cooper store` with these arguments.
fn store(command: &str, store: &Path, arguments: &[&str]) -> Command {
    let mut program = Command::new(COOPER);
    program.env_clear().args(["store", command, "--store"]).arg(store).args(arguments);
    program
}

#[track_caller]
fn run(command: &str, place: &Path, arguments: &[&str]) -> Outcome {
    Outcome::of(store(command, place, arguments).output().unwrap()).success()
}

fn items(place: &Path) -> Vec<Value> {
    serde_json::from_str(&run("ls", place, &["--json"]).stdout).unwrap()
}

fn kinds(items: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Makes everything in a store look as if it was used so long ago.
fn age(place: &Path, days: u64) {
    let then = std::time::SystemTime::now() - Duration::from_secs(days * 86_400);
    for directory in ["blobs/sha256", "indexes", "steps", "definitions", "files", "used"] {
        for entry in std::fs::read_dir(place.join(directory)).unwrap() {
            let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

/// A build that leaves something of every kind; its image is the same whenever it is built.
fn build(place: &Path) -> Build {
    let text = "FROM base\nCOPY a /a\n\
                RUN --mount=type=cache,target=/cache mkdir /many && cd /many && seq 300 | xargs touch && echo x >> /cache/x\n\
                RUN echo last > /last\n";
    Build::new(text).file("a", "text\n").store(place).env("SOURCE_DATE_EPOCH", "1000000000")
}

#[track_caller]
fn digest(build: &Build) -> String {
    let file = build.beside("id");
    let mut command = build.command();
    Outcome::of(command.arg(format!("--iidfile={}", file.display())).output().unwrap()).success();
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn what_is_there_is_listed_by_its_last_use() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    build(place).run().success();
    let listed = items(place);
    assert_eq!(kinds(&listed), ["blob", "cache-mount", "index", "note", "step", "unpacked"]);
    let used: Vec<_> = listed.iter().map(|item| item["used"].as_u64().unwrap()).collect();
    assert!(used.is_sorted());
    let total: u64 = listed.iter().map(|item| item["size"].as_u64().unwrap()).sum();
    assert!(total > 1 << 20, "{total}");
    for item in &listed {
        assert!(place.join(item["path"].as_str().unwrap()).exists(), "{item}");
    }
    let text = run("ls", place, &[]).stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), listed.len() + 1);
    for (line, item) in lines.iter().zip(&listed) {
        assert!(line.starts_with(item["kind"].as_str().unwrap()), "{line}");
        assert!(line.ends_with(item["path"].as_str().unwrap()) && line.contains(" ago "), "{line}");
    }
    assert!(lines.last().unwrap().ends_with(&format!(" in {} items", listed.len())), "{text}");
    let none = Outcome::of(store("ls", &place.join("none"), &[]).output().unwrap());
    none.failure(1, &["there is no store in"]);
    let nothing = Outcome::of(store("prune", place, &[]).output().unwrap());
    nothing.failure(2, &["--max-size"]);
}

#[test]
fn what_was_not_used_for_long_goes() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    build(place).run().success();
    age(place, 20);
    let other = Build::new("FROM scratch\nCOPY b /b\n").file("b", "other\n").store(place);
    other.run().success();
    let before = items(place).len();
    let said = run("prune", place, &["--max-age=14d", "--dry-run"]).stdout;
    assert!(said.lines().all(|line| line.starts_with("would remove ")), "{said}");
    assert_eq!(items(place).len(), before);
    let said = run("prune", place, &["--max-age=14d"]).stdout;
    assert!(said.lines().all(|line| line.starts_with("removed ")), "{said}");
    let left = items(place);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(left.iter().all(|item| item["used"].as_u64().unwrap() > now - 3600), "{left:?}");
    assert!(kinds(&left).contains(&"step"), "{left:?}");
    assert!(other.run().success().stderr.contains(" cached"));
    let again = build(place).run().success();
    assert_eq!(again.stderr.matches(" cached").count(), 0, "{}", again.stderr);
}

#[test]
fn what_was_used_last_stays_within_the_size() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let one = |name: &str| {
        let text = format!("FROM scratch\nCOPY {name} /\n");
        let mut noise = vec![0; 1 << 20];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
        Build::new(&text).file(name, noise).store(place)
    };
    let builds = ["a", "b", "c"].map(one);
    for build in &builds {
        build.run().success();
        // Uses are told apart by the second.
        std::thread::sleep(Duration::from_millis(1100));
    }
    builds[0].run().success();
    let said = run("prune", place, &["--max-size=2400kb"]).stdout;
    assert!(said.contains(" are left"), "{said}");
    let total: u64 = items(place).iter().map(|item| item["size"].as_u64().unwrap()).sum();
    assert!(total <= 2_400_000, "{total}");
    for (build, is_there) in builds.iter().zip([true, false, true]) {
        assert_eq!(build.run().success().stderr.contains(" cached"), is_there);
    }
    run("prune", place, &["--max-size=0"]);
    assert_eq!(items(place), Vec::<Value>::new());
    assert_eq!(run("ls", place, &[]).stdout, "0 B in 0 items\n");
}

#[test]
fn pruning_beside_a_build_takes_nothing_that_it_uses() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let expected = digest(&build(tempfile::tempdir().unwrap().path()));
    // Old things that the build will find and use, and some that it will not.
    let before = build(place);
    before.run().success();
    Build::new("FROM scratch\nCOPY b /b\n").file("b", "other\n").store(place).run().success();
    age(place, 20);
    let text = "FROM base\nCOPY a /a\n\
                RUN --mount=type=cache,target=/cache mkdir /many && cd /many && seq 300 | xargs touch && echo x >> /cache/x\n\
                RUN echo last > /last\n\
                FROM base AS waiting\nRUN --mount=type=cache,target=/go echo ready; while [ ! -e /go/on ]; do sleep 0.1; done\n\
                FROM base\nCOPY --from=0 / /all/\nCOPY --from=waiting /etc/passwd /\n";
    let running = Build::new(text).file("a", "text\n").store(place).env("SOURCE_DATE_EPOCH", "1000000000");
    let mut process = running.command().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stderr = BufReader::new(process.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("| ready") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    for _ in 0..3 {
        let pruned = run("prune", place, &["--max-size=0"]);
        assert!(pruned.stderr.contains(": a running build may use it"), "{}", pruned.stderr);
    }
    let go = walkdir::WalkDir::new(place.join("rootfs")).into_iter().filter_map(Result::ok);
    let caches: Vec<_> = go
        .filter(|entry| {
            entry.file_type().is_dir() && entry.path().parent().is_some_and(|path| path.ends_with("cache"))
        })
        .map(walkdir::DirEntry::into_path)
        .collect();
    assert!(!caches.is_empty());
    for cache in caches {
        std::fs::write(cache.join("on"), "").unwrap();
    }
    stderr.read_to_string(&mut said).unwrap();
    assert!(process.wait().unwrap().success(), "{said}");
    assert_eq!(digest(&build(place)), expected);
}

/// Kills a process that runs for so long.
fn kill_after(mut command: Command, time: Duration) -> bool {
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let has_ended = process.try_wait().unwrap().is_some();
    process.kill().unwrap();
    process.wait().unwrap();
    !has_ended
}

/// Builds after the accident; all is as if nothing had happened, and nothing is left lying around.
#[track_caller]
fn assert_sound(place: &Path, expected: &str) {
    assert_eq!(digest(&build(place)), expected);
    // An empty directory that was not even named is swept later: it may be somebody's who has only just begun.
    let left = std::fs::read_dir(place.join("tmp")).unwrap().filter_map(Result::ok);
    let left: Vec<_> =
        left.filter(|entry| !entry.file_name().to_string_lossy().starts_with("new-")).collect();
    assert!(left.is_empty(), "{left:?}");
    // What is unpacked is whole: a command finds all files.
    let text = "FROM base\nCOPY a /a\n\
                RUN --mount=type=cache,target=/cache mkdir /many && cd /many && seq 300 | xargs touch && echo x >> /cache/x\n\
                RUN echo last > /last\nRUN test $(ls /many | wc -l) = 300 && cat /a /last && ls /bin/busybox\n";
    let next = Build::new(text).file("a", "text\n").store(place).env("SOURCE_DATE_EPOCH", "1000000000");
    next.run().success();
}

#[test]
fn a_killed_prune_leaves_a_sound_store() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let expected = digest(&build(place));
    let mut killed = 0;
    for round in 0..12 {
        age(place, 20);
        if kill_after(store("prune", place, &["--max-size=0"]), Duration::from_micros(1500 * round)) {
            killed += 1;
        }
        assert_sound(place, &expected);
    }
    assert!(killed > 3, "{killed} of 12 were killed before their end");
}

#[test]
fn a_killed_build_and_a_prune_leave_a_sound_store() {
    let expected = digest(&build(tempfile::tempdir().unwrap().path()));
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let mut killed = 0;
    for round in 0..8 {
        if kill_after(build(place).command(), Duration::from_millis(40 * round)) {
            killed += 1;
        }
        if round % 2 == 0 {
            run("prune", place, &["--max-size=0"]);
        }
        assert_sound(place, &expected);
        run("prune", place, &["--max-size=0"]);
    }
    assert!(killed > 3, "{killed} of 8 were killed before their end");
}
