use super::super::flag::Treatment;
use super::super::flags::{self, build, registry};
use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn read(text: &str) -> Result<Parsed, ParseError> {
    parse(&flags::executor(), &words(text), |_| None)
}

#[test]
fn values_are_given_in_all_of_pflags_ways() {
    for text in ["--verbosity=debug", "--verbosity debug", "-v debug", "-vdebug", "-v=debug"] {
        let parsed = read(&format!("{text} --cache")).unwrap();
        assert_eq!(parsed.text(&build::VERBOSITY), "debug", "{text}");
        assert!(parsed.is_on(&build::CACHE) && parsed.arguments.is_empty(), "{text}");
    }
    for (text, expected) in [
        ("--cache", true),
        ("--cache=true", true),
        ("--cache=T", true),
        ("--cache=0", false),
        ("--cache --cache=False", false),
        ("", false),
    ] {
        assert_eq!(read(text).unwrap().is_on(&build::CACHE), expected, "{text}");
    }
    // A bare switch never takes the next argument, and `--` ends the flags.
    let parsed = read("one --cache false -- --cache=no - ").unwrap();
    assert_eq!(parsed.arguments, words("one false --cache=no -"));
    assert_eq!(read("- a").unwrap().arguments, words("- a"));
}

#[test]
fn several_values_are_kept_as_the_kind_says() {
    let parsed =
        read("-d a,b --destination c --target x,y --target z --registry-map a=b;c=d --registry-map a=e");
    let parsed = parsed.unwrap();
    assert_eq!(parsed.all(&build::DESTINATION), ["a,b", "c"]);
    assert_eq!(parsed.list(&build::TARGET), ["x", "y", "z"]);
    let pairs = [("a", "b"), ("c", "d"), ("a", "e")].map(|(one, two)| (one.to_owned(), two.to_owned()));
    assert_eq!(parsed.pairs(&registry::REGISTRY_MAP), pairs);
    assert_eq!(value::list("\"a,b\",\"c\"\"d\"").unwrap(), ["a,b", "c\"d"]);
}

