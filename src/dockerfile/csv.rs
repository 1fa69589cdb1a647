//! Comma-separated fields, as `--mount` takes them.

use super::source::Span;
use super::word::{Word, WordBuilder};

/// Splits a record of RFC 4180 into its fields: a field in double quotes may hold commas, and `""` for a quote.
/// The error says what is wrong.
pub(super) fn split(record: &Word) -> Result<Vec<Word>, &'static str> {
    if record.text.is_empty() {
        return Err("nothing is there");
    }
    let mut fields = Vec::new();
    let mut offset = 0;
    loop {
        let rest = record.text.get(offset..).unwrap_or_default();
        let (field, length) = if rest.starts_with('"') {
            quoted(record, offset)?
        } else {
            let length = rest.find(',').unwrap_or(rest.len());
            let field = record.slice(offset..offset + length);
            if field.text.contains('"') {
                return Err("bare \" in non-quoted field");
            }
            (field, length)
        };
        fields.push(field);
        offset += length;
        match record.text.as_bytes().get(offset) {
            None => return Ok(fields),
            Some(b',') => offset += 1,
            Some(_) => return Err("extraneous or missing \" in quoted-field"),
        }
    }
}

/// The quoted field at `start`, and its length with the quotes.
fn quoted(record: &Word, start: usize) -> Result<(Word, usize), &'static str> {
    let mut builder = WordBuilder::default();
    let text = record.text.get(start..).unwrap_or_default();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '"' && chars.next_if(|(_, next)| *next == '"').is_none() {
            let span: Span = record.span_of(start..start + at + 1);
            return Ok((builder.finish(span), at + 1));
        }
        builder.push(c.encode_utf8(&mut [0; 4]), record.source_offset(start + at));
    }
    Err("extraneous or missing \" in quoted-field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fields() {
        for (text, expected) in [
            ("a,b=c", Ok(vec!["a", "b=c"])),
            (r#"a,"b,""c""",d"#, Ok(vec!["a", "b,\"c\"", "d"])),
            ("a,", Ok(vec!["a", ""])),
            (r#"a"b"#, Err("bare \" in non-quoted field")),
            (r#""a"#, Err("extraneous or missing \" in quoted-field")),
            (r#""a"b"#, Err("extraneous or missing \" in quoted-field")),
            ("", Err("nothing is there")),
        ] {
            let fields = split(&Word::new(text, Span::new(0, text.len())));
            let fields = fields.map(|words| words.into_iter().map(|w| w.text).collect::<Vec<_>>());
            assert_eq!(fields, expected.map(|e| e.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }
}
