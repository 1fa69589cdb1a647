//! Upper and lower case of keywords and names.

use crate::dockerfile::ast::{Dockerfile, Instruction, Stage};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::source::{Source, Span};
use crate::dockerfile::value::parse_port_spec;

pub(super) fn check(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    check_keywords(dockerfile, found);
    for stage in &dockerfile.stages {
        check_stage(&dockerfile.source, stage, found);
        for located in &stage.instructions {
            if let Instruction::Expose(ports) = &located.value {
                for port in ports {
                    check_protocol(&port.text, port.span, found);
                }
            }
        }
    }
}

fn is_lower(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_upper(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_lowercase())
}

/// `ConsistentInstructionCasing`: all keywords as most of them.
fn check_keywords(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let spans: Vec<Span> = dockerfile
        .stages
        .iter()
        .flat_map(|stage| {
            std::iter::once(stage.keyword).chain(stage.instructions.iter().map(|located| located.keyword))
        })
        .collect();
    let text = |span: &Span| dockerfile.source.slice(*span);
    let lower = spans.iter().filter(|span| is_lower(text(span))).count();
    let upper = spans.iter().filter(|span| is_upper(text(span))).count();
    let (right, name): (fn(&str) -> bool, &str) =
        if lower > upper { (is_lower, "lowercase") } else { (is_upper, "uppercase") };
    for span in spans.iter().filter(|span| !right(text(span))) {
        let message =
            format!("Command '{}' should match the case of the command majority ({name})", text(span));
        let keyword = text(span);
        let as_most = if lower > upper { keyword.to_ascii_lowercase() } else { keyword.to_ascii_uppercase() };
        found.push(
            Diagnostic::warning(Code::ConsistentInstructionCasing, message, *span)
                .advise(format!("write `{as_most}`")),
        );
    }
}

/// `FromAsCasing` and `StageNameCasing`.
fn check_stage(source: &Source, stage: &Stage, found: &mut Vec<Diagnostic>) {
    let from = source.slice(stage.keyword);
    if let Some(span) = stage.as_keyword {
        let keyword = source.slice(span);
        // A `From` is the business of another rule.
        let matches = is_lower(from) && is_lower(keyword) || is_upper(from) && is_upper(keyword);
        if !matches && (is_lower(from) || is_upper(from)) {
            let message = format!("'{keyword}' and '{from}' keywords' casing do not match");
            let advice = if is_lower(from) { "write `as`" } else { "write `AS`" };
            found.push(Diagnostic::warning(Code::FromAsCasing, message, span).advise(advice));
        }
    }
    if let Some(name) = &stage.name {
        let written = source.slice(name.span);
        if written != name.text {
            let message = format!("Stage name '{written}' should be lowercase");
            let advice = format!("write `{}`; stages are found in any case", name.text);
            found.push(Diagnostic::warning(Code::StageNameCasing, message, name.span).advise(advice));
        }
    }
}

/// `ExposeProtoCasing`.
fn check_protocol(port: &str, span: Span, found: &mut Vec<Diagnostic>) {
    let Some((_, protocol)) = port.rsplit_once('/') else { return };
    if parse_port_spec(port).is_ok() && !is_lower(protocol) {
        let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        let advice = format!("write `{}`", port.to_ascii_lowercase());
        found.push(Diagnostic::warning(Code::ExposeProtoCasing, message, span).advise(advice));
    }
}
