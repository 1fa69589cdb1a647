//! One instruction: which it is, and the simple ones themselves.

use super::copy::{parse_add, parse_copy};
use super::healthcheck::parse_healthcheck;
use super::pairs::{parse_arg, parse_assignments};
use super::run::parse_run;
use super::words::split_blanks;
use crate::dockerfile::ast::{Command, Heredoc, Instruction, Located, Onbuild};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::expand;
use crate::dockerfile::flags::{Flags, Kind};
use crate::dockerfile::heredoc::{self, Operator};
use crate::dockerfile::json::{self, JsonForm};
use crate::dockerfile::parts::Parts;
use crate::dockerfile::source::Span;
use crate::dockerfile::statement::{Body, Statement};
use crate::dockerfile::suggest::did_you_mean;
use crate::dockerfile::value::{parse_port_spec, parse_signal};
use crate::dockerfile::word::Word;

/// The instructions, in capitals.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction that is being read.
pub(super) struct Reading<'a> {
    /// The line; for a trigger, what follows `ONBUILD`.
    line: Word,
    pub(super) parts: Parts,
    pub(super) escape: Escape,
    bodies: &'a [Body],
    span: Span,
    comments: &'a [Span],
}

impl<'a> Reading<'a> {
    pub(super) fn new(statement: &'a Statement, escape: Escape) -> Self {
        Self {
            line: statement.line.clone(),
            parts: Parts::split(&statement.line, escape),
            escape,
            bodies: &statement.bodies,
            span: statement.span,
            comments: &statement.comments,
        }
    }

    /// The instruction after `ONBUILD`.
    fn trigger(&self) -> Self {
        let line = self.parts.arguments.clone();
        let span = Span::new(line.span.start, self.span.end);
        Self { parts: Parts::split(&line, self.escape), line, span, comments: &[], ..*self }
    }

    /// The keyword in capitals.
    pub(super) fn keyword(&self) -> String {
        self.parts.keyword.text.to_ascii_uppercase()
    }

    /// The whole instruction.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// The comment lines directly above.
    pub(super) fn comments(&self) -> &'a [Span] {
        self.comments
    }

    pub(super) fn arguments(&self) -> &Word {
        &self.parts.arguments
    }

    pub(super) fn flags(&self, known: &[(&str, Kind)]) -> Result<Flags<'_>, Diagnostic> {
        Flags::check(&self.parts.flags, known)
    }

    /// The operators in the arguments with their bodies.
    pub(super) fn heredocs(&self) -> Vec<(Operator, &'a Body, Heredoc)> {
        let operators = heredoc::operators(&self.parts).into_iter();
        operators
            .zip(self.bodies)
            .map(|(operator, body)| {
                let heredoc = operator.heredoc(self.arguments(), body);
                (operator, body, heredoc)
            })
            .collect()
    }

    /// The instruction as `ONBUILD` stores it.
    fn text(&self) -> String {
        let mut text = self.line.text.trim_end().to_owned();
        for body in self.bodies {
            text.push('\n');
            text.push_str(&body.raw.text);
            text.push_str(&body.name);
        }
        text
    }

    /// An error about the arguments as a whole, or about the keyword where there are none.
    pub(super) fn error(&self, message: impl Into<String>) -> Diagnostic {
        let span =
            if self.arguments().text.is_empty() { self.parts.keyword.span } else { self.arguments().span };
        Diagnostic::error(Code::InvalidArguments, message, span)
    }

    pub(super) fn at_least_one(&self) -> Diagnostic {
        self.error(format!("{} requires at least one argument", self.keyword()))
    }

    /// All arguments as one, of which there must be some.
    fn single(&self) -> Result<Word, Diagnostic> {
        if self.arguments().text.is_empty() {
            return Err(self.error(format!("{} requires exactly one argument", self.keyword())));
        }
        Ok(self.arguments().clone())
    }

    fn blank_separated(&self) -> Result<Vec<Word>, Diagnostic> {
        let words = split_blanks(self.arguments());
        if words.is_empty() { Err(self.at_least_one()) } else { Ok(words) }
    }

    /// The arguments if they are in JSON form.
    pub(super) fn json(&self) -> Result<Option<Vec<Word>>, Diagnostic> {
        json_form(self.arguments())
    }

    /// A JSON array of arguments, or all of them as one shell command.
    fn command(&self) -> Result<Command, Diagnostic> {
        command(self.arguments())?.ok_or_else(|| {
            self.at_least_one().advise(format!("`{} []` clears what was inherited", self.keyword()))
        })
    }
}

/// The elements of a JSON array of strings; an error if it has others.
pub(super) fn json_form(arguments: &Word) -> Result<Option<Vec<Word>>, Diagnostic> {
    match json::parse(arguments) {
        JsonForm::Strings(words) => Ok(Some(words)),
        JsonForm::No => Ok(None),
        JsonForm::Others(span) => {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            Err(Diagnostic::error(Code::InvalidJsonForm, message, span).advise("put it in double quotes"))
        }
    }
}

/// A command in JSON or shell form; `None` if there is nothing.
pub(super) fn command(arguments: &Word) -> Result<Option<Command>, Diagnostic> {
    Ok(match json_form(arguments)? {
        Some(words) => Some(Command::Exec(words)),
        None if arguments.text.is_empty() => None,
        None => Some(Command::Shell(arguments.clone())),
    })
}

