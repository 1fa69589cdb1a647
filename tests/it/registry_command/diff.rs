//! `diff`: files, modes, owners, config, layers.

use serde_json::json;

use super::{Stage, for_two_platforms};
use crate::support::Build;

#[test]
fn names_all_that_differs() {
    let stage = Stage::new();
    let begin = "FROM base\nENV A=1 B=2\nRUN mkdir /d && echo one > /d/content && echo same > /d/mode && echo o > /d/owner \
                 && ln -s one /d/link && echo gone > /d/gone && mkdir /d/kind && echo kept > /d/kept\n";
    // The same times give the same layers.
    let push = |dockerfile: &str, name| {
        stage.push_with(Build::new(dockerfile).env("SOURCE_DATE_EPOCH", "1700000000"), name);
    };
    push(begin, "app:1");
    let changes = "RUN echo two > /d/content && chmod 600 /d/mode && chown 1000:50 /d/owner && ln -sf two /d/link \
                   && rm -r /d/gone /d/kind && echo f > /d/kind && echo new > /d/new\nENV B=3\nUSER app\n";
    push(&format!("{begin}{changes}"), "app:2");
    let outcome = stage.run(&["diff", "--format", "json", &stage.name("app:1"), &stage.name("app:2")]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let files: Vec<(&str, String)> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let aspects = file["aspects"].as_array().into_iter().flatten();
            let names: Vec<&str> = aspects.map(|aspect| aspect["name"].as_str().unwrap()).collect();
            (
                file["path"].as_str().unwrap(),
                format!("{}{}", file["change"].as_str().unwrap(), names.join(",")),
            )
        })
        .collect();
    let expected = [
        ("/d/content", "changedcontent"),
        ("/d/gone", "removed"),
        ("/d/kind", "changedtype,mode"),
        ("/d/link", "changedtarget"),
        ("/d/mode", "changedmode"),
        ("/d/new", "added"),
        ("/d/owner", "changedowner"),
    ];
    assert_eq!(files, expected.map(|(path, change)| (path, change.to_owned())));
    let fields: Vec<&str> =
        report["config"].as_array().unwrap().iter().map(|change| change["field"].as_str().unwrap()).collect();
    assert!(fields.starts_with(&["config.Env.B", "config.User"]), "{fields:?}");
    assert_eq!(report["config"][0], json!({"field": "config.Env.B", "a": "2", "b": "3"}));
    assert_eq!(report["layers"]["shared"], 3);
    assert_eq!(report["layers"]["onlyInA"], json!([]));
    assert_eq!(report["layers"]["onlyInB"].as_array().unwrap().len(), 1);

    let text = stage.run(&["diff", &stage.name("app:1"), &stage.name("app:2")]).stdout;
    for part in [
        "= 3 from the lowest on",
        "~ /d/mode  mode 644 → 600",
        "~ /d/owner  owner 0:0 → 1000:50",
        "+ /d/new  file 644 0:0 4 B",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn says_when_nothing_differs() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:1");
    stage.run(&["copy", &stage.name("app:1"), &stage.name("other:1")]).success();
    let outcome = stage.run(&["diff", &stage.name("app:1"), &stage.name("other:1")]).success();
    assert!(outcome.stdout.ends_with("no difference\n"), "{}", outcome.stdout);
    let arm = ["diff", "--platform", "linux/arm64"];
    stage.run(&[&arm[..], &[&stage.name("app:1"), &stage.name("other:1")]].concat()).success();
    stage.push_with(for_two_platforms("y"), "other:2");
    let outcome = stage.run(&["diff", &stage.name("app:1"), &stage.name("other:2")]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stdout.contains("~ /file  content 1 bytes sha256:"), "{}", outcome.stdout);
}
