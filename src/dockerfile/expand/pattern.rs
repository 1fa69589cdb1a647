//! Patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and literal characters.

use std::ops::Range;

use regex::Regex;

/// A pattern, ready to be searched for.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    Literal(char),
}

/// How much `*` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// As little as possible.
    Shortest,
    /// As much as possible.
    Longest,
}

impl Pattern {
    /// Parses a pattern. The backslash takes the meaning from `*`, `?` and itself, and the delimiters `}` and `/`
    /// may be written with one; the error is about any other.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(c),
                    Some(c) => return Err(format!("invalid escape '\\{c}'")),
                    None => return Err("invalid escape '\\' at the end".to_owned()),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// `value` without what the pattern matches at its beginning.
    pub(super) fn trim_start(&self, value: &str, extent: Extent) -> Result<String, String> {
        let end = anchored(self.0.iter().copied(), extent)?.find(value).map_or(0, |found| found.end());
        Ok(value.get(end..).unwrap_or_default().to_owned())
    }

    /// `value` without what the pattern matches at its end. Both are turned round for that: a search from the left
    /// cannot find the shortest match at the right.
    pub(super) fn trim_end(&self, value: &str, extent: Extent) -> Result<String, String> {
        let reversed: String = value.chars().rev().collect();
        let end = anchored(self.0.iter().rev().copied(), extent)?.find(&reversed).map_or(0, |f| f.end());
        Ok(value.get(..value.len() - end).unwrap_or_default().to_owned())
    }

    /// Where the pattern matches in `value`: the first place, or all that do not overlap.
    pub(super) fn find(&self, value: &str, all: bool) -> Result<Vec<Range<usize>>, String> {
        let regex = compile(&expression(self.0.iter().copied(), Extent::Longest))?;
        let most = if all { usize::MAX } else { 1 };
        Ok(regex.find_iter(value).take(most).map(|found| found.range()).collect())
    }
}

fn anchored(tokens: impl Iterator<Item = Token>, extent: Extent) -> Result<Regex, String> {
    compile(&format!("^{}", expression(tokens, extent)))
}

fn expression(tokens: impl Iterator<Item = Token>, extent: Extent) -> String {
    let mut expression = String::new();
    for token in tokens {
        match (token, extent) {
            (Token::Any, Extent::Shortest) => expression.push_str(".*?"),
            (Token::Any, Extent::Longest) => expression.push_str(".*"),
            (Token::One, _) => expression.push('.'),
            (Token::Literal(c), _) => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

/// Linear in time whatever the pattern; a huge one is refused.
fn compile(expression: &str) -> Result<Regex, String> {
    Regex::new(expression).map_err(|_| "the pattern is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims() {
        let trim = |pattern: &str, value: &str| {
            let pattern = Pattern::parse(pattern).unwrap();
            [
                pattern.trim_start(value, Extent::Shortest).unwrap(),
                pattern.trim_start(value, Extent::Longest).unwrap(),
                pattern.trim_end(value, Extent::Shortest).unwrap(),
                pattern.trim_end(value, Extent::Longest).unwrap(),
            ]
        };
        // 1.4: `${v#p}` `${v##p}` `${v%p}` `${v%%p}`
        assert_eq!(trim("*.", "a.b.c"), ["b.c", "c", "a.b.c", "a.b.c"]);
        assert_eq!(trim(".*", "a.b.c"), ["a.b.c", "a.b.c", "a.b", "a"]);
        assert_eq!(trim("?", "äöü"), ["öü", "öü", "äö", "äö"]);
        assert_eq!(trim("*", "ab"), ["ab", "", "ab", ""]);
        // 1.4: no `[...]`
        assert_eq!(trim("[a]", "[a]a"), ["a", "a", "[a]a", "[a]a"]);
        assert_eq!(trim(r"\*", "**"), ["*", "*", "*", "*"]);
        assert_eq!(trim("", "x"), ["x", "x", "x", "x"]);
    }

    #[test]
    fn refuses_other_escapes() {
        assert_eq!(Pattern::parse(r"\x").unwrap_err(), r"invalid escape '\x'");
        assert!(Pattern::parse(r"\").is_err());
    }
}
