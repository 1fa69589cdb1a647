//! Options, exit codes, and what is said about a build.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::registry::Registry;
use crate::support::{Build, COOPER, Outcome, Served, tool};

const STAGES: &str = "FROM base AS first\nARG WHO=nobody\nRUN echo hello $WHO | tee /greeting\n\
                      FROM first AS second\nRUN echo second > /second\n";

#[test]
fn options_reach_the_image() {
    let image = Build::new(STAGES)
        .args(["--target", "first", "--build-arg", "WHO=world", "--build-arg", "UNSET_HERE", "--no-cache"])
        .args(["--label", "one=1", "--label", "two=a=b", "--label", "bare"])
        .image();
    assert_eq!(image.text("greeting"), "hello world\n");
    assert!(!image.files.contains_key("second"));
    let labels = &image.run_config()["Labels"];
    assert_eq!(*labels, serde_json::json!({"one": "1", "two": "a=b", "bare": ""}));
    let from_environment = Build::new(STAGES).args(["--build-arg", "WHO"]).env("WHO", "environment").image();
    assert_eq!(from_environment.text("greeting"), "hello environment\n");
}

#[test]
fn a_target_is_a_name() {
    // 1.4: by name, whatever its case; BuildKit looks up no numbers
    let build = |target: &str| Build::new(STAGES).args(["--target", target]);
    assert!(!build("FIRST").image().files.contains_key("second"));
    build("0").run().failure(1, &["target stage \"0\" could not be found"]);
    build("secon").run().failure(1, &["target stage \"secon\" could not be found (did you mean second?)"]);
    // A name may look like a number.
    Build::new("FROM nowhere\nFROM base AS stage\n").args(["--target", "1"]).run().failure(1, &["\"1\""]);
}

#[test]
fn dockerfiles_come_from_anywhere() {
    use std::io::Write as _;
    let build = Build::new("FROM nowhere\n").file("other/Containerfile", "FROM base\nCOPY other /\n");
    let outside = build.beside("Outside");
    std::fs::write(&outside, "FROM base\nCOPY other /\n").unwrap();
    let inside = build.context().join("other/Containerfile");
    for path in
        [outside.display().to_string(), inside.display().to_string(), "other/Containerfile".to_owned()]
    {
        let mut command = build.command();
        Outcome::of(command.args(["--file", &path]).output().unwrap()).success();
    }
    let mut command = build.command();
    command.args(["--file", "-"]).stdin(std::process::Stdio::piped());
    let mut process =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"FROM base\nCOPY other /\n").unwrap();
    Outcome::of(process.wait_with_output().unwrap()).success();
}

#[test]
fn a_second_build_is_cached_and_no_cache_is_not() {
    let build = Build::new(STAGES).file("a", "");
    let first = build.run().success();
    assert!(!first.stderr.contains("cached"), "{}", first.stderr);
    let second = build.run().success();
    assert_eq!((second.stderr.matches(" cached").count(), second.stdout), (2, first.stdout.clone()));
    let anew = Build::new(STAGES).store(build.store_path()).arg("--no-cache").run().success();
    assert!(!anew.stderr.contains("cached"), "{}", anew.stderr);
    // Another argument is another step, and so is all above it.
    let other = Build::new(STAGES).store(build.store_path()).args(["--build-arg", "WHO=you"]).run().success();
    assert!(!other.stderr.contains("cached"), "{}", other.stderr);
    // Only the step that changed and what is above it.
    let changed =
        Build::new(&STAGES.replace("second >", "other >")).store(build.store_path()).run().success();
    assert_eq!(changed.stderr.matches(" cached").count(), 1, "{}", changed.stderr);
}

#[test]
fn digests_are_written_down() {
    let registry = Registry::start();
    let tag = format!("{}/team/app:1", registry.host());
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "").args(["--push", "--tag", &tag]);
    let (metadata, id) = (build.beside("metadata.json"), build.beside("id"));
    let build = build.args(["--metadata-file".to_owned(), metadata.display().to_string()]);
    let build = build.args(["--iidfile".to_owned(), id.display().to_string()]);
    let outcome = build.run().success();
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    let pushed = cooper::layer::Digest::of(registry.manifest("team/app", "1").unwrap()).to_string();
    let config = std::fs::read_to_string(id).unwrap();
    assert_eq!(metadata["containerimage.digest"], pushed.as_str());
    assert_eq!(metadata["containerimage.descriptor"]["digest"], pushed.as_str());
    assert_eq!(metadata["containerimage.config.digest"], config.as_str());
    assert_eq!(metadata["image.name"], tag.as_str());
    assert_eq!(outcome.stdout.trim(), pushed);
    assert!(registry.blob("team/app", config.parse().unwrap()).is_some());
}

