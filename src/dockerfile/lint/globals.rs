//! What `FROM` can refer to: the arguments before the first stage, and earlier stages.

use std::collections::BTreeMap;

use crate::dockerfile::ast::{Dockerfile, Stage};
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::expand;
use crate::dockerfile::word::Word;
use crate::image::Platform;

/// The global arguments with their values.
#[derive(Debug)]
pub(super) struct Globals {
    /// As given, or by default.
    pub(super) values: BTreeMap<String, String>,
    /// By default.
    pub(super) defaults: BTreeMap<String, String>,
    /// All names, also of those without a value.
    pub(super) declared: Vec<String>,
    /// Per stage, the earlier stage that it begins with.
    parents: Vec<Option<usize>>,
}

impl Globals {
    pub(super) fn new(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>) -> Self {
        let values = evaluate(dockerfile, build_args);
        let declarations = dockerfile.globals.iter().flat_map(|located| &located.value);
        let declared = declarations.map(|argument| argument.name.text.clone());
        let declared = declared.chain(predefined().into_keys()).collect();
        let escape = dockerfile.directives.escape;
        let parents = dockerfile
            .stages
            .iter()
            .enumerate()
            .map(|(index, stage)| {
                let base = expand(&stage.base, &values, escape).ok()?.text;
                find_stage(dockerfile.stages.get(..index)?, &base)
            })
            .collect();
        Self { values, defaults: evaluate(dockerfile, &BTreeMap::new()), declared, parents }
    }

    /// The earlier stage that a stage begins with.
    pub(super) fn parent(&self, stage: &Stage) -> Option<usize> {
        self.parents.get(stage.index).copied().flatten()
    }

    /// The base of a stage as given.
    pub(super) fn base(&self, stage: &Stage, escape: Escape) -> Option<String> {
        expand_with(&stage.base, &self.values, escape)
    }

    /// The base of a stage by default.
    pub(super) fn default_base(&self, stage: &Stage, escape: Escape) -> Option<String> {
        expand_with(&stage.base, &self.defaults, escape)
    }
}

fn expand_with(word: &Word, values: &BTreeMap<String, String>, escape: Escape) -> Option<String> {
    Some(expand(word, values, escape).ok()?.text)
}

/// The last stage of this name.
pub(super) fn find_stage(stages: &[Stage], name: &str) -> Option<usize> {
    stages
        .iter()
        .rposition(|stage| stage.name.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(name)))
}

/// Every argument in its order, with the earlier ones in its default.
fn evaluate(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut values = predefined();
    for argument in dockerfile.globals.iter().flat_map(|located| &located.value) {
        let name = &argument.name.text;
        let default = || {
            let default = argument.default.as_ref()?;
            expand_with(default, &values, dockerfile.directives.escape)
        };
        if let Some(value) = build_args.get(name).cloned().or_else(default) {
            values.insert(name.clone(), value);
        }
    }
    values
}

/// The arguments that exist without a declaration; the values do not matter to the checks.
fn predefined() -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut values = BTreeMap::from([("TARGETSTAGE".to_owned(), "default".to_owned())]);
    for side in ["TARGET", "BUILD"] {
        for (name, value) in [
            ("PLATFORM", host.to_string()),
            ("OS", host.os().to_owned()),
            ("OSVERSION", String::new()),
            ("ARCH", host.architecture().to_owned()),
            ("VARIANT", host.variant().unwrap_or_default().to_owned()),
        ] {
            values.insert(format!("{side}{name}"), value);
        }
    }
    values
}
