use std::time::Duration;

use super::*;
use crate::dockerfile::ast::{
    BindMount, CacheSharing, Command, CopySource, Healthcheck, Mount, Network, RunCommand, TmpfsMount,
};
use crate::dockerfile::word::Word;

fn parsed(text: &str) -> Dockerfile {
    match parse(Source::new("Dockerfile", text)) {
        Ok(dockerfile) => dockerfile,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// Messages of the errors, with the source they point at.
fn errors(text: &str) -> Vec<(String, String)> {
    let diagnostics = parse(Source::new("Dockerfile", text)).unwrap_err();
    let source = diagnostics.source();
    diagnostics
        .iter()
        .map(|error| (error.message.clone(), source.slice(error.span.unwrap()).to_owned()))
        .collect()
}

/// The only instruction of the only stage.
fn instruction(line: &str) -> Located<Instruction> {
    let mut dockerfile = parsed(&format!("FROM x\n{line}"));
    assert_eq!((dockerfile.stages.len(), dockerfile.stages[0].instructions.len()), (1, 1), "{line}");
    dockerfile.stages[0].instructions.remove(0)
}

/// The only error of an instruction.
fn error(line: &str) -> (String, String) {
    let mut errors = errors(&format!("FROM x\n{line}"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

#[test]
fn refuses_files_without_a_stage() {
    for (text, message) in [
        // 1.1: empty file, only comments, only ARGs, no stage
        ("", "the Dockerfile cannot be empty"),
        ("\u{feff}", "the Dockerfile cannot be empty"),
        ("# comment\n\n", "file with no instructions"),
        ("ARG a\nARG b", "dockerfile contains no stages to build"),
        ("RUN x\nRUN y", "no build stage in current context"),
    ] {
        let errors = errors(text);
        assert_eq!((errors.len(), errors[0].0.as_str()), (1, message), "{text:?}");
    }
}

#[test]
fn joins_lines() {
    for (text, expected) in [
        // 1.1: continuation lines keep their leading whitespace
        ("RUN a \\\n  b", "a   b"),
        // 1.1: leading whitespace of the first line is stripped, CRLF accepted
        ("  RUN a \\\r\n\tb\r\n", "a \tb"),
        // 1.1: escape followed by blanks still continues; `\\` does not; a lone one does; one at EOF is accepted
        ("RUN a \\ \t\n b", "a  b"),
        ("RUN a \\\\", "a \\\\"),
        ("RUN a \\\n\\\nb", "a b"),
        ("RUN a \\", "a"),
        // 1.1: comment lines are removed, also in a continuation; `#` elsewhere is an ordinary char
        ("RUN a \\\n # x \\\n b # c", "a  b # c"),
        // 1.1: empty lines inside a continuation are accepted
        ("RUN a \\\n\n  \n b", "a  b"),
    ] {
        let Instruction::Run(run) = instruction(text).value else { panic!("{text}") };
        let RunCommand::Shell(command) = run.command else { panic!("{text}") };
        assert_eq!(command.text, expected, "{text}");
    }
}

#[test]
fn keeps_places_through_continuations() {
    let text = "FROM x\nENV a=b \\\n  # no\n  c=d\n";
    let dockerfile = parsed(text);
    let Instruction::Env(pairs) = &dockerfile.stages[0].instructions[0].value else { panic!() };
    let at = |word: &Word| dockerfile.source.slice(word.span).to_owned();
    assert_eq!(pairs.iter().map(|pair| at(&pair.name) + &at(&pair.value)).collect::<Vec<_>>(), ["ab", "cd"]);
    let span = dockerfile.stages[0].instructions[0].span;
    assert_eq!(dockerfile.source.slice(span), "ENV a=b \\\n  # no\n  c=d");
    let place = dockerfile.source.line_column(pairs[1].value.span.start);
    assert_eq!((place.line, place.column), (4, 5));
}

#[test]
fn warns_of_empty_continuations() {
    let dockerfile = parsed("FROM x\nRUN a \\\n\n  b\n");
    let warnings: Vec<_> = dockerfile.warnings.iter().map(|w| (w.code, w.span)).collect();
    assert_eq!(warnings, [(Code::NoEmptyContinuation, Some(Span::at(15)))]);
}

#[test]
fn limits_lines() {
    let long = format!("FROM x\nRUN {}", "a".repeat(65532));
    assert_eq!(errors(&long)[0].0, "dockerfile line greater than max allowed size of 65535");
    parsed(&long[..long.len() - 1]);
}

#[test]
fn knows_instructions_in_any_case() {
    let dockerfile = parsed("from x As Y\nrun a\nRuN b");
    assert_eq!(dockerfile.stages[0].name.as_ref().unwrap().text, "y");
    let keywords: Vec<_> =
        dockerfile.stages[0].instructions.iter().map(|i| dockerfile.source.slice(i.keyword)).collect();
    assert_eq!(keywords, ["run", "RuN"]);
    // 1.1: unknown instruction with a suggestion
    assert_eq!(
        errors("FORM x"),
        [("unknown instruction: FORM (did you mean FROM?)".to_owned(), "FORM".to_owned())]
    );
}

#[test]
fn reports_many_errors() {
    let messages: Vec<String> =
        errors("FROM a b\nRUNN x\nENV a\nCOPY x\nRUN ok").into_iter().map(|(message, _)| message).collect();
    assert_eq!(
        messages,
        [
            "FROM requires either one or three arguments",
            "unknown instruction: RUNN (did you mean RUN?)",
            "ENV must have two arguments",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ]
    );
}

#[test]
fn refuses_with_the_place() {
    for (line, message, place) in [
        // 1.1: flags
        ("COPY --foo a b", "unknown flag: --foo", "--foo"),
        ("ENV --x a=b", "unknown flag: --x", "--x"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x", "--link=x"),
        // 1.1: JSON arrays of other things
        ("CMD [\"a\", 1]", "when using JSON array syntax, arrays must be comprised of strings only", "1"),
        // 1.1: ENV and LABEL
        ("ENV a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value", "c"),
        ("ENV a", "ENV must have two arguments", "a"),
        ("LABEL a", "LABEL must have two arguments", "a"),
        ("ENV =b", "ENV names can not be blank", "=b"),
        ("ARG =b", "ARG names can not be blank", "=b"),
        ("ENV", "ENV requires at least one argument", "ENV"),
        // 1.1: per-instruction argument errors
        ("WORKDIR", "WORKDIR requires exactly one argument", "WORKDIR"),
        ("USER", "USER requires exactly one argument", "USER"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument", "STOPSIGNAL"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument", "MAINTAINER"),
        ("EXPOSE", "EXPOSE requires at least one argument", "EXPOSE"),
        ("VOLUME", "VOLUME requires at least one argument", "VOLUME"),
        ("VOLUME []", "VOLUME requires at least one argument", "[]"),
        ("ARG", "ARG requires at least one argument", "ARG"),
        ("RUN", "RUN requires at least one argument", "RUN"),
        ("RUN []", "RUN requires at least one argument", "[]"),
        ("CMD", "CMD requires at least one argument", "CMD"),
        (
            "ADD [\"a\"]",
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
            "[\"a\"]",
        ),
        // 1.4: COPY --from
        (
            "COPY --from=$x a b",
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
            "$x",
        ),
        ("COPY --from= a b", "missing a value on flag: --from", ""),
        // 1.8: URLs and git refs
        ("COPY https://x/y b", "source can't be a URL for COPY", "https://x/y"),
        ("COPY git@github.com:a/b c", "source can't be a git ref for COPY", "git@github.com:a/b"),
        ("COPY --checksum=x a b", "unknown flag: --checksum", "--checksum=x"),
        ("ADD --checksum=sha256:0 a b c", "checksum can't be specified for multiple sources", "sha256:0"),
        (
            "COPY --chmod=9 a b",
            "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
            "9",
        ),
        // 1.3: here-documents
        ("COPY a <<EOF\nx\nEOF", "COPY cannot accept a heredoc as a destination", "<<EOF"),
        ("RUN <<EOF\nx", "unterminated heredoc", "<<EOF"),
        ("RUN echo $(( 1 << 4 ))", "unterminated heredoc", "<< 4"),
        ("COPY <<a/b /x\na/b", "invalid heredoc name \"a/b\": it names a file, not a path", "<<a/b"),
        // 1.9: signals and ports that use no variables
        ("STOPSIGNAL NOPE", "Invalid signal: NOPE: write a name like SIGTERM or a number like 15", "NOPE"),
        ("EXPOSE 80 http", "invalid containerPort: http", "http"),
        ("EXPOSE 80/icmp", "invalid proto: icmp: it is tcp, udp or sctp", "80/icmp"),
        (
            "RUN <<../x\n#!/bin/sh\n../x",
            "invalid heredoc name \"../x\": it names a file, not a path",
            "<<../x",
        ),
        // 1.9: others
        ("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form", "/bin/sh -c"),
        ("SHELL []", "SHELL requires at least one argument", "[]"),
        ("VOLUME [\"\"]", "VOLUME specified can not be an empty string", ""),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", "ONBUILD"),
        ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger", "from"),
        ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger", "MAINTAINER"),
        ("ONBUILD", "ONBUILD requires at least one argument", "ONBUILD"),
        ("ONBUILD RNU x", "unknown instruction: RNU (did you mean RUN?)", "RNU"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument", "HEALTHCHECK"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", "NONE x"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", "CMD"),
        ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD", "CMD []"),
        ("HEALTHCHECK TEST x", "Unknown type \"TEST\" in HEALTHCHECK (try CMD)", "TEST"),
        ("HEALTHCHECK --interval=1us CMD x", "Interval \"1us\" cannot be less than 1ms", "1us"),
        ("HEALTHCHECK --timeout=-1s CMD x", "Interval \"-1s\" cannot be less than 1ms", "-1s"),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)", "-1"),
        ("HEALTHCHECK --retries=x CMD x", "--retries must be a whole number, not \"x\"", "x"),
        // 1.7: network; security and devices are beyond us
        ("RUN --network=hots x", "invalid network mode \"hots\" (did you mean host?)", "hots"),
        (
            "RUN --security=insecure x",
            "--security=insecure is not supported: builds run without privileges",
            "insecure",
        ),
        ("RUN --device=gpu x", "--device is not supported: builds have no devices of the host", "gpu"),
    ] {
        assert_eq!(error(line), (message.to_owned(), place.to_owned()), "{line}");
    }
}

#[test]
fn refuses_stages() {
    for (line, message, place) in [
        // 1.5: one or three arguments, names
        ("FROM", "FROM requires either one or three arguments", "FROM"),
        ("FROM a as", "FROM requires either one or three arguments", "a as"),
        ("FROM a is b", "FROM requires either one or three arguments", "a is b"),
        ("FROM a as b c", "FROM requires either one or three arguments", "a as b c"),
        (
            "FROM a as 1b",
            "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
            "1b",
        ),
        (
            "FROM a as b/c",
            "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols",
            "b/c",
        ),
        ("FROM --platform a", "missing a value on flag: --platform", "--platform"),
    ] {
        assert_eq!(errors(line), [(message.to_owned(), place.to_owned())], "{line}");
    }
}

#[test]
fn reads_stages() {
    let text =
        "ARG V=1 W\n# build the thing\nFROM --platform=$BUILDPLATFORM a:$V AS Build.1-x_y\nRUN a\nFROM b\n";
    let dockerfile = parsed(text);
    let [global] = dockerfile.globals.as_slice() else { panic!() };
    let declared: Vec<_> = global
        .value
        .iter()
        .map(|a| (a.name.text.as_str(), a.default.as_ref().map(|d| d.text.as_str())))
        .collect();
    assert_eq!(declared, [("V", Some("1")), ("W", None)]);
    let [first, second] = dockerfile.stages.as_slice() else { panic!() };
    assert_eq!((first.index, second.index), (0, 1));
    assert_eq!(first.name.as_ref().unwrap().text, "build.1-x_y");
    assert_eq!(dockerfile.source.slice(first.name.as_ref().unwrap().span), "Build.1-x_y");
    assert_eq!((first.base.text.as_str(), second.base.text.as_str()), ("a:$V", "b"));
    assert_eq!(first.platform.as_ref().unwrap().text, "$BUILDPLATFORM");
    assert_eq!(dockerfile.source.slice(first.as_keyword.unwrap()), "AS");
    assert_eq!(dockerfile.source.slice(first.comments[0]), "# build the thing");
    assert_eq!((first.instructions.len(), second.instructions.len()), (1, 0));
    assert!(second.name.is_none() && second.platform.is_none());
}

#[test]
fn reads_pairs() {
    let pairs = |line: &str| match instruction(line).value {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.into_iter().map(|pair| (pair.name.text, pair.value.text)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    for (line, expected) in [
        // 1.1: every word k=v; quotes and escapes stay
        (
            "ENV a=b c='d e' f=\"g h\" i=j\\ k",
            vec![("a", "b"), ("c", "'d e'"), ("f", "\"g h\""), ("i", "j\\ k")],
        ),
        ("LABEL a= b=c=d", vec![("a", ""), ("b", "c=d")]),
        ("LABEL \"a b\"=c", vec![("\"a b\"", "c")]),
        // 1.1: legacy form is one pair, the rest incl. spaces and `=`
        ("ENV a b c=d  e", vec![("a", "b c=d  e")]),
        ("ENV a  \\\n  b", vec![("a", "b")]),
    ] {
        let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(pairs(line), expected, "{line}");
    }
    let codes: Vec<_> = parsed("FROM x\nENV a b").warnings.iter().map(|w| w.code).collect();
    assert_eq!(codes, [Code::LegacyKeyValueFormat]);
}

#[test]
fn reads_commands() {
    let command = |line: &str| match instruction(line).value {
        Instruction::Cmd(command) | Instruction::Entrypoint(command) => command,
        other => panic!("{other:?}"),
    };
    // 1.1: JSON form only if valid, else shell form
    for (line, exec, expected) in [
        ("CMD [\"a\", \"b c\"]", true, vec!["a", "b c"]),
        ("ENTRYPOINT []", true, vec![]),
        ("CMD ['a']", false, vec!["['a']"]),
        ("CMD [ -x a ] && b", false, vec!["[ -x a ] && b"]),
        ("CMD echo \"a  b\"", false, vec!["echo \"a  b\""]),
    ] {
        match command(line) {
            Command::Exec(words) => assert_eq!((true, texts(&words)), (exec, expected), "{line}"),
            Command::Shell(word) => assert_eq!((false, vec![word.text.as_str()]), (exec, expected), "{line}"),
        }
    }
    let Instruction::Shell(words) = instruction("SHELL [\"/bin/bash\", \"-c\"]").value else { panic!() };
    assert_eq!(texts(&words), ["/bin/bash", "-c"]);
}

#[test]
fn reads_lists() {
    let Instruction::Expose(words) = instruction("EXPOSE 80  $P/udp").value else { panic!() };
    assert_eq!(texts(&words), ["80", "$P/udp"]);
    let Instruction::Volume(words) = instruction("VOLUME /a /b").value else { panic!() };
    assert_eq!(texts(&words), ["/a", "/b"]);
    let Instruction::Volume(words) = instruction("VOLUME [\"/a b\"]").value else { panic!() };
    assert_eq!(texts(&words), ["/a b"]);
    // 1.1: the rest of the line as one string
    let Instruction::Workdir(word) = instruction("WORKDIR  /a b ").value else { panic!() };
    assert_eq!(word.text, "/a b");
    let Instruction::StopSignal(word) = instruction("STOPSIGNAL 9").value else { panic!() };
    assert_eq!(word.text, "9");
}

fn sources(sources: &[CopySource]) -> Vec<String> {
    let text = |source: &CopySource| match source {
        CopySource::Path(path) => path.text.clone(),
        CopySource::Heredoc(heredoc) => {
            format!("<<{}:{}:{}", heredoc.name, heredoc.expand, heredoc.body.text)
        }
    };
    sources.iter().map(text).collect()
}

#[test]
fn reads_copies() {
    let line =
        "COPY --from=b --chown=$U:1 --chmod=u=rwX --link --parents --exclude=x --exclude=y a \"b c\" d/";
    let Instruction::Copy(copy) = instruction(line).value else { panic!() };
    // 1.14: words are split at plain blanks
    assert_eq!(sources(&copy.sources), ["a", "\"b", "c\""]);
    assert_eq!(copy.destination.text, "d/");
    assert_eq!(copy.from.unwrap().text, "b");
    assert_eq!((copy.chown.unwrap().text.as_str(), copy.chmod.unwrap().text.as_str()), ("$U:1", "u=rwX"));
    assert!(copy.link && copy.parents);
    assert_eq!(texts(&copy.exclude), ["x", "y"]);
    let Instruction::Copy(copy) = instruction("COPY [\"a b\", \"c\"]").value else { panic!() };
    assert_eq!((sources(&copy.sources), copy.destination.text), (vec!["a b".to_owned()], "c".to_owned()));

    let line = "ADD --checksum=sha256:1 --unpack=false --keep-git-dir https://x/y.tar /d";
    let Instruction::Add(add) = instruction(line).value else { panic!() };
    assert_eq!((add.unpack, add.keep_git_dir), (Some(false), Some(true)));
    assert_eq!(add.checksum.unwrap().text, "sha256:1");
    let Instruction::Add(add) = instruction("ADD --unpack a b").value else { panic!() };
    assert_eq!((add.unpack, add.keep_git_dir, add.link), (Some(true), None, false));
}

#[test]
fn reads_heredocs_of_copies() {
    for (text, expected, destination) in [
        ("COPY <<EOF /x\na $b\nEOF", vec!["<<EOF:true:a $b\n"], "/x"),
        ("COPY <<'EOF' /x\nEOF", vec!["<<EOF:false:"], "/x"),
        // 1.3: `<<-` strips tabs from every line and before the terminator
        ("COPY <<-EOF /x\n\ta\n\t\tb\n c\n\tEOF", vec!["<<EOF:true:a\nb\n c\n"], "/x"),
        // 1.3: several per line, bodies follow in order; mixed with files
        ("COPY <<A f <<B /d/\nb\nA\na\nB", vec!["<<A:true:b\n", "f", "<<B:true:a\n"], "/d/"),
        // 1.3: terminator must be the whole line
        ("COPY <<E /x\nE \n E\nE", vec!["<<E:true:E \n E\n"], "/x"),
        // 1.14: blanks after the operator
        ("COPY << E /x\na\nE", vec!["<<E:true:a\n"], "/x"),
        ("COPY <<E /x\r\na\r\nE\r\n", vec!["<<E:true:a\r\n"], "/x"),
        ("COPY <<E \\\n  /x\na\nE", vec!["<<E:true:a\n"], "/x"),
    ] {
        let Instruction::Copy(copy) = instruction(text).value else { panic!() };
        assert_eq!(
            (sources(&copy.sources), copy.destination.text.as_str()),
            (expected.iter().map(|s| (*s).to_owned()).collect(), destination),
            "{text}"
        );
    }
    let dockerfile = parsed("FROM x\nCOPY <<A /a\nRUN is text\nA\nRUN b");
    let [copy, run] = dockerfile.stages[0].instructions.as_slice() else { panic!() };
    assert_eq!(dockerfile.source.slice(copy.span), "COPY <<A /a\nRUN is text\nA");
    assert_eq!(copy.text, "COPY <<A /a\nRUN is text\nA");
    assert_eq!(dockerfile.source.slice(run.span), "RUN b");
}

#[test]
fn reads_runs() {
    let run = |line: &str| match instruction(line).value {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    };
    let shell = |line: &str| match run(line).command {
        RunCommand::Shell(word) => word.text,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(run("RUN [\"a\", \"b\"]").command, RunCommand::Exec(words) if texts(&words) == ["a", "b"])
    );
    assert_eq!(run("RUN --network=none x").network, Network::None);
    assert_eq!(run("RUN --security=sandbox x").network, Network::Default);
    // 1.3: a body without `#!` is one argument for SHELL
    assert_eq!(shell("RUN <<EOF\na $b\nc\nEOF"), "a $b\nc\n");
    assert_eq!(shell("RUN 3<<-EOF\n\ta\nEOF"), "a\n");
    // 1.14: an empty one builds
    assert_eq!(shell("RUN <<EOF\nEOF"), "");
    // 1.3: anything more complex is re-assembled
    assert_eq!(shell("RUN cat <<A > f\nx\nA"), "cat <<A > f\nx\nA");
    assert_eq!(shell("RUN <<A <<-'B' cat\nx\nA\n\ty\n\tB"), "<<A <<-'B' cat\nx\nA\n\ty\nB");
    assert_eq!(shell("RUN cat <<<A"), "cat <<<A");
    // 1.3: with `#!` it is a file
    let RunCommand::Script(heredoc) = run("RUN <<EOF\n#!/usr/bin/env python\nprint(1)\nEOF").command else {
        panic!()
    };
    assert_eq!(
        (heredoc.name.as_str(), heredoc.body.text.as_str()),
        ("EOF", "#!/usr/bin/env python\nprint(1)\n")
    );
}

#[test]
fn reads_healthchecks() {
    assert_eq!(instruction("HEALTHCHECK none").value, Instruction::Healthcheck(Healthcheck::None));
    let line =
        "HEALTHCHECK --interval=1m --timeout=1.5s --start-period=0 --start-interval=1ms --retries=3 cmd x y";
    let Instruction::Healthcheck(Healthcheck::Check { test, options }) = instruction(line).value else {
        panic!()
    };
    assert!(matches!(test, Command::Shell(word) if word.text == "x y"));
    assert_eq!(
        [options.interval, options.timeout, options.start_period, options.start_interval],
        [60_000, 1500, 0, 1].map(Duration::from_millis)
    );
    assert_eq!(options.retries, 3);
    let Instruction::Healthcheck(Healthcheck::Check { test, options }) =
        instruction("HEALTHCHECK CMD [\"a\"]").value
    else {
        panic!()
    };
    assert!(matches!(test, Command::Exec(words) if texts(&words) == ["a"]));
    assert_eq!(options, crate::dockerfile::HealthcheckOptions::default());
}

#[test]
fn reads_triggers() {
    // 1.9: stored original text with heredoc bodies
    for (line, text) in
        [("onbuild  RUN a \\\n  b", "RUN a   b"), ("ONBUILD COPY <<A /a\nx\nA", "COPY <<A /a\nx\nA")]
    {
        let Instruction::Onbuild(onbuild) = instruction(line).value else { panic!() };
        assert_eq!(onbuild.text, text);
        let again = parse_onbuild(Source::new("ONBUILD of x", text)).unwrap();
        assert_eq!(again.value.keyword(), onbuild.trigger.value.keyword());
        assert_eq!(again.text, text);
    }
    for text in ["", "RUN a\nRUN b", "FROM x", "ONBUILD RUN x", "NOPE"] {
        assert!(parse_onbuild(Source::new("ONBUILD of x", text)).is_err(), "{text}");
    }
}

fn mount(value: &str) -> Mount {
    let Instruction::Run(run) = instruction(&format!("RUN --mount={value} x")).value else { panic!() };
    run.mounts[0].resolve(&(), Escape::Backslash).unwrap()
}

#[test]
fn reads_mounts() {
    // 1.7: type defaults to bind, read-only, source /
    let bind = |from: Option<&str>, source: &str, target: &str, read_write| {
        Mount::Bind(BindMount {
            from: from.map(str::to_owned),
            source: source.to_owned(),
            target: target.to_owned(),
            read_write,
        })
    };
    assert_eq!(mount("target=/a"), bind(None, "/", "/a", false));
    assert_eq!(mount("type=BIND,from=b,src=s,dst=a,rw"), bind(Some("b"), "s", "a", true));
    assert_eq!(mount("destination=/a,readonly=false"), bind(None, "/", "/a", true));
    assert_eq!(mount("'\"target=/a,b\"'"), bind(None, "/", "/a,b", false));
    assert_eq!(mount("rw,ro,target=."), bind(None, "/", ".", false));

    let Mount::Cache(cache) = mount("type=cache,id=i,target=/c,sharing=locked,mode=0700,uid=1,gid=2,ro")
    else {
        panic!()
    };
    assert_eq!((cache.id.as_deref(), cache.target.as_str()), (Some("i"), "/c"));
    assert_eq!((cache.sharing, cache.mode, cache.read_only), (CacheSharing::Locked, Some(0o700), true));
    assert_eq!((cache.uid, cache.gid, cache.from), (Some(1), Some(2), None));
    let Mount::Cache(cache) = mount("type=cache,target=/c") else { panic!() };
    assert_eq!((cache.sharing, cache.mode, cache.read_only), (CacheSharing::Shared, None, false));

    let tmpfs = Mount::Tmpfs(TmpfsMount { target: "/t".to_owned(), size: Some(128 << 20) });
    assert_eq!(mount("type=tmpfs,target=/t,size=128m"), tmpfs);

    for (value, id, target, env) in [
        ("type=secret,id=a", "a", Some("/run/secrets/a"), None),
        ("type=secret,source=x/a", "x/a", Some("/run/secrets/a"), None),
        ("type=secret,target=/x/y", "y", Some("/x/y"), None),
        ("type=secret,id=a,env=A", "a", None, Some("A")),
        ("type=secret,id=a,env=A,target=/t", "a", Some("/t"), Some("A")),
    ] {
        let Mount::Secret(secret) = mount(value) else { panic!() };
        assert_eq!(
            (secret.id.as_str(), secret.target.as_deref(), secret.env.as_deref()),
            (id, target, env),
            "{value}"
        );
        assert_eq!((secret.mode, secret.uid, secret.gid, secret.required), (0o400, 0, 0, false));
    }
    let Mount::Secret(secret) = mount("required,type=secret,id=a,mode=0444,uid=7") else { panic!() };
    assert_eq!((secret.required, secret.mode, secret.uid), (true, 0o444, 7));

    let Mount::Ssh(ssh) = mount("type=ssh,required=true") else { panic!() };
    assert_eq!((ssh.id.as_str(), ssh.target, ssh.required, ssh.mode), ("default", None, true, 0o600));
}

#[test]
fn expands_mounts() {
    let line = "FROM x\nRUN --mount=type=$T,target=/$P,mode=$M x";
    let dockerfile = parsed(line);
    let Instruction::Run(run) = &dockerfile.stages[0].instructions[0].value else { panic!() };
    let variables = |mode: &str| {
        std::collections::BTreeMap::from(
            [("T", "cache"), ("P", "p"), ("M", mode)].map(|(k, v)| (k.to_owned(), v.to_owned())),
        )
    };
    let mount = run.mounts[0].resolve(&variables("700"), Escape::Backslash).unwrap();
    assert!(matches!(mount, Mount::Cache(cache) if cache.target == "/p" && cache.mode == Some(0o700)));
    let error = run.mounts[0].resolve(&variables("9"), Escape::Backslash).unwrap_err();
    assert_eq!(error.message, "invalid value 9 for mode");
    assert_eq!(dockerfile.source.slice(error.span.unwrap()), "$M");
}

#[test]
fn refuses_mounts() {
    for (value, message, place) in [
        // 1.7: mount errors
        ("typ=x", "unexpected key 'typ' in 'typ=x' (did you mean type?)", "typ=x"),
        ("nonsense=x", "unexpected key 'nonsense' in 'nonsense=x'", "nonsense=x"),
        ("type=bnd", "unsupported mount type \"bnd\" (did you mean bind?)", "bnd"),
        ("target", "invalid field 'target' must be a key=value pair", "target"),
        ("type=cache,target=/a,sharing=x", "unsupported sharing value \"x\"", "x"),
        ("type=cache,target=/a,mode=9", "invalid value 9 for mode", "9"),
        ("type=cache,target=/a,uid=x", "invalid value x for uid", "x"),
        ("type=secret,id=a,gid=-1", "invalid value -1 for gid", "-1"),
        ("type=tmpfs,target=/a,size=x", "invalid value for size: x", "x"),
        ("target=/a,ro=x", "invalid value for ro: x", "x"),
        ("type=secret,id=a,source=b", "both source and id can't be set", "type=secret,id=a,source=b"),
        ("type=secret", "invalid secret mount. one of source, target required", "type=secret"),
        ("type=secret,id=a,from=b", "secret mount should not have a from", "from"),
        ("type=secret,id=a,sharing=locked", "secret mount should not define sharing", "sharing"),
        ("type=ssh,source=x", "ssh does not support source", "source"),
        ("target=/a,mode=0700", "mode not allowed for \"bind\" type mounts", "mode"),
        ("target=/a,size=1", "unexpected key 'size' for mount type 'bind'", "size"),
        ("target=/a,required", "unexpected key 'required' for mount type 'bind'", "required"),
        ("target=/a,id=x", "unexpected key 'id' for mount type 'bind'", "id"),
        ("target=/a,sharing=locked", "invalid cache sharing set for bind mount", "sharing"),
        ("target=/a,env=x", "unexpected key 'env' for mount type 'bind'", "env"),
        ("type=bind", "invalid mount target \"/\"", "type=bind"),
        ("target=/", "invalid mount target \"/\"", "target=/"),
        ("type=cache,target=/./", "invalid mount target \"/\"", "type=cache,target=/./"),
        ("target=/a,from=$x", "'from' doesn't support variable expansion, define alias stage instead", "$x"),
        ("target=/a,x\"y", "failed to parse csv mounts: bare \" in non-quoted field", "target=/a,x\"y"),
    ] {
        // The flag's own quotes keep those of the value.
        let quoted = if value.contains('"') { format!("'{value}'") } else { value.to_owned() };
        assert_eq!(
            error(&format!("RUN --mount={quoted} x")),
            (message.to_owned(), place.to_owned()),
            "{value}"
        );
    }
}

#[test]
fn honours_the_escape_directive() {
    let dockerfile = parsed("# escape=`\nFROM x\nRUN a `\n b\\\nRUN c");
    assert_eq!(dockerfile.directives.escape, Escape::Backtick);
    assert_eq!(dockerfile.stages[0].instructions.len(), 2);
    // 1.2: wrong directives are reported with everything else
    let messages: Vec<String> = errors("# escape=x\nFRM y").into_iter().map(|(message, _)| message).collect();
    assert_eq!(
        messages,
        ["invalid escape token 'x' does not match ` or \\", "unknown instruction: FRM (did you mean FROM?)"]
    );
}

#[test]
fn renders_errors() {
    let text = "FROM x\nCOPY --lnk a b\n";
    let diagnostics = parse(Source::new("Dockerfile", text)).unwrap_err();
    insta::assert_snapshot!(diagnostics.to_string(), @"
    error[InvalidFlag]: unknown flag: --lnk (did you mean link?)
     --> Dockerfile:2:6
      |
    2 | COPY --lnk a b
      |      ^^^^^
      |
      = help: the flags here are --from, --chown, --chmod, --link, --parents, --exclude
    ");
}
