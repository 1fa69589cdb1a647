//! `docs/compatibility.md` says what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cooper::dockerfile::{KEYWORDS, Source, parse};

use crate::support::{Build, COOPER, Outcome};

const DOCUMENT: &str = include_str!("../../docs/compatibility.md");

/// How an example is tried.
#[derive(Clone, Copy, PartialEq)]
enum Try {
    /// All of the kind are built in one image on `base`.
    Together,
    /// Built by itself, as a whole Dockerfile.
    Alone,
    /// Checked only: it would need a server.
    Check,
}

use Try::{Alone, Check, Together};

/// An example for each row of the table of instructions.
const EXAMPLES: &[(&str, Try, &str)] = &[
    ("FROM", Alone, "FROM base AS a\nFROM a AS b\nFROM scratch\nCOPY --from=b /etc/passwd /"),
    ("FROM --platform", Alone, "FROM --platform=$BUILDPLATFORM base\nENV a=b"),
    ("ARG", Together, "ARG A B=2"),
    ("ENV", Together, "ENV A=1 C=\"2 3\"\nENV D 4"),
    ("LABEL", Together, "LABEL a=b"),
    ("WORKDIR", Together, "WORKDIR /work"),
    ("COPY", Together, "COPY a.txt b*.txt dir /copy/"),
    (
        "COPY --from",
        Alone,
        "FROM base AS a\nFROM scratch\nCOPY --from=a /etc/passwd /1\nCOPY --from=0 /etc/passwd /2\nCOPY --from=base /etc/passwd /3",
    ),
    ("COPY --chown", Together, "COPY --chown=app:staff a.txt /chown"),
    ("COPY --chmod", Together, "COPY --chmod=600 a.txt /chmod\nCOPY --chmod=u+x a.txt /chmod2"),
    ("COPY --link", Together, "COPY --link a.txt /link/"),
    ("COPY --parents", Together, "COPY --parents dir/c.txt /parents/"),
    ("COPY --exclude", Together, "COPY --exclude=*.txt . /exclude/"),
    ("COPY <<EOF", Together, "COPY <<EOF /heredoc\n$A\nEOF"),
    ("ADD", Together, "ADD a.txt dir /add/"),
    ("ADD archive", Together, "ADD archive.tar /archive/"),
    ("ADD https://", Check, "ADD https://example.org/x /x"),
    ("ADD git", Check, "ADD https://example.org/x.git /x"),
    ("ADD --chown", Together, "ADD --chown=1:2 a.txt /add-chown"),
    ("ADD --chmod", Together, "ADD --chmod=644 a.txt /add-chmod"),
    (
        "ADD --checksum",
        Check,
        "ADD --checksum=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 https://example.org/x /x",
    ),
    ("ADD --link", Together, "ADD --link a.txt /add-link/"),
    ("ADD --unpack", Together, "ADD --unpack=false archive.tar /packed/"),
    ("ADD --keep-git-dir", Check, "ADD --keep-git-dir https://example.org/x.git /x"),
    ("ADD --exclude", Together, "ADD --exclude=*.txt . /add-exclude/"),
    (
        "RUN",
        Together,
        "RUN echo a > /run1\nRUN [\"/bin/sh\", \"-c\", \"echo a > /run2\"]\nRUN <<EOF\necho a > /run3\nEOF",
    ),
    ("RUN --mount=type=bind", Alone, "FROM base\nRUN --mount=target=/context cat /context/a.txt"),
    ("RUN --mount=type=cache", Alone, "FROM base\nRUN --mount=type=cache,target=/cache touch /cache/x"),
    ("RUN --mount=type=tmpfs", Together, "RUN --mount=type=tmpfs,target=/tmpfs touch /tmpfs/x"),
    ("RUN --mount=type=secret", Alone, "FROM base\nRUN --mount=type=secret,id=x true"),
    ("RUN --mount=type=ssh", Alone, "FROM base\nRUN --mount=type=ssh true"),
    (
        "RUN --network",
        Together,
        "RUN --network=default true\nRUN --network=none true\nRUN --network=host true",
    ),
    ("RUN --security=sandbox", Together, "RUN --security=sandbox true"),
    ("RUN --security=insecure", Alone, "FROM base\nRUN --security=insecure true"),
    ("RUN --device", Alone, "FROM base\nRUN --device=vendor/x true"),
    ("USER", Together, "USER app"),
    ("EXPOSE", Together, "EXPOSE 80 90-91/udp"),
    ("VOLUME", Together, "VOLUME /data"),
    ("STOPSIGNAL", Together, "STOPSIGNAL SIGINT"),
    ("SHELL", Together, "SHELL [\"/bin/sh\", \"-ec\"]"),
    ("MAINTAINER", Together, "MAINTAINER me"),
    ("CMD", Together, "CMD [\"a\"]"),
    ("ENTRYPOINT", Together, "ENTRYPOINT [\"b\"]"),
    ("HEALTHCHECK", Together, "HEALTHCHECK NONE"),
    ("HEALTHCHECK --interval", Together, "HEALTHCHECK --interval=1s CMD true"),
    ("HEALTHCHECK --timeout", Together, "HEALTHCHECK --timeout=1s CMD true"),
    ("HEALTHCHECK --start-period", Together, "HEALTHCHECK --start-period=1s CMD true"),
    ("HEALTHCHECK --start-interval", Together, "HEALTHCHECK --start-interval=1s CMD true"),
    ("HEALTHCHECK --retries", Together, "HEALTHCHECK --retries=1 CMD true"),
    ("ONBUILD", Alone, "FROM base AS a\nONBUILD RUN echo a > /b\nFROM a\nRUN cat /b"),
];

