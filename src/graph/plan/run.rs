//! `RUN`.

use super::arguments::{hostname, proxies};
use super::copy::first_line;
use super::metadata::texts;
use super::stage::{StageState, Text};
use super::{Fault, Planner};
use crate::dockerfile::{Instruction, Located, Run, RunCommand, Variables};
use crate::graph::{Operation, RunStep, Script};
use crate::image::history;

impl Planner<'_> {
    pub(super) fn plan_run(
        &mut self,
        state: &mut StageState,
        run: &Run,
        instruction: &Located<Instruction>,
        text: &Text,
    ) -> Result<(), Fault> {
        let (argv, script) = match &run.command {
            RunCommand::Exec(words) => (texts(words), None),
            RunCommand::Shell(word) => (state.in_shell(&word.text), None),
            RunCommand::Script(heredoc) => {
                let script = Script { name: heredoc.name.clone(), text: heredoc.body.text.clone() };
                (state.in_shell(&format!("/dev/pipes/{}", heredoc.name)), Some(script))
            }
        };
        let mounts = self.plan_mounts(state, run, text)?;
        let created_by = {
            let arguments = state.shown_arguments();
            history::run(arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())), &argv)
        };
        let operation = Operation::Run(RunStep {
            parent: state.top,
            argv,
            env: state.environment.pairs().to_vec(),
            proxies: proxies(self.request.build_args),
            cwd: match state.config.config.working_dir.as_str() {
                "" => "/".to_owned(),
                directory => directory.to_owned(),
            },
            user: state.config.config.user.clone(),
            script,
            mounts,
            network: run.network,
            hostname: hostname(self.request.build_args),
            platform: state.config.platform(),
        });
        let label = (state.index, first_line(&instruction.text));
        let step = self.push(operation, text.place(instruction.span), Some(label));
        state.record_step(created_by, step);
        Ok(())
    }
}

impl StageState {
    /// The declared arguments with the values a RUN sees now, each once.
    fn shown_arguments(&self) -> Vec<(String, String)> {
        let mut shown: Vec<(String, String)> = Vec::new();
        for (name, declared) in &self.arguments {
            let value = Variables::get(&self.environment, name).or(declared.as_deref()).unwrap_or_default();
            match shown.iter_mut().find(|(found, _)| found == name) {
                Some((_, found)) => value.clone_into(found),
                None => shown.push((name.clone(), value.to_owned())),
            }
        }
        shown
    }
}
