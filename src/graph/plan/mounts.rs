//! `RUN --mount`.

use super::Planner;
use super::stage::{StageState, Text};
use crate::dockerfile::{Code, Diagnostic, Mount, Run, RunMount as Parsed};
use crate::graph::{Files, RunMount};

impl Planner<'_> {
    pub(super) fn plan_mounts(
        &mut self,
        state: &StageState,
        run: &Run,
        text: &Text,
    ) -> Result<Vec<RunMount>, Diagnostic> {
        run.mounts.iter().map(|mount| self.plan_mount(state, mount, text)).collect()
    }

    fn plan_mount(
        &mut self,
        state: &StageState,
        parsed: &Parsed,
        text: &Text,
    ) -> Result<RunMount, Diagnostic> {
        let mount = parsed.resolve(&state.environment, text.escape)?;
        let from = match (&parsed.from, &mount) {
            (Some(word), _) => {
                self.refuse_later_mount(state, parsed)?;
                Some(self.files_named(state, &word.text, word, text)?)
            }
            (None, Mount::Bind(_)) => Some(Files::Context(None)),
            (None, _) => None,
        };
        Ok(RunMount { mount, from, span: parsed.span() })
    }

    fn refuse_later_mount(&self, state: &StageState, parsed: &Parsed) -> Result<(), Diagnostic> {
        let Some(word) = &parsed.from else { return Ok(()) };
        let stages = &self.request.dockerfile.stages;
        if self.stage_named(&word.text, state.index).is_some()
            || self.stage_named(&word.text, stages.len()).is_none()
        {
            return Ok(());
        }
        let current = stages.get(state.index).and_then(|stage| stage.name.as_ref());
        let current = current.map_or_else(|| format!("stage-{}", state.index), |name| name.text.clone());
        let message = format!(
            "cannot mount from stage \"{}\" to \"{current}\", stage needs to be defined before current command",
            word.text
        );
        Err(Diagnostic::error(Code::UnknownStage, message, word.span))
    }
}
