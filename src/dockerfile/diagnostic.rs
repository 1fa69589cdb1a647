//! Errors and warnings with their place in the Dockerfile.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

use super::code::Code;
use super::source::{LineColumn, Source, Span};

/// Columns where the width of what is written to is not known.
const DEFAULT_WIDTH: usize = 140;

/// Less than this leaves no room for a source line.
const MIN_WIDTH: usize = 40;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// There is no build.
    Error,
}

/// One thing to say about a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// What is wrong, in the words that BuildKit's users know.
    pub message: String,
    /// Where, if at a place.
    pub span: Option<Span>,
    /// What to do about it.
    pub advice: Option<String>,
}

/// At least one [`Diagnostic`], and the source that their spans are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: Arc<Source>,
    first: Box<Diagnostic>,
    rest: Vec<Diagnostic>,
}

/// A [`Diagnostic`] as programs read it: with the place spelled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedDiagnostic<'a> {
    /// What it is about: the name of a lint rule or of a kind of error.
    pub rule: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: &'a str,
    /// Name of the source.
    pub file: &'a str,
    /// Where it begins.
    #[serde(flatten)]
    pub start: Option<LineColumn>,
    /// Where it ends: at the character behind the last one.
    pub end: Option<LineColumn>,
    /// The line where it begins.
    pub source: Option<&'a str>,
    /// What to do about it.
    pub advice: Option<&'a str>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span: Some(span), advice: None }
    }

    /// A warning at `span`.
    pub fn warning(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, span) }
    }

    /// The same with advice what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The diagnostic as text of several lines: message, place, the source lines with the words underlined, advice.
    pub fn render(&self, source: &Source, colour: bool) -> String {
        self.render_text(&self.message, self.safe_advice().as_deref(), DEFAULT_WIDTH, source, colour)
    }

    /// The same for a terminal of so many columns: of longer source lines only the part that matters is shown, and
    /// longer texts are broken between words.
    pub fn render_within(&self, width: usize, source: &Source, colour: bool) -> String {
        let width = width.max(MIN_WIDTH);
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let title = format!("{severity}[{}]: ", self.code.name());
        let message = wrapped(&self.message, width.saturating_sub(title.len()));
        // Advice begins behind a margin as wide as the line's number, and ` = help: `.
        let line = self.span.map(|span| source.line_column(span.end).line).unwrap_or_default();
        let margin = line.to_string().len() + " = help: ".len();
        let advice = self.safe_advice().map(|advice| wrapped(&advice, width.saturating_sub(margin)));
        self.render_text(&message, advice.as_deref(), width, source, colour)
    }

    /// The advice, which unlike the rest is printed as it is: a Dockerfile must not send commands to the terminal.
    fn safe_advice(&self) -> Option<String> {
        self.advice.as_deref().map(normalize_untrusted_str)
    }

    fn render_text(
        &self,
        message: &str,
        advice: Option<&str>,
        width: usize,
        source: &Source,
        colour: bool,
    ) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(width);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(message).id(self.code.name());
        let mut group = match self.span {
            Some(span) => title.element(excerpt(source, span)),
            None => Group::with_title(title),
        };
        if let Some(advice) = advice {
            group = group.element(Level::HELP.message(advice));
        }
        renderer.render(&[group])
    }

    /// The diagnostic with its place spelled out, to be serialised.
    pub fn placed<'a>(&'a self, source: &'a Source) -> PlacedDiagnostic<'a> {
        PlacedDiagnostic {
            rule: self.code,
            severity: self.severity,
            message: &self.message,
            file: source.name(),
            start: self.span.map(|span| source.line_column(span.start)),
            end: self.span.map(|span| source.line_column(span.end)),
            source: self.span.map(|span| source.slice(source.lines_of(Span::at(span.start)))),
            advice: self.advice.as_deref(),
        }
    }
}

/// The message alone.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A text in lines of at most `width` characters, broken between words; longer words stay whole.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::with_capacity(text.len());
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 {
            let fits = used + 1 + length <= width;
            lines.push(if fits { ' ' } else { '\n' });
            used = if fits { used + 1 } else { 0 };
        }
        lines.push_str(word);
        used += length;
    }
    lines
}