#[test]
fn mistakes_are_told_in_pflags_words() {
    for (text, expected) in [
        ("--unknown", "unknown flag: --unknown"),
        ("--unknown=x", "unknown flag: --unknown"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-xyz", "unknown shorthand flag: 'x' in -xyz"),
        ("--context", "flag needs an argument: --context"),
        ("-c", "flag needs an argument: 'c' in -c"),
        ("--=x", "bad flag syntax: --=x"),
        ("---x", "bad flag syntax: ---x"),
        (
            "--cache=maybe",
            r#"invalid argument "maybe" for "--cache" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
        ),
        (
            "--push-retry x",
            r#"invalid argument "x" for "--push-retry" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
        ),
        (
            "--cache-ttl=24",
            r#"invalid argument "24" for "--cache-ttl" flag: time: missing unit in duration "24""#,
        ),
        (
            "--cache-ttl=2d",
            r#"invalid argument "2d" for "--cache-ttl" flag: time: unknown unit "d" in duration "2d""#,
        ),
        (
            "--registry-certificate host",
            r#"invalid argument "host" for "--registry-certificate" flag: invalid argument value. expect key=value, got host"#,
        ),
        (
            "--git branch",
            r#"invalid argument "branch" for "--git" flag: invalid git flag, must be in the key=value format: branch"#,
        ),
        (
            "--compression=lzma",
            r#"invalid argument "lzma" for "--compression" flag: must be either "gzip" or "zstd""#,
        ),
        (
            "--image-format x",
            r#"invalid argument "x" for "--image-format" flag: must be either "docker" or "oci""#,
        ),
        ("--secret src=x", r#"invalid argument "src=x" for "--secret" flag: secret requires id=ID"#),
        (
            "--secret id=a --secret id=a,src=b",
            r#"invalid argument "id=a,src=b" for "--secret" flag: secret with ID "a" is already defined"#,
        ),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn numbers_are_gos() {
    for (text, number) in
        [("7", Some(7)), ("-1", Some(-1)), ("0x10", Some(16)), ("010", Some(8)), ("", None), ("1e3", None)]
    {
        assert_eq!(value::number(text).ok(), number, "{text}");
    }
    assert!(value::number("9223372036854775808").unwrap_err().ends_with("value out of range"));
}

#[test]
fn variables_stand_for_flags_as_the_table_says() {
    let variables = |name: &str| match name {
        "KANIKO_DIR" => Some("/elsewhere".to_owned()),
        "KANIKO_NO_PUSH" => Some("false".to_owned()),
        "KANIKO_REGISTRY_MIRROR" => Some("one,still-one".to_owned()),
        "KANIKO_REGISTRY_MAP" => Some("a=b;c=d".to_owned()),
        _ => None,
    };
    let parsed = parse(&flags::executor(), &words("--no-push --registry-mirror two"), variables).unwrap();
    assert_eq!(parsed.text(&build::KANIKO_DIR), "/elsewhere");
    assert!(!parsed.is_on(&build::NO_PUSH), "the variable wins");
    assert_eq!(parsed.all(&registry::REGISTRY_MIRROR), ["two", "one,still-one"]);
    assert_eq!(parsed.pairs(&registry::REGISTRY_MAP).len(), 2);
    let parsed = parse(&flags::executor(), &words("--kaniko-dir=/here"), variables).unwrap();
    assert_eq!(parsed.text(&build::KANIKO_DIR), "/here", "the flag wins");
    let wrong = parse(&flags::executor(), &[], |name| (name == "KANIKO_NO_PUSH").then(|| "x".to_owned()));
    assert!(wrong.unwrap_err().to_string().contains("for KANIKO_NO_PUSH environment variable"));
}

#[test]
fn old_names_say_so_and_mean_the_new_ones() {
    let parsed = read("--tarPath=a.tar --customPlatform linux/arm64 --whitelist-var-run=false").unwrap();
    assert_eq!(parsed.text(&build::TAR_PATH), "a.tar");
    assert_eq!(parsed.text(&build::CUSTOM_PLATFORM), "linux/arm64");
    assert_eq!(
        parsed.warnings,
        [
            "Flag --tarPath is deprecated. Use: --tar-path",
            "Flag --customPlatform is deprecated. Use: --custom-platform",
            "Flag --whitelist-var-run has been deprecated, Please use ignore-var-run instead.",
        ]
    );
}

#[test]
fn the_command_is_the_first_word_that_is_no_value() {
    for (text, expected) in [
        ("version", Some(0)),
        ("--verbosity debug push x", Some(2)),
        ("--verbosity=debug push", Some(1)),
        ("--cache push", Some(1)),
        ("-v debug login", Some(2)),
        ("-vdebug login", Some(1)),
        ("--context a --destination b", None),
        ("-- push", None),
    ] {
        assert_eq!(command(&flags::executor(), &words(text)), expected, "{text}");
    }
}

#[test]
fn the_table_is_sound() {
    for flags in [flags::executor(), flags::push(), flags::login(), flags::warmer()] {
        for (position, flag) in flags.iter().enumerate() {
            let others = &flags[position + 1..];
            assert!(others.iter().all(|other| other.name != flag.name), "--{} is there twice", flag.name);
            let same = |other: &&Flag| flag.short.is_some() && other.short == flag.short;
            assert!(!others.iter().any(same), "-{:?} is there twice", flag.short);
            assert!(!flag.help.is_empty(), "--{} has no help", flag.name);
            // What is not what Kaniko does needs a reason.
            let needs_note = flag.treatment != Treatment::Honoured;
            assert!(!needs_note || !flag.note.is_empty(), "--{} has no reason", flag.name);
            if !flag.default.is_empty() && flag.kind != Kind::Git {
                value::check(flag.kind, flag.default, &[]).unwrap();
            }
        }
    }
}
