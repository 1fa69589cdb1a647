//! Pieces of an instruction that know where they were written.

use std::fmt;
use std::ops::Range;

use super::source::Span;

/// A part of an instruction's text, as written: quotes, escapes and `$` are not processed, but continuations
/// are joined (and the escapes of the JSON form resolved), so that the text may differ from the source at its span.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it was written, from its first byte up to behind its last.
    pub span: Span,
    /// Where the pieces of the text come from: each piece of text from its offset on is a verbatim copy of the
    /// source from its offset on. Empty when the text is the source at the span.
    pieces: Vec<Piece>,
}

/// The beginning of a verbatim run: its offset in the text and in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    text: usize,
    source: usize,
}

impl Word {
    /// A word whose text stands verbatim in the source at `span`, or one that was not written at all (a default)
    /// and is blamed on `span`.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self { text: text.into(), span, pieces: Vec::new() }
    }

    /// Where the given byte range of the text was written. Ranges outside of the text are cut to it.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        // The end belongs to the byte before it: behind a continuation the next line would be blamed otherwise.
        let end = match range.end.checked_sub(1) {
            Some(last) if range.end > range.start => self.source_offset(last) + 1,
            _ => start,
        };
        let end = end.clamp(self.span.start, self.span.end);
        Span { start: start.min(end), end }
    }

    /// The piece of this word at a byte range of its text, which must lie on character boundaries; the empty word
    /// otherwise.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Word {
        let text = self.text.get(range.clone()).unwrap_or_default().to_owned();
        let span = self.span_of(range.clone());
        let first = self.pieces.partition_point(|piece| piece.text <= range.start).saturating_sub(1);
        let pieces = self
            .pieces
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(|piece| piece.text < range.end.max(range.start + 1))
            .map(|piece| match range.start.checked_sub(piece.text) {
                Some(inside) => Piece { text: 0, source: piece.source + inside },
                None => Piece { text: piece.text - range.start, source: piece.source },
            })
            .collect();
        Word { text, span, pieces }
    }

    /// The word without blanks around it.
    #[must_use]
    pub(super) fn trim(&self) -> Word {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len();
        self.slice(start..end.max(start))
    }

    /// Where the byte of the text at `offset` stands in the source.
    pub(super) fn source_offset(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let index = self.pieces.partition_point(|piece| piece.text <= offset);
        let source = match index.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(piece) => piece.source + (offset - piece.text),
            None => self.span.start + offset,
        };
        source.clamp(self.span.start, self.span.end)
    }
}

/// Puts a [`Word`] together from verbatim pieces of the source.
#[derive(Debug, Default)]
pub(super) struct WordBuilder {
    text: String,
    pieces: Vec<Piece>,
}

impl WordBuilder {
    /// Appends `text`, which stands in the source at `source`.
    pub(super) fn push(&mut self, text: &str, source: usize) {
        if text.is_empty() {
            return;
        }
        let continues =
            self.pieces.last().is_some_and(|piece| piece.source + (self.text.len() - piece.text) == source);
        if !continues {
            self.pieces.push(Piece { text: self.text.len(), source });
        }
        self.text.push_str(text);
    }

    /// Appends a word.
    pub(super) fn push_word(&mut self, word: &Word) {
        if word.pieces.is_empty() {
            return self.push(&word.text, word.span.start);
        }
        for (index, piece) in word.pieces.iter().enumerate() {
            let end = word.pieces.get(index + 1).map_or(word.text.len(), |next| next.text);
            self.push(word.text.get(piece.text..end).unwrap_or_default(), piece.source);
        }
    }

    /// The word, written at `span`.
    pub(super) fn finish(self, span: Span) -> Word {
        let verbatim = match self.pieces.as_slice() {
            [] => true,
            [piece] => piece.source == span.start,
            _ => false,
        };
        Word { text: self.text, span, pieces: if verbatim { Vec::new() } else { self.pieces } }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}..{}", self.text, self.span.start, self.span.end)
    }
}

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ab` from 10 on, `cd` from 20 on.
    fn word() -> Word {
        let mut builder = WordBuilder::default();
        builder.push("a", 10);
        builder.push("b", 11);
        builder.push("cd", 20);
        builder.finish(Span::new(10, 22))
    }

    #[test]
    fn knows_where_its_parts_are() {
        for (range, span) in [
            (0..1, (10, 11)),
            (0..2, (10, 12)),
            (1..3, (11, 21)),
            (2..4, (20, 22)),
            (2..2, (20, 20)),
            (4..4, (22, 22)),
            (9..12, (22, 22)),
        ] {
            assert_eq!(word().span_of(range.clone()), Span::new(span.0, span.1), "{range:?}");
        }
    }

    #[test]
    fn slices_keep_their_places() {
        let slice = word().slice(1..4);
        assert_eq!((slice.text.as_str(), slice.span), ("bcd", Span::new(11, 22)));
        assert_eq!(slice.span_of(1..2), Span::new(20, 21));
        assert_eq!(slice.slice(2..3).span, Span::new(21, 22));
        assert_eq!(word().slice(7..9).text, "");
    }

    #[test]
    fn is_put_together_of_words() {
        let mut builder = WordBuilder::default();
        builder.push_word(&word());
        builder.push_word(&Word::new("e", Span::new(30, 31)));
        let joined = builder.finish(Span::new(10, 31));
        assert_eq!(joined.text, "abcde");
        assert_eq!((joined.span_of(3..4), joined.span_of(4..5)), (Span::new(21, 22), Span::new(30, 31)));
    }
}
