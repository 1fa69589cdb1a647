//! The JSON form of arguments: an array of strings.

use serde::de::IgnoredAny;

use super::source::Span;
use super::word::{Word, WordBuilder};

/// What some arguments are, seen as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JsonForm {
    /// An array of strings.
    Strings(Vec<Word>),
    /// An array with other things in it: the place of the first one.
    Others(Span),
    /// No valid JSON array: the arguments are in another form.
    No,
}

/// Reads the JSON form, if it is one.
pub(super) fn parse(arguments: &Word) -> JsonForm {
    if !arguments.text.trim_start().starts_with('[') {
        return JsonForm::No;
    }
    let mut reader = Reader { arguments, offset: 0 };
    match reader.array() {
        Ok(strings) => JsonForm::Strings(strings),
        Err(offset) if serde_json::from_str::<Vec<IgnoredAny>>(&arguments.text).is_ok() => {
            JsonForm::Others(arguments.span_of(offset..offset + 1))
        }
        Err(_) => JsonForm::No,
    }
}

struct Reader<'a> {
    arguments: &'a Word,
    offset: usize,
}

/// Offset of what was not expected.
type Unexpected = usize;

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.arguments.text.get(self.offset..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// Takes `c` if it comes next after blanks.
    fn take(&mut self, c: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(c);
        if found {
            self.offset += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), Unexpected> {
        if self.take(c) { Ok(()) } else { Err(self.offset) }
    }

    fn array(&mut self) -> Result<Vec<Word>, Unexpected> {
        self.expect('[')?;
        let mut strings = Vec::new();
        if !self.take(']') {
            loop {
                strings.push(self.string()?);
                if !self.take(',') {
                    break;
                }
            }
            self.expect(']')?;
        }
        self.skip_blanks();
        if self.rest().is_empty() { Ok(strings) } else { Err(self.offset) }
    }

    fn string(&mut self) -> Result<Word, Unexpected> {
        self.expect('"')?;
        let start = self.offset;
        let mut builder = WordBuilder::default();
        loop {
            let at = self.offset;
            let source = self.arguments.source_offset(at);
            let c = self.rest().chars().next().ok_or(at)?;
            self.offset += c.len_utf8();
            match c {
                '"' => return Ok(builder.finish(self.arguments.span_of(start..at))),
                '\\' => builder.push(self.escape()?.encode_utf8(&mut [0; 4]), source),
                '\0'..='\x1f' => return Err(at),
                c => builder.push(c.encode_utf8(&mut [0; 4]), source),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Unexpected> {
        let at = self.offset;
        let c = self.rest().chars().next().ok_or(at)?;
        self.offset += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode()?,
            _ => return Err(at),
        })
    }

    /// The character of `\uXXXX`, or of two of them; a lone surrogate is U+FFFD as in Go.
    fn unicode(&mut self) -> Result<char, Unexpected> {
        let high = self.hex()?;
        if let Some(c) = char::from_u32(high) {
            return Ok(c);
        }
        let after = self.offset;
        if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
            self.offset += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.offset = after;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32, Unexpected> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(self.offset)?;
        self.offset += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Option<Vec<String>> {
        match parse(&Word::new(text, Span::new(0, text.len()))) {
            JsonForm::Strings(words) => Some(words.into_iter().map(|word| word.text).collect()),
            JsonForm::Others(_) => Some(vec!["others".to_owned()]),
            JsonForm::No => None,
        }
    }

    #[test]
    fn is_valid_json_of_strings_or_nothing() {
        let strings = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        for (text, expected) in [
            // 1.1: JSON form only if text starts with `[` and is valid JSON of strings
            (r#"["a", "b c"]"#, strings(&["a", "b c"])),
            (r#"  [ "a" ]  "#, strings(&["a"])),
            ("[]", strings(&[])),
            (r#"["\u00e9\n\"\\\ud83d\ude00\ud800"]"#, strings(&["é\n\"\\😀\u{fffd}"])),
            // 1.1: invalid JSON silently falls back
            ("['a']", None),
            (r#"["a""#, None),
            (r#"["a"] b"#, None),
            (r#"["a",]"#, None),
            (r#"["\x"]"#, None),
            (r#""a""#, None),
            ("[ -d /x ]", None),
            ("", None),
            // 1.1: array with non-strings is an error
            ("[1]", strings(&["others"])),
            (r#"["a", null]"#, strings(&["others"])),
            (r#"[["a"]]"#, strings(&["others"])),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_no_problem() {
        assert_eq!(form(&"[".repeat(100_000)), None);
    }

    #[test]
    fn knows_where_elements_are() {
        let text = r#"["a\n", 7]"#;
        assert_eq!(parse(&Word::new(text, Span::new(0, text.len()))), JsonForm::Others(Span::new(8, 9)));
        let text = r#"["x\"y"]"#;
        let JsonForm::Strings(words) = parse(&Word::new(text, Span::new(0, text.len()))) else { panic!() };
        assert_eq!(words[0].span, Span::new(2, 6));
        assert_eq!(words[0].span_of(2..3), Span::new(5, 6));
    }
}