/// The rows below a heading: what it is about, and what is said of it.
fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        (cells[0], cells[1])
    });
    rows.filter(|(_, status)| !status.is_empty() && *status != "|").collect()
}

fn works(status: &str) -> bool {
    match status {
        "same" | "different" => true,
        "later" | "refused" => false,
        other => panic!("`{other}` is no status"),
    }
}

/// The rows about instructions, without their quotes.
fn instructions() -> BTreeMap<&'static str, &'static str> {
    rows("Instructions").into_iter().map(|(cell, status)| (cell.trim_matches('`'), status)).collect()
}

/// The flags of an instruction, which the parser lists when it is given another one.
fn flags(keyword: &str) -> Vec<String> {
    let begin = if keyword == "FROM" { "" } else { "FROM x\n" };
    let error = parse(Source::new("x", format!("{begin}{keyword} --no-such-flag x y"))).unwrap_err();
    let error = error.into_first();
    assert!(error.message.starts_with("unknown flag: --no-such-flag"), "{keyword}: {}", error.message);
    let advice = error.advice.unwrap();
    match advice.strip_prefix("the flags here are ") {
        Some(flags) => flags.split(", ").map(str::to_owned).collect(),
        None => Vec::new(),
    }
}

#[test]
fn every_instruction_and_flag_has_a_row() {
    let rows = instructions();
    let mut known: Vec<String> = Vec::new();
    for keyword in KEYWORDS {
        known.push(keyword.to_owned());
        known.extend(flags(keyword).iter().map(|flag| format!("{keyword} {flag}")));
    }
    assert!(known.iter().any(|name| name == "RUN --mount"), "{known:?}");
    for name in &known {
        let has_row = rows.keys().any(|row| {
            row.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        });
        assert!(has_row, "docs/compatibility.md has no row `{name}`");
    }
    let examples: BTreeSet<&str> = EXAMPLES.iter().map(|(row, ..)| *row).collect();
    assert_eq!(examples, rows.into_keys().collect());
}

fn build(dockerfile: &str) -> Build {
    let mut archive = cooper::layer::TarWriter::new(Vec::new());
    let metadata = cooper::layer::Metadata::with_mode(0o644);
    archive.append(&cooper::layer::Entry::file("packed.txt", metadata, 2), &b"a\n"[..]).unwrap();
    Build::new(dockerfile)
        .file("a.txt", "a\n")
        .file("b1.txt", "b\n")
        .file("dir/c.txt", "c\n")
        .file("archive.tar", archive.finish().unwrap())
}

fn check(line: &str) -> Outcome {
    let build = build(&format!("FROM base\n{line}\n"));
    Outcome::of(Command::new(COOPER).arg("check").arg(build.context()).output().unwrap())
}

#[test]
fn what_works_builds() {
    let rows = instructions();
    let mut together = String::from("FROM base\n");
    for (row, how, example) in EXAMPLES.iter().filter(|(row, ..)| works(rows[row])) {
        match how {
            Together => {
                together.push_str(example);
                // Later examples are to be carried out by root again.
                together.push_str(if *row == "USER" { "\nUSER 0\n" } else { "\n" });
            }
            Alone => {
                build(example).run().success();
            }
            Check => assert!(!check(example).stdout.contains("error["), "{row}"),
        }
    }
    build(&together).run().success();
}

#[test]
fn what_does_not_work_is_refused_at_its_place() {
    let rows = instructions();
    for (row, how, example) in EXAMPLES.iter().filter(|(row, ..)| !works(rows[row])) {
        let said = match how {
            Together | Alone => {
                let outcome = build(example).run();
                assert_eq!(outcome.code, Some(1), "`{row}` works: flip its row in docs/compatibility.md");
                outcome.stderr
            }
            Check => check(example).stdout,
        };
        assert!(said.contains("error[Unsupported]") && said.contains("Dockerfile:2:"), "{row}: {said}");
    }
}

/// The flags in the first cells of the rows about the command line, with what is said of them.
fn command_line() -> Vec<(&'static str, bool)> {
    let rows = rows("The command line").into_iter();
    let flags = rows.flat_map(|(cell, status)| {
        let flags = cell.split('`').filter(|part| part.starts_with("--"));
        flags.map(move |flag| (flag, works(status)))
    });
    flags.collect()
}

