//! The text of a Dockerfile, and places in it.

use std::ops::Range;

use serde::Serialize;

/// A Dockerfile's text under the name that messages show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Byte offset of the beginning of every line.
    line_starts: Vec<usize>,
}

/// A byte range in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// A place as people count: both numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LineColumn {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Source {
    /// A source; a byte order mark at the start of `text` is dropped.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { name: name.into(), text, line_starts }
    }

    /// The name that messages show, like `Dockerfile`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text at `span`; empty where the span is not one of this source.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a byte offset; offsets behind the end count as the end.
    pub fn line_column(&self, offset: usize) -> LineColumn {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let before = rest.char_indices().take_while(|(at, _)| start + at < offset);
        LineColumn { line: line.max(1), column: before.count() + 1 }
    }

    /// The whole lines that `span` touches, without the last one's line break.
    pub(super) fn lines_of(&self, span: Span) -> Span {
        let first = self.line_starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let start = self.line_starts.get(first).copied().unwrap_or_default();
        let rest = self.text.get(span.end.max(start)..).unwrap_or_default();
        let end = rest.find('\n').map_or(self.text.len(), |newline| span.end.max(start) + newline);
        Span { start, end }
    }
}

impl Span {
    /// The range from `start` up to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The empty range at `offset`.
    pub fn at(offset: usize) -> Self {
        Self { start: offset, end: offset }
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let source = Source::new("x", "\u{feff}a\néb\n");
        assert_eq!(source.text(), "a\néb\n");
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 2), (5, 2, 3), (6, 3, 1), (99, 3, 1)]
        {
            assert_eq!(source.line_column(offset), LineColumn { line, column }, "{offset}");
        }
    }

    #[test]
    fn slices() {
        let source = Source::new("x", "a\nbc\nd");
        assert_eq!(source.slice(Span::new(2, 4)), "bc");
        assert_eq!(source.slice(Span::new(4, 99)), "");
        assert_eq!(source.slice(source.lines_of(Span::new(3, 4))), "bc");
        assert_eq!(source.slice(source.lines_of(Span::new(0, 3))), "a\nbc");
        assert_eq!(source.slice(source.lines_of(Span::at(6))), "d");
        let both = Span::new(1, 2).to(Span::new(4, 5));
        assert_eq!((both, both.len(), Span::at(1).is_empty()), (Span::new(1, 5), 4, true));
    }
}
