//! From a Dockerfile to a graph.
//!
//! A stage is planned when something needs it; what nothing needs is never looked at. Planning needs the configs of
//! base images (their `ENV` takes part in expansion, their triggers add instructions); when one is missing, planning
//! goes on as far as it can and answers with everything it found missing, to be looked up all at once.

mod arguments;
mod copy;
mod metadata;
mod mounts;
mod run;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Base, BaseRequest, BaseSource, Bases, Graph, Operation, Place, Step, StepId};
use crate::context::source::RemoteContext;
use crate::dockerfile::{
    Code, Diagnostic, Diagnostics, Dockerfile, Instruction, Source, Span, Variables, Word, did_you_mean,
    expand,
};
use crate::image::{ImageConfig, ImageRef, Platform};
use arguments::Globals;
use stage::StageState;

/// How deep stages may need each other by way of triggers: more is no Dockerfile that a person wrote.
const MAX_STAGE_DEPTH: usize = 20;

/// How many triggers a base image may carry.
const MAX_TRIGGERS: usize = 1000;

/// What planning looks at.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// `--build-arg`.
    pub build_args: &'a BTreeMap<String, String>,
    /// `--target`; the last stage if `None`.
    pub target: Option<&'a str>,
    /// Whether a target that no stage is called may be a stage's number.
    pub numbered_targets: bool,
    /// What the image is for.
    pub platform: &'a Platform,
    /// Whether that was asked for: the image is then said to be for it, whatever its base is for.
    pub is_platform_given: bool,
    /// What the build runs on.
    pub build_platform: &'a Platform,
    /// `--build-context`.
    pub contexts: &'a BTreeMap<String, NamedContext>,
    /// `--label`.
    pub labels: &'a BTreeMap<String, String>,
    /// The base images that were looked up so far.
    pub bases: &'a Bases,
}

/// The value of a `--build-context`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image in a registry.
    Image(ImageRef),
    /// An image in an OCI layout, as `oci-layout://PATH[:TAG]`.
    Layout(String),
    /// Files that are fetched when the build begins.
    Remote(Box<RemoteContext>),
}

/// The answer of [`plan`].
#[derive(Debug)]
pub enum Planned {
    /// All is known.
    Graph(Box<Graph>),
    /// These images have to be looked up first.
    Needs(BTreeSet<BaseRequest>),
}

/// Plans the build of one platform.
pub fn plan(request: PlanRequest<'_>) -> Result<Planned, Diagnostics> {
    let mut planner = Planner::new(request)?;
    let planned = planner.plan_target();
    // With a base image missing, errors may come from what it would have defined.
    if !planner.needs.is_empty() {
        return Ok(Planned::Needs(planner.needs));
    }
    planned.map(|graph| Planned::Graph(Box::new(graph)))
}

/// The value of an argument before the first `FROM`, with where its default stands if that is what it is.
pub fn global_argument(
    request: &PlanRequest<'_>,
    name: &str,
) -> Result<Option<(String, Option<Span>)>, Diagnostics> {
    let globals = Globals::new(request).map_err(|error| in_dockerfile(request, error))?;
    let declared = request.dockerfile.globals.iter().flat_map(|located| &located.value);
    let mut defaults = declared
        .filter(|argument| argument.name.text == name)
        .filter_map(|argument| argument.default.as_ref());
    let span = defaults.next_back().map(|default| default.span);
    let span = span.filter(|_| !request.build_args.contains_key(name));
    Ok(Variables::get(&globals, name).map(|value| (value.to_owned(), span)))
}

/// The state of planning.
struct Planner<'a> {
    request: PlanRequest<'a>,
    globals: Globals,
    steps: Vec<Step>,
    /// For each step of a stage: the stage, and what is shown of the instruction.
    labels: Vec<Option<(usize, String)>>,
    stages: BTreeMap<usize, StageState>,
    /// Images that are copied or mounted from, which need no stage.
    images: BTreeMap<BaseRequest, StepId>,
    needs: BTreeSet<BaseRequest>,
    depth: usize,
}

/// What is wrong with an instruction.
enum Fault {
    /// A mistake in the instruction itself.
    Here(Diagnostic),
    /// A mistake in a stage that it needs, which has a place of its own.
    Elsewhere(Diagnostics),
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Here(diagnostic)
    }
}

impl Fault {
    /// As diagnostics, for an instruction that is written in `source`.
    fn in_source(self, source: &Arc<Source>) -> Diagnostics {
        match self {
            Self::Here(diagnostic) => Diagnostics::one(Arc::clone(source), diagnostic),
            Self::Elsewhere(diagnostics) => diagnostics,
        }
    }
}

/// What a name in `FROM`, `--from` or `from=` stands for.
enum Origin {
    Stage(usize),
    Scratch,
    Image(BaseSource),
    Context(String),
}

