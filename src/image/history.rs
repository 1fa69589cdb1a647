//! How history entries name the instruction behind a step, as BuildKit writes them: `docker history` shows it.

use std::fmt::Write as _;

use super::Healthcheck;

/// The comment on steps of a Dockerfile.
pub const DOCKERFILE_COMMENT: &str = "buildkit.dockerfile.v0";

/// The comment on layers that no instruction is known for.
pub const EXPORTER_COMMENT: &str = "buildkit.exporter.image.v0";

/// `ENV K=V K2=V2`, `LABEL …`; also `ARG k=v k2`, where a key may have no value.
pub fn pairs<'a>(instruction: &str, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    pairs.into_iter().fold(instruction.to_owned(), |mut text, (key, value)| {
        text.push(' ');
        text.push_str(key);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
        text
    })
}

/// `RUN /bin/sh -c cmd # buildkit`, or with build arguments in force `RUN |2 A=1 B=2 /bin/sh -c cmd # buildkit`.
/// Each argument comes once, with its present value.
pub fn run<'a>(arguments: impl IntoIterator<Item = (&'a str, &'a str)>, command: &[String]) -> String {
    let arguments: Vec<String> =
        arguments.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut words = vec!["RUN".to_owned()];
    if !arguments.is_empty() {
        words.push(format!("|{}", arguments.len()));
    }
    words.extend(arguments);
    words.extend_from_slice(command);
    words.push("# buildkit".to_owned());
    words.join(" ")
}

/// `COPY --chown=1 a b dest # buildkit`: the flags that are shown, then sources and destination as written.
pub fn copy<'a>(instruction: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = words.into_iter().fold(instruction.to_owned(), |text, word| text + " " + word);
    text.push_str(" # buildkit");
    text
}

/// `CMD ["a" "b"]`: a list as Go's `%q` prints it.
pub fn quoted_list(instruction: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("{instruction} [{}]", words.join(" "))
}

/// `VOLUME [/a /b]`, `SHELL [/bin/bash -c]`: a list as Go's `%v` prints it.
pub fn plain_list(instruction: &str, words: &[String]) -> String {
    format!("{instruction} [{}]", words.join(" "))
}

/// `HEALTHCHECK {Test:[…] Interval:1s …}`: a struct as Go's `%+v` prints it.
pub fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
        check.retries
    )
}

/// A text as Go's `strconv.Quote` writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            _ if is_printable(character) => quoted.push(character),
            // Writing to a string cannot fail.
            _ => {
                let code = u32::from(character);
                let _ = match code {
                    0..0x80 => write!(quoted, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(quoted, "\\u{code:04x}"),
                    _ => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `unicode.IsPrint`, by way of what Rust escapes. Behind another character, because a combining mark that
/// comes first would be escaped too.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\x7f' => false,
        _ => !String::from_iter(['a', character]).escape_debug().any(|escaped| escaped == '\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Nanoseconds;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_instructions_as_buildkit_does() {
        let shell = words(&["/bin/sh", "-c", "echo  a"]);
        for (found, expected) in [
            (pairs("ENV", [("K", Some("V")), ("K2", Some("V 2"))]), "ENV K=V K2=V 2"),
            (pairs("ARG", [("k", Some("v")), ("k2", None)]), "ARG k=v k2"),
            (run([], &shell), "RUN /bin/sh -c echo  a # buildkit"),
            (run([("A", "1"), ("B", "")], &shell), "RUN |2 A=1 B= /bin/sh -c echo  a # buildkit"),
            (copy("COPY", ["--chown=1", "a", "b", "/c/"]), "COPY --chown=1 a b /c/ # buildkit"),
            (quoted_list("CMD", &words(&["a b", "c\"d"])), r#"CMD ["a b" "c\"d"]"#),
            (quoted_list("ENTRYPOINT", &[]), "ENTRYPOINT []"),
            (plain_list("VOLUME", &words(&["/a", "/b"])), "VOLUME [/a /b]"),
            (plain_list("EXPOSE", &words(&["80/tcp", "53/udp"])), "EXPOSE [80/tcp 53/udp]"),
        ] {
            assert_eq!(found, expected);
        }
        let check = Healthcheck {
            test: words(&["bin", "-c", "exit 0"]),
            interval: Nanoseconds(1_000_000_000),
            timeout: Nanoseconds(10_000_000_000),
            start_period: Nanoseconds(3_000_000_000),
            start_interval: Nanoseconds(100_000_000),
            retries: 5,
            ..Healthcheck::default()
        };
        assert_eq!(
            healthcheck(&check),
            "HEALTHCHECK {Test:[bin -c exit 0] Interval:1s Timeout:10s StartPeriod:3s StartInterval:100ms Retries:5}"
        );
        assert_eq!(
            healthcheck(&Healthcheck { test: words(&["NONE"]), ..Healthcheck::default() }),
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"
        );
    }

    #[test]
    fn quotes_as_go_does() {
        for (text, quoted) in [
            ("", r#""""#),
            ("\x07\x08\x0c\n\r\t\x0b\\", r#""\a\b\f\n\r\t\v\\""#),
            ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            ("é ☺ 🦀 'x'", r#""é ☺ 🦀 'x'""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{a0}\u{feff}\u{e000}\u{f0000}", r#""\u00a0\ufeff\ue000\U000f0000""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }
}
