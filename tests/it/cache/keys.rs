//! What a result is found by.

use super::{fate, fates};
use crate::support::{Build, Image};

/// Runs it to a layout beside it, and gives what was said and the image's digest.
fn run(build: &Build) -> crate::support::Outcome {
    build.run().success()
}

fn offline(dockerfile: &str) -> Build {
    Build::new(dockerfile).arg("--offline").arg("--output=type=oci,dest=-")
}

/// As `run`, for builds whose output is bytes.
fn said(build: &Build) -> crate::support::Outcome {
    crate::support::Outcome::of(build.command().output().unwrap()).success()
}

#[test]
fn a_stage_that_comes_to_the_same_changes_nothing_after_it() {
    let text = "FROM base AS builder\nARG VERSION\nRUN echo compiling $VERSION > /log; echo program > /program\n\
                FROM base\nCOPY --from=builder /program /program\nRUN echo used > /used\n";
    let first = offline(text).args(["--build-arg", "VERSION=1"]);
    said(&first);
    let second = offline(text).args(["--build-arg", "VERSION=2"]).store(first.store_path());
    let outcome = said(&second);
    assert_eq!(fate(&outcome, "compiling"), "done", "{:?}", fates(&outcome));
    assert_eq!(fate(&outcome, "COPY"), "cached");
    assert_eq!(fate(&outcome, "used"), "cached");
    // Where the program is another one, it is copied.
    let third = offline(&text.replace("echo program", "echo other")).store(first.store_path());
    let outcome = said(&third);
    assert_eq!((fate(&outcome, "COPY").as_str(), fate(&outcome, "used").as_str()), ("done", "done"));
}

#[test]
fn a_known_result_makes_what_is_before_it_unnecessary() {
    let text =
        "FROM base AS builder\nRUN echo built > /built\nFROM base\nCOPY --from=builder /built /\nCOPY a /\n";
    let first = offline(text).file("a", "1");
    said(&first);
    let second = offline(text).file("a", "2").store(first.store_path());
    let outcome = said(&second);
    assert_eq!(fate(&outcome, "RUN"), "not mentioned", "{:?}", fates(&outcome));
    assert_eq!(fate(&outcome, "--from"), "cached");
    assert_eq!(fate(&outcome, "COPY a"), "done");
}

#[test]
fn what_was_below_a_result_comes_with_it() {
    // Nothing here is the same twice: layers of two builds must not be mixed.
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /one\nRUN cat /one > /two\n";
    let first = offline(text);
    said(&first);
    let steps = first.store_path().join("steps");
    let mut records: Vec<_> = std::fs::read_dir(&steps).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(records.len(), 4, "two steps, each by its definition and by its inputs");
    // What is known of the first step is lost.
    records.retain(|path| std::fs::read_to_string(path).unwrap().matches("diff_id").count() == 1);
    assert_eq!(records.len(), 2);
    for path in &records {
        std::fs::remove_file(path).unwrap();
    }
    let layout = first.beside("image");
    let second = Build::new(text)
        .args(["--offline".to_owned(), format!("--output=type=oci,dest={}", layout.display())])
        .store(first.store_path());
    let outcome = run(&second);
    assert!(fates(&outcome).iter().all(|(_, fate)| fate == "cached"), "{}", outcome.stderr);
    let image = Image::read(&layout, tempfile::tempdir().unwrap());
    assert_eq!(image.text("one"), image.text("two"));
}

#[test]
fn only_what_matters_counts() {
    let text = "FROM base\nCOPY dir /dir\nRUN cat /dir/a > /b\n";
    let first = offline(text).file("dir/a", "1").file("other", "1");
    said(&first);
    let same = || offline(text).store(first.store_path());
    // Other times and files that are not copied do not.
    let outcome = said(&same().file("dir/a", "1").file("other", "2").file("more", "3"));
    assert!(fates(&outcome).iter().all(|(_, fate)| fate == "cached"), "{}", outcome.stderr);
    // Contents, names and modes do.
    for build in [
        same().file("dir/a", "2"),
        same().file("dir/a", "1").file("dir/b", ""),
        same().file("dir/a", "1").prepare(|context| {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(context.join("dir/a"), mode).unwrap();
        }),
    ] {
        let outcome = said(&build);
        assert_eq!(fate(&outcome, "COPY"), "done", "{}", outcome.stderr);
    }
    // So does the form of the layers.
    for argument in ["--compression=zstd", "--compression-level=1", "--compression=uncompressed"] {
        let outcome = said(&same().file("dir/a", "1").arg(argument));
        assert_eq!(fate(&outcome, "COPY"), "done", "{argument}");
    }
}

#[test]
fn the_same_step_in_two_stages_is_done_once() {
    let text = "FROM base AS one\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN echo 1 > /1\n\
                FROM base AS two\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN echo 2 > /2\n\
                FROM scratch\nCOPY --from=one /id /1 /one/\nCOPY --from=two /id /2 /two/\n";
    let image = Build::new(text).image();
    assert_eq!(image.text("one/id"), image.text("two/id"));
}
