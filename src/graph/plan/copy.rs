//! `COPY` and `ADD`.

use std::sync::Arc;

use super::stage::{StageState, Text};
use super::{Fault, Origin, Planner};
use crate::context::source::{GitSource, is_commit_prefix};
use crate::dockerfile::{
    Add, Code, Copy, CopySource, Diagnostic, Instruction, Located as Parsed, ParseChmodError, RemoteSource,
    Word, expand_heredoc, nearest, parse_chmod,
};
use crate::graph::{CopyInput, CopyStep, Files, Located, Operation};
use crate::image::history;
use crate::layer::Digest;

/// What `COPY` and `ADD` have in common.
struct Copying<'a> {
    keyword: &'static str,
    sources: &'a [CopySource],
    destination: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    exclude: &'a [Word],
    from: Files,
    link: bool,
    parents: bool,
    unpack_local: bool,
    unpack_remote: bool,
    checksum: Option<&'a Word>,
    keep_git_dir: Option<bool>,
}

impl Planner<'_> {
    pub(super) fn plan_copy(
        &mut self,
        state: &mut StageState,
        copy: &Copy,
        instruction: &Parsed<Instruction>,
        text: &Text,
    ) -> Result<(), Fault> {
        let from = match &copy.from {
            None => Files::Context(None),
            Some(word) => self.files_of(state, word, text)?,
        };
        let copying = Copying {
            keyword: "COPY",
            sources: &copy.sources,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            exclude: &copy.exclude,
            from,
            link: copy.link,
            parents: copy.parents,
            unpack_local: false,
            unpack_remote: false,
            checksum: None,
            keep_git_dir: None,
        };
        self.plan_copying(state, &copying, instruction, text)
    }

    pub(super) fn plan_add(
        &mut self,
        state: &mut StageState,
        add: &Add,
        instruction: &Parsed<Instruction>,
        text: &Text,
    ) -> Result<(), Fault> {
        let copying = Copying {
            keyword: "ADD",
            sources: &add.sources,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            exclude: &add.exclude,
            from: Files::Context(None),
            link: add.link,
            parents: false,
            unpack_local: add.unpack.unwrap_or(true),
            unpack_remote: add.unpack.unwrap_or(false),
            checksum: add.checksum.as_ref(),
            keep_git_dir: add.keep_git_dir,
        };
        self.plan_copying(state, &copying, instruction, text)
    }

    fn plan_copying(
        &mut self,
        state: &mut StageState,
        copying: &Copying<'_>,
        instruction: &Parsed<Instruction>,
        text: &Text,
    ) -> Result<(), Fault> {
        let chown = copying.chown.map(|word| located(state, word, text)).transpose()?;
        let chmod = copying.chmod.map(|word| located(state, word, text)).transpose()?;
        let mode = chmod
            .as_ref()
            .map(|mode| {
                let invalid = |error: ParseChmodError| {
                    Diagnostic::error(Code::InvalidValue, error.to_string(), mode.span)
                };
                parse_chmod(&mode.value).map_err(invalid)
            })
            .transpose()?;
        let checksum =
            copying.checksum.map(|word| plan_checksum(state, word, copying.sources, text)).transpose()?;
        let chmod_is_absent = chmod.is_none();
        let destination = state.expand(copying.destination, text)?;
        let mut shown: Vec<String> = Vec::new();
        if copying.parents {
            shown.push("--parents".to_owned());
        }
        for (flag, value) in [("chown", &chown), ("chmod", &chmod)] {
            if let Some(value) = value {
                shown.push(format!("--{flag}={}", value.value));
            }
        }
        // As in BuildKit, paths are copied before here-documents.
        let mut sources = Vec::new();
        for source in copying.sources {
            let CopySource::Path(word) = source else { continue };
            let pattern = located(state, word, text)?;
            shown.push(pattern.value.clone());
            sources.push(match RemoteSource::of(&pattern.value) {
                None => CopyInput::Files { from: copying.from.clone(), pattern },
                Some(remote) if copying.keyword == "COPY" => {
                    return Err(refuse_remote(remote, &pattern).into());
                }
                Some(RemoteSource::Url) => {
                    let checksum = checksum.as_ref().map(digest).transpose()?;
                    CopyInput::Remote { url: pattern, checksum, unpack: copying.unpack_remote }
                }
                Some(RemoteSource::Git) => {
                    CopyInput::Git(Box::new(plan_git(&pattern, checksum.as_ref(), copying.keep_git_dir)?))
                }
            });
        }
        for source in copying.sources {
            let CopySource::Heredoc(heredoc) = source else { continue };
            let body = if heredoc.expand {
                expand_heredoc(&heredoc.body, &state.environment)?.text
            } else {
                heredoc.body.text.clone()
            };
            shown.push(format!("<<{}", heredoc.name));
            sources
                .push(CopyInput::Inline { name: heredoc.name.clone(), text: Arc::from(body.into_bytes()) });
        }
        shown.push(destination.clone());
        let into_directory = destination.ends_with('/')
            || destination.ends_with("/.")
            || matches!(destination.as_str(), "" | ".");
        let operation = Operation::Copy(CopyStep {
            parent: state.top,
            sources,
            destination: state.absolute(&destination),
            into_directory,
            owner: chown,
            mode,
            // As in BuildKit, the modes of what is there already count.
            link: copying.link && chmod_is_absent,
            parents: copying.parents,
            exclude: copying
                .exclude
                .iter()
                .map(|word| Located { value: word.text.clone(), span: word.span })
                .collect(),
            unpack_local: copying.unpack_local,
        });
        let label = (state.index, first_line(&instruction.text));
        let step = self.push(operation, text.place(instruction.span), Some(label));
        state.record_step(history::copy(copying.keyword, shown.iter().map(String::as_str)), step);
        Ok(())
    }

    /// Whose files `--from` means: an earlier stage by name or number, a named context, or an image.
    fn files_of(&mut self, state: &StageState, word: &Word, text: &Text) -> Result<Files, Fault> {
        let name = word.text.as_str();
        if self.stage_named(name, state.index).is_none() && self.named_context(name).is_none() {
            if let Ok(index) = name.parse::<usize>() {
                return self.stage_by_number(state, index, word);
            }
            self.refuse_later_stage(state, word)?;
        }
        self.files_named(state, name, word, text)
    }

    fn stage_by_number(&mut self, state: &StageState, index: usize, word: &Word) -> Result<Files, Fault> {
        if index >= state.index {
            let message = if index == state.index {
                format!("cannot copy from stage {index}: it is this one")
            } else {
                format!(
                    "invalid stage index {index}: the stages before this one are numbered from 0 to {}",
                    { state.index.saturating_sub(1) }
                )
            };
            return Err(Diagnostic::error(Code::UnknownStage, message, word.span).into());
        }
        self.stage_files(index)
    }

    fn refuse_later_stage(&self, state: &StageState, word: &Word) -> Result<(), Diagnostic> {
        let stages = &self.request.dockerfile.stages;
        let Some(later) = self.stage_named(&word.text, stages.len()) else { return Ok(()) };
        if later == state.index {
            let message = format!("circular dependency detected on stage: {}", word.text);
            return Err(Diagnostic::error(Code::CircularDependency, message, word.span));
        }
        let current = match stages.get(state.index).and_then(|stage| stage.name.as_ref()) {
            Some(name) => name.text.clone(),
            None => format!("stage-{}", state.index),
        };
        let message = format!(
            "cannot copy from stage \"{}\", it needs to be defined before current stage \"{current}\"",
            word.text
        );
        Err(Diagnostic::error(Code::UnknownStage, message, word.span))
    }

    /// The files of an earlier stage, a named context or an image.
    pub(super) fn files_named(
        &mut self,
        state: &StageState,
        name: &str,
        word: &Word,
        text: &Text,
    ) -> Result<Files, Fault> {
        match self
            .origin(name, state.index, word.span)
            .map_err(|error| self.with_stage_advice(error, word))?
        {
            Origin::Stage(index) => self.stage_files(index),
            Origin::Context(name) => Ok(Files::Context(Some(name))),
            Origin::Scratch => Ok(Files::Step(self.push(Operation::Scratch, text.place(word.span), None))),
            Origin::Image(source) => {
                // Also where the stage itself is for another platform: only `FROM --platform` says so.
                let platform = self.request.platform;
                Ok(Files::Step(self.image_step(source, platform, text.place(word.span))))
            }
        }
    }

    fn stage_files(&mut self, index: usize) -> Result<Files, Fault> {
        Ok(Files::Step(self.stage(index).map_err(Fault::Elsewhere)?.top))
    }

    fn with_stage_advice(&self, error: Diagnostic, word: &Word) -> Diagnostic {
        match nearest(&word.text, &self.stage_names()) {
            Some(name) => error.advise(format!("did you mean the stage `{name}`?")),
            None => error,
        }
    }
}

