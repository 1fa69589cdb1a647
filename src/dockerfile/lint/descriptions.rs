//! Comments that describe stages and arguments.

use crate::dockerfile::ast::{ArgDeclaration, Dockerfile, Instruction, Located};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::source::{Source, Span};

/// `InvalidDefinitionDescription`, which is experimental: off unless asked for.
pub(super) fn check(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let source = &dockerfile.source;
    for located in &dockerfile.globals {
        check_arg(source, located, &located.value, found);
    }
    for stage in &dockerfile.stages {
        if let Some(name) = &stage.name {
            check_comment(source, "FROM", &[&name.text], &stage.comments, stage.span, found);
        }
        for located in &stage.instructions {
            if let Instruction::Arg(arguments) = &located.value {
                check_arg(source, located, arguments, found);
            }
        }
    }
}

fn check_arg<T>(
    source: &Source,
    located: &Located<T>,
    arguments: &[ArgDeclaration],
    found: &mut Vec<Diagnostic>,
) {
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.text.as_str()).collect();
    check_comment(source, "ARG", &names, &located.comments, located.span, found);
}

/// The last comment line above must begin with one of the names.
fn check_comment(
    source: &Source,
    keyword: &str,
    names: &[&str],
    comments: &[Span],
    instruction: Span,
    found: &mut Vec<Diagnostic>,
) {
    let Some(comment) = comments.last() else { return };
    let text = source.slice(*comment).trim_start_matches('#').trim();
    let first = text.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return;
    }
    let example = if let [name] = names { name } else { "<arg_key>" };
    let message = format!("Comment for {keyword} should follow the format: `# {example} <description>`");
    found.push(
        Diagnostic::warning(Code::InvalidDefinitionDescription, message, instruction)
            .advise("put an empty line behind the comment if it is not meant as a description"),
    );
}
