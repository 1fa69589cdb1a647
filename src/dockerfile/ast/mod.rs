//! What a Dockerfile says, instruction by instruction, before anything is expanded.

mod command;
mod copy;
mod run;

use std::sync::Arc;

pub use command::{Command, Healthcheck, HealthcheckOptions};
pub use copy::{Add, Copy, CopySource, Heredoc};
pub use run::{
    BindMount, CacheMount, CacheSharing, Mount, MountOption, Network, Run, RunCommand, RunMount, SecretMount,
    SshMount, TmpfsMount,
};

use super::diagnostic::Diagnostic;
use super::directive::Directives;
use super::source::{Source, Span};
use super::word::Word;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text it was parsed from.
    pub source: Arc<Source>,
    /// The parser directives at its top.
    pub directives: Directives,
    /// The `ARG`s before the first `FROM`.
    pub globals: Vec<Located<Vec<ArgDeclaration>>>,
    /// The stages; there is at least one.
    pub stages: Vec<Stage>,
    /// What only the text shows and the tree does not; [`lint`](super::lint) filters and extends them.
    pub warnings: Vec<Diagnostic>,
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Position among the stages, from 0.
    pub index: usize,
    /// `AS name`; the text is in lower case, the span is that of the name as written.
    pub name: Option<Word>,
    /// What the stage begins with: the name of an earlier stage, a named context or an image, unexpanded.
    pub base: Word,
    /// `--platform`, unexpanded.
    pub platform: Option<Word>,
    /// The `FROM` instruction.
    pub span: Span,
    /// The word `FROM`.
    pub keyword: Span,
    /// The word `AS`.
    pub as_keyword: Option<Span>,
    /// The comment lines directly above, from their `#` on.
    pub comments: Vec<Span>,
    /// The instructions after the `FROM`.
    pub instructions: Vec<Located<Instruction>>,
}

/// An instruction and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The whole instruction with its here-documents.
    pub span: Span,
    /// Its first word.
    pub keyword: Span,
    /// The instruction as `ONBUILD` stores it: continuations joined, with the here-documents.
    pub text: String,
    /// The comment lines directly above, from their `#` on.
    pub comments: Vec<Span>,
    /// What it says.
    pub value: T,
}

/// An instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the language's keywords")]
pub enum Instruction {
    Add(Add),
    Copy(Copy),
    Run(Run),
    Env(Vec<Assignment>),
    Label(Vec<Assignment>),
    Arg(Vec<ArgDeclaration>),
    Cmd(Command),
    Entrypoint(Command),
    Shell(Vec<Word>),
    User(Word),
    Workdir(Word),
    Expose(Vec<Word>),
    Volume(Vec<Word>),
    StopSignal(Word),
    Maintainer(Word),
    Healthcheck(Healthcheck),
    Onbuild(Onbuild),
}

/// `name=value` in `ENV` and `LABEL`. Both sides are unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Left side.
    pub name: Word,
    /// Right side.
    pub value: Word,
}

/// `name` or `name=default` in `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name; never expanded.
    pub name: Word,
    /// The default, unexpanded. `ARG X=` has an empty one.
    pub default: Option<Word>,
}

/// `ONBUILD`: an instruction for the images that are built from this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger, parsed so that its errors show now; it is expanded where it fires.
    pub trigger: Box<Located<Instruction>>,
    /// The trigger as stored in the image config.
    pub text: String,
}

impl Instruction {
    /// The keyword, in capitals.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Copy(_) => "COPY",
            Self::Run(_) => "RUN",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Shell(_) => "SHELL",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Onbuild(_) => "ONBUILD",
        }
    }
}
