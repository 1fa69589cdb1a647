//! Physical lines.

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::source::Span;

/// The longest line BuildKit reads, in bytes.
const MAX_LENGTH: usize = 65535;

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Without its line break.
    pub(super) text: &'a str,
    /// Offset of its first byte.
    pub(super) start: usize,
    /// Offset behind its line break.
    pub(super) end: usize,
}

/// The lines of a text, one after the other.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    /// The next line; an error if it is too long, after which there are none.
    pub(super) fn next(&mut self) -> Result<Option<Line<'a>>, Diagnostic> {
        let start = self.offset;
        let rest = self.text.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        let text = rest.get(..length).unwrap_or_default().trim_end_matches(['\r', '\n']);
        if text.len() > MAX_LENGTH {
            self.offset = self.text.len();
            let message = format!("dockerfile line greater than max allowed size of {MAX_LENGTH}");
            return Err(Diagnostic::error(Code::LineTooLong, message, Span::new(start, start + 1))
                .advise("break the line with the escape character at its end, or move the data to a file"));
        }
        self.offset = start + length;
        Ok(Some(Line { text, start, end: self.offset }))
    }
}

impl Line<'_> {
    /// Whether it is a comment.
    pub(super) fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    /// Whether there is nothing but blanks.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_start().is_empty()
    }

    /// Number of blanks at its beginning, in bytes.
    pub(super) fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }

    /// The line without the blanks at its ends.
    pub(super) fn trimmed_span(&self) -> Span {
        let start = self.start + self.indent();
        Span::new(start, (self.start + self.text.trim_end().len()).max(start))
    }
}
