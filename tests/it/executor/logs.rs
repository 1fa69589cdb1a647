//! How it is logged.

use super::Executor;

const DOCKERFILE: &str = "FROM base\nRUN echo to stdout; echo to stderr >&2\n";

#[test]
fn runs_are_passed_through_as_they_are() {
    let outcome = Executor::new(DOCKERFILE).local().args(["--verbosity=panic"]).run().success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("to stdout\n", "to stderr\n"));
}

#[test]
fn lines_have_the_form_that_is_asked_for() {
    let lines = |arguments: &[&str]| {
        let executor = Executor::new(DOCKERFILE).local().args(arguments.iter().copied());
        let said = executor.run().success().stderr;
        let line = said.lines().find(|line| line.contains("Taking snapshot of full filesystem")).unwrap();
        line.to_owned()
    };
    let text = lines(&["--log-format=text"]);
    assert!(
        text.starts_with("time=\"20")
            && text.ends_with("level=info msg=\"Taking snapshot of full filesystem...\""),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&lines(&["--log-format", "json"])).unwrap();
    assert_eq!(
        (&json["level"], &json["msg"]),
        (&"info".into(), &"Taking snapshot of full filesystem...".into())
    );
    assert!(json["time"].as_str().unwrap().starts_with("20"));
    let colour = lines(&[]);
    assert!(colour.starts_with("\u{1b}[36mINFO\u{1b}[0m[00") && colour.contains("] Taking"), "{colour}");
    let timed = lines(&["--log-timestamp"]);
    assert!(timed.starts_with("\u{1b}[36mINFO\u{1b}[0m[20"), "{timed}");
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let outcome = Executor::new("FROM base\nRUN exit 42\n").local().run();
    let outcome = outcome.failure(
        42,
        &[
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 42",
            "Dockerfile:2:",
        ],
    );
    assert!(outcome.stderr.trim_end().ends_with("exit status 42"), "the last line says why");
}
