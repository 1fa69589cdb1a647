//! BuildKit's checks: what is valid but probably not meant.
//!
//! The rules have BuildKit's names and messages, and `# check=` at the top of a file or right above an instruction
//! turns them off. Two rules need to know the base images: they are silent about images that are not given.

mod casing;
mod commands;
mod descriptions;
mod globals;
mod ignored;
mod secrets;
mod stages;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

pub use variables::undefined_variable;

use super::ast::Dockerfile;
use super::code::Code;
use super::diagnostic::{Diagnostic, Severity};
use super::directive::{Check, check_comment};
use super::source::Span;
use crate::context::ignore::Ignore;
use crate::image::Platform;

/// What the checks may know besides the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct LintOptions<'a> {
    /// The values of `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The `.dockerignore` of the context, for `CopyIgnoredFile`.
    pub ignore: Option<&'a Ignore>,
    /// The build argument `BUILDKIT_DOCKERFILE_CHECK`; it replaces the `# check=` at the top of the file.
    pub check: Option<Check>,
    /// The images, by the index of the stage that begins with one. A stage whose image is not among them is not
    /// checked for `UndefinedVar` and `InvalidBaseImagePlatform`.
    pub bases: BTreeMap<usize, BaseImage>,
}

/// What the checks look at in a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// The names of its variables.
    pub variables: BTreeSet<String>,
    /// What it is made for.
    pub platform: Platform,
    /// What was asked for.
    pub wanted: Platform,
}

/// The warnings about a Dockerfile, in the order of their places. With `error=true` in force they are errors.
pub fn lint(dockerfile: &Dockerfile, options: &LintOptions<'_>) -> Vec<Diagnostic> {
    let mut found = dockerfile.warnings.clone();
    let globals = globals::Globals::new(dockerfile, &options.build_args);
    casing::check(dockerfile, &mut found);
    stages::check(dockerfile, &globals, &options.bases, &mut found);
    commands::check(dockerfile, &globals, &mut found);
    descriptions::check(dockerfile, &mut found);
    secrets::check(dockerfile, &mut found);
    variables::check(dockerfile, &globals, &options.bases, &mut found);
    if let Some(ignore) = options.ignore {
        ignored::check(dockerfile, ignore, &mut found);
    }
    select(dockerfile, options, found)
}

/// BuildKit's summary of warnings that are errors, if there are some.
pub fn lint_violation(diagnostics: &[Diagnostic]) -> Option<Diagnostic> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let rules: BTreeSet<&str> = errors.map(|diagnostic| diagnostic.code.name()).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    if rules.is_empty() {
        return None;
    }
    let message = format!("lint violation found for rules: {}", rules.join(", "));
    Some(Diagnostic { span: None, ..Diagnostic::error(Code::LintViolation, message, Span::default()) })
}

/// The warnings that are not turned off, sorted, with the severity in force.
fn select(dockerfile: &Dockerfile, options: &LintOptions<'_>, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let check = options.check.as_ref().unwrap_or(&dockerfile.directives.check);
    let local = local_checks(dockerfile);
    let skipped =
        |diagnostic: &Diagnostic| check.skip.contain(diagnostic.code) || skipped_locally(&local, diagnostic);
    let enabled = |code: Code| code != Code::InvalidDefinitionDescription || check.experimental.contain(code);
    let mut selected: Vec<Diagnostic> =
        found.into_iter().filter(|diagnostic| enabled(diagnostic.code) && !skipped(diagnostic)).collect();
    if check.error {
        for diagnostic in &mut selected {
            diagnostic.severity = Severity::Error;
        }
    }
    selected.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.code));
    selected
}

/// The instructions with a `# check=` right above, in the order of the file.
fn local_checks(dockerfile: &Dockerfile) -> Vec<(Span, Check)> {
    let globals = dockerfile.globals.iter().map(|located| (located.span, &located.comments));
    let stages = dockerfile.stages.iter().flat_map(|stage| {
        let instructions = stage.instructions.iter().map(|located| (located.span, &located.comments));
        std::iter::once((stage.span, &stage.comments)).chain(instructions)
    });
    let checked = globals.chain(stages).filter_map(|(span, comments)| {
        let check = comments.iter().find_map(|comment| check_comment(dockerfile.source.slice(*comment)))?;
        Some((span, check))
    });
    checked.collect()
}

fn skipped_locally(local: &[(Span, Check)], diagnostic: &Diagnostic) -> bool {
    let Some(span) = diagnostic.span else { return false };
    let index = local.partition_point(|(instruction, _)| instruction.start <= span.start);
    let candidate = index.checked_sub(1).and_then(|index| local.get(index));
    candidate.is_some_and(|(instruction, check)| {
        span.start < instruction.end.max(instruction.start + 1) && check.skip.contain(diagnostic.code)
    })
}

#[cfg(test)]
mod tests;
