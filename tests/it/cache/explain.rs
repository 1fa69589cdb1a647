//! `--explain-cache`.

use crate::support::{Build, Outcome};

fn explained(build: &Build) -> String {
    Outcome::of(build.command().output().unwrap()).success().stderr
}

#[test]
fn says_what_changed() {
    let text = "FROM base AS one\nARG MODE=1\nRUN echo $MODE > /one\nFROM base\nCOPY dir /dir\nCOPY --from=one /one /\n";
    let arguments = ["--offline", "--explain-cache", "--output=type=oci,dest=-"];
    let build = |text: &str| Build::new(text).args(arguments);
    let first = build(text).file("dir/a", "1").file("dir/b", "1");
    let said = explained(&first);
    assert_eq!(said.matches("miss: the store has not seen this step before").count(), 3, "{said}");

    let again = explained(&first);
    assert_eq!(again.matches(": hit in store").count(), 2, "{again}");
    assert!(again.contains("RUN echo $MODE > /one: not needed"), "{again}");

    let first = first.file("dir/a", "2").file("dir/c", "");
    let said = explained(&first);
    assert!(said.contains("COPY dir /dir: miss: dir/a changed, dir/c added"), "{said}");
    assert!(said.contains("COPY --from=one /one /: miss: the step before changed"), "{said}");

    let first = first.args(["--build-arg", "MODE=2"]);
    let said = explained(&first);
    assert!(said.contains("RUN echo $MODE > /one: miss: variable MODE "), "{said}");
    let said = explained(&first.arg("--no-cache"));
    assert_eq!(said.matches("not asked for: --no-cache").count(), 3, "{said}");
}

#[test]
fn is_part_of_the_events() {
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "1").args([
        "--offline",
        "--explain-cache",
        "--progress=json",
        "--output=type=oci,dest=-",
    ]);
    let said = explained(&build);
    let events: Vec<serde_json::Value> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let event = events.iter().find(|event| event["event"] == "explained").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(event["answer"], "not-seen-before");
    assert!(event["name"].as_str().unwrap().ends_with("COPY a /"), "{event}");
}