/// Only the lines that the span touches: rendering takes no longer in a long file.
fn excerpt(source: &Source, span: Span) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let lines = source.lines_of(span);
    let text = source.slice(lines);
    let start = span.start.saturating_sub(lines.start).min(text.len());
    let end = span.end.saturating_sub(lines.start).clamp(start, text.len());
    Snippet::source(text)
        .path(normalize_untrusted_str(source.name()))
        .line_start(source.line_column(lines.start).line)
        .annotation(AnnotationKind::Primary.span(start..end))
}

impl Diagnostics {
    /// The diagnostics of `source`, if there are any.
    pub fn new(source: Arc<Source>, diagnostics: Vec<Diagnostic>) -> Option<Self> {
        let mut diagnostics = diagnostics.into_iter();
        let first = Box::new(diagnostics.next()?);
        Some(Self { source, first, rest: diagnostics.collect() })
    }

    /// A single diagnostic of `source`.
    pub fn one(source: Arc<Source>, diagnostic: Diagnostic) -> Self {
        Self { source, first: Box::new(diagnostic), rest: Vec::new() }
    }

    /// The text that the spans are of.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The diagnostics, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(&*self.first).chain(&self.rest)
    }

    /// The first one.
    pub fn into_first(self) -> Diagnostic {
        *self.first
    }

    /// The diagnostics with their places spelled out, to be serialised.
    pub fn placed(&self) -> impl Iterator<Item = PlacedDiagnostic<'_>> {
        self.iter().map(|diagnostic| diagnostic.placed(&self.source))
    }

    /// All of them as text, see [`Diagnostic::render`].
    pub fn render(&self, colour: bool) -> String {
        let rendered: Vec<String> =
            self.iter().map(|diagnostic| diagnostic.render(&self.source, colour)).collect();
        rendered.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_with_place_and_advice() {
        let source = Source::new("Dockerfile", "FROM x\nRUN a \\\n  b\n");
        let diagnostic = Diagnostic::warning(Code::UndefinedVar, "it is so", Span::new(11, 18));
        insta::assert_snapshot!(diagnostic.clone().advise("do so").render(&source, false), @r"
        warning[UndefinedVar]: it is so
         --> Dockerfile:2:5
          |
        2 |   RUN a \
          |  _____^
        3 | |   b
          | |___^
          |
          = help: do so
        ");
        assert!(!diagnostic.render(&source, false).contains("help"));
    }

    #[test]
    fn breaks_long_texts_between_words() {
        let source = Source::new("Dockerfile", "FROM x\nRUN a\n");
        let message = "one two three four five six seven eight nine ten";
        let advice = "eleven twelve thirteen fourteen fifteen sixteen";
        let diagnostic = Diagnostic::warning(Code::UndefinedVar, message, Span::new(7, 10)).advise(advice);
        insta::assert_snapshot!(diagnostic.render_within(40, &source, false), @r"
        warning[UndefinedVar]: one two three
                               four five six
                               seven eight nine
                               ten
         --> Dockerfile:2:1
          |
        2 | RUN a
          | ^^^
          |
          = help: eleven twelve thirteen
                  fourteen fifteen sixteen
        ");
        assert_eq!(wrapped("", 5), "");
        assert_eq!(wrapped("a  longer-word b", 5), "a \nlonger-word\nb");
    }

    #[test]
    fn renders_without_a_place() {
        let diagnostic =
            Diagnostic { span: None, ..Diagnostic::error(Code::NotFound, "gone", Span::default()) };
        assert_eq!(diagnostic.render(&Source::new("x", ""), false), "error[NotFound]: gone");
    }

    #[test]
    fn sends_no_commands_to_the_terminal() {
        let text = "\u{1b}[31m";
        let source = Source::new(text, text);
        let diagnostic = Diagnostic::error(Code::NotFound, text, Span::new(0, text.len())).advise(text);
        assert!(!diagnostic.render(&source, false).contains('\u{1b}'));
    }

    #[test]
    fn is_as_quick_in_long_files() {
        let source = Source::new("x", "a\n".repeat(1_000_000));
        let rendered =
            Diagnostic::error(Code::NotFound, "gone", Span::new(1_999_998, 1_999_999)).render(&source, false);
        assert!(rendered.contains("x:1000000:1"), "{rendered}");
    }
}
