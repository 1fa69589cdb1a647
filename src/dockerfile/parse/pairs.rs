//! `ENV`, `LABEL` and `ARG`: names and values.

use super::instruction::Reading;
use super::words::split_quoted;
use crate::dockerfile::ast::{ArgDeclaration, Assignment};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::parts::BLANKS;
use crate::dockerfile::source::Span;
use crate::dockerfile::word::Word;

/// The assignments of `ENV` and `LABEL`: `name=value …`, or the old `name value`.
pub(super) fn parse_assignments(
    reading: &Reading<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Vec<Assignment>, Diagnostic> {
    let arguments = reading.arguments();
    let words = split_quoted(arguments, reading.escape);
    let first = words.first().ok_or_else(|| reading.at_least_one())?;
    if !first.text.contains('=') {
        return Ok(vec![parse_legacy(reading, warnings)?]);
    }
    words
        .iter()
        .map(|word| match split_at_equals(word) {
            Some((name, value)) if !name.text.is_empty() => Ok(Assignment { name, value }),
            Some(_) => Err(blank_name(reading, word)),
            None => {
                let message = format!(
                    "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                    word.text
                );
                Err(Diagnostic::error(Code::InvalidArguments, message, word.span)
                    .advise("put a value with blanks in quotes"))
            }
        })
        .collect()
}

fn parse_legacy(reading: &Reading<'_>, warnings: &mut Vec<Diagnostic>) -> Result<Assignment, Diagnostic> {
    let arguments = reading.arguments();
    let keyword = reading.keyword();
    let Some(end) = arguments.text.find(BLANKS) else {
        return Err(reading.error(format!("{keyword} must have two arguments")));
    };
    let name = arguments.slice(0..end);
    let value = arguments.slice(end..arguments.text.len());
    let value = value.slice(value.text.len() - value.text.trim_start_matches(BLANKS).len()..value.text.len());
    let message =
        format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
    let advice = format!("write {keyword} {}={:?}", name.text, value.text.trim_end());
    warnings.push(Diagnostic::warning(Code::LegacyKeyValueFormat, message, arguments.span).advise(advice));
    Ok(Assignment { name, value })
}

/// The declarations of `ARG`: `name` or `name=default`, each.
pub(super) fn parse_arg(reading: &Reading<'_>) -> Result<Vec<ArgDeclaration>, Diagnostic> {
    let words = split_quoted(reading.arguments(), reading.escape);
    if words.is_empty() {
        return Err(reading.at_least_one());
    }
    words
        .into_iter()
        .map(|word| match split_at_equals(&word) {
            Some((name, _)) if name.text.is_empty() => Err(blank_name(reading, &word)),
            Some((name, value)) => Ok(ArgDeclaration { name, default: Some(value) }),
            None => Ok(ArgDeclaration { name: word, default: None }),
        })
        .collect()
}

fn blank_name(reading: &Reading<'_>, word: &Word) -> Diagnostic {
    let message = format!("{} names can not be blank", reading.keyword());
    Diagnostic::error(Code::InvalidArguments, message, word.span)
}

/// Both sides of the first `=`.
pub(super) fn split_at_equals(word: &Word) -> Option<(Word, Word)> {
    let equals = word.text.find('=')?;
    let mut value = word.slice(equals + 1..word.text.len());
    if value.text.is_empty() {
        value.span = Span::at(word.span.end);
    }
    Some((word.slice(0..equals), value))
}
