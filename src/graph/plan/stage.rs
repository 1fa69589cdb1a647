//! One stage: its base, then its instructions one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::{Environment, is_environment};
use super::{Fault, MAX_TRIGGERS, Origin, Planner, in_dockerfile};
use crate::dockerfile::{
    ArgDeclaration, Code, Diagnostic, Diagnostics, Escape, Instruction, Located, Source, Span, Variables,
    Word, expand, parse_onbuild,
};
use crate::graph::{
    BaseSource, CopyInput, CopyStep, Files, HistoryItem, Operation, Place, StepId, WorkingDirectoryStep,
};
use crate::image::{ImageConfig, Platform, history};
use crate::rootfs::clean;

/// Docker's search path, for images that have none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage after some of its instructions.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    pub(super) index: usize,
    pub(super) top: StepId,
    pub(super) config: ImageConfig,
    pub(super) history: Vec<HistoryItem>,
    /// What words are expanded in and what a RUN sees: the image's variables and the arguments, the latest winning.
    pub(super) environment: Environment,
    /// Declared arguments with the values they were declared with, in order.
    pub(super) arguments: Vec<(String, Option<String>)>,
    /// Whether `CMD` was set in this stage: if not, `ENTRYPOINT` clears what the base has.
    pub(super) cmd_is_set: bool,
}

/// Where the instruction at hand was written.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) source: Arc<Source>,
    pub(super) escape: Escape,
}

impl Text {
    pub(super) fn place(&self, span: Span) -> Place {
        Place { source: Arc::clone(&self.source), span }
    }
}

impl StageState {
    /// Adds metadata to the history.
    pub(super) fn record(&mut self, created_by: String) {
        self.history.push(HistoryItem::Made { created_by, step: None });
    }

    /// Adds a layer to the history, on top of the stage.
    pub(super) fn record_step(&mut self, created_by: String, step: StepId) {
        self.top = step;
        self.history.push(HistoryItem::Made { created_by, step: Some(step) });
    }

    /// The text of `word`, expanded.
    pub(super) fn expand(&self, word: &Word, text: &Text) -> Result<String, Diagnostic> {
        Ok(expand(word, &self.environment, text.escape)?.text)
    }

    /// An absolute and clean path, taken from the working directory if it is relative.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        Path::new("/").join(clean(&Path::new(&self.config.config.working_dir).join(path)))
    }

    /// The shell of shell forms.
    pub(super) fn shell(&self) -> Vec<String> {
        if self.config.config.shell.is_empty() {
            return vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        self.config.config.shell.clone()
    }
}

