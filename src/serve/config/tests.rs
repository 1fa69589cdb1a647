use super::*;

use crate::serve::request::Context;

const EXAMPLE: &str = include_str!("../../../docs/cooper.yaml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("cooper.yaml", text, Path::new("/etc/cooper"))
}

/// What is said of a text that makes no sense.
#[track_caller]
fn complaint(text: &str) -> String {
    match parse(text) {
        Err(ConfigError::Content(diagnostics)) => diagnostics.render(false),
        other => panic!("{other:?}"),
    }
}

/// A file with one build, of which this is more.
fn with_build(more: &str) -> String {
    format!(
        "hooks:\n  - {{name: hub, provider: github, secret: {{file: s}}}}\nrepositories:\n  - hook: hub\n    \
         name: shop/app\n    url: https://github.com/shop/app.git\n    builds:\n      - {more}\n"
    )
}

#[test]
fn the_example_is_understood() {
    let config = parse(EXAMPLE).unwrap();
    let hook = config.hook("github").unwrap();
    assert_eq!(hook.secret, SecretPlace::File("/etc/cooper/secrets/github-webhook".into()));
    assert_eq!(hook.statuses.as_ref().unwrap().api.as_str(), "https://api.github.com/");
    let repository = config.repository("github", "Shop/App").unwrap();
    let rule = &repository.rules[0];
    let values = Values {
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        branch: Some("main".to_owned()),
        tag: None,
    };
    assert_eq!(rule.refuses(&values, None), None);
    assert_eq!(rule.refuses(&values, Some(&["app/server.js".to_owned()])), None);
    assert!(rule.refuses(&values, Some(&["app/README.md".to_owned()])).unwrap().contains("path"));
    assert!(rule.refuses(&values, Some(&["docs/a".to_owned()])).is_some());
    let other = Values { branch: Some("try".to_owned()), ..values.clone() };
    assert!(rule.refuses(&other, None).unwrap().contains("branches"));
    let request = rule.request(&values, "refs/heads/main").unwrap();
    let tags: Vec<String> = request.tags.iter().map(ToString::to_string).collect();
    assert_eq!(
        tags,
        ["registry.example.com/shop/app:main", "registry.example.com/shop/app:main-0123456789ab"]
    );
    assert_eq!(request.build_args["REVISION"], values.commit);
    let Some(Context::Git(git)) = &request.context else { panic!("{request:?}") };
    assert_eq!(
        (git.url.as_str(), git.directory.as_deref()),
        ("https://github.com/shop/app.git", Some("app"))
    );
    assert_eq!(git.commit.as_ref(), Some(&values.commit));
    request.validate().unwrap();
    let summary = config.summary();
    assert_eq!((summary.hooks, summary.repositories), (config.hooks.len(), config.repositories.len()));
}

#[test]
fn nothing_is_a_configuration_too() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("# nothing\nhooks: []\n").unwrap(), Config::default());
}

