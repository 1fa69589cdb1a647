//! Lines that belong together: continuations joined, comments dropped, here-documents attached.

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::directive::{DirectiveReader, Directives, Escape};
use super::heredoc::{self, Operator};
use super::lines::{Line, Lines};
use super::parts::Parts;
use super::source::Span;
use super::word::{Word, WordBuilder};

/// One instruction's lines.
#[derive(Debug)]
pub(super) struct Statement {
    /// The joined lines, without blanks in front.
    pub(super) line: Word,
    /// From the first byte of the first line to the end of the last here-document.
    pub(super) span: Span,
    /// The comment lines directly above, from their `#` on.
    pub(super) comments: Vec<Span>,
    /// The here-documents in the order of their operators.
    pub(super) bodies: Vec<Body>,
}

/// A here-document's contents as written.
#[derive(Debug)]
pub(super) struct Body {
    /// All lines up to the terminator, with their line breaks.
    pub(super) raw: Word,
    /// The terminator, without blanks.
    pub(super) name: String,
}

/// Reads statements off a text.
#[derive(Debug)]
pub(super) struct Statements<'a> {
    text: &'a str,
    lines: Lines<'a>,
    directives: DirectiveReader,
    comments: Vec<Span>,
    /// What was noticed on the way.
    pub(super) warnings: Vec<Diagnostic>,
}

impl<'a> Statements<'a> {
    /// Statements of a whole Dockerfile, with directives at its top.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: Lines::new(text),
            directives: DirectiveReader::default(),
            comments: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What the directives said; complete once there was a statement.
    pub(super) fn directives(&self) -> &Directives {
        self.directives.directives()
    }

    /// The next statement. After an error of a directive one can go on, after others there is nothing more.
    pub(super) fn next(&mut self) -> Result<Option<Statement>, Diagnostic> {
        while let Some(line) = self.lines.next()? {
            if self.directives.take(&line)? {
                continue;
            }
            if line.is_comment() {
                let span = line.trimmed_span();
                // A lone `#` separates a comment from the instruction like a blank line does.
                if span.len() == 1 { self.comments.clear() } else { self.comments.push(span) }
            } else if line.is_blank() {
                self.comments.clear();
            } else if let Some(statement) = self.read(&line)? {
                return Ok(Some(statement));
            }
        }
        Ok(None)
    }

    fn read(&mut self, first: &Line<'a>) -> Result<Option<Statement>, Diagnostic> {
        let comments = std::mem::take(&mut self.comments);
        let (line, end) = self.join(first)?;
        if line.text.trim().is_empty() {
            return Ok(None);
        }
        let mut span = Span::new(line.span.start, end);
        let mut bodies = Vec::new();
        for (operator, place) in heredocs_of(&line, self.directives().escape) {
            let (body, end) = self.read_body(&operator, place)?;
            span.end = end;
            bodies.push(body);
        }
        Ok(Some(Statement { line, span, comments, bodies }))
    }

    /// The lines from `first` on that are continued, as one; and the offset where they end.
    fn join(&mut self, first: &Line<'a>) -> Result<(Word, usize), Diagnostic> {
        let escape = self.directives().escape;
        let mut builder = WordBuilder::default();
        let (start, indent) = (first.start + first.indent(), first.indent());
        let mut end = first.start + first.text.trim_end().len();
        let mut text = first.text.get(indent..).unwrap_or_default();
        let mut source = start;
        let mut empty = None;
        loop {
            let Some(continued) = continued(text, escape) else {
                builder.push(text, source);
                break;
            };
            builder.push(continued, source);
            let next = loop {
                match self.lines.next()? {
                    Some(line) if line.is_comment() => {}
                    Some(line) if line.is_blank() => {
                        empty.get_or_insert(Span::at(line.start));
                    }
                    other => break other,
                }
            };
            let Some(line) = next else { break };
            (text, source, end) = (line.text, line.start, line.start + line.text.trim_end().len());
        }
        if let Some(span) = empty {
            self.warnings.push(
                Diagnostic::warning(Code::NoEmptyContinuation, "Empty continuation line", span)
                    .advise("delete the line, or begin it with `#`"),
            );
        }
        let end = end.max(start);
        Ok((builder.finish(Span::new(start, end)), end))
    }

    /// The lines up to the terminator of `operator`, and the offset behind the terminator.
    fn read_body(&mut self, operator: &Operator, span: Span) -> Result<(Body, usize), Diagnostic> {
        let mut start = None;
        while let Some(line) = self.lines.next()? {
            let start = *start.get_or_insert(line.start);
            let candidate = if operator.chomp { line.text.trim_start_matches('\t') } else { line.text };
            if candidate == operator.name {
                let span = Span::new(start, line.start);
                let raw = Word::new(self.text.get(start..line.start).unwrap_or_default(), span);
                return Ok((Body { raw, name: operator.name.clone() }, line.start + line.text.len()));
            }
        }
        Err(Diagnostic::error(Code::InvalidHeredoc, "unterminated heredoc", span).advise(format!(
            "end it with a line that is exactly `{}`; if no here-document is meant, quote the `<<`",
            operator.name
        )))
    }
}

/// The text before the escape character that continues the line, if one does.
fn continued(text: &str, escape: Escape) -> Option<&str> {
    let head = text.trim_end_matches([' ', '\t']).strip_suffix(escape.char())?;
    // An escaped escape character is a character.
    if head.ends_with(escape.char()) { None } else { Some(head) }
}

/// The here-document operators of an instruction that may have some, with their places.
fn heredocs_of(line: &Word, escape: Escape) -> Vec<(Operator, Span)> {
    if !line.text.contains("<<") {
        return Vec::new();
    }
    let mut parts = Parts::split(line, escape);
    if parts.keyword.text.eq_ignore_ascii_case("ONBUILD") {
        parts = Parts::split(&parts.arguments, escape);
    }
    heredoc::operators(&parts)
        .into_iter()
        .map(|operator| {
            let span = parts.arguments.span_of(operator.range.clone());
            (operator, span)
        })
        .collect()
}
