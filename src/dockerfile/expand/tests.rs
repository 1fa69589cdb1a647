use super::*;

fn word(text: &str) -> Word {
    Word::new(text, Span::new(0, text.len()))
}

fn variables() -> BTreeMap<String, String> {
    [
        ("a", "A"),
        ("empty", ""),
        ("path", "/usr/local/bin"),
        ("dots", "a.b.c"),
        ("blanks", "x  y"),
        ("dollar", "$a"),
        ("star", "*"),
        ("ports", "80 443/tcp"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn expanded(text: &str) -> String {
    expand(&word(text), &variables(), Escape::Backslash).unwrap().text
}

#[test]
fn substitutes() {
    for (text, expected) in [
        // 1.4: forms
        ("$a", "A"),
        ("${a}", "A"),
        ("x$a-y", "xA-y"),
        ("$ab", ""),
        ("${a}b", "Ab"),
        ("${unset:-w}", "w"),
        ("${unset-w}", "w"),
        ("${empty:-w}", "w"),
        ("${empty-w}", ""),
        ("${a:-w}", "A"),
        ("${a:+w}", "w"),
        ("${empty:+w}", ""),
        ("${empty+w}", "w"),
        ("${unset+w}", ""),
        ("${a:?w}", "A"),
        ("${empty?w}", ""),
        ("${dots#*.}", "b.c"),
        ("${dots##*.}", "c"),
        ("${dots%.*}", "a.b"),
        ("${dots%%.*}", "a"),
        ("${path#/usr}", "/local/bin"),
        ("${path/\\/usr/x}", "x/local/bin"),
        ("${path/l/L}", "/usr/Local/bin"),
        ("${path//l/L}", "/usr/LocaL/bin"),
        ("${path//l/}", "/usr/oca/bin"),
        // 1.4: nested expansions in word and pattern
        ("${unset:-${a}$a}", "AA"),
        ("${unset:-${unset2:-${a:+x}}}", "x"),
        ("${dots#${unset:-a}}", ".b.c"),
        ("${unset:-\"a b\"'c'}", "a bc"),
        // 1.4: patterns only `?` `*` and escapes
        ("${dots#?}", ".b.c"),
        ("${dots#[a]}", "a.b.c"),
        ("${unset:-a\\}b}", "a}b"),
        // 1.4: the replacement of `//` is a template
        ("${dots//b/<\\$0>}", "a.<\\b>.c"),
        ("${dots//b/$dollar}", "a..c"),
        ("${dots/b/$dollar}", "a.$a.c"),
        // values are not expanded again
        ("$dollar", "$a"),
        // 1.4: positional and special parameters are empty, `$` before others stays
        ("[$1$@$#$?$$$!$-$*]", "[]"),
        ("$12x", "x"),
        ("$", "$"),
        ("$.", "$."),
        ("a$ b", "a$ b"),
        ("$é", ""),
    ] {
        assert_eq!(expanded(text), expected, "{text}");
    }
}

#[test]
fn quotes() {
    for (text, expected) in [
        // 1.4: single quotes literal; double quotes: escape only before `"`, `$`, escape; unquoted: escape + c → c
        ("'$a \\n \"'", "$a \\n \""),
        ("\"$a '\"", "A '"),
        (r#""\"\$\\\n""#, r#""$\\n"#),
        (r"\$a\'\b\\", r"$a'b\"),
        (r"a\", "a"),
        ("\"a\"'b'c", "abc"),
        ("''", ""),
    ] {
        assert_eq!(expanded(text), expected, "{text}");
    }
    // 1.2: the escape directive also changes the expansion's
    let backtick = |text| expand(&word(text), &variables(), Escape::Backtick).unwrap().text;
    assert_eq!(backtick(r"c:\x`$a"), r"c:\x$a");
}

#[test]
fn refuses() {
    for (text, message) in [
        // 1.4: errors
        ("${a:=w}", "unsupported modifier (:=) in substitution"),
        ("${a=w}", "unsupported modifier (=) in substitution"),
        ("${a:#w}", "unsupported modifier (:#) in substitution"),
        ("${a:%w}", "unsupported modifier (:%) in substitution"),
        ("${a@Q}", "unsupported modifier (@) in substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${}", "syntax error: bad substitution"),
        ("${{a}", "syntax error: bad substitution"),
        ("${", "syntax error: missing '}'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${a/p", "syntax error: missing '/' in ${}"),
        ("${a/p/r", "syntax error: missing '}'"),
        ("${a#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${unset:?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${unset:?say $a}", "unset: say A"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ("\"a", "unexpected end of statement while looking for matching double-quote"),
    ] {
        let error = expand(&word(text), &variables(), Escape::Backslash).unwrap_err();
        assert_eq!(error.message, message, "{text}");
        let span = error.span.unwrap();
        assert!(span.start < span.end && span.end <= text.len(), "{text} {span:?}");
    }
}

#[test]
fn points_at_the_substitution() {
    let error = expand(&word("abc${a:=x}def"), &(), Escape::Backslash).unwrap_err();
    assert_eq!(error.span, Some(Span::new(3, 8)));
}

#[test]
fn notes_undefined_variables() {
    let text = "$a $b ${c} ${d:-x} ${e+x} $1 ${f#x}";
    let expanded = expand(&word(text), &variables(), Escape::Backslash).unwrap();
    let noted: Vec<(&str, &str)> = expanded
        .undefined
        .iter()
        .map(|undefined| (undefined.name.as_str(), &text[undefined.span.start..undefined.span.end]))
        .collect();
    assert_eq!(noted, [("b", "$b"), ("c", "${c}"), ("f", "${f#x}")]);
}

#[test]
fn splits_words_after_expansion() {
    for (text, expected) in [
        // 1.4: EXPOSE splits (`EXPOSE $PORTS`)
        ("$ports", vec!["80", "443/tcp"]),
        ("1$ports", vec!["180", "443/tcp"]),
        ("\"$ports\"", vec!["80 443/tcp"]),
        ("a\\ b", vec!["a b"]),
        ("$unset", vec![]),
        ("''", vec![]),
    ] {
        let words = expand_words(&word(text), &variables(), Escape::Backslash).unwrap().words;
        assert_eq!(words, expected, "{text}");
    }
}

#[test]
fn keeps_quotes_of_heredocs() {
    // 1.3: quotes preserved; `\$`→`$`, `\\`→`\`
    let text = "\"$a\" 'it' \\$a \\\\ it's ${unset:-\"x\"}\n";
    let expanded = expand_heredoc(&word(text), &variables()).unwrap().text;
    assert_eq!(expanded, "\"A\" 'it' $a \\ it's \"x\"\n");
}

#[test]
fn has_limits() {
    let deep = "${a:-".repeat(10_000);
    assert!(expand(&word(&deep), &(), Escape::Backslash).is_err());
    let long = BTreeMap::from([("x".to_owned(), "y".repeat(1 << 20))]);
    let error = expand(&word(&"$x".repeat(20)), &long, Escape::Backslash).unwrap_err();
    assert!(error.message.starts_with("expands to more than"));
}
