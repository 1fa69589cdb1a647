use super::*;
use crate::dockerfile::source::Source;

/// Rules with the text they point at.
fn rules(text: &str, options: &LintOptions<'_>) -> Vec<(&'static str, String)> {
    let dockerfile = crate::dockerfile::parse(Source::new("Dockerfile", text)).unwrap();
    lint(&dockerfile, options)
        .into_iter()
        .map(|warning| (warning.code.name(), dockerfile.source.slice(warning.span.unwrap()).to_owned()))
        .collect()
}

fn messages(text: &str) -> Vec<String> {
    let dockerfile = crate::dockerfile::parse(Source::new("Dockerfile", text)).unwrap();
    lint(&dockerfile, &LintOptions::default()).into_iter().map(|warning| warning.message).collect()
}

#[test]
fn finds_what_the_rules_say() {
    let from = |rest: &str| format!("FROM scratch\n{rest}");
    // 1.13: the rules by name
    for (text, expected) in [
        ("FROM scratch AS Build".to_owned(), vec![("StageNameCasing", "Build")]),
        ("FROM scratch as b".to_owned(), vec![("FromAsCasing", "as")]),
        ("from scratch as b".to_owned(), vec![]),
        (from("RUN a \\\n\n  b"), vec![("NoEmptyContinuation", "")]),
        (from("RUN a\nrun b"), vec![("ConsistentInstructionCasing", "run")]),
        (from("Run a\nENV a=b"), vec![("ConsistentInstructionCasing", "Run")]),
        ("from scratch\nrun a\nRUN b".to_owned(), vec![("ConsistentInstructionCasing", "RUN")]),
        ("FROM scratch AS a\nFROM scratch AS a".to_owned(), vec![("DuplicateStageName", "a")]),
        ("FROM scratch AS context".to_owned(), vec![("ReservedStageName", "context")]),
        (from("CMD a b"), vec![("JSONArgsRecommended", "CMD a b")]),
        (from("ENTRYPOINT a"), vec![("JSONArgsRecommended", "ENTRYPOINT a")]),
        (from("CMD [\"a\"]"), vec![]),
        (from("SHELL [\"/bin/bash\", \"-c\"]\nCMD a"), vec![]),
        ("FROM scratch AS a\nSHELL [\"x\"]\nFROM a\nCMD a".to_owned(), vec![]),
        (from("MAINTAINER me"), vec![("MaintainerDeprecated", "MAINTAINER")]),
        (
            "ARG TAG=1\nFROM x:$TGA".to_owned(),
            vec![("InvalidDefaultArgInFrom", "x:$TGA"), ("UndefinedArgInFrom", "$TGA")],
        ),
        ("FROM x:${V:-1}".to_owned(), vec![]),
        ("FROM --platform=$BUILDPLATFORM x".to_owned(), vec![]),
        (from("WORKDIR a"), vec![("WorkdirRelativePath", "a")]),
        (from("WORKDIR /a\nWORKDIR b"), vec![]),
        ("FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b".to_owned(), vec![]),
        (from("COPY $x /y"), vec![("UndefinedVar", "$x")]),
        (from("ENV a=1\nENV b=$a c=$b\nLABEL d=$PATH"), vec![("UndefinedVar", "$b")]),
        (from("ARG a b=$a\nUSER $a$b"), vec![]),
        (from("USER ${a:-b}"), vec![]),
        (from("COPY <<E /x\n$y\nE"), vec![("UndefinedVar", "$y")]),
        (from("COPY <<'E' /x\n$y\nE"), vec![]),
        (from("RUN --mount=target=/$y x"), vec![("UndefinedVar", "$y")]),
        ("FROM x\nUSER $a".to_owned(), vec![]),
        (from("CMD [\"a\"]\nCMD [\"b\"]"), vec![("MultipleInstructionsDisallowed", "CMD [\"a\"]")]),
        (
            from("HEALTHCHECK NONE\nHEALTHCHECK NONE"),
            vec![("MultipleInstructionsDisallowed", "HEALTHCHECK NONE")],
        ),
        ("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]".to_owned(), vec![]),
        (from("ENV a b"), vec![("LegacyKeyValueFormat", "a b")]),
        (
            "FROM --platform=$TARGETPLATFORM x".to_owned(),
            vec![("RedundantTargetPlatform", "$TARGETPLATFORM")],
        ),
        (
            "FROM --platform=linux/amd64 x".to_owned(),
            vec![("FromPlatformFlagConstDisallowed", "linux/amd64")],
        ),
        ("FROM --platform=linux/amd64 x AS x-amd64".to_owned(), vec![]),
        (from("ENV API_TOKEN=x"), vec![("SecretsUsedInArgOrEnv", "API_TOKEN")]),
        (from("ARG password"), vec![("SecretsUsedInArgOrEnv", "password")]),
        (from("ENV PUBLIC_KEY=x monkey=y TOKEN_FILE=z"), vec![]),
        ("ARG V\nFROM x:$V".to_owned(), vec![("InvalidDefaultArgInFrom", "x:$V")]),
        ("ARG V=1\nFROM x:$V".to_owned(), vec![]),
        ("FROM scratch AS b\nARG V\nFROM B".to_owned(), vec![]),
        (from("EXPOSE 80/TCP"), vec![("ExposeProtoCasing", "80/TCP")]),
        (from("EXPOSE 127.0.0.1:80:80"), vec![("ExposeInvalidFormat", "127.0.0.1:80:80")]),
        (from("EXPOSE 8080:80 81"), vec![("ExposeInvalidFormat", "8080:80")]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(rule, place)| (rule, place.to_owned())).collect();
        assert_eq!(rules(&text, &LintOptions::default()), expected, "{text}");
    }
}