impl<'a> Planner<'a> {
    fn new(request: PlanRequest<'a>) -> Result<Self, Diagnostics> {
        let globals = Globals::new(&request).map_err(|error| in_dockerfile(&request, error))?;
        Ok(Self {
            request,
            globals,
            steps: Vec::new(),
            labels: Vec::new(),
            stages: BTreeMap::new(),
            images: BTreeMap::new(),
            needs: BTreeSet::new(),
            depth: 0,
        })
    }

    fn plan_target(&mut self) -> Result<Graph, Diagnostics> {
        let target = self.target()?;
        // Stages only need earlier ones, so that none is planned from within another one; but for triggers.
        for index in self.needed(target) {
            self.stage(index)?;
        }
        let mut stage = self.stage(target)?.clone();
        for (name, value) in self.request.labels {
            stage.config.config.labels.insert(name.clone(), value.clone());
        }
        let platform = self.platform_of(&stage.config);
        stage.config.set_platform(&platform);
        self.name_steps();
        Ok(Graph {
            steps: std::mem::take(&mut self.steps),
            result: stage.top,
            config: stage.config,
            history: stage.history,
        })
    }

    /// The stage that is built.
    fn target(&self) -> Result<usize, Diagnostics> {
        let stages = &self.request.dockerfile.stages;
        let Some(target) = self.request.target else { return Ok(stages.len().saturating_sub(1)) };
        if let Some(index) = self.stage_named(target, stages.len()) {
            return Ok(index);
        }
        let numbered =
            target.parse().ok().filter(|index| self.request.numbered_targets && *index < stages.len());
        if let Some(index) = numbered {
            return Ok(index);
        }
        let guess = did_you_mean(target, &self.stage_names());
        let message = format!("target stage \"{target}\" could not be found{guess}");
        let span = stages.last().map(|stage| stage.span).unwrap_or_default();
        Err(in_dockerfile(&self.request, Diagnostic::error(Code::UnknownStage, message, span)))
    }

    /// What an image of this config is said to be for: what was asked for, or else what its base is for.
    fn platform_of(&self, config: &ImageConfig) -> Platform {
        let (own, wanted) = (config.platform(), self.request.platform);
        if !self.request.is_platform_given {
            return own;
        }
        if (own.os(), own.architecture()) != (wanted.os(), wanted.architecture()) {
            return wanted.clone();
        }
        let version = own.os_version().map(str::to_owned);
        Platform::new(own.os(), own.architecture(), wanted.variant().or(own.variant()))
            .with_os_version(version)
    }

