//! `COPY` and `ADD`.

use super::instruction::{Reading, check_constant};
use super::words::split_blanks;
use crate::dockerfile::ast::{Add, Copy, CopySource, Heredoc};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::flags::Kind;
use crate::dockerfile::remote::RemoteSource;
use crate::dockerfile::value::parse_chmod;
use crate::dockerfile::word::Word;

/// Parses `COPY`.
pub(super) fn parse_copy(reading: &Reading<'_>) -> Result<Copy, Diagnostic> {
    let flags = reading.flags(&[
        ("from", Kind::Text),
        ("chown", Kind::Text),
        ("chmod", Kind::Text),
        ("link", Kind::Boolean),
        ("parents", Kind::Boolean),
        ("exclude", Kind::Texts),
    ])?;
    let from = flags.text("from");
    if let Some(from) = &from {
        check_from(from)?;
    }
    let chmod = flags.given_text("chmod");
    if let Some(chmod) = &chmod {
        check_constant(chmod, reading.escape, parse_chmod)?;
    }
    let (sources, destination) = parse_paths(reading)?;
    for source in &sources {
        check_local(source)?;
    }
    Ok(Copy {
        sources,
        destination,
        from,
        chown: flags.given_text("chown"),
        chmod,
        link: flags.boolean("link").unwrap_or_default(),
        parents: flags.boolean("parents").unwrap_or_default(),
        exclude: flags.texts("exclude"),
    })
}

/// Parses `ADD`.
pub(super) fn parse_add(reading: &Reading<'_>) -> Result<Add, Diagnostic> {
    let flags = reading.flags(&[
        ("chown", Kind::Text),
        ("chmod", Kind::Text),
        ("checksum", Kind::Text),
        ("link", Kind::Boolean),
        ("unpack", Kind::Boolean),
        ("keep-git-dir", Kind::Boolean),
        ("exclude", Kind::Texts),
    ])?;
    let chmod = flags.given_text("chmod");
    if let Some(chmod) = &chmod {
        check_constant(chmod, reading.escape, parse_chmod)?;
    }
    let (sources, destination) = parse_paths(reading)?;
    let checksum = flags.given_text("checksum");
    if let (Some(checksum), [_, _, ..]) = (&checksum, sources.as_slice()) {
        let message = "checksum can't be specified for multiple sources";
        return Err(Diagnostic::error(Code::InvalidFlag, message, checksum.span));
    }
    Ok(Add {
        sources,
        destination,
        chown: flags.given_text("chown"),
        chmod,
        checksum,
        link: flags.boolean("link").unwrap_or_default(),
        exclude: flags.texts("exclude"),
        unpack: flags.boolean("unpack"),
        keep_git_dir: flags.boolean("keep-git-dir"),
    })
}

fn check_from(from: &Word) -> Result<(), Diagnostic> {
    let error = |message: &str| Diagnostic::error(Code::InvalidFlag, message, from.span);
    if from.text.trim().is_empty() {
        return Err(error("missing a value on flag: --from"));
    }
    if from.text.contains('$') {
        return Err(error(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        ));
    }
    Ok(())
}

fn check_local(source: &CopySource) -> Result<(), Diagnostic> {
    let CopySource::Path(path) = source else { return Ok(()) };
    let message = match RemoteSource::of(&path.text) {
        None => return Ok(()),
        Some(RemoteSource::Url) => "source can't be a URL for COPY",
        Some(RemoteSource::Git) => "source can't be a git ref for COPY",
    };
    Err(Diagnostic::error(Code::InvalidArguments, message, path.span).advise("use ADD"))
}

/// The sources and the destination, in JSON form or as words in which here-documents may be.
fn parse_paths(reading: &Reading<'_>) -> Result<(Vec<CopySource>, Word), Diagnostic> {
    let mut sources: Vec<CopySource> = match reading.json()? {
        Some(words) => words.into_iter().map(CopySource::Path).collect(),
        None => words_and_heredocs(reading),
    };
    let keyword = reading.keyword();
    let destination = match (sources.pop(), sources.is_empty()) {
        (None, _) | (_, true) => {
            return Err(reading.error(format!(
                "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
            )));
        }
        (Some(CopySource::Heredoc(heredoc)), _) => {
            let message = format!("{keyword} cannot accept a heredoc as a destination");
            return Err(Diagnostic::error(Code::InvalidHeredoc, message, heredoc.operator.span));
        }
        (Some(CopySource::Path(path)), _) => path,
    };
    for source in &sources {
        if let CopySource::Heredoc(heredoc) = source {
            check_heredoc_name(heredoc)?;
        }
    }
    Ok((sources, destination))
}

/// The name becomes that of a file.
pub(super) fn check_heredoc_name(heredoc: &Heredoc) -> Result<(), Diagnostic> {
    if heredoc.name.contains('/') || heredoc.name == "." || heredoc.name == ".." {
        let message = format!("invalid heredoc name {:?}: it names a file, not a path", heredoc.name);
        return Err(Diagnostic::error(Code::InvalidHeredoc, message, heredoc.operator.span));
    }
    Ok(())
}

/// The words between blanks; the operator of a here-document is one whatever blanks are in it.
fn words_and_heredocs(reading: &Reading<'_>) -> Vec<CopySource> {
    let arguments = reading.arguments();
    let mut sources = Vec::new();
    let mut offset = 0;
    let words = |range| split_blanks(&arguments.slice(range)).into_iter().map(CopySource::Path);
    for (operator, _, heredoc) in reading.heredocs() {
        sources.extend(words(offset..operator.range.start));
        offset = operator.range.end;
        sources.push(CopySource::Heredoc(heredoc));
    }
    sources.extend(words(offset..arguments.text.len()));
    sources
}
