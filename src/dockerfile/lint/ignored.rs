//! Sources that `.dockerignore` hides.

use std::path::Path;

use crate::context::ignore::Ignore;
use crate::dockerfile::ast::{CopySource, Dockerfile, Instruction};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::remote::RemoteSource;
use crate::dockerfile::word::Word;
use crate::rootfs::clean;

/// `CopyIgnoredFile`. Where patterns take files in again, nothing is said: a source that is excluded may well hold
/// files that are not.
pub(super) fn check(dockerfile: &Dockerfile, ignore: &Ignore, found: &mut Vec<Diagnostic>) {
    if ignore.is_empty() || ignore.has_exceptions() {
        return;
    }
    for located in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        let (verb, sources) = match &located.value {
            Instruction::Copy(copy) if copy.from.is_none() => ("Copy", &copy.sources),
            Instruction::Add(add) => ("Add", &add.sources),
            _ => continue,
        };
        for source in sources {
            if let CopySource::Path(path) = source {
                check_path(verb, path, ignore, found);
            }
        }
    }
}

fn check_path(verb: &str, path: &Word, ignore: &Ignore, found: &mut Vec<Diagnostic>) {
    if path.text.contains('$') || RemoteSource::of(&path.text).is_some() {
        return;
    }
    let cleaned = clean(Path::new(&path.text));
    if ignore.excludes(&cleaned) {
        let message =
            format!("Attempting to {verb} file {:?} that is excluded by .dockerignore", cleaned.display());
        found.push(
            Diagnostic::warning(Code::CopyIgnoredFile, message, path.span)
                .advise("take it out of .dockerignore, or take it in again with a line `!path` there"),
        );
    }
}
