//! Mistakes in `cooper.yaml`, at their places.

use std::sync::Arc;

use serde_saphyr::{Error, Location, Spanned};

use crate::dockerfile::{Code, Diagnostic, Diagnostics, Source, Span, nearest};

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Findings {
    source: Arc<Source>,
    found: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), found: Vec::new() }
    }

    /// Notes what is wrong there, and what to do.
    pub(super) fn add(&mut self, place: Location, message: impl Into<String>, advice: impl Into<String>) {
        let span = self.span(place);
        self.found.push(Diagnostic::error(Code::InvalidConfig, message, span).advise(advice));
    }

    /// The same, at a value.
    pub(super) fn at<T>(
        &mut self,
        value: &Spanned<T>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(value.referenced, message, advice);
    }

    /// `value` if nothing is wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Diagnostics> {
        match Diagnostics::new(self.source, self.found) {
            None => Ok(value),
            Some(diagnostics) => Err(diagnostics),
        }
    }

    fn span(&self, place: Location) -> Span {
        let found = place.span();
        let text = self.source.text();
        let (Some(start), Some(length)) = (found.byte_offset(), found.byte_len()) else {
            return Span::at(text.len());
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(text.len());
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(text.len());
        // A mapping begins at its first key, and a list at its first `-`: the rest of the line shows which.
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let end = end.max(start + 1).min(start + line.trim_end().len().max(1)).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            Span::new(start, end)
        } else {
            Span::at(start)
        }
    }
}

/// What the reader of YAML has to say.
pub(super) fn unreadable(source: &Arc<Source>, error: &Error) -> Diagnostics {
    let mut findings = Findings::new(source);
    let error = error.without_snippet();
    let place = error.location().unwrap_or(Location::UNKNOWN);
    let (message, advice) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("there is no field `{field}` here"), choice(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is none of the possible values"), choice(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => {
            (format!("the field `{field}` is missing here"), format!("write `{field}: …`"))
        }
        error => (plain(error), "docs/service.md has all fields and an example".to_owned()),
    };
    findings.add(place, message, advice);
    // There is one.
    findings.finish(()).err().unwrap_or_else(|| {
        Diagnostics::one(
            Arc::clone(source),
            Diagnostic::error(Code::InvalidConfig, error.to_string(), Span::at(0)),
        )
    })
}

/// An error without the place that it ends with: that is shown otherwise.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").filter(|at| {
        text[at + " at line ".len()..]
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b", column:".contains(&byte))
    });
    let text = &text[..end.unwrap_or(text.len())];
    text.replace("sequence start", "a list here").replace("mapping start", "a mapping here")
}

fn choice(given: &str, expected: &[&'static str]) -> String {
    match nearest(given, expected) {
        Some(option) => format!("did you mean `{option}`?"),
        None => format!("there are {}", expected.join(", ")),
    }
}
