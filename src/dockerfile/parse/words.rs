//! Splitting arguments into words.

use crate::dockerfile::directive::Escape;
use crate::dockerfile::parts::BLANKS;
use crate::dockerfile::word::Word;

/// The words between blanks; quotes mean nothing.
pub(super) fn split_blanks(arguments: &Word) -> Vec<Word> {
    let mut words = Vec::new();
    let mut offset = 0;
    for text in arguments.text.split(BLANKS) {
        if !text.is_empty() {
            words.push(arguments.slice(offset..offset + text.len()));
        }
        // All of BLANKS are one byte long.
        offset += text.len() + 1;
    }
    words
}

/// The words between blanks that are neither quoted nor escaped. Quotes and escapes stay in the words; a quote
/// that does not end takes the rest; an escape character at the very end is dropped.
pub(super) fn split_quoted(arguments: &Word, escape: Escape) -> Vec<Word> {
    let text = arguments.text.as_str();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut end = text.len();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| arguments.slice(start..at)));
            continue;
        }
        let start = *start.get_or_insert(at);
        if c == escape.char() && quote != Some('\'') {
            if chars.next().is_none() {
                end = at.max(start);
            }
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '\'' | '"') {
            quote = Some(c);
        }
    }
    words.extend(start.filter(|start| *start < end).map(|start| arguments.slice(start..end)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::source::Span;

    fn texts(words: Vec<Word>) -> Vec<String> {
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn splits_quoted_words() {
        for (text, expected) in [
            // 1.1: quotes kept in the word; escape protects a blank; unclosed quote takes the rest
            ("a  b", vec!["a", "b"]),
            ("'a b' c", vec!["'a b'", "c"]),
            (r#"x="a \" b" c"#, vec![r#"x="a \" b""#, "c"]),
            (r"a\ b c", vec![r"a\ b", "c"]),
            (r"'a\' b", vec![r"'a\'", "b"]),
            ("a 'b c", vec!["a", "'b c"]),
            (r"a b\", vec!["a", "b"]),
            (r"a \", vec!["a"]),
            ("''", vec!["''"]),
            ("\u{a0}é ", vec!["é"]),
            ("", vec![]),
        ] {
            let word = Word::new(text, Span::new(0, text.len()));
            assert_eq!(texts(split_quoted(&word, Escape::Backslash)), expected, "{text}");
        }
    }

    #[test]
    fn splits_at_plain_blanks() {
        // 1.14: COPY and ADD words are split at plain blanks
        let text = "\"a b\"\tc\\ d ";
        let word = Word::new(text, Span::new(0, text.len()));
        assert_eq!(texts(split_blanks(&word)), ["\"a", "b\"", "c\\", "d"]);
    }
}