#[test]
fn the_command_line_is_as_described() {
    let help = Outcome::of(Command::new(COOPER).args(["build", "--help"]).output().unwrap()).success().stdout;
    let options = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = options.flat_map(|line| line.split([' ', ','])).filter(|word| word.starts_with("--"));
    let words: BTreeSet<&str> = words.collect();
    let described = command_line();
    assert!(described.len() > 20, "{described:?}");
    for (flag, works) in &described {
        // A command of its own.
        let known = words.contains(flag) || *flag == "--check";
        assert_eq!(known, *works, "{flag} in docs/compatibility.md");
    }
    let ours = DOCUMENT.split("Ours alone:").nth(1).unwrap().split("\n\n").next().unwrap();
    for word in words.iter().filter(|word| !["--help", "--version"].contains(*word)) {
        let is_described = described.iter().any(|(flag, _)| flag == word);
        assert!(
            is_described || ours.contains(&format!("`{word}`")),
            "{word} is not in docs/compatibility.md"
        );
    }
}

#[test]
fn arguments_have_their_precedence() {
    // 1.6: build argument, own default, global value, nothing
    let dockerfile = "\
ARG GLOBAL=global
ARG GIVEN=global
FROM base
ARG GLOBAL OWN=own GIVEN=own UNSET EMPTY=
LABEL global=$GLOBAL own=$OWN given=$GIVEN unset=${UNSET-unset} empty=${EMPTY-unset} platform=$TARGETOS
ARG TARGETOS TARGETSTAGE
LABEL os=$TARGETOS stage=$TARGETSTAGE
ENV OWN=env
LABEL env=$OWN
";
    let image = Build::new(dockerfile).args(["--build-arg", "GIVEN=given"]).image();
    let labels = &image.config["config"]["Labels"];
    for (name, value) in [
        ("global", "global"),
        ("own", "own"),
        ("given", "given"),
        ("unset", "unset"),
        ("empty", ""),
        ("platform", ""),
        ("os", "linux"),
        ("stage", "default"),
        ("env", "env"),
    ] {
        assert_eq!(labels[name], value, "{name} in {labels}");
    }
}

#[test]
fn history_is_in_the_known_words() {
    // 1.10: created_by of every instruction, and which make no layer
    let dockerfile = "\
FROM base
ENV K=V K2=V2
LABEL k=v
ARG k=v k2
RUN true
RUN [\"true\", \"a b\"]
COPY --chmod=600 a.txt b1.txt /x/
ADD --chown=1 a.txt /y
WORKDIR /abs
WORKDIR /
CMD [\"a\", \"b\"]
ENTRYPOINT x
EXPOSE 80 53/udp
VOLUME /a /b
USER x
STOPSIGNAL 9
MAINTAINER me
SHELL [\"/bin/bash\", \"-c\"]
HEALTHCHECK --interval=1s --timeout=10s --start-period=3s --start-interval=100ms --retries=5 CMD [\"bin\", \"-c\", \"exit 0\"]
ONBUILD RUN x
";
    let image = build(dockerfile).image();
    let history = image.config["history"].as_array().unwrap()[2..].iter();
    let made: Vec<(String, bool)> = history
        .map(|item| {
            let created_by = item["created_by"].as_str().unwrap().to_owned();
            (created_by, item["empty_layer"].as_bool().unwrap_or_default())
        })
        .collect();
    let made: Vec<(&str, bool)> =
        made.iter().map(|(created_by, empty)| (created_by.as_str(), *empty)).collect();
    assert_eq!(
        made,
        [
            ("ENV K=V K2=V2", true),
            ("LABEL k=v", true),
            ("ARG k=v k2", true),
            ("RUN |2 k=v k2= /bin/sh -c true # buildkit", false),
            ("RUN |2 k=v k2= true a b # buildkit", false),
            ("COPY --chmod=600 a.txt b1.txt /x/ # buildkit", false),
            ("ADD --chown=1 a.txt /y # buildkit", false),
            ("WORKDIR /abs", false),
            ("WORKDIR /", true),
            ("CMD [\"a\" \"b\"]", true),
            ("ENTRYPOINT [\"/bin/sh\" \"-c\" \"x\"]", true),
            ("EXPOSE [80/tcp 53/udp]", true),
            ("VOLUME [/a /b]", true),
            ("USER x", true),
            ("STOPSIGNAL 9", true),
            ("MAINTAINER me", true),
            ("SHELL [/bin/bash -c]", true),
            (
                "HEALTHCHECK {Test:[CMD bin -c exit 0] Interval:1s Timeout:10s StartPeriod:3s StartInterval:100ms Retries:5}",
                true
            ),
        ]
    );
}

#[test]
fn metadata_files_have_the_known_keys() {
    // 1.12: --metadata-file, --iidfile
    let build = Build::new("FROM base\nENV a=b\n");
    let (metadata, config) = (build.beside("metadata.json"), build.beside("iid"));
    let build = build.arg("--metadata-file").arg(metadata.to_str().unwrap());
    let build = build.arg("--iidfile").arg(config.to_str().unwrap());
    let build = build.arg("--tag=registry.invalid/x:1");
    build.run().success();
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["image.name"], "registry.invalid/x:1");
    assert_eq!(metadata["containerimage.config.digest"], std::fs::read_to_string(config).unwrap());
    assert_eq!(metadata["containerimage.descriptor"]["digest"], metadata["containerimage.digest"]);
}
