//! `RUN --mount`.

use std::path::Path;

use super::arguments::cache_namespace;
use super::stage::{StageState, Text};
use super::{Fault, Planner};
use crate::dockerfile::{Code, Diagnostic, Mount, Run, RunMount as Parsed};
use crate::graph::{Files, RunMount};

impl Planner<'_> {
    pub(super) fn plan_mounts(
        &mut self,
        state: &StageState,
        run: &Run,
        text: &Text,
    ) -> Result<Vec<RunMount>, Fault> {
        let mut agents = 0;
        run.mounts.iter().map(|mount| self.plan_mount(state, mount, text, &mut agents)).collect()
    }

    fn plan_mount(
        &mut self,
        state: &StageState,
        parsed: &Parsed,
        text: &Text,
        agents: &mut usize,
    ) -> Result<RunMount, Fault> {
        let mut mount = parsed.resolve(&state.environment, text.escape)?;
        complete(&mut mount, state, cache_namespace(self.request.build_args), agents, parsed)?;
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
        if self.stage_named(&word.text, state.index).is_some() || self.named_context(&word.text).is_some() {
            return Ok(());
        }
        if word.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let message =
                format!("a mount is from a stage with a name or from an image, not from `{}`", word.text);
            let advice = "give the stage a name with `FROM … AS name`; only COPY --from knows numbers";
            return Err(Diagnostic::error(Code::UnknownStage, message, word.span).advise(advice));
        }
        if self.stage_named(&word.text, stages.len()).is_none() {
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

/// Completes what depends on the place: targets become absolute, caches get an id. `agents` counts the SSH mounts.
fn complete(
    mount: &mut Mount,
    state: &StageState,
    namespace: Option<&str>,
    agents: &mut usize,
    parsed: &Parsed,
) -> Result<(), Diagnostic> {
    let target = match mount {
        Mount::Bind(mount) => Some(&mut mount.target),
        Mount::Cache(cache) => {
            let id = cache.id.take().unwrap_or_else(|| clean(&cache.target));
            cache.id = Some(namespace.map_or(id.clone(), |namespace| format!("{namespace}/{id}")));
            Some(&mut cache.target)
        }
        Mount::Tmpfs(mount) => Some(&mut mount.target),
        Mount::Secret(mount) => mount.target.as_mut(),
        Mount::Ssh(mount) => {
            let number = *agents;
            *agents += 1;
            Some(mount.target.get_or_insert_with(|| format!("/run/buildkit/ssh_agent.{number}")))
        }
    };
    let Some(target) = target else { return Ok(()) };
    let absolute = state.absolute(target);
    if absolute == Path::new("/") {
        let error = Diagnostic::error(Code::InvalidMount, "invalid mount target \"/\"", parsed.span());
        return Err(error.advise("mount it on a directory, with target=/path"));
    }
    *target = absolute.to_string_lossy().into_owned();
    Ok(())
}

/// A path without `.`, `..` and doubled slashes, as Go's `path.Clean`; nothing is looked up.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let is_absolute = path.starts_with('/');
    for name in path.split('/') {
        match (name, names.last()) {
            ("" | ".", _) => {}
            ("..", Some(&last)) if last != ".." => {
                names.pop();
            }
            ("..", None) if is_absolute => {}
            (name, _) => names.push(name),
        }
    }
    match (is_absolute, names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => names.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_without_looking() {
        for (path, expected) in [
            ("/a/./b//c/", "/a/b/c"),
            ("/a/../../b", "/b"),
            ("/", "/"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("./", "."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
