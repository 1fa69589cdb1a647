//! What programs are told: `--progress json` beside its schema, and the termination message.

use std::path::Path;

use serde_json::{Value, json};

use crate::registry::Registry;
use crate::support::{Build, Outcome, Served};

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/progress.schema.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The events of a build, each as the schema says.
#[track_caller]
fn events(build: &Build) -> Vec<Value> {
    let said = Outcome::of(build.command().args(["--progress", "json"]).output().unwrap()).stderr;
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let events: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        let errors: Vec<String> = validator.iter_errors(event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{event}: {errors:?}");
    }
    assert_eq!(events.first().unwrap()["event"], "started");
    assert_eq!(events.iter().filter(|event| event["event"] == "finished").count(), 1);
    assert_eq!(events.last().unwrap()["event"], "finished");
    events
}

/// The error, without the directory that the Dockerfile happens to be in.
#[track_caller]
fn error(outcome: &Value) -> &str {
    let error = outcome["error"].as_str().unwrap_or_else(|| panic!("{outcome}"));
    error.split_once("/context/").map_or(error, |(_, rest)| rest)
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn every_event_is_as_the_schema_says() {
    let registry = Registry::start();
    Served::base().put(&registry, "library/small", "1");
    let text = "FROM small:1\nMAINTAINER me\nRUN echo out; echo err >&2\nCOPY a /\n";
    let name = format!("{}/team/app:1", registry.host());
    let build = Build::new(text).file("a", "").args(["--registry-mirror", &registry.host()]);
    let build = build.args(["--push", "--explain-cache", "--tag", &name]);
    let trace = build.beside("trace");
    let build = build.args(["--trace".to_owned(), trace.display().to_string()]);
    let first = events(&build);
    let every = [
        "begun",
        "ended",
        "explained",
        "finished",
        "image",
        "note",
        "output",
        "progress",
        "started",
        "warning",
    ];
    assert_eq!(kinds(&first), every);
    let finished = first.last().unwrap();
    let digest = cooper::layer::Digest::of(registry.manifest("team/app", "1").unwrap()).to_string();
    assert_eq!((&finished["image"], &finished["digest"]), (&json!(name), &json!(digest)));
    assert_eq!((&finished["cache"], &finished["error"]), (&json!({"hits": 0, "steps": 2}), &Value::Null));

    let image = first.iter().find(|event| event["event"] == "image").unwrap();
    assert_eq!(image["digest"], finished["digest"]);
    let layers = image["layers"].as_array().unwrap();
    let made: Vec<&str> = layers
        .iter()
        .filter(|layer| layer["is_base"] == false)
        .map(|layer| layer["created_by"].as_str().unwrap())
        .collect();
    assert!(made.len() == 2 && made[0].contains("echo out") && made[1].contains("COPY"), "{image:#}");
    let manifest: Value = serde_json::from_slice(&registry.manifest("team/app", "1").unwrap()).unwrap();
    let sizes = |layers: &Value| -> Vec<Value> {
        layers.as_array().unwrap().iter().map(|layer| layer["size"].clone()).collect()
    };
    assert_eq!(sizes(&image["layers"]), sizes(&manifest["layers"]));

    let again = events(&build);
    let finished = again.last().unwrap();
    assert_eq!((&finished["cache"], &finished["digest"]), (&json!({"hits": 2, "steps": 2}), &json!(digest)));
}

#[test]
fn failures_are_events_too() {
    for (text, expected, said) in [
        (
            "FROM base\nCOPY a /\nRUN exit 3\n",
            "Dockerfile:3: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3",
            "3 | RUN exit 3",
        ),
        ("FROM base\nCOPPY a /\n", "Dockerfile:2: unknown instruction: COPPY", "2 | COPPY a /"),
        ("FROM base\nCOPY b /\n", "Dockerfile:2: ", "2 | COPY b /"),
        ("FROM localhost:1/none\n", "cannot use the image localhost:1/none:latest: ", "error: cannot use"),
    ] {
        let events = events(&Build::new(text).file("a", ""));
        let finished = events.last().unwrap();
        assert!(error(finished).starts_with(expected), "{finished}");
        assert_eq!(finished["digest"], Value::Null);
        let failure = &events[events.len() - 2];
        assert_eq!(failure["event"], "error");
        let shown = failure["text"].as_str().unwrap();
        assert!(shown.contains(said) && !shown.contains('\u{1b}'), "{shown}");
    }
    let events = events(&Build::new("FROM base\n").arg("--push"));
    assert_eq!(kinds(&events), ["error", "finished", "started"]);
}

/// A termination message that is as the schema says.
#[track_caller]
fn message(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.len() <= 4096, "{}", text.len());
    let message = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut schema = schema();
    schema.as_object_mut().unwrap().remove("oneOf");
    schema["$ref"] = json!("#/$defs/outcome");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&message)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{message}: {errors:?}");
    message
}

#[test]
fn the_termination_message_says_what_came_of_it() {
    let registry = Registry::start();
    let name = format!("{}/team/app:1", registry.host());
    let build = Build::new("FROM base\nCOPY a /\nRUN true\n").file("a", "").args(["--push", "--tag", &name]);
    let log = build.beside("termination-log");
    // Longer than what is written: nothing of it may stay.
    std::fs::write(&log, "x".repeat(5000)).unwrap();
    let build = build.args(["--termination-log".to_owned(), log.display().to_string()]);
    let outcome = build.run().success();
    let said = message(&log);
    assert_eq!((&said["image"], &said["digest"]), (&json!(name), &json!(outcome.stdout.trim())));
    assert_eq!((&said["cache"], &said["error"]), (&json!({"hits": 0, "steps": 2}), &Value::Null));
    assert!(said["duration"].as_f64().unwrap() > 0.0);

    let build = build.file("Dockerfile", "FROM base\nCOPY a /\nRUN exit 7\n");
    build.run().failure(7, &["exit code: 7"]);
    let said = message(&log);
    let expected = "Dockerfile:3: process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7";
    assert_eq!((error(&said), &said["digest"]), (expected, &Value::Null));
    assert_eq!(said["cache"], json!({"hits": 1, "steps": 2}));
}

#[test]
fn the_termination_message_tells_no_secrets() {
    let text =
        "FROM base\nRUN echo s3cret-token && curl https://me:hunter2@example.org/s3cret-token; exit 2\n";
    let build = Build::new(text).env("TOKEN", "s3cret-token").args(["--secret", "id=token,env=TOKEN"]);
    let log = build.beside("log");
    let build = build.args(["--termination-log".to_owned(), log.display().to_string()]);
    build.run().failure(2, &[]);
    let error = message(&log)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("echo *** && curl https://***@example.org/***; exit 2"), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("hunter2"), "{error}");
}

#[test]
fn the_termination_message_is_short() {
    let text = format!("FROM base\nRUN : {}; exit 9\n", "\u{1f980}\\\"".repeat(3000));
    let build = Build::new(&text);
    let log = build.beside("log");
    let build = build.args(["--termination-log".to_owned(), log.display().to_string()]);
    build.run().failure(9, &[]);
    let message = message(&log);
    let error = error(&message);
    assert!(error.starts_with("Dockerfile:2: process") && error.ends_with("exit code: 9"), "{error}");
}

#[test]
fn a_message_that_cannot_be_written_is_an_error() {
    let build = Build::new("FROM base\n").args(["--termination-log", "/proc/none"]);
    build.run().failure(1, &["cannot write `/proc/none`"]);
}
