//! Finding the operators of here-documents: `<<EOF`, `<<-'EOF'`, `3<<EOF`.

use std::ops::Range;

use super::ast::Heredoc;
use super::json::{self, JsonForm};
use super::parts::Parts;
use super::statement::Body;
use super::word::{Word, WordBuilder};

/// A here-document's operator with its delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    /// Where in the arguments.
    pub(super) range: Range<usize>,
    /// The delimiter without quotes.
    pub(super) name: String,
    /// `<<-`: tabs at the beginning of lines are dropped.
    pub(super) chomp: bool,
    /// Whether the delimiter is unquoted.
    pub(super) expand: bool,
}

/// The operators in the arguments of an instruction; none for instructions that take none, and in the JSON form.
pub(super) fn operators(parts: &Parts) -> Vec<Operator> {
    let keyword = &parts.keyword.text;
    let takes_some = ["ADD", "COPY", "RUN"].iter().any(|name| keyword.eq_ignore_ascii_case(name));
    let text = parts.arguments.text.as_str();
    if !takes_some || !text.contains("<<") || !matches!(json::parse(&parts.arguments), JsonForm::No) {
        return Vec::new();
    }
    shell_words(text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|range| parse_operator(text.get(range.clone())?, range))
        .collect()
}

impl Operator {
    /// The here-document with `body`, whose operator is in `arguments`.
    pub(super) fn heredoc(&self, arguments: &Word, body: &Body) -> Heredoc {
        Heredoc {
            name: self.name.clone(),
            operator: arguments.slice(self.range.clone()),
            body: if self.chomp { chomp(&body.raw) } else { body.raw.clone() },
            expand: self.expand,
        }
    }
}

/// The body without the tabs at the beginning of its lines.
fn chomp(body: &Word) -> Word {
    let mut builder = WordBuilder::default();
    let mut offset = body.span.start;
    for line in body.text.split_inclusive('\n') {
        let content = line.trim_start_matches('\t');
        builder.push(content, offset + line.len() - content.len());
        offset += line.len();
    }
    builder.finish(body.span)
}

/// Where the words of a shell command are: at blanks that are neither quoted nor escaped, but blanks after `<<`
/// belong to its word. `None` if a quote does not end: BuildKit finds no operator at all then.
fn shell_words(text: &str) -> Option<Vec<Range<usize>>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            words.extend(start.take().map(|start| start..at));
            continue;
        }
        start.get_or_insert(at);
        match c {
            // The language of commands is the shell's, whatever the Dockerfile's escape character.
            '\\' => {
                chars.next();
            }
            '\'' => {
                chars.find(|(_, c)| *c == '\'')?;
            }
            '"' => loop {
                match chars.next()?.1 {
                    '"' => break,
                    '\\' => {
                        chars.next();
                    }
                    _ => {}
                }
            },
            '<' if chars.next_if(|(_, c)| *c == '<').is_some() => {
                while chars.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\r')).is_some() {}
            }
            _ => {}
        }
    }
    words.extend(start.map(|start| start..text.len()));
    Some(words)
}

fn parse_operator(word: &str, range: Range<usize>) -> Option<Operator> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let delimiter = rest.trim_start();
    if delimiter.is_empty() || delimiter.contains('<') {
        return None;
    }
    let (name, quoted) = unquote(delimiter);
    if name.is_empty() { None } else { Some(Operator { range, name, chomp, expand: !quoted }) }
}

/// The delimiter without quotes and escapes, and whether there were quotes.
fn unquote(text: &str) -> (String, bool) {
    let (mut name, mut quoted) = (String::new(), false);
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, quoted) = (Some(c), true),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => name.extend(chars.next()),
            (Some('"'), '\\') if matches!(chars.peek(), Some('"' | '$' | '\\')) => name.extend(chars.next()),
            (_, c) => name.push(c),
        }
    }
    (name, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::directive::Escape;
    use crate::dockerfile::source::Span;

    fn find(line: &str) -> Vec<(String, bool, bool)> {
        let line = Word::new(line, Span::new(0, line.len()));
        operators(&Parts::split(&line, Escape::Backslash))
            .into_iter()
            .map(|operator| (operator.name, operator.chomp, operator.expand))
            .collect()
    }

    #[test]
    fn finds_operators() {
        let one = |name: &str, chomp, expand| vec![(name.to_owned(), chomp, expand)];
        for (line, expected) in [
            // 1.3: only in ADD, COPY, RUN, not in JSON form
            ("RUN <<EOF", one("EOF", false, true)),
            ("copy <<EOF /x", one("EOF", false, true)),
            ("ADD <<EOF /x", one("EOF", false, true)),
            ("ENV <<EOF", vec![]),
            ("CMD <<EOF", vec![]),
            (r#"RUN ["cat", "<<EOF"]"#, vec![]),
            // 1.3: quoted name means no expansion, <<- chomps, a number in front is ignored
            ("RUN <<'EOF'", one("EOF", false, false)),
            ("RUN <<-\"EOF\"", one("EOF", true, false)),
            ("RUN <<'TO'DAY", one("TODAY", false, false)),
            ("RUN <<5\\\"", one("5\"", false, true)),
            ("RUN 3<<EOF cat", one("EOF", false, true)),
            ("RUN <<$A", one("$A", false, true)),
            // 1.3: <<< is not one
            ("RUN cat <<<EOF", vec![]),
            ("RUN cat<<EOF", vec![]),
            ("RUN echo '<<EOF'", vec![]),
            ("RUN echo \"<<EOF\" it's", vec![]),
            (r"RUN echo \<<EOF", vec![]),
            // 1.14: blanks after the operator
            ("RUN << EOF", one("EOF", false, true)),
            ("RUN echo $(( 1 << 4 ))", one("4", false, true)),
            ("RUN <<- EOF", vec![]),
            ("RUN cat <<A <<-'B' > f", vec![("A".to_owned(), false, true), ("B".to_owned(), true, false)]),
        ] {
            assert_eq!(find(line), expected, "{line}");
        }
    }
}
