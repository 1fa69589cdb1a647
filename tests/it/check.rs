//! `cooper check`, and the same checks in `cooper build`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Build, COOPER, Outcome};

/// A directory with a Dockerfile and a `.dockerignore`.
fn project(dockerfile: &str, ignore: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(directory.path().join(".dockerignore"), ignore).unwrap();
    directory
}

fn check(directory: &TempDir, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(COOPER);
    command.arg("check").args(arguments).arg(".").current_dir(directory.path()).stdin(Stdio::null());
    Outcome::of(command.env("BARE", "from-environment").output().unwrap())
}

const TEN_MISTAKES: &str = "\
ARG VERSION=1
FROM scratch as Build
MAINTAINER me
WORKDIR app
ENV NAME value
env TOKEN=abc
COPY secret.txt /app/
CMD echo $HOME
USER $NAM
";

#[test]
fn ten_mistakes_are_ten_diagnostics() {
    let project = project(TEN_MISTAKES, "secret.txt\n");
    let outcome = check(&project, &[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), ""));
    let titles: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("warning[")).collect();
    let rules: Vec<&str> =
        titles.iter().map(|title| title.split(['[', ']']).nth(1).unwrap_or_default()).collect();
    assert_eq!(
        rules,
        [
            "FromAsCasing",
            "StageNameCasing",
            "MaintainerDeprecated",
            "WorkdirRelativePath",
            "LegacyKeyValueFormat",
            "ConsistentInstructionCasing",
            "SecretsUsedInArgOrEnv",
            "CopyIgnoredFile",
            "JSONArgsRecommended",
            "UndefinedVar",
        ]
    );
    assert!(outcome.stdout.ends_with("\n10 warnings in Dockerfile\n"), "{}", outcome.stdout);
}

/// A Dockerfile with ten mistakes, some of them errors; in a here-document and behind a continuation, too.
fn check_fixture(arguments: &[&str]) -> Outcome {
    let mut command = Command::new(COOPER);
    command.arg("check").args(arguments).current_dir("fixtures/ten-mistakes").stdin(Stdio::null());
    Outcome::of(command.output().unwrap())
}

