//! Properties of the whole language.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Texts that look like Dockerfiles, with everything in them that has a meaning.
fn dockerfiles() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        prop::sample::select(vec![
            "FROM ",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "CMD ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "SHELL ",
            "EXPOSE ",
            "VOLUME ",
            "USER ",
            "WORKDIR ",
            "STOPSIGNAL ",
            " AS ",
            "scratch",
            "--from=",
            "--mount=type=",
            "--chmod=",
            "--",
            "cache,target=/x",
            "secret,id=",
            "bind,",
            "\n",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "\\",
            "`",
            "\"",
            "'",
            "$",
            "${",
            "}",
            ":-",
            "<<EOF",
            "<<-'EOF'",
            "EOF\n",
            "EOF",
            "[",
            "]",
            ",",
            "[\"a\"]",
            " ",
            "\t",
            "#",
            "# escape=`\n",
            "# check=skip=all\n",
            "=",
            "a",
            "b/c",
            "é",
            "\u{feff}",
            "NONE",
            "CMD",
            "0",
            "~",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

/// All words of a Dockerfile.
fn words(dockerfile: &Dockerfile) -> Vec<&Word> {
    let mut words = Vec::new();
    for stage in &dockerfile.stages {
        words.push(&stage.base);
        words.extend(&stage.platform);
        for located in &stage.instructions {
            collect(&located.value, &mut words);
        }
    }
    for global in &dockerfile.globals {
        words.extend(
            global.value.iter().flat_map(|argument| [&argument.name].into_iter().chain(&argument.default)),
        );
    }
    words
}

fn collect<'a>(instruction: &'a Instruction, words: &mut Vec<&'a Word>) {
    let sources = |sources: &'a [CopySource], words: &mut Vec<&'a Word>| {
        for source in sources {
            match source {
                CopySource::Path(path) => words.push(path),
                CopySource::Heredoc(heredoc) => words.extend([&heredoc.operator, &heredoc.body]),
            }
        }
    };
    let command = |command: &'a Command, words: &mut Vec<&'a Word>| match command {
        Command::Exec(arguments) => words.extend(arguments),
        Command::Shell(text) => words.push(text),
    };
    match instruction {
        Instruction::Add(add) => {
            sources(&add.sources, words);
            words.push(&add.destination);
            words.extend(add.chown.iter().chain(&add.chmod).chain(&add.checksum).chain(&add.exclude));
        }
        Instruction::Copy(copy) => {
            sources(&copy.sources, words);
            words.push(&copy.destination);
            words.extend(copy.chown.iter().chain(&copy.chmod).chain(&copy.from).chain(&copy.exclude));
        }
        Instruction::Run(run) => {
            match &run.command {
                RunCommand::Exec(arguments) => words.extend(arguments),
                RunCommand::Shell(text) => words.push(text),
                RunCommand::Script(heredoc) => words.extend([&heredoc.operator, &heredoc.body]),
            }
            for mount in &run.mounts {
                words.push(&mount.flag);
                words.extend(mount.options.iter().filter_map(|option| option.value.as_ref()));
            }
        }
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            words.extend(pairs.iter().flat_map(|pair| [&pair.name, &pair.value]));
        }
        Instruction::Arg(arguments) => {
            words.extend(arguments.iter().flat_map(|a| [&a.name].into_iter().chain(&a.default)));
        }
        Instruction::Cmd(value) | Instruction::Entrypoint(value) => command(value, words),
        Instruction::Shell(list) | Instruction::Expose(list) | Instruction::Volume(list) => {
            words.extend(list);
        }
        Instruction::User(word)
        | Instruction::Workdir(word)
        | Instruction::StopSignal(word)
        | Instruction::Maintainer(word) => words.push(word),
        Instruction::Healthcheck(Healthcheck::None) => {}
        Instruction::Healthcheck(Healthcheck::Check { test, .. }) => command(test, words),
        Instruction::Onbuild(onbuild) => collect(&onbuild.trigger.value, words),
    }
}

