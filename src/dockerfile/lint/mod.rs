//! BuildKit's checks: what is valid but probably not meant.
//!
//! The rules have BuildKit's names and messages, and `# check=` at the top of a file or right above an instruction
//! turns them off. What only planning knows (`InvalidBaseImagePlatform`) is reported by the graph.

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

/// What the checks may know besides the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct LintOptions<'a> {
    /// The values of `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The `.dockerignore` of the context, for `CopyIgnoredFile`.
    pub ignore: Option<&'a Ignore>,
    /// The build argument `BUILDKIT_DOCKERFILE_CHECK`; it replaces the `# check=` at the top of the file.
    pub check: Option<Check>,
    /// The variables that base images set, by the index of the stage that begins with the image. A stage whose
    /// image is not among them is not checked for `UndefinedVar`.
    pub base_variables: BTreeMap<usize, BTreeSet<String>>,
}

/// The warnings about a Dockerfile, in the order of their places. With `error=true` in force they are errors.
pub fn lint(dockerfile: &Dockerfile, options: &LintOptions<'_>) -> Vec<Diagnostic> {
    let mut found = dockerfile.warnings.clone();
    let globals = globals::Globals::new(dockerfile, &options.build_args);
    casing::check(dockerfile, &mut found);
    stages::check(dockerfile, &globals, &mut found);
    commands::check(dockerfile, &globals, &mut found);
    descriptions::check(dockerfile, &mut found);
    secrets::check(dockerfile, &mut found);
    variables::check(dockerfile, &globals, &options.base_variables, &mut found);
    if let Some(ignore) = options.ignore {
        ignored::check(dockerfile, ignore, &mut found);
    }
    select(dockerfile, options, found)
}

/// BuildKit's summary of warnings that are errors, if there are some.
pub fn lint_violation(diagnostics: &[Diagnostic]) -> Option<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let rules: BTreeSet<&str> = errors.map(|diagnostic| diagnostic.code.name()).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    if rules.is_empty() {
        None
    } else {
        Some(format!("lint violation found for rules: {}", rules.join(", ")))
    }
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