#[test]
fn every_warning_comes_with_advice() {
    let text = "FROM a as B\nRUN a \\\n\n  b\nrun b\nFROM --platform=linux/amd64 scratch AS b\nFROM a:$V AS context\n\
                MAINTAINER me\nENV K V\nENV TOKEN=x\nCMD c\nCMD d\nWORKDIR w\nEXPOSE 1/UDP 2:3\n\
                FROM --platform=$TARGETPLATFORM scratch\nUSER $US\n";
    let dockerfile = crate::dockerfile::parse(Source::new("Dockerfile", text)).unwrap();
    let found = lint(&dockerfile, &LintOptions::default());
    let rules: BTreeSet<&str> = found.iter().map(|warning| warning.code.name()).collect();
    assert!(rules.len() >= 17, "{rules:?}");
    for warning in found {
        assert!(warning.advice.is_some(), "{warning:?}");
    }
}

#[test]
fn says_it_in_the_known_words() {
    let text = "FROM scratch as B\nENV K V\nWORKDIR w\nCMD c\nEXPOSE 1/UDP\nUSER $US\nARG USR\nARG TOKEN";
    assert_eq!(
        messages(text),
        [
            "'as' and 'FROM' keywords' casing do not match",
            "Stage name 'B' should be lowercase",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "Relative workdir \"w\" can have unexpected results if the base image changes",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "Defined protocol '1/UDP' in EXPOSE instruction should be lowercase",
            "Usage of undefined variable '$US'",
            "Do not use ARG or ENV instructions for sensitive data (ARG \"TOKEN\")",
        ]
    );
    assert_eq!(
        messages("ARG VERSION=1\nFROM x:$VERSON"),
        [
            "Default value for ARG x:$VERSON results in empty or invalid base image name",
            "FROM argument 'VERSON' is not declared (did you mean VERSION?)",
        ]
    );
    assert_eq!(
        messages("FROM scratch\nENV NAME=x\nUSER $NAM"),
        ["Usage of undefined variable '$NAM' (did you mean $NAME?)"]
    );
}

/// An image that sets `JAVA_HOME`.
fn image(platform: &str, wanted: &str) -> BaseImage {
    BaseImage {
        variables: BTreeSet::from(["JAVA_HOME".to_owned()]),
        platform: platform.parse().unwrap(),
        wanted: wanted.parse().unwrap(),
    }
}