/// Parses what is not a `FROM`.
pub(super) fn parse_instruction(
    reading: &Reading<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Located<Instruction>, Diagnostic> {
    let value = match reading.keyword().as_str() {
        "ADD" => Instruction::Add(parse_add(reading)?),
        "COPY" => Instruction::Copy(parse_copy(reading)?),
        "RUN" => Instruction::Run(parse_run(reading)?),
        "HEALTHCHECK" => Instruction::Healthcheck(parse_healthcheck(reading)?),
        keyword => {
            if !KEYWORDS.contains(&keyword) {
                return Err(unknown_instruction(reading));
            }
            reading.flags(&[])?;
            parse_plain(keyword, reading, warnings)?
        }
    };
    Ok(Located {
        span: reading.span,
        keyword: reading.parts.keyword.span,
        text: reading.text(),
        comments: reading.comments.to_vec(),
        value,
    })
}

/// The instructions that take no flags.
fn parse_plain(
    keyword: &str,
    reading: &Reading<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Instruction, Diagnostic> {
    Ok(match keyword {
        "ENV" => Instruction::Env(parse_assignments(reading, warnings)?),
        "LABEL" => Instruction::Label(parse_assignments(reading, warnings)?),
        "ARG" => Instruction::Arg(parse_arg(reading)?),
        "CMD" => Instruction::Cmd(reading.command()?),
        "ENTRYPOINT" => Instruction::Entrypoint(reading.command()?),
        "SHELL" => Instruction::Shell(parse_shell(reading)?),
        "USER" => Instruction::User(reading.single()?),
        "WORKDIR" => Instruction::Workdir(reading.single()?),
        "EXPOSE" => Instruction::Expose(parse_expose(reading)?),
        "VOLUME" => Instruction::Volume(parse_volume(reading)?),
        "STOPSIGNAL" => {
            let signal = reading.single()?;
            check_constant(&signal, reading.escape, parse_signal)?;
            Instruction::StopSignal(signal)
        }
        "MAINTAINER" => Instruction::Maintainer(reading.single()?),
        "ONBUILD" => Instruction::Onbuild(parse_onbuild(reading, warnings)?),
        _ => return Err(unknown_instruction(reading)),
    })
}

fn unknown_instruction(reading: &Reading<'_>) -> Diagnostic {
    let keyword = &reading.parts.keyword;
    let hint = did_you_mean(&keyword.text, &KEYWORDS);
    let error = Diagnostic::error(
        Code::UnknownInstruction,
        format!("unknown instruction: {}{hint}", keyword.text),
        keyword.span,
    );
    if hint.is_empty() {
        error.advise("if the line belongs to the one above, that one must end with the escape character")
    } else {
        error
    }
}

fn parse_shell(reading: &Reading<'_>) -> Result<Vec<Word>, Diagnostic> {
    match reading.json()? {
        Some(words) if words.is_empty() => Err(reading.at_least_one()),
        Some(words) => Ok(words),
        None if reading.arguments().text.is_empty() => Err(reading.at_least_one()),
        None => {
            let message = "SHELL requires the arguments to be in JSON form";
            Err(Diagnostic::error(Code::InvalidJsonForm, message, reading.arguments().span)
                .advise(r#"like SHELL ["/bin/bash", "-c"]"#))
        }
    }
}

fn parse_expose(reading: &Reading<'_>) -> Result<Vec<Word>, Diagnostic> {
    let ports = reading.blank_separated()?;
    for port in &ports {
        check_constant(port, reading.escape, parse_port_spec)?;
    }
    Ok(ports)
}

/// Checks a value now if it does not depend on variables; others are checked when they are expanded.
pub(super) fn check_constant<T, E: std::fmt::Display>(
    word: &Word,
    escape: Escape,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<(), Diagnostic> {
    if word.text.contains('$') {
        return Ok(());
    }
    let text = expand(word, &(), escape)?.text;
    match parse(&text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Diagnostic::error(Code::InvalidValue, error.to_string(), word.span)),
    }
}

fn parse_volume(reading: &Reading<'_>) -> Result<Vec<Word>, Diagnostic> {
    let words = match reading.json()? {
        Some(words) if words.is_empty() => return Err(reading.at_least_one()),
        Some(words) => words,
        None => reading.blank_separated()?,
    };
    if let Some(blank) = words.iter().find(|word| word.text.trim().is_empty()) {
        let message = "VOLUME specified can not be an empty string";
        return Err(Diagnostic::error(Code::InvalidArguments, message, blank.span));
    }
    Ok(words)
}

fn parse_onbuild(reading: &Reading<'_>, warnings: &mut Vec<Diagnostic>) -> Result<Onbuild, Diagnostic> {
    if reading.arguments().text.is_empty() {
        return Err(reading.at_least_one());
    }
    let trigger = reading.trigger();
    check_trigger(&trigger)?;
    let trigger = Box::new(parse_instruction(&trigger, warnings)?);
    let text = trigger.text.clone();
    Ok(Onbuild { trigger, text })
}

/// Refuses the instructions that are no triggers.
pub(super) fn check_trigger(reading: &Reading<'_>) -> Result<(), Diagnostic> {
    let message = match reading.keyword().as_str() {
        "ONBUILD" => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        keyword @ ("FROM" | "MAINTAINER") => format!("{keyword} isn't allowed as an ONBUILD trigger"),
        _ => return Ok(()),
    };
    Err(Diagnostic::error(Code::MisplacedInstruction, message, reading.parts.keyword.span))
}
