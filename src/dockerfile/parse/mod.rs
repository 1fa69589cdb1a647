//! From text to the tree.

mod copy;
mod from;
mod healthcheck;
mod instruction;
mod mount;
mod pairs;
mod run;
mod words;

use std::sync::Arc;

use from::parse_from;
pub use instruction::KEYWORDS;
use instruction::{Reading, parse_instruction};

use super::ast::{Dockerfile, Instruction, Located, Stage};
use super::code::Code;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::directive::Escape;
use super::source::{Source, Span};
use super::statement::{Statement, Statements};

/// More errors than this are not read by anybody.
const MAX_ERRORS: usize = 100;

/// Parses a Dockerfile. All errors that can be told apart are reported, not only the first.
pub fn parse(source: Source) -> Result<Dockerfile, Diagnostics> {
    let (dockerfile, errors) = parse_partly(source);
    match Diagnostics::new(Arc::clone(&dockerfile.source), errors) {
        Some(diagnostics) => Err(diagnostics),
        None => Ok(dockerfile),
    }
}

/// Parses what can be parsed, for checks of a Dockerfile with mistakes: without the instructions that the errors are
/// about. There may be no stages.
pub fn parse_partly(source: Source) -> (Dockerfile, Vec<Diagnostic>) {
    let source = Arc::new(source);
    let mut statements = Statements::new(source.text());
    let mut assembly = Assembly::default();
    while assembly.errors.len() < MAX_ERRORS {
        match statements.next() {
            Ok(Some(statement)) => assembly.add(&statement, statements.directives().escape),
            Ok(None) => break,
            Err(error) => assembly.errors.push(error),
        }
    }
    assembly.check_complete(&source);
    let Assembly { globals, stages, errors, mut warnings, .. } = assembly;
    warnings.append(&mut statements.warnings);
    warnings.sort_by_key(|warning| warning.span);
    let directives = statements.directives().clone();
    (Dockerfile { source, directives, globals, stages, warnings }, errors)
}

/// Parses a trigger from a base image's config; `source` is named like `ONBUILD of node:20`, and its text is the
/// trigger.
///
/// The escape character is always the backslash: configs do not tell which one the base's Dockerfile used.
pub fn parse_onbuild(source: Source) -> Result<Located<Instruction>, Diagnostics> {
    let source = Arc::new(source);
    let result = parse_single(source.text());
    result.map_err(|diagnostic| Diagnostics::one(source, diagnostic))
}

fn parse_single(text: &str) -> Result<Located<Instruction>, Diagnostic> {
    let mut statements = Statements::new(text);
    let single = |span| {
        Diagnostic::error(Code::InvalidArguments, "onbuild trigger should be a single expression", span)
    };
    let Some(statement) = statements.next()? else { return Err(single(Span::at(0))) };
    if let Some(second) = statements.next()? {
        return Err(single(second.span));
    }
    let reading = Reading::new(&statement, Escape::Backslash);
    instruction::check_trigger(&reading)?;
    parse_instruction(&reading, &mut Vec::new())
}

/// A Dockerfile that grows statement by statement.
#[derive(Default)]
struct Assembly {
    globals: Vec<Located<Vec<super::ast::ArgDeclaration>>>,
    stages: Vec<Stage>,
    /// Whether there was a `FROM`, be it a wrong one: what follows belongs to it.
    began: bool,
    /// Whether there was an instruction at all.
    any: bool,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Assembly {
    fn add(&mut self, statement: &Statement, escape: Escape) {
        self.any = true;
        let reading = Reading::new(statement, escape);
        if reading.keyword() == "FROM" {
            self.began = true;
            match parse_from(&reading, self.stages.len()) {
                Ok(stage) => self.stages.push(stage),
                Err(error) => self.errors.push(error),
            }
            return;
        }
        match parse_instruction(&reading, &mut self.warnings) {
            Ok(instruction) => self.place(instruction),
            Err(error) => self.errors.push(error),
        }
    }

    fn place(&mut self, instruction: Located<Instruction>) {
        let Located { span, keyword, text, comments, value } = instruction;
        match (value, self.stages.last_mut()) {
            (Instruction::Arg(value), _) if !self.began => {
                self.globals.push(Located { span, keyword, text, comments, value });
            }
            (value, Some(stage)) => {
                stage.instructions.push(Located { span, keyword, text, comments, value });
            }
            // The `FROM` before it was refused already, or what was meant to be one.
            (_, None) if self.began || !self.errors.is_empty() => {}
            (value, None) => {
                // Said once: the instructions after it are in the same position.
                self.began = true;
                let error = Diagnostic::error(
                    Code::MisplacedInstruction,
                    "no build stage in current context",
                    keyword,
                );
                let advice = format!("begin a stage with FROM before the {}", value.keyword());
                self.errors.push(error.advise(advice));
            }
        }
    }

    fn check_complete(&mut self, source: &Source) {
        if !self.errors.is_empty() || !self.stages.is_empty() {
            return;
        }
        let message = if source.text().is_empty() {
            "the Dockerfile cannot be empty"
        } else if self.any {
            "dockerfile contains no stages to build"
        } else {
            "file with no instructions"
        };
        let span = Span::at(source.text().trim_end().len());
        self.errors.push(
            Diagnostic::error(Code::NothingToBuild, message, span)
                .advise("name a base image with FROM; `FROM scratch` begins with nothing"),
        );
    }
}

#[cfg(test)]
mod tests;