#[test]
fn compares_platforms_of_bases() {
    for (actual, wanted, warns) in [
        ("linux/amd64", "linux/amd64", false),
        ("linux/arm64/v8", "linux/arm64", false),
        ("linux/arm/v6", "linux/arm/v7", false),
        ("linux/amd64", "linux/arm64", true),
        ("windows/amd64", "linux/amd64", true),
    ] {
        let options =
            LintOptions { bases: BTreeMap::from([(0, image(actual, wanted))]), ..LintOptions::default() };
        let expected: &[_] = if warns { &[("InvalidBaseImagePlatform", "java:21".to_owned())] } else { &[] };
        assert_eq!(rules("FROM java:21", &options), expected, "{actual}, {wanted}");
    }
    let options = LintOptions {
        bases: BTreeMap::from([(0, image("linux/amd64", "linux/arm64"))]),
        ..LintOptions::default()
    };
    let dockerfile = crate::dockerfile::parse(Source::new("Dockerfile", "ARG V=21\nFROM java:$V")).unwrap();
    let expected = "Base image java:21 was pulled with platform \"linux/amd64\", expected \"linux/arm64\" for current build";
    assert_eq!(lint(&dockerfile, &options)[0].message, expected);
}

#[test]
fn uses_what_is_known_of_bases() {
    let options = LintOptions {
        bases: BTreeMap::from([(0, image("linux/amd64", "linux/amd64"))]),
        ..LintOptions::default()
    };
    let text = "FROM java\nENV A=$JAVA_HOME B=$PATH C=$JAVA_HOM\nFROM other\nUSER $x";
    assert_eq!(rules(text, &options), [("UndefinedVar", "$JAVA_HOM".to_owned())]);
    // The argument decides which stage is the parent.
    let options = LintOptions {
        build_args: BTreeMap::from([("BASE".to_owned(), "a".to_owned())]),
        ..LintOptions::default()
    };
    let text = "ARG BASE=x\nFROM scratch AS a\nENV b=c\nFROM $BASE\nUSER $b$d";
    assert_eq!(rules(text, &options), [("UndefinedVar", "$d".to_owned())]);
}

#[test]
fn finds_ignored_files() {
    let text = "FROM scratch\nCOPY a/../secret /x /y/\nADD ./b.log /x\nCOPY --from=0 secret /z\nADD https://secret /x\nCOPY . /";
    let ignore = Ignore::parse("secret\n*.log").unwrap();
    let options = LintOptions { ignore: Some(&ignore), ..LintOptions::default() };
    assert_eq!(
        rules(text, &options),
        [("CopyIgnoredFile", "a/../secret".to_owned()), ("CopyIgnoredFile", "./b.log".to_owned())]
    );
    let ignore = Ignore::parse("secret\n!secret/a").unwrap();
    let options = LintOptions { ignore: Some(&ignore), ..LintOptions::default() };
    assert_eq!(rules(text, &options), []);
}

#[test]
fn honours_checks() {
    let none = LintOptions::default();
    // 1.2: skip=A,B|all;error=true
    assert_eq!(rules("# check=skip=JSONArgsRecommended\nFROM scratch\nCMD a", &none), []);
    assert_eq!(rules("# check=skip=all\nFROM scratch AS B\nCMD a", &none), []);
    let text = "# check=error=true\nFROM scratch\nCMD a\nWORKDIR b";
    let dockerfile = crate::dockerfile::parse(Source::new("Dockerfile", text)).unwrap();
    let errors = lint(&dockerfile, &none);
    assert!(errors.iter().all(|error| error.severity == Severity::Error));
    assert_eq!(
        lint_violation(&errors).unwrap().message,
        "lint violation found for rules: JSONArgsRecommended, WorkdirRelativePath"
    );
    // the build argument replaces the directive
    let options = LintOptions { check: Some("skip=all".parse().unwrap()), ..LintOptions::default() };
    assert_eq!(lint_violation(&lint(&dockerfile, &options)), None);
    // a comment right above one instruction
    let text = "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD a\nENTRYPOINT b";
    assert_eq!(rules(text, &none), [("JSONArgsRecommended", "ENTRYPOINT b".to_owned())]);
}

#[test]
fn checks_descriptions_when_asked() {
    let text =
        "# check=experimental=all\nFROM scratch\n# V is it\nARG V\n# something\nARG W\n\n# apart\n\nARG X";
    assert_eq!(rules(text, &LintOptions::default()), [("InvalidDefinitionDescription", "ARG W".to_owned())]);
    assert_eq!(rules(&text.replace("experimental=all", "error=false"), &LintOptions::default()), []);
}