#[test]
fn json_lines_tell_the_whole_story() {
    let registry = Registry::start();
    Served::base().put(&registry, "library/small", "1");
    let text = "FROM small:1\nENV a b\nRUN echo out; echo err >&2\nRUN exit 3\n";
    let arguments = ["--progress", "json", "--registry-mirror", &registry.host()];
    let said = Build::new(text).args(arguments).run().failure(3, &[]).stderr;
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[0]["schema"]), (&"started".into(), &1.into()));
    let mut open: BTreeMap<u64, &Value> = BTreeMap::new();
    let mut ended: Vec<(&str, &str)> = Vec::new();
    let mut printed = Vec::new();
    for event in &events {
        let id = event["id"].as_u64();
        match event["event"].as_str().unwrap() {
            "begun" => assert!(open.insert(id.unwrap(), event).is_none()),
            "ended" => {
                let begun = open.remove(&id.unwrap()).unwrap();
                assert!(event["duration_ms"].is_u64());
                ended.push((begun["activity"].as_str().unwrap(), event["outcome"].as_str().unwrap()));
            }
            "progress" => assert!(event["done"].is_u64() && open.contains_key(&id.unwrap())),
            "output" => printed.push((event["stream"].as_str().unwrap(), event["line"].as_str().unwrap())),
            "warning" | "note" | "error" => assert!(event["text"].is_string()),
            "started" => assert_eq!(event["at_ms"].as_u64().unwrap() / 1000, 0),
            "finished" => assert!(event["error"].is_string()),
            other => panic!("unknown event {other}"),
        }
    }
    assert!(open.is_empty(), "what begins ends: {open:?}");
    printed.sort_unstable();
    assert_eq!(printed, [("stderr", "err"), ("stdout", "out")]);
    ended.sort_unstable();
    let expected =
        [("internal", "done"), ("pull", "done"), ("pull", "done"), ("step", "done"), ("step", "failed")];
    assert_eq!(ended, expected);
}

#[test]
fn quiet_says_the_digest_or_the_error() {
    let outcome = Build::new(STAGES).args(["--progress", "quiet"]).run().success();
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.starts_with("sha256:") && outcome.stdout.len() == 72);
    let said =
        Build::new("FROM base\nRUN echo why; exit 3\n").args(["--progress", "quiet"]).run().failure(3, &[]);
    assert!(said.stderr.starts_with("error[StepFailed]") && said.stdout.is_empty(), "{said:?}");
}

#[test]
fn plain_lines_have_no_escapes() {
    let text = "FROM base\nRUN printf '\\033[31mred\\033[0m\\nup\\033[A\\n'\n";
    let said = Build::new(text).run().success().stderr;
    assert!(said.contains("| red\n") && said.contains("| up\n") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn copy_only_builds_need_no_foreign_processor() {
    let build = Build::new("FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY a /\n").file("a", "");
    let image = build.args(["--platform", "linux/arm/v7"]).image();
    assert_eq!((&image.config["architecture"], &image.config["variant"]), (&"arm".into(), &"v7".into()));
    assert_eq!(image.run_config()["Env"].as_array().unwrap().last().unwrap(), "ARCH=arm");
}

#[test]
fn command_lines_that_make_no_sense() {
    let build = || Build::new("FROM base\n");
    for (arguments, code, said) in [
        (
            &["--push"][..],
            1,
            "error: there is nothing to push: name the image with `--tag REGISTRY/NAME:TAG`",
        ),
        (&["--output", "type=zip,dest=x"], 2, "there is no output type `zip`"),
        (&["--output", "type=oci"], 2, "`type=oci` needs `dest=PATH`"),
        (&["--output", "-", "--output", "type=oci,dest=-"], 1, "only one output can go to standard output"),
        (&["--platform", "linux/amd64/v1/x"], 2, "linux/amd64/v1/x"),
        (&["--platform", "linux/amd64,linux/arm64", "--output", "out"], 1, "`type=local` holds one platform"),
        (&["--tag", "UPPER/case"], 2, "UPPER/case"),
        (
            &[
                "--tag",
                "app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "--push",
            ],
            1,
            "has a digest",
        ),
        (&["--isolation", "magic"], 2, "magic"),
        (&["--no-such-option"], 2, "--no-such-option"),
        (&["--registry-certificate", "host"], 2, "HOST=PEM-FILE"),
        (&["--build-context", "name"], 2, "NAME=PATH"),
    ] {
        build().args(arguments.iter().copied()).run().failure(code, &[said]);
    }
}

#[test]
fn the_system_certificates_are_read_only_for_https() {
    // Reading them takes longer than the rest of a start. Whoever opens this pipe waits forever.
    let plain = Registry::start();
    let build = Build::new("FROM scratch\nCOPY a /\n").file("a", "").args(["--push".to_owned()]);
    let build = build.arg(format!("--tag={}/app:1", plain.host()));
    let pipe = build.beside("pipe");
    tool("mkfifo", [&pipe]);
    let command = build.command();
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(COOPER).args(command.get_args()).env("SSL_CERT_FILE", &pipe);
    Outcome::of(limited.output().unwrap()).success();
}
