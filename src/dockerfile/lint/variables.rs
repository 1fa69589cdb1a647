//! Variables that nobody sets.

use std::collections::{BTreeMap, BTreeSet};

use super::BaseImage;
use super::globals::{Base, Globals};
use crate::dockerfile::ast::{Assignment, CopySource, Dockerfile, Instruction, Stage};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::{Undefined, Variables, expand, expand_heredoc};
use crate::dockerfile::suggest::nearest;
use crate::dockerfile::word::Word;

/// The warning about the use of a variable that is not set, where `known` are.
pub fn undefined_variable<'a>(undefined: &Undefined, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let hint = match nearest(&undefined.name, &known) {
        Some(name) => format!(" (did you mean ${name}?)"),
        None => String::new(),
    };
    let message = format!("Usage of undefined variable '${}'{hint}", undefined.name);
    Diagnostic::warning(Code::UndefinedVar, message, undefined.span)
        .advise("set it with ENV or ARG in this stage; it counts as empty")
}

/// `UndefinedVar`, in the stages whose base's variables are known.
pub(super) fn check(
    dockerfile: &Dockerfile,
    globals: &Globals,
    bases: &BTreeMap<usize, BaseImage>,
    found: &mut Vec<Diagnostic>,
) {
    let escape = dockerfile.directives.escape;
    // Per stage the names at its end; `None` where they are not known.
    let mut ends: Vec<Option<Names>> = Vec::new();
    for stage in &dockerfile.stages {
        let start = match globals.parent(stage) {
            Some(parent) => ends.get(parent).cloned().flatten(),
            None => base_names(stage, globals, bases),
        };
        let end = start.map(|mut names| {
            for located in &stage.instructions {
                check_instruction(&located.value, &mut names, escape, found);
            }
            names
        });
        ends.push(end);
    }
}

/// The names that are set; their values do not matter.
#[derive(Debug, Clone, Default)]
struct Names(BTreeSet<String>);

impl Variables for Names {
    fn get(&self, name: &str) -> Option<&str> {
        // Some value, so that no `${name:?}` fails.
        self.0.contains(name).then_some("x")
    }
}

fn base_names(stage: &Stage, globals: &Globals, bases: &BTreeMap<usize, BaseImage>) -> Option<Names> {
    let scratch = matches!(globals.base(stage), Base::Image(name) if name == "scratch");
    let mut names = if scratch { BTreeSet::new() } else { bases.get(&stage.index)?.variables.clone() };
    names.insert("PATH".to_owned());
    Some(Names(names))
}

fn check_instruction(
    instruction: &Instruction,
    names: &mut Names,
    escape: Escape,
    found: &mut Vec<Diagnostic>,
) {
    match instruction {
        Instruction::Env(assignments) => {
            // All see what was set before the instruction.
            check_assignments(assignments, names, escape, found);
            names.0.extend(assignments.iter().map(|assignment| assignment.name.text.clone()));
        }
        Instruction::Label(assignments) => check_assignments(assignments, names, escape, found),
        Instruction::Arg(arguments) => {
            // One after the other.
            for argument in arguments {
                check_words(argument.default.iter(), names, escape, found);
                names.0.insert(argument.name.text.clone());
            }
        }
        Instruction::Add(add) => {
            check_sources(&add.sources, names, escape, found);
            let words = [&add.chown, &add.chmod, &add.checksum].into_iter().flatten();
            check_words(words.chain([&add.destination]), names, escape, found);
        }
        Instruction::Copy(copy) => {
            check_sources(&copy.sources, names, escape, found);
            let words = [&copy.chown, &copy.chmod].into_iter().flatten();
            check_words(words.chain([&copy.destination]), names, escape, found);
        }
        Instruction::Run(run) => {
            let options = run.mounts.iter().flat_map(|mount| &mount.options);
            check_words(options.filter_map(|option| option.value.as_ref()), names, escape, found);
        }
        Instruction::User(word) | Instruction::Workdir(word) | Instruction::StopSignal(word) => {
            check_words([word].into_iter(), names, escape, found);
        }
        Instruction::Expose(words) | Instruction::Volume(words) => {
            check_words(words.iter(), names, escape, found);
        }
        Instruction::Cmd(_)
        | Instruction::Entrypoint(_)
        | Instruction::Shell(_)
        | Instruction::Maintainer(_)
        | Instruction::Healthcheck(_)
        | Instruction::Onbuild(_) => {}
    }
}

fn check_assignments(assignments: &[Assignment], names: &Names, escape: Escape, found: &mut Vec<Diagnostic>) {
    let words = assignments.iter().flat_map(|assignment| [&assignment.name, &assignment.value]);
    check_words(words, names, escape, found);
}

fn check_sources(sources: &[CopySource], names: &Names, escape: Escape, found: &mut Vec<Diagnostic>) {
    for source in sources {
        match source {
            CopySource::Path(path) => check_words([path].into_iter(), names, escape, found),
            CopySource::Heredoc(heredoc) if heredoc.expand => {
                if let Ok(expanded) = expand_heredoc(&heredoc.body, names) {
                    report(&expanded.undefined, names, found);
                }
            }
            CopySource::Heredoc(_) => {}
        }
    }
}

fn check_words<'a>(
    words: impl Iterator<Item = &'a Word>,
    names: &Names,
    escape: Escape,
    found: &mut Vec<Diagnostic>,
) {
    for word in words {
        // Errors are found when the word is used.
        if let Ok(expanded) = expand(word, names, escape) {
            report(&expanded.undefined, names, found);
        }
    }
}

fn report(undefined: &[Undefined], names: &Names, found: &mut Vec<Diagnostic>) {
    for undefined in undefined {
        found.push(undefined_variable(undefined, names.0.iter().map(String::as_str)));
    }
}
