//! Why a step was carried out, or not: `--explain-cache`.

use std::collections::BTreeMap;

use super::recall::FoundIn;
use super::solve::Solver;
use crate::event::{CacheAnswer, CacheChange};
use crate::graph::{Change, ChangeKind, Definition, Graph, Step, StepId};
use crate::layer::Digest;

/// What is known of the difference between a step and the same step of the last build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reasons {
    /// There was no such step, or the store is new.
    NotSeenBefore,
    /// What the step is made from is known only when it is carried out.
    Undefined,
    /// This has changed. If nothing has, the result is not kept any more.
    Changes(Vec<Change>),
}

/// What is to be said of a step.
#[derive(Debug)]
pub(super) enum Explained<'a> {
    /// There is a result.
    Found {
        /// Where.
        place: &'a FoundIn,
        /// By what.
        by: FoundBy<'a>,
    },
    /// It is carried out.
    Missed {
        /// Why.
        changes: &'a Reasons,
    },
    /// Nobody needs its result: that of a later step is known.
    Unneeded,
}

/// By what a result was found.
#[derive(Debug)]
pub(super) enum FoundBy<'a> {
    /// By what is written, and the files of contexts.
    Definition,
    /// By what the inputs came to.
    Inputs {
        /// What is different, though to no effect.
        changes: &'a Reasons,
    },
}

/// The definitions of a build, by what their steps are recognised by in the next.
type Remembered = BTreeMap<String, Definition>;

impl Solver {
    /// Compares the definitions with those of the last build of the same `scope`, and remembers these.
    pub(super) fn compare(
        &self,
        graph: &Graph,
        definitions: &[Option<Definition>],
        scope: &str,
    ) -> Vec<Reasons> {
        let store = self.settings().layers.store();
        let scope = Digest::of(scope);
        let before: Remembered = if self.settings().explain {
            store.definitions(scope).ok().flatten().unwrap_or_default()
        } else {
            Remembered::new()
        };
        let mut now = Remembered::new();
        let mut reasons = Vec::with_capacity(definitions.len());
        for (id, definition) in StepId::all(graph).zip(definitions) {
            let name = recognised_by(graph.step(id));
            reasons.push(match (definition, before.get(&name)) {
                (None, _) => Reasons::Undefined,
                (Some(_), None) => Reasons::NotSeenBefore,
                (Some(definition), Some(before)) => Reasons::Changes(definition.changes_since(before)),
            });
            now.extend(definition.clone().map(|definition| (name, definition)));
        }
        if let Err(error) = store.keep_definitions(scope, &now) {
            self.settings().events.warn(crate::pipeline::describe(&error));
        }
        reasons
    }

    /// Tells it, if that is wanted.
    pub(super) fn explain(&self, step: &Step, explained: &Explained<'_>) {
        if !self.settings().explain {
            return;
        }
        let (answer, place, changes) = match explained {
            Explained::Found { place, by } => {
                let place = match place {
                    FoundIn::Store => "store".to_owned(),
                    FoundIn::Cache(place) => place.to_string(),
                };
                match by {
                    FoundBy::Definition => (CacheAnswer::Hit, Some(place), Vec::new()),
                    FoundBy::Inputs { changes } => (CacheAnswer::HitByInputs, Some(place), told(changes)),
                }
            }
            Explained::Missed { .. } if !self.settings().use_cache => {
                (CacheAnswer::NotAsked, None, Vec::new())
            }
            Explained::Missed { changes } => match changes {
                Reasons::NotSeenBefore => (CacheAnswer::NotSeenBefore, None, Vec::new()),
                Reasons::Undefined => (CacheAnswer::MissByInputs, None, Vec::new()),
                Reasons::Changes(list) if list.is_empty() => (CacheAnswer::NotKept, None, Vec::new()),
                Reasons::Changes(_) => (CacheAnswer::Miss, None, told(changes)),
            },
            Explained::Unneeded => (CacheAnswer::Unneeded, None, Vec::new()),
        };
        self.settings().events.explain(step.name.clone(), answer, place, changes);
    }
}

fn told(reasons: &Reasons) -> Vec<CacheChange> {
    let Reasons::Changes(changes) = reasons else { return Vec::new() };
    let changes = changes.iter().map(|change| CacheChange {
        what: change.name.clone(),
        how: match change.kind {
            ChangeKind::Changed => "changed",
            ChangeKind::Added => "added",
            ChangeKind::Gone => "gone",
        },
    });
    changes.collect()
}

/// `[build 2/5] RUN make` is `build 2` whatever it says and however many come after it.
fn recognised_by(step: &Step) -> String {
    let inside = step.name.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inside, _)| inside);
    match inside.and_then(|inside| inside.rsplit_once('/')) {
        Some((place, _)) => place.to_owned(),
        None => step.name.clone(),
    }
}