fn located(state: &StageState, word: &Word, text: &Text) -> Result<Located<String>, Diagnostic> {
    Ok(Located { value: state.expand(word, text)?, span: word.span })
}

fn refuse_remote(remote: RemoteSource, source: &Located<String>) -> Diagnostic {
    let message = match remote {
        RemoteSource::Git => "source can't be a git ref for COPY",
        RemoteSource::Url => "source can't be a URL for COPY",
    };
    Diagnostic::error(Code::Unsupported, message, source.span).advise("use ADD for what comes from elsewhere")
}

/// A repository, with what the flags say of it.
fn plan_git(
    address: &Located<String>,
    checksum: Option<&Located<String>>,
    keep_git_dir: Option<bool>,
) -> Result<Located<GitSource>, Diagnostic> {
    let invalid = |message: String| Diagnostic::error(Code::InvalidValue, message, address.span);
    let mut source = GitSource::parse(&address.value).map_err(|error| invalid(error.to_string()))?;
    match (keep_git_dir, source.keep_git_dir) {
        (Some(flag), Some(query)) if flag != query => {
            return Err(invalid("inconsistent keep-git-dir configuration".to_owned()));
        }
        (flag, query) => source.keep_git_dir = flag.or(query),
    }
    if let Some(checksum) = checksum {
        let wanted = checksum.value.to_ascii_lowercase();
        if !is_commit_prefix(&wanted) {
            let message = format!("`{wanted}` is no commit id, nor the beginning of one");
            return Err(Diagnostic::error(Code::InvalidFlag, message, checksum.span));
        }
        match &source.checksum {
            Some(given) if !given.starts_with(&wanted) && !wanted.starts_with(given.as_str()) => {
                let message = format!("checksum mismatch {given:?} != {wanted:?}");
                return Err(Diagnostic::error(Code::InvalidFlag, message, checksum.span));
            }
            Some(given) if given.len() >= wanted.len() => {}
            _ => source.checksum = Some(wanted),
        }
    }
    Ok(Located { value: source, span: address.span })
}

fn digest(checksum: &Located<String>) -> Result<Digest, Diagnostic> {
    checksum.value.parse().map_err(|error: crate::layer::ParseDigestError| {
        Diagnostic::error(Code::InvalidFlag, error.to_string(), checksum.span)
    })
}

/// `--checksum`, which speaks of one remote source.
fn plan_checksum(
    state: &StageState,
    word: &Word,
    sources: &[CopySource],
    text: &Text,
) -> Result<Located<String>, Diagnostic> {
    let invalid = |message: String| Diagnostic::error(Code::InvalidFlag, message, word.span);
    let [source] = sources else {
        return Err(invalid("checksum can't be specified for multiple sources".to_owned()));
    };
    let is_remote = match source {
        CopySource::Path(path) => RemoteSource::of(&state.expand(path, text)?).is_some(),
        CopySource::Heredoc(_) => false,
    };
    if !is_remote {
        return Err(invalid("checksum requires HTTP(S) or Git sources".to_owned()));
    }
    located(state, word, text)
}

/// What is shown of an instruction that may span lines.
pub(super) fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}