    fn stage_names(&self) -> Vec<&'a str> {
        let stages = &self.request.dockerfile.stages;
        stages.iter().filter_map(|stage| stage.name.as_ref()).map(|name| name.text.as_str()).collect()
    }

    /// The last stage of this name among the first `before`.
    fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let stages = self.request.dockerfile.stages.iter().take(before);
        let found = stages
            .rev()
            .find(|stage| stage.name.as_ref().is_some_and(|found| found.text.eq_ignore_ascii_case(name)));
        found.map(|stage| stage.index)
    }

    /// The planned stage.
    fn stage(&mut self, index: usize) -> Result<&StageState, Diagnostics> {
        if !self.stages.contains_key(&index) {
            self.depth += 1;
            if self.depth > MAX_STAGE_DEPTH {
                let span =
                    self.request.dockerfile.stages.get(index).map(|stage| stage.span).unwrap_or_default();
                let message =
                    format!("more than {MAX_STAGE_DEPTH} stages need each other in their ONBUILD triggers");
                let error = Diagnostic::error(Code::Unsupported, message, span);
                return Err(in_dockerfile(&self.request, error));
            }
            let state = self.plan_stage(index)?;
            self.depth -= 1;
            self.stages.insert(index, state);
        }
        Ok(&self.stages[&index])
    }

    /// The stages that `target` is made from, as far as the Dockerfile says; the first one first.
    fn needed(&self, target: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut pending = vec![target];
        while let Some(index) = pending.pop() {
            if needed.insert(index)
                && let Some(stage) = self.request.dockerfile.stages.get(index)
            {
                let escape = self.request.dockerfile.directives.escape;
                // A name that cannot be expanded is reported when the stage is planned.
                let base =
                    expand(&stage.base, &self.globals, escape).map(|name| name.text).unwrap_or_default();
                pending.extend(self.stage_meant(&base, index).filter(|_| base.parse::<usize>().is_err()));
                let names = stage.instructions.iter().flat_map(|instruction| instruction.value.origins());
                pending.extend(names.filter_map(|name| self.stage_meant(&name.text, index)));
            }
        }
        needed
    }

    /// The stage before `current` that `name` means in a `--from`: by name, or by number.
    fn stage_meant(&self, name: &str, current: usize) -> Option<usize> {
        if self.named_context(name).is_some() {
            return None;
        }
        let numbered = || name.parse().ok().filter(|index| *index < current);
        self.stage_named(name, current).or_else(numbered)
    }

    /// What `name` stands for, seen from stage `current`.
    fn origin(&self, name: &str, current: usize, span: Span) -> Result<Origin, Diagnostic> {
        if let Some((key, context)) = self.named_context(name) {
            return match context {
                NamedContext::Directory(_) | NamedContext::Remote(_) => Ok(Origin::Context(key.to_owned())),
                NamedContext::Image(image) => Ok(Origin::Image(BaseSource::Registry(image.clone()))),
                NamedContext::Layout(text) => layout(text, span),
            };
        }
        if let Some(index) = self.stage_named(name, current) {
            return Ok(Origin::Stage(index));
        }
        if name == "scratch" {
            return Ok(Origin::Scratch);
        }
        if name.starts_with("oci-layout://") {
            return layout(name, span);
        }
        let image: ImageRef = name.parse().map_err(|error: crate::image::ParseImageRefError| {
            Diagnostic::error(Code::InvalidBaseName, error.to_string(), span)
        })?;
        Ok(Origin::Image(BaseSource::Registry(image)))
    }

    /// A named context overrides stages and images of its name; image names are compared in full form.
    fn named_context(&self, name: &str) -> Option<(&'a str, &'a NamedContext)> {
        if ["scratch", "context"].iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return None;
        }
        let contexts = self.request.contexts;
        if let Some((key, found)) = contexts.get_key_value(name) {
            return Some((key, found));
        }
        let wanted: ImageRef = name.parse().ok()?;
        let found = contexts.iter().find(|(key, _)| key.parse() == Ok(wanted.clone()));
        found.map(|(key, found)| (key.as_str(), found))
    }

    /// The looked-up image, or an empty one while it is missing.
    fn base(&mut self, source: BaseSource, platform: Platform) -> (BaseRequest, Option<&'a Base>) {
        let request = BaseRequest { source, platform };
        let found = self.request.bases.get(&request);
        if found.is_none() {
            self.needs.insert(request.clone());
        }
        (request, found)
    }

    /// The step that yields an image's files, for `COPY --from=image` and mounts.
    fn image_step(&mut self, source: BaseSource, platform: &Platform, place: Place) -> StepId {
        let (request, _) = self.base(source, platform.clone());
        if let Some(step) = self.images.get(&request) {
            return *step;
        }
        let name = format!("FROM {}", request.source);
        let step = self.push(Operation::Base(request.clone()), place, None);
        if let Some(step) = self.steps.get_mut(step.position()) {
            step.name = name;
        }
        self.images.insert(request, step);
        step
    }

    fn push(&mut self, operation: Operation, place: Place, label: Option<(usize, String)>) -> StepId {
        let id = StepId::new(self.steps.len());
        self.steps.push(Step { operation, name: String::new(), place });
        self.labels.push(label);
        id
    }

    /// Numbers the steps of each stage: `[build 2/5] COPY . .`.
    fn name_steps(&mut self) {
        let mut totals: BTreeMap<usize, usize> = BTreeMap::new();
        for (stage, _) in self.labels.iter().flatten() {
            *totals.entry(*stage).or_default() += 1;
        }
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        let several = totals.len() > 1;
        for (step, label) in self.steps.iter_mut().zip(&self.labels) {
            let Some((stage, text)) = label else { continue };
            let number = numbers.entry(*stage).or_default();
            *number += 1;
            let total = totals.get(stage).copied().unwrap_or_default();
            let name = self.request.dockerfile.stages.get(*stage).and_then(|stage| stage.name.as_ref());
            let prefix = match name {
                Some(name) if several || self.request.dockerfile.stages.len() > 1 => {
                    format!("{} ", name.text)
                }
                None if several => format!("stage-{stage} "),
                _ => String::new(),
            };
            step.name = format!("[{prefix}{number}/{total}] {text}");
        }
    }
}

impl Instruction {
    /// The words that name stages or images whose files the instruction reads.
    fn origins(&self) -> Vec<&Word> {
        match self {
            Self::Copy(copy) => copy.from.iter().collect(),
            Self::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
            _ => Vec::new(),
        }
    }
}

fn layout(text: &str, span: Span) -> Result<Origin, Diagnostic> {
    BaseSource::layout(text).map(Origin::Image).ok_or_else(|| {
        let message = format!("`{text}` does not name an OCI layout: write oci-layout://PATH[:TAG]");
        Diagnostic::error(Code::InvalidBaseName, message, span)
    })
}

/// A diagnostic that is about the Dockerfile itself.
fn in_dockerfile(request: &PlanRequest<'_>, diagnostic: Diagnostic) -> Diagnostics {
    Diagnostics::one(Arc::clone(&request.dockerfile.source), diagnostic)
}
