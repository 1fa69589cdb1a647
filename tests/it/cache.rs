//! Results of earlier builds: in the store, in caches, and what is done with caches that cannot be trusted.

mod explain;
mod keys;
mod remote;
mod shared_store;
mod soundness;
mod trust;

use crate::registry::Registry;
use crate::support::{Build, Outcome, Served};

/// A registry with the tests' base as `base:1`.
fn registry() -> Registry {
    let registry = Registry::start();
    Served::base().put(&registry, "base", "1");
    registry
}

/// A build whose `FROM base` is that of the registry, with results cached there, and the image pushed as `app:1`.
fn cached(dockerfile: &str, registry: &Registry) -> Build {
    let host = registry.host();
    let dockerfile = dockerfile.replace("FROM base", &format!("FROM {host}/base:1"));
    Build::new(&dockerfile)
        .args([format!("--cache-from={host}/cache"), format!("--cache-to={host}/cache")])
        .args(["--push".to_owned(), format!("--tag={host}/app:1")])
}

/// Which steps were carried out and which were found, in the order of the Dockerfile: `[1/2] WORKDIR /a` → `cached`.
fn fates(outcome: &Outcome) -> Vec<(String, String)> {
    let mut names = std::collections::BTreeMap::new();
    let mut fates = Vec::new();
    for line in outcome.stderr.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let text = text.trim();
        if text.starts_with('[') && !text.contains("] |") {
            let name = ["cached", "done", "stopped", "failed"]
                .iter()
                .find_map(|fate| text.split_once(&format!(" {fate}")))
                .map_or(text, |(name, _)| name);
            names.insert(number.to_owned(), name.to_owned());
        }
        let Some(name) = names.get(number) else { continue };
        let rest = text.strip_prefix(name.as_str()).unwrap_or(text).trim();
        for fate in ["cached", "done"] {
            if rest.starts_with(fate) {
                fates.push((name.clone(), fate.to_owned()));
            }
        }
    }
    fates
}

/// The fates alone, by a word in the step's name.
#[track_caller]
fn fate(outcome: &Outcome, word: &str) -> String {
    let all = fates(outcome);
    let found: Vec<&String> =
        all.iter().filter(|(name, _)| name.contains(word)).map(|(_, fate)| fate).collect();
    match found.as_slice() {
        [] => "not mentioned".to_owned(),
        [fate] => (*fate).clone(),
        _ => panic!("{word} is in several of {all:?}"),
    }
}