impl Planner<'_> {
    /// Plans the stage at `index`.
    pub(super) fn plan_stage(&mut self, index: usize) -> Result<StageState, Diagnostics> {
        let dockerfile = self.request.dockerfile;
        let text = Text { source: Arc::clone(&dockerfile.source), escape: dockerfile.directives.escape };
        let mut state = self.begin_stage(index, &text)?;
        self.fire_triggers(&mut state)?;
        for instruction in &dockerfile.stages[index].instructions {
            self.dispatch(&mut state, instruction, &text).map_err(|fault| fault.in_source(&text.source))?;
        }
        Ok(state)
    }

    /// What the stage begins with, according to its `FROM`.
    fn begin_stage(&mut self, index: usize, text: &Text) -> Result<StageState, Diagnostics> {
        let stage = &self.request.dockerfile.stages[index];
        let here = |error| in_dockerfile(&self.request, error);
        let name = expand(&stage.base, &self.globals, text.escape).map_err(here)?.text;
        if name.trim().is_empty() {
            let message = format!("base name ({}) should not be blank", stage.base.text);
            return Err(here(Diagnostic::error(Code::InvalidBaseName, message, stage.base.span)));
        }
        let platform = match &stage.platform {
            None => self.request.platform.clone(),
            Some(word) => {
                let text = expand(word, &self.globals, text.escape).map_err(here)?.text;
                if text.is_empty() {
                    let message = format!("empty platform value from expression {}", word.text);
                    return Err(here(Diagnostic::error(Code::InvalidValue, message, word.span)));
                }
                text.parse().map_err(|error: crate::image::ParsePlatformError| {
                    here(Diagnostic::error(Code::InvalidValue, error.to_string(), word.span))
                })?
            }
        };
        let origin = self.origin(&name, index, stage.base.span).map_err(here)?;
        let place = text.place(stage.span);
        let label = (index, format!("FROM {name}"));
        match origin {
            Origin::Stage(parent) => {
                let mut state = self.stage(parent)?.clone();
                state.index = index;
                state.cmd_is_set = false;
                Ok(state)
            }
            Origin::Scratch => {
                // Nothing is for every platform: what `--platform` says of it says nothing.
                let config = scratch_config(self.request.platform);
                let step = self.push(Operation::Scratch, place, None);
                Ok(new_state(index, step, config, Vec::new()))
            }
            Origin::Image(source) => Ok(self.begin_with_image(index, source, &platform, place, label)),
            Origin::Context(name) => {
                let parent = self.push(Operation::Scratch, place.clone(), None);
                let top = self.push(everything(parent, name, stage.base.span), place, Some(label));
                Ok(new_state(index, top, scratch_config(&platform), Vec::new()))
            }
        }
    }

    fn begin_with_image(
        &mut self,
        index: usize,
        source: BaseSource,
        platform: &Platform,
        place: Place,
        label: (usize, String),
    ) -> StageState {
        let (request, base) = self.base(source, platform.clone());
        let Some(base) = base else {
            // Planned again when it is known.
            let step = self.push(Operation::Base(request), place, Some(label));
            return new_state(index, step, scratch_config(platform), Vec::new());
        };
        let history = base.config.history.iter().cloned().map(HistoryItem::Base).collect();
        let step = if base.layers.is_empty() {
            self.push(Operation::Scratch, place, None)
        } else {
            self.push(Operation::Base(request), place, Some(label))
        };
        new_state(index, step, base.config.clone(), history)
    }

    /// Executes what the base image (or the stage this one is built from) has asked for with `ONBUILD`.
    fn fire_triggers(&mut self, state: &mut StageState) -> Result<(), Diagnostics> {
        let triggers = std::mem::take(&mut state.config.config.on_build);
        let stage = &self.request.dockerfile.stages[state.index];
        if triggers.len() > MAX_TRIGGERS {
            let message =
                format!("the base has {} ONBUILD triggers; {MAX_TRIGGERS} is the limit", triggers.len());
            return Err(in_dockerfile(
                &self.request,
                Diagnostic::error(Code::Unsupported, message, stage.base.span),
            ));
        }
        for trigger in triggers {
            let source = Source::new(format!("ONBUILD trigger of {}", stage.base.text), trigger);
            // Its lines have Docker's escape character, its words that of the Dockerfile, as in BuildKit.
            let escape = self.request.dockerfile.directives.escape;
            let text = Text { source: Arc::new(source.clone()), escape };
            let instruction = parse_onbuild(source)?;
            self.dispatch(state, &instruction, &text).map_err(|fault| fault.in_source(&text.source))?;
        }
        Ok(())
    }

    /// Plans one instruction.
    fn dispatch(
        &mut self,
        state: &mut StageState,
        instruction: &Located<Instruction>,
        text: &Text,
    ) -> Result<(), Fault> {
        match &instruction.value {
            Instruction::Add(add) => self.plan_add(state, add, instruction, text)?,
            Instruction::Copy(copy) => self.plan_copy(state, copy, instruction, text)?,
            Instruction::Run(run) => self.plan_run(state, run, instruction, text)?,
            Instruction::Arg(arguments) => self.plan_arguments(state, arguments, text)?,
            Instruction::Workdir(path) => self.plan_working_directory(state, path, instruction, text)?,
            Instruction::Env(pairs) => state.set_environment(pairs, text)?,
            Instruction::Label(pairs) => state.set_labels(pairs, text)?,
            Instruction::Cmd(command) => state.set_cmd(command),
            Instruction::Entrypoint(command) => state.set_entrypoint(command),
            Instruction::Shell(words) => state.set_shell(words),
            Instruction::User(word) => state.set_user(word, text)?,
            Instruction::Expose(words) => state.expose(words, text)?,
            Instruction::Volume(words) => state.add_volumes(words, text)?,
            Instruction::StopSignal(word) => state.set_stop_signal(word, text)?,
            Instruction::Maintainer(word) => state.set_maintainer(word),
            Instruction::Healthcheck(check) => state.set_healthcheck(check),
            Instruction::Onbuild(onbuild) => state.config.config.on_build.push(onbuild.text.clone()),
        }
        Ok(())
    }

    /// `ARG`: `--build-arg` before the own default before the global value.
    fn plan_arguments(
        &mut self,
        state: &mut StageState,
        arguments: &[ArgDeclaration],
        text: &Text,
    ) -> Result<(), Diagnostic> {
        let mut shown = Vec::new();
        for argument in arguments {
            let name = &argument.name.text;
            let value = match (self.request.build_args.get(name), &argument.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(state.expand(default, text)?),
                (None, None) => Variables::get(&self.globals, name).map(str::to_owned),
            };
            if let Some(value) = &value
                && is_environment(name)
            {
                state.environment.set(name, value);
            }
            shown.push((name.as_str(), value.clone()));
            state.arguments.push((name.clone(), value));
        }
        let shown = shown.iter().map(|(name, value)| (*name, value.as_deref()));
        state.record(history::pairs("ARG", shown));
        Ok(())
    }

    fn plan_working_directory(
        &mut self,
        state: &mut StageState,
        word: &Word,
        instruction: &Located<Instruction>,
        text: &Text,
    ) -> Result<(), Diagnostic> {
        let path = state.absolute(&state.expand(word, text)?);
        state.config.config.working_dir = path.display().to_string();
        let created_by = format!("WORKDIR {}", path.display());
        if path == Path::new("/") {
            state.record(created_by);
            return Ok(());
        }
        let user = state.config.config.user.clone();
        let operation = Operation::WorkingDirectory(WorkingDirectoryStep { parent: state.top, path, user });
        let label = (state.index, created_by.clone());
        let step = self.push(operation, text.place(instruction.span), Some(label));
        state.record_step(created_by, step);
        Ok(())
    }
}

fn new_state(index: usize, top: StepId, mut config: ImageConfig, history: Vec<HistoryItem>) -> StageState {
    config.history.clear();
    config.rootfs.diff_ids.clear();
    config.created = None;
    if config.config.env("PATH").is_none() {
        config.config.set_env("PATH", DEFAULT_PATH);
    }
    let mut environment = Environment::default();
    for (name, value) in config.config.env_pairs() {
        environment.set(name, value);
    }
    StageState { index, top, config, history, environment, arguments: Vec::new(), cmd_is_set: false }
}

/// All files of a named context, for a stage that begins with them.
fn everything(parent: StepId, context: String, span: Span) -> Operation {
    let pattern = crate::graph::Located { value: "/".to_owned(), span };
    Operation::Copy(CopyStep {
        sources: vec![CopyInput::Files { from: Files::Context(Some(context)), pattern }],
        ..CopyStep::into_root(parent)
    })
}

fn scratch_config(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig::for_platform(platform);
    "/".clone_into(&mut config.config.working_dir);
    config
}
