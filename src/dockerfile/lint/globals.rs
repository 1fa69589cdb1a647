//! What `FROM` can refer to: the arguments before the first stage, and earlier stages.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::ast::{Dockerfile, Stage};
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::expand;
use crate::dockerfile::word::Word;
use crate::image::Platform;

/// The global arguments with their values, and what the bases of the stages are with them.
#[derive(Debug)]
pub(super) struct Globals {
    /// The values: as given, or by default.
    pub(super) values: BTreeMap<String, String>,
    /// All names, also of those without a value.
    pub(super) declared: BTreeSet<String>,
    /// The bases in order.
    bases: Vec<Base>,
    /// The bases if no arguments are given.
    default_bases: Vec<Base>,
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The stage of this index.
    Stage(usize),
    /// An image.
    Image(String),
    /// It cannot be expanded.
    Unknown,
}

impl Globals {
    pub(super) fn new(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>) -> Self {
        let values = evaluate(dockerfile, build_args);
        let defaults = evaluate(dockerfile, &BTreeMap::new());
        let declarations = dockerfile.globals.iter().flat_map(|located| &located.value);
        let declared = declarations.map(|argument| argument.name.text.clone());
        let declared = declared.chain(predefined().into_keys()).collect();
        let bases = find_bases(dockerfile, &values);
        Self { bases, default_bases: find_bases(dockerfile, &defaults), values, declared }
    }

    /// What a stage begins with.
    pub(super) fn base(&self, stage: &Stage) -> &Base {
        self.bases.get(stage.index).unwrap_or(&Base::Unknown)
    }

    /// What a stage begins with if no arguments are given.
    pub(super) fn default_base(&self, stage: &Stage) -> &Base {
        self.default_bases.get(stage.index).unwrap_or(&Base::Unknown)
    }

    /// The earlier stage that a stage begins with.
    pub(super) fn parent(&self, stage: &Stage) -> Option<usize> {
        if let Base::Stage(index) = self.base(stage) { Some(*index) } else { None }
    }
}

fn find_bases(dockerfile: &Dockerfile, values: &BTreeMap<String, String>) -> Vec<Base> {
    // The last stage of a name so far.
    let mut names = BTreeMap::new();
    let mut bases = Vec::new();
    for stage in &dockerfile.stages {
        let base = expand_with(&stage.base, values, dockerfile.directives.escape);
        bases.push(match base {
            None => Base::Unknown,
            Some(name) => match names.get(&name.to_lowercase()) {
                Some(index) => Base::Stage(*index),
                None => Base::Image(name),
            },
        });
        names.extend(stage.name.iter().map(|name| (name.text.clone(), stage.index)));
    }
    bases
}

fn expand_with(word: &Word, values: &BTreeMap<String, String>, escape: Escape) -> Option<String> {
    Some(expand(word, values, escape).ok()?.text)
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
