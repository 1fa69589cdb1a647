//! Instructions of a stage in their order.

use super::globals::Globals;
use crate::dockerfile::ast::{Command, Dockerfile, Instruction, Located};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::source::Span;
use crate::dockerfile::value::parse_port_spec;
use crate::dockerfile::word::Word;

/// What is known at a place in a stage; stages that build on this one begin with it.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Whether there was a `SHELL`.
    shell: bool,
    /// Whether there was a `WORKDIR`.
    workdir: bool,
}

/// The last ones of their kinds in a stage.
#[derive(Debug, Default)]
struct Latest {
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
}

pub(super) fn check(dockerfile: &Dockerfile, globals: &Globals, found: &mut Vec<Diagnostic>) {
    let mut states: Vec<State> = Vec::new();
    for stage in &dockerfile.stages {
        let parent = globals.parent(stage).and_then(|index| states.get(index));
        let mut state = parent.copied().unwrap_or_default();
        let mut latest = Latest::default();
        for located in &stage.instructions {
            check_instruction(located, &mut state, found);
            check_once(located, &mut latest, found);
        }
        states.push(state);
    }
}

fn check_instruction(located: &Located<Instruction>, state: &mut State, found: &mut Vec<Diagnostic>) {
    match &located.value {
        Instruction::Shell(_) => state.shell = true,
        // Who sets a shell wants it.
        Instruction::Cmd(Command::Shell(_)) | Instruction::Entrypoint(Command::Shell(_)) if !state.shell => {
            let message = format!(
                "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                located.value.keyword()
            );
            let advice = format!(r#"write {} ["program", "argument"]"#, located.value.keyword());
            found.push(Diagnostic::warning(Code::JSONArgsRecommended, message, located.span).advise(advice));
        }
        Instruction::Maintainer(author) => {
            let message = "Maintainer instruction is deprecated in favor of using label";
            found.push(
                Diagnostic::warning(Code::MaintainerDeprecated, message, located.keyword)
                    .advise(format!("write LABEL org.opencontainers.image.authors={:?}", author.text)),
            );
        }
        Instruction::Workdir(path) => {
            check_workdir(path, *state, found);
            state.workdir = true;
        }
        Instruction::Expose(ports) => {
            for port in ports {
                check_port(port, found);
            }
        }
        _ => {}
    }
}

/// `WorkdirRelativePath`. What begins with a variable may be absolute.
fn check_workdir(path: &Word, state: State, found: &mut Vec<Diagnostic>) {
    let text = path.text.trim_start_matches(['"', '\'']);
    if !state.workdir && !text.starts_with(['/', '$']) {
        let message =
            format!("Relative workdir {text:?} can have unexpected results if the base image changes");
        found.push(
            Diagnostic::warning(Code::WorkdirRelativePath, message, path.span)
                .advise("begin it with `/`, or with the directory it is meant to be in"),
        );
    }
}

/// `ExposeInvalidFormat`.
fn check_port(port: &Word, found: &mut Vec<Diagnostic>) {
    if parse_port_spec(&port.text).is_ok_and(|spec| spec.published) {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
            port.text
        );
        found.push(
            Diagnostic::warning(Code::ExposeInvalidFormat, message, port.span).advise(
                "name the port alone; addresses and host ports are given when a container is started",
            ),
        );
    }
}

/// `MultipleInstructionsDisallowed`: the one that does not count is blamed.
fn check_once(located: &Located<Instruction>, latest: &mut Latest, found: &mut Vec<Diagnostic>) {
    let slot = match &located.value {
        Instruction::Cmd(_) => &mut latest.cmd,
        Instruction::Entrypoint(_) => &mut latest.entrypoint,
        Instruction::Healthcheck(_) => &mut latest.healthcheck,
        _ => return,
    };
    if let Some(earlier) = slot.replace(located.span) {
        let message = format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will be used",
            located.value.keyword()
        );
        found.push(
            Diagnostic::warning(Code::MultipleInstructionsDisallowed, message, earlier)
                .advise("delete all but the last one"),
        );
    }
}