/// Every character of a word that the source has verbatim is where the word says.
fn check_places(source: &Source, word: &Word) -> Result<(), TestCaseError> {
    prop_assert!(source.text().is_char_boundary(word.span.start), "{word:?}");
    prop_assert!(word.span.start <= word.span.end && word.span.end <= source.text().len(), "{word:?}");
    for (at, c) in word.text.char_indices() {
        let span = word.span_of(at..at + c.len_utf8());
        prop_assert!(source.text().is_char_boundary(span.start) && span.start <= span.end, "{word:?} {at}");
        let there = source.text().get(span.start..).and_then(|rest| rest.chars().next());
        // A backslash there is an escape of the JSON form.
        prop_assert!(there == Some(c) || there == Some('\\') || c == '\n', "{word:?} {at} {there:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn places_are_those_of_the_source(text in dockerfiles()) {
        if let Ok(dockerfile) = parse(Source::new("Dockerfile", format!("FROM x\n{text}"))) {
            for word in words(&dockerfile) {
                check_places(&dockerfile.source, word)?;
            }
        }
    }

    #[test]
    fn nothing_panics(text in prop_oneof![dockerfiles(), any::<String>()]) {
        let source = Source::new("Dockerfile", text.as_str());
        for offset in 0..text.len() + 2 {
            source.line_column(offset);
        }
        match parse(source) {
            Ok(dockerfile) => {
                let warnings = lint(&dockerfile, &LintOptions::default());
                for warning in warnings {
                    warning.render(&dockerfile.source, true);
                }
                for word in words(&dockerfile) {
                    let _ = expand(word, &(), dockerfile.directives.escape);
                }
            }
            Err(diagnostics) => {
                prop_assert!(!diagnostics.render(true).is_empty());
            }
        }
        let _ = parse_onbuild(Source::new("ONBUILD of x", text.as_str()));
    }

    #[test]
    fn expansion_never_panics(text in prop_oneof![r#"[$\{\}a:\-+?#%/*\\"'` ]{0,24}"#, any::<String>()]) {
        let variables = BTreeMap::from([("a".to_owned(), text.clone())]);
        let word = Word::new(text.as_str(), Span::new(0, text.len()));
        for escape in [Escape::Backslash, Escape::Backtick] {
            for error in [expand(&word, &variables, escape).err(), expand_words(&word, &(), escape).err()].into_iter().flatten() {
                let span = error.span.unwrap();
                prop_assert!(span.start <= span.end && span.end <= text.len());
            }
        }
        let _ = expand_heredoc(&word, &variables);
    }

    #[test]
    fn literal_words_expand_to_themselves(text in r#"[^$\\"']*"#) {
        let word = Word::new(text.as_str(), Span::new(0, text.len()));
        prop_assert_eq!(expand(&word, &(), Escape::Backslash).unwrap().text, text.clone());
        prop_assert_eq!(expand_heredoc(&word, &()).unwrap().text, text);
    }

    #[test]
    fn quoted_words_expand_to_what_is_quoted(text in "[^']*") {
        let quoted = format!("'{text}'");
        let word = Word::new(quoted.as_str(), Span::new(0, quoted.len()));
        prop_assert_eq!(expand(&word, &(), Escape::Backslash).unwrap().text, text);
    }

    #[test]
    fn values_never_panic(text in prop_oneof!["[-+ugoarwxXst=,0-9:/.a-z]{0,12}", any::<String>()]) {
        let _ = (parse_port_spec(&text), parse_signal(&text), parse_duration(&text));
        if let Ok(mode) = parse_chmod(&text) {
            prop_assert!(mode.apply(0o7777, true) <= 0o7777 && mode.apply(0o644, false) <= 0o7777);
        }
    }

    #[test]
    fn json_form_gives_what_was_written(arguments in prop::collection::vec(any::<String>(), 1..4)) {
        let json = serde_json::to_string(&arguments).unwrap();
        let dockerfile = parse(Source::new("Dockerfile", format!("FROM x\nCMD {json}"))).unwrap();
        let Instruction::Cmd(Command::Exec(words)) = &dockerfile.stages[0].instructions[0].value else { panic!() };
        let texts: Vec<&String> = words.iter().map(|word| &word.text).collect();
        prop_assert_eq!(texts, arguments.iter().collect::<Vec<_>>());
    }

    #[test]
    fn lines_and_columns_count_from_one(text in "[a\né]{0,20}", offset in 0_usize..20) {
        let source = Source::new("x", text.as_str());
        let place = source.line_column(offset);
        let before = &text.as_bytes()[..offset.min(text.len())];
        prop_assert_eq!(place.line, before.split(|byte| *byte == b'\n').count());
        prop_assert!(place.column >= 1);
    }
}

/// Ten times the lines must not take a hundred times the time.
fn assert_linear(text: impl Fn(usize) -> String) {
    // The best of three, and the processor's time, as the machine may be busy with something else.
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(now).unwrap()
    };
    let time = |lines: usize| {
        let text = text(lines);
        let parse_once = || {
            let source = Source::new("Dockerfile", text.as_str());
            let start = now();
            assert!(parse(source).is_ok());
            now().saturating_sub(start)
        };
        [parse_once(), parse_once(), parse_once()].into_iter().min().unwrap_or_default()
    };
    let (few, many) = (time(1_000), time(10_000));
    // The constant is for what is too quick to be measured.
    assert!(many < few * 40 + Duration::from_millis(100), "1,000 lines: {few:?}, 10,000 lines: {many:?}");
}

#[test]
fn parses_long_files_in_linear_time() {
    assert_linear(|lines| "FROM x\n".to_owned() + &"RUN echo \"$a\" 'b' && c\n".repeat(lines));
    assert_linear(|lines| "FROM x\nRUN a".to_owned() + &" \\\n  # comment\n  && echo b".repeat(lines));
    assert_linear(|lines| "FROM x\nENV a=b".to_owned() + &" \\\n  c=\"d e\"".repeat(lines));
    assert_linear(|lines| "FROM x\nCOPY a".to_owned() + &" \\\n  b".repeat(lines) + " /");
    assert_linear(|lines| "FROM x\nCOPY <<E /x\n".to_owned() + &"\t$line\n".repeat(lines) + "E\n");
    assert_linear(|lines| "FROM x\nCMD [\"a\"".to_owned() + &", \\\n\"b\\n\"".repeat(lines) + "]");
    assert_linear(|lines| (0..lines).fold(String::new(), |text, n| text + &format!("FROM a AS b{n}\n")));
}

#[test]
fn diagnostics_serialise_with_their_places() {
    let diagnostics = parse(Source::new("Dockerfile", "FROM x\nCOPY --lnk a b\n")).unwrap_err();
    let json = serde_json::to_value(diagnostics.placed().next().unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "rule": "InvalidFlag",
            "severity": "error",
            "message": "unknown flag: --lnk (did you mean link?)",
            "file": "Dockerfile",
            "line": 2,
            "column": 6,
            "end": { "line": 2, "column": 11 },
            "source": "COPY --lnk a b",
            "advice": "the flags here are --from, --chown, --chmod, --link, --parents, --exclude",
        })
    );
}