#[test]
fn ten_mistakes_are_shown_with_their_lines() {
    let outcome = check_fixture(&[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!(outcome.stdout);
}

#[test]
fn ten_mistakes_as_json() {
    let outcome = check_fixture(&["--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 10);
    insta::assert_json_snapshot!(found);
}

#[test]
fn a_terminal_gets_lines_that_fit() {
    // `script` gives the program a terminal; its width is what `stty` says.
    let command = format!("stty cols 60; {COOPER} check fixtures/ten-mistakes");
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output();
    let text = String::from_utf8(output.expect("script is part of bsdutils").stdout).unwrap();
    assert!(text.contains('\u{1b}'), "there are colours: {text:?}");
    let plain = anstream::adapter::strip_str(&text).to_string();
    assert!(plain.contains("3 errors and 7 warnings in "), "{plain}");
    for line in plain.lines() {
        assert!(line.trim_end().chars().count() <= 60, "{line:?}");
    }
}

#[test]
fn says_nothing_about_nothing() {
    let project = project("FROM scratch\nCOPY a /\n", "");
    let outcome = check(&project, &[]).success();
    assert_eq!(outcome.stdout, "nothing to say about Dockerfile\n");
    assert_eq!(check(&project, &["--format", "json"]).success().stdout, "[]\n");
}

#[test]
fn json_has_places() {
    let project = project("FROM scratch\nRUN a \\\n  --x\nCOPY --lnk a b\nCMD run \\\n  me\n", "");
    let outcome = check(&project, &["--format=json"]);
    assert_eq!(outcome.code, Some(1));
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        found,
        json!([{
            "rule": "InvalidFlag",
            "severity": "error",
            "message": "unknown flag: --lnk (did you mean link?)",
            "file": "Dockerfile",
            "line": 4,
            "column": 6,
            "end": { "line": 4, "column": 11 },
            "source": "COPY --lnk a b",
            "advice": "the flags here are --from, --chown, --chmod, --link, --parents, --exclude",
        }])
    );
}

#[test]
fn errors_do_not_hide_warnings() {
    let project = project("FORM x\nFROM scratch AS Build\nCOPY a\n", "");
    let outcome = check(&project, &[]);
    assert!(outcome.stdout.ends_with("2 errors and 1 warning in Dockerfile\n"), "{}", outcome.stdout);
}

#[test]
fn stages_are_checked_without_their_images() {
    for (dockerfile, arguments, said) in [
        ("FROM a AS a\nCOPY --from=b x /\nFROM c AS b\n", vec![], "warning"),
        ("FROM a AS a\nFROM a\nCOPY --from=c x /\nFROM c AS c\nFROM scratch", vec!["--target=b"], "b"),
        (
            "FROM a AS a\nCOPY --from=b x /\nFROM c AS b\nCOPY --from=a /x /",
            vec![],
            "cannot copy from stage \"b\"",
        ),
        ("FROM a AS a\nCOPY --from=a x /\n", vec![], "circular dependency detected on stage: a"),
        ("FROM a AS build\nFROM b", vec!["--target", "biuld"], "could not be found (did you mean build?)"),
    ] {
        let outcome = check(&project(dockerfile, ""), &arguments);
        if said == "warning" {
            // Nothing needs the first stage.
            outcome.success();
        } else {
            assert_eq!(outcome.code, Some(1), "{dockerfile}");
            assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
        }
    }
}

#[test]
fn build_arguments_count() {
    let project = project("ARG BASE\nFROM $BASE\nUSER $x\n", "");
    // Nothing is known of an image; of nothing all is known.
    let rules = |arguments: &[&str]| -> Vec<String> {
        let found: Vec<serde_json::Value> = serde_json::from_str(&check(&project, arguments).stdout).unwrap();
        found.iter().map(|found| found["rule"].as_str().unwrap().to_owned()).collect()
    };
    let default = "InvalidDefaultArgInFrom";
    assert_eq!(rules(&["--format=json", "--build-arg=BASE=x"]), [default]);
    assert_eq!(rules(&["--format=json", "--build-arg=BASE=scratch"]), [default, "UndefinedVar"]);
    let skip = format!("--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip={default}");
    assert_eq!(rules(&["--format=json", "--build-arg=BASE=x", &skip]), [""; 0]);
    let wrong = check(&project, &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=skop=x"]);
    assert!(wrong.stdout.contains("BUILDKIT_DOCKERFILE_CHECK: invalid check option"), "{}", wrong.stdout);
}

#[test]
fn reads_standard_input() {
    let project = project("FROM scratch\n", "secret\n");
    let mut command = Command::new(COOPER);
    command.args(["check", "-f", "-"]).current_dir(project.path());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM scratch\nCOPY secret /\n").unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert!(outcome.stdout.contains("CopyIgnoredFile") && outcome.stdout.contains("Dockerfile:2:6"));
}

#[test]
fn says_what_cannot_be_read() {
    let project = project("FROM scratch\n", "");
    check(&project, &["-f", "nowhere"]).failure(1, &["there is no Dockerfile at `nowhere`"]);
}

#[test]
fn builds_warn() {
    let build = Build::new("FROM base\nWORKDIR app\nENV X=$PATH Y=$NOWHERE\n");
    let outcome = build.run().success();
    assert!(outcome.stderr.contains("warning[WorkdirRelativePath]"), "{}", outcome.stderr);
    // What the image sets is known once it is looked up; nothing is said twice.
    assert_eq!(outcome.stderr.matches("warning[UndefinedVar]").count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("'$NOWHERE'"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("warning[").count(), 2, "{}", outcome.stderr);
}

#[test]
fn warnings_can_be_errors() {
    // Before anything is fetched: there is no such registry.
    Build::new("# check=error=true\nFROM registry.invalid/x\nWORKDIR app\nCMD x\n").run().failure(
        1,
        &[
            "error[WorkdirRelativePath]",
            "lint violation found for rules: JSONArgsRecommended, WorkdirRelativePath",
        ],
    );
    Build::new("# check=error=true\nFROM base\nUSER $NOBODY\n")
        .run()
        .failure(1, &["error[UndefinedVar]", "lint violation found for rules: UndefinedVar"]);
    Build::new("# check=skip=WorkdirRelativePath;error=true\nFROM base\nWORKDIR app\n").run().success();
}

#[test]
fn bases_of_other_platforms_are_noticed() {
    let other = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };
    let outcome = Build::new("FROM base\n").args(["--platform", other]).run().success();
    let said = "warning[InvalidBaseImagePlatform]: Base image base was pulled with platform";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Dockerfile:1:6"), "{}", outcome.stderr);
}
