//! `FROM`.

use super::instruction::Reading;
use super::words::split_blanks;
use crate::dockerfile::ast::Stage;
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::flags::Kind;
use crate::dockerfile::word::Word;

/// Parses a `FROM` to the beginning of the stage with this index.
pub(super) fn parse_from(reading: &Reading<'_>, index: usize) -> Result<Stage, Diagnostic> {
    let flags = reading.flags(&[("platform", Kind::Text)])?;
    let mut words = split_blanks(reading.arguments()).into_iter();
    let count = || {
        reading
            .error("FROM requires either one or three arguments")
            .advise("write `FROM image` or `FROM image AS name`")
    };
    let base = words.next().ok_or_else(count)?;
    let (as_keyword, name) = match (words.next(), words.next(), words.next()) {
        (None, ..) => (None, None),
        (Some(keyword), Some(name), None) if keyword.text.eq_ignore_ascii_case("AS") => {
            (Some(keyword.span), Some(stage_name(&name)?))
        }
        _ => return Err(count()),
    };
    Ok(Stage {
        index,
        name,
        base,
        platform: flags.given_text("platform"),
        span: reading.span(),
        keyword: reading.parts.keyword.span,
        as_keyword,
        comments: reading.comments().to_vec(),
        instructions: Vec::new(),
    })
}

/// The name in lower case, if it is one: a letter, then letters, digits, `-`, `_` and `.`.
fn stage_name(name: &Word) -> Result<Word, Diagnostic> {
    let text = name.text.to_lowercase();
    let valid = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if valid {
        return Ok(Word::new(text, name.span));
    }
    let message = format!(
        "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
        name.text
    );
    Err(Diagnostic::error(Code::InvalidStageName, message, name.span))
}
