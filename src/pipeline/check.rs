//! What there is to say about a Dockerfile: mistakes, and what is probably not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::inputs::{FetchedMain, Inputs};
use super::{BuildError, plan_request};
use crate::context::ignore::Ignore;
use crate::dockerfile::{
    BaseImage, Check, Code, Diagnostic, Diagnostics, Dockerfile, LintOptions, Severity, Source, Span, lint,
    lint_violation, parse_partly,
};
use crate::event::Events;
use crate::graph::{Base, BaseSource, Bases, Graph, Operation, Planned, plan};
use crate::image::{ImageConfig, ImageRef, Platform};
use crate::request::BuildRequest;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The Dockerfile.
    pub source: Arc<Source>,
    /// What there is to say about it, in the order of the places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// How many diagnostics are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

/// Checks the Dockerfile of a request. Nothing is fetched, run or written, so that what depends on base images is
/// not checked. Mistakes in the Dockerfile are findings; an error is what prevents looking at it.
pub fn check(request: &BuildRequest) -> Result<Checked, BuildError> {
    let inputs = match Inputs::open(request, FetchedMain::default()) {
        Ok(inputs) => inputs,
        Err(BuildError::Dockerfile(diagnostics)) => return Ok(check_partly(&diagnostics)),
        Err(error) => return Err(error),
    };
    let mut diagnostics = inputs.findings(BTreeMap::new());
    diagnostics.extend(misplaced(&inputs.dockerfile, request));
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.code));
    Ok(Checked { source: Arc::clone(&inputs.dockerfile.source), diagnostics })
}

/// Errors, and the warnings that what is wrong with other instructions cannot have caused: what a warning depends on
/// comes before it.
fn check_partly(errors: &Diagnostics) -> Checked {
    let source = Arc::clone(errors.source());
    let mut diagnostics: Vec<Diagnostic> = errors.iter().cloned().collect();
    let (dockerfile, _) = parse_partly((*source).clone());
    let first_error =
        errors.iter().map(|error| error.span.map_or(0, |span| span.start)).min().unwrap_or_default();
    let is_before = |span: Option<Span>| span.is_some_and(|span| span.start < first_error);
    let globals_are_whole = is_before(dockerfile.stages.first().map(|stage| stage.span));
    diagnostics.extend(lint(&dockerfile, &LintOptions::default()).into_iter().filter(|warning| {
        match warning.code {
            Code::UndefinedVar | Code::WorkdirRelativePath | Code::JSONArgsRecommended => {
                is_before(warning.span)
            }
            Code::UndefinedArgInFrom | Code::InvalidDefaultArgInFrom => globals_are_whole,
            // It is about the majority of all.
            Code::ConsistentInstructionCasing => false,
            _ => true,
        }
    }));
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.code));
    Checked { source, diagnostics }
}

/// The first mistake in how stages refer to each other. Found by planning with empty images for all that planning
/// asks for; errors that may come from their being empty are left out.
fn misplaced(dockerfile: &Dockerfile, request: &BuildRequest) -> Option<Diagnostic> {
    let build_platform = Platform::host();
    let platform = request.platforms.first().unwrap_or(&build_platform);
    let (_, error) = plan_with_empty_bases(dockerfile, request, platform);
    let independent =
        [Code::UnknownStage, Code::CircularDependency, Code::InvalidBaseName, Code::Unsupported];
    error.filter(|error| independent.contains(&error.code))
}

/// The images in registries that the Dockerfile needs for the wanted platforms, as far as that can be said without
/// knowing them.
pub(super) fn needed_images(dockerfile: &Dockerfile, request: &BuildRequest) -> BTreeSet<ImageRef> {
    let host = [Platform::host()];
    let platforms = if request.platforms.is_empty() { &host[..] } else { &request.platforms };
    let bases = platforms.iter().map(|platform| plan_with_empty_bases(dockerfile, request, platform).0);
    let sources = bases.flat_map(|bases| bases.into_keys().map(|need| need.source));
    sources
        .filter_map(|source| match source {
            BaseSource::Registry(image) => Some(image),
            BaseSource::Layout { .. } => None,
        })
        .collect()
}

