//! The parts of an instruction's line: keyword, flags, arguments.

use super::directive::Escape;
use super::source::Span;
use super::word::{Word, WordBuilder};

/// What separates words where no quotes are understood.
pub(super) const BLANKS: [char; 5] = [' ', '\t', '\x0b', '\x0c', '\r'];

/// A line taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The first word.
    pub(super) keyword: Word,
    /// The `--name[=value]` words behind it.
    pub(super) flags: Vec<Flag>,
    /// The rest, without blanks around it.
    pub(super) arguments: Word,
}

/// A `--name` or `--name=value`, without quotes and escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    /// The name, without dashes.
    pub(super) name: Word,
    /// The value.
    pub(super) value: Option<Word>,
    /// All of it.
    pub(super) span: Span,
}

impl Parts {
    /// Takes a line apart.
    pub(super) fn split(line: &Word, escape: Escape) -> Self {
        let line = line.trim();
        let length = line.text.find(BLANKS).unwrap_or(line.text.len());
        let keyword = line.slice(0..length);
        let mut flags = Vec::new();
        let mut offset = length;
        loop {
            let rest = line.text.get(offset..).unwrap_or_default();
            offset += rest.len() - rest.trim_start().len();
            if !rest.trim_start().starts_with("--") {
                break;
            }
            let (flag, end) = read_flag(&line, offset, escape);
            offset = end;
            match flag {
                Some(flag) => flags.push(flag),
                // A lone `--`: what follows are arguments.
                None => break,
            }
        }
        let arguments = line.slice(offset..line.text.len()).trim();
        Self { keyword, flags, arguments }
    }
}

/// Reads the flag at `start`; `None` for `--`. Also gives the offset behind it.
fn read_flag(line: &Word, start: usize, escape: Escape) -> (Option<Flag>, usize) {
    let mut builder = WordBuilder::default();
    let mut quote = None;
    let mut end = line.text.len();
    let mut chars = line.text.get(start..).unwrap_or_default().char_indices();
    while let Some((at, c)) = chars.next() {
        let at = start + at;
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                end = at;
                break;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, c) if c == escape.char() => {
                if let Some((at, c)) = chars.next() {
                    builder.push(c.encode_utf8(&mut [0; 4]), line.source_offset(start + at));
                }
            }
            (_, c) => builder.push(c.encode_utf8(&mut [0; 4]), line.source_offset(at)),
        }
    }
    let span = line.span_of(start..end);
    let word = builder.finish(span);
    let flag = (word.text != "--").then(|| {
        let equals = word.text.find('=');
        let name = word.slice(2..equals.unwrap_or(word.text.len()));
        let value = equals.map(|equals| {
            let mut value = word.slice(equals + 1..word.text.len());
            if value.text.is_empty() {
                value.span = Span::at(span.end);
            }
            value
        });
        Flag { name, value, span }
    });
    (flag, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keyword, flags with values, arguments.
    type Texts = (String, Vec<(String, Option<String>)>, String);

    fn split(line: &str, escape: Escape) -> Texts {
        let parts = Parts::split(&Word::new(line, Span::new(0, line.len())), escape);
        let flags = parts.flags.into_iter().map(|f| (f.name.text, f.value.map(|v| v.text))).collect();
        (parts.keyword.text, flags, parts.arguments.text)
    }

    #[test]
    fn takes_lines_apart() {
        let flag = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        for (line, escape, keyword, flags, arguments) in [
            ("RUN  a  b ", Escape::Backslash, "RUN", vec![], "a  b"),
            ("RUN\ta", Escape::Backslash, "RUN", vec![], "a"),
            ("RUN", Escape::Backslash, "RUN", vec![], ""),
            // 1.1: flags are taken from the front of args until the first other word or a literal `--`
            (
                "COPY --link --chown=1 a b",
                Escape::Backslash,
                "COPY",
                vec![flag("link", None), flag("chown", Some("1"))],
                "a b",
            ),
            ("COPY --link -- --a b", Escape::Backslash, "COPY", vec![flag("link", None)], "--a b"),
            ("COPY a --link b", Escape::Backslash, "COPY", vec![], "a --link b"),
            ("RUN --x=", Escape::Backslash, "RUN", vec![flag("x", Some(""))], ""),
            ("RUN -x", Escape::Backslash, "RUN", vec![], "-x"),
            // 1.1: flag words understand quotes and the escape token
            ("RUN --a='b c' d", Escape::Backslash, "RUN", vec![flag("a", Some("b c"))], "d"),
            (r#"RUN --a=b\ "c" d"#, Escape::Backslash, "RUN", vec![flag("a", Some("b c"))], "d"),
            ("RUN --a=b` c d", Escape::Backtick, "RUN", vec![flag("a", Some("b c"))], "d"),
            ("RUN --a='b", Escape::Backslash, "RUN", vec![flag("a", Some("b"))], ""),
        ] {
            let expected = (keyword.to_owned(), flags, arguments.to_owned());
            assert_eq!(split(line, escape), expected, "{line}");
        }
    }

    #[test]
    fn knows_where_values_are() {
        let line = r#"RUN --a="b"c x"#;
        let parts = Parts::split(&Word::new(line, Span::new(0, line.len())), Escape::Backslash);
        let value = parts.flags[0].value.clone().unwrap();
        assert_eq!(&line[value.span.start..value.span.end], "b\"c");
        assert_eq!(value.span_of(1..2), Span::new(11, 12));
    }
}
