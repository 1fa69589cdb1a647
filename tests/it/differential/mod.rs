//! The differential suite: small Dockerfiles, each for one rule of the language, built by Cooper and by Debian's
//! Buildah. The files and the config that come out must be the same.
//!
//! Buildah is no BuildKit, and Debian's is old. Where the two differ, BuildKit is right: such a case says in
//! [`Case::written`] why, and what is expected instead. Buildah builds these cases, too: if it makes the same of one,
//! the reason is no reason, and the case fails. `make test TEST_ARGS='-E test(differential)'` runs the suite.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod case;
mod peer;
mod view;

mod arguments;
mod copy_conflicts;
mod copy_destinations;
mod copy_flags;
mod copy_from;
mod copy_sources;
mod expansion;
mod heredocs;
mod history;
mod ignore;
mod metadata;
mod onbuild;
mod refusals;
mod run;
mod stages;
mod working_directories;

use case::{Case, case};

/// Makes a test of each case, and a list of all for [`there_are_enough`].
macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        pub(super) fn all() -> Vec<(&'static str, $crate::differential::Case)> {
            vec![$((stringify!($name), $case)),*]
        }

        $(
            #[test]
            fn $name() {
                $case.check();
            }
        )*
    };
}
use cases;

/// Every case with the rule that it is about.
pub(crate) fn rules() -> Vec<(&'static str, &'static str)> {
    all().into_iter().map(|(name, case)| (name, case.rule())).collect()
}

fn all() -> Vec<(&'static str, Case)> {
    [
        arguments::all(),
        copy_conflicts::all(),
        copy_destinations::all(),
        copy_flags::all(),
        copy_from::all(),
        copy_sources::all(),
        expansion::all(),
        heredocs::all(),
        history::all(),
        ignore::all(),
        metadata::all(),
        onbuild::all(),
        refusals::all(),
        run::all(),
        stages::all(),
        working_directories::all(),
    ]
    .concat()
}

#[test]
fn there_are_enough() {
    let all = all();
    for (name, case) in &all {
        if let Some(reason) = case.exception() {
            println!("{name} ({}): {reason}", case.rule());
        }
    }
    let compared = all.iter().filter(|(_, case)| case.exception().is_none()).count();
    println!("{} cases, {compared} of them compared", all.len());
    assert!(all.len() >= 80 && compared >= 80, "{} cases, {compared} compared", all.len());
}