/// All base images that planning asks for, taken to be empty, and the mistake at which it ends.
fn plan_with_empty_bases(
    dockerfile: &Dockerfile,
    request: &BuildRequest,
    platform: &Platform,
) -> (Bases, Option<Diagnostic>) {
    let build_platform = Platform::host();
    let mut bases = Bases::new();
    loop {
        match plan(plan_request(request, dockerfile, platform, &build_platform, &bases)) {
            Ok(Planned::Graph(_)) => return (bases, None),
            Ok(Planned::Needs(needs)) => bases.extend(needs.into_iter().map(|need| {
                let config = ImageConfig::for_platform(&need.platform);
                (need, Base { config, layers: Vec::new(), is_docker: false })
            })),
            Err(diagnostics) => return (bases, Some(diagnostics.into_first())),
        }
    }
}

/// Checks the Dockerfile of one build, saying each finding once.
#[derive(Debug)]
pub(super) struct Linter {
    build_args: BTreeMap<String, String>,
    check: Option<Check>,
    said: Mutex<Vec<Diagnostic>>,
}

impl Linter {
    /// The build argument that overrides the Dockerfile's `# check=`.
    const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

    pub(super) fn new(source: &Arc<Source>, request: &BuildRequest) -> Result<Self, BuildError> {
        let check = request.build_args.get(Self::CHECK).map(|text| text.parse()).transpose();
        let check = check.map_err(|error: crate::dockerfile::ParseCheckError| {
            let message = format!("the build argument {}: {error}", Self::CHECK);
            let diagnostic = Diagnostic::error(Code::InvalidDirective, message, Span::default());
            let diagnostic = Diagnostic { span: None, ..diagnostic };
            BuildError::Dockerfile(Diagnostics::one(Arc::clone(source), diagnostic))
        })?;
        Ok(Self { build_args: request.build_args.clone(), check, said: Mutex::default() })
    }

    /// What was not found before, with what is known of base images.
    pub(super) fn find(
        &self,
        dockerfile: &Dockerfile,
        ignore: Option<&Ignore>,
        bases: BTreeMap<usize, BaseImage>,
    ) -> Vec<Diagnostic> {
        let options =
            LintOptions { build_args: self.build_args.clone(), ignore, check: self.check.clone(), bases };
        let mut found = lint(dockerfile, &options);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|diagnostic| !said.contains(diagnostic));
        said.extend(found.iter().cloned());
        found
    }
}

/// Warns; with `# check=error=true` in force, fails with BuildKit's summary.
pub(super) fn warn(
    source: &Arc<Source>,
    mut found: Vec<Diagnostic>,
    events: &Events,
) -> Result<(), BuildError> {
    if let Some(violation) = lint_violation(&found) {
        found.push(violation);
        let diagnostics = Diagnostics::new(Arc::clone(source), found);
        return diagnostics.map_or(Ok(()), |diagnostics| Err(BuildError::Dockerfile(diagnostics)));
    }
    for warning in found {
        events.warn(warning.render(source, true));
    }
    Ok(())
}

/// The images that the stages of a plan begin with. Images with triggers are left out: a trigger may set variables,
/// too.
pub(super) fn base_images(
    dockerfile: &Dockerfile,
    graph: &Graph,
    bases: &Bases,
) -> BTreeMap<usize, BaseImage> {
    let image = |step: &crate::graph::Step| {
        let Operation::Base(request) = &step.operation else { return None };
        let base = bases.get(request)?;
        let stage = dockerfile.stages.iter().find(|stage| {
            Arc::ptr_eq(&step.place.source, &dockerfile.source) && step.place.span == stage.span
        })?;
        if !base.config.config.on_build.is_empty() {
            return None;
        }
        let variables = base.config.config.env_pairs().map(|(name, _)| name.to_owned()).collect();
        let (platform, wanted) = (base.config.platform(), request.platform.clone());
        Some((stage.index, BaseImage { variables, platform, wanted }))
    };
    graph.steps.iter().filter_map(image).collect()
}