#[test]
fn mistakes_are_shown_at_their_places() {
    let said = [
        with_build("{branchs: [main], destinations: [r.example/a:1]}"),
        with_build("{branches: [main], destinations: [\"r.example/a:{shortsha}\", \"r.example/{sha}\"], timeout: soon}"),
        "hooks:\n  - name: hub\n    provider: githup\n".to_owned(),
        "hooks:\n  - name: hub\n    provider: github\n".to_owned(),
        "hooks: [\n".to_owned(),
        "repositories: 5\n".to_owned(),
    ]
    .map(|text| complaint(&text));
    insta::assert_snapshot!(said.join("\n\n"), @r###"
error[InvalidConfig]: there is no field `branchs` here
 --> cooper.yaml:8:10
  |
8 |       - {branchs: [main], destinations: [r.example/a:1]}
  |          ^^^^^^^
  |
  = help: did you mean `branches`?

error[InvalidConfig]: `soon` is no time
 --> cooper.yaml:8:98
  |
8 |       - {branches: [main], destinations: ["r.example/a:{shortsha}", "r.example/{sha}"], timeout: soon}
  |                                                                                                  ^^^^
  |
  = help: write 90s, 30m or 2h

error[InvalidConfig]: there is no placeholder `{shortsha}`
 --> cooper.yaml:8:43
  |
8 |       - {branches: [main], destinations: ["r.example/a:{shortsha}", "r.example/{sha}"], timeout: soon}
  |                                           ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: did you mean `{short_sha}`?

error[InvalidConfig]: placeholders have their place in the tag
 --> cooper.yaml:8:69
  |
8 |       - {branches: [main], destinations: ["r.example/a:{shortsha}", "r.example/{sha}"], timeout: soon}
  |                                                                     ^^^^^^^^^^^^^^^^^
  |
  = help: put them behind the `:`; who may push must not choose the repository

error[InvalidConfig]: `githup` is none of the possible values
 --> cooper.yaml:3:15
  |
3 |     provider: githup
  |               ^^^^^^
  |
  = help: did you mean `github`?

error[InvalidConfig]: the field `secret` is missing here
 --> cooper.yaml:3:5
  |
3 |     provider: github
  |     ^^^^^^^^
  |
  = help: write `secret: …`

error[InvalidConfig]: unclosed bracket '['
 --> cooper.yaml:2:1
  |
2 |
  | ^
  |
  = help: docs/service.md has all fields and an example

error[InvalidConfig]: expected a list here
 --> cooper.yaml:1:15
  |
1 | repositories: 5
  |               ^
  |
  = help: docs/service.md has all fields and an example
"###);
}

#[test]
fn what_cannot_be_is_refused() {
    let build =
        |more: &str| with_build(&format!("{{branches: [main], destinations: [r.example/a:1], {more}}}"));
    for (text, said) in [
        (with_build("{destinations: [r.example/a:1]}"), "no branch and no tag"),
        (with_build("{branches: [main], destinations: []}"), "nowhere to go"),
        (with_build("{branches: [main]}"), "`destinations` is missing"),
        (with_build("{branches: [main], destinations: [\"r.example/a:{tag}\"]}"), "for a branch, none"),
        (with_build("{branches: [main], destinations: [\"r.example/{branch}:1\"]}"), "in the tag"),
        (with_build("{branches: [main], destinations: [\"r.example:{branch}/a\"]}"), "in the tag"),
        (with_build("{branches: [main], destinations: [\"R E\"]}"), "filled for a push"),
        (with_build("{branches: [\"[\"], destinations: [r.example/a:1]}"), "is no pattern"),
        (build("timeout: soon"), "is no time"),
        (build("memory: much"), "is no size"),
        (build("dockerfile: /etc/passwd"), "`dockerfile`"),
        (build("context: ../other"), "context.git.directory"),
        (build("platforms: [a/b/c/d]"), "`platforms`"),
        (build("set_image: [web=app]"), "`set_image`"),
        (build("cache_to: [\"oci:/data\"]"), "caches of the service are in registries"),
        (build("build_args: {\"A B\": x}"), "`build_args`"),
        (build("project: \"a b\""), "`project`"),
        (build("no_cache: maybe"), "bool"),
        (build("branches: [x]"), "uplicate"),
        (build("x: !!binary aGk="), "no field `x`"),
        ("hooks:\n  - {name: a/b, provider: github, secret: {file: s}}\n".to_owned(), "end of an address"),
        ("hooks:\n  - {name: a, provider: github, secret: hunter2}\n".to_owned(), "expected"),
        ("hooks:\n  - {name: a, provider: github, secret: {}}\n".to_owned(), "where a secret is"),
        (
            "hooks:\n  - {name: a, provider: github, secret: {file: a, env: B}}\n".to_owned(),
            "where a secret is",
        ),
        (
            "hooks:\n  - {name: a, provider: gitea, secret: {file: s}, statuses: {token: {file: t}}}\n"
                .to_owned(),
            "`api` is missing",
        ),
        (
            "hooks:\n  - {name: a, provider: generic, secret: {file: s}, statuses: {token: {file: t}}}\n"
                .to_owned(),
            "nobody who takes statuses",
        ),
        (
            "hooks:\n  - &a {name: a, provider: github, secret: {file: s}}\n  - *a\n".to_owned(),
            "two hooks with the name `a`",
        ),
        ("notify:\n  - {url: \"ftp://x\"}\n".to_owned(), "no address"),
        ("notify:\n  - {url: \"https://u:p@x/\"}\n".to_owned(), "no address"),
        ("notify:\n  - {url: \"https://x/\", on: []}\n".to_owned(), "nobody is told"),
        (
            with_build("{branches: [m], destinations: [r.example/a:1]}").replace("hook: hub", "hook: hug"),
            "did you mean `hub`",
        ),
        (
            with_build("{branches: [m], destinations: [r.example/a:1]}").replace("shop/app\n", "../app\n"),
            "no name of a repository",
        ),
        (
            with_build("{branches: [m], destinations: [r.example/a:1]}")
                .replace("https://github.com", "ssh://git@github.com"),
            "context.git.url",
        ),
        (
            with_build(
                "{branches: [m], destinations: [r.example/a:1]}\n      - {tags: [v], destinations: [r.example/a:2]}",
            ),
            "two builds with the name `default`",
        ),
    ] {
        let complaint = complaint(&text);
        assert!(complaint.contains(said), "{said}:\n{complaint}");
        assert!(complaint.contains("--> cooper.yaml:"), "{complaint}");
        assert!(complaint.contains("= help:"), "{complaint}");
    }
}

#[test]
fn hostile_files_end() {
    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for level in 1..40 {
        bomb.extend([format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1)]);
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    assert!(parse("hooks: {{\u{0}}").is_err());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cooper.yaml");
    std::fs::write(&path, " ".repeat(2 << 20)).unwrap();
    assert!(matches!(Config::read(&path), Err(ConfigError::TooLong { .. })));
}

/// The fields of a type, by what it says of one that it has not.
fn known<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let error = serde_json::from_str::<T>("{\"nothing\": 1}").unwrap_err().to_string();
    let mut names: Vec<String> =
        error.split('`').skip(1).step_by(2).filter(|name| *name != "nothing").map(str::to_owned).collect();
    names.sort();
    names
}

/// The schema and the types have the same fields, and the example is good by both.
#[test]
fn the_schema_says_the_same() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/cooper-yaml.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let example: serde_json::Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let errors: Vec<String> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for bad in [
        serde_json::json!({"hook": []}),
        serde_json::json!({"hooks": [{"name": "a", "provider": "svn", "secret": {"file": "s"}}]}),
        serde_json::json!({"notify": [{"url": "https://x", "on": ["started"]}]}),
        serde_json::json!({"signing_secret": {"file": "a", "env": "B"}}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let described = |name: &str| {
        let place = if name.is_empty() { &schema } else { &schema["$defs"][name] };
        let mut names: Vec<String> = place["properties"].as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(described(""), known::<file::File>());
    assert_eq!(described("hook"), known::<file::Hook>());
    assert_eq!(described("statuses"), known::<file::Statuses>());
    assert_eq!(described("secret"), known::<file::Secret>());
    assert_eq!(described("notify"), known::<file::Notify>());
    assert_eq!(described("repository"), known::<file::Repository>());
    assert_eq!(described("build"), known::<file::Build>());
}
