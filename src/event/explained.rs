//! The words of `--explain-cache`.

use super::{CacheAnswer, CacheChange};

/// So many changes are named; of more, the number is told.
const NAMED: usize = 8;

/// One line about a step.
pub(super) fn line(name: &str, answer: CacheAnswer, place: Option<&str>, changes: &[CacheChange]) -> String {
    let place = place.unwrap_or("store");
    let what = match answer {
        CacheAnswer::Hit => format!("hit in {place}"),
        CacheAnswer::HitByInputs if changes.is_empty() => format!("hit in {place}, by what it begins with"),
        CacheAnswer::HitByInputs => format!("hit in {place}; to no effect: {}", list(changes)),
        CacheAnswer::Miss => format!("miss: {}", list(changes)),
        CacheAnswer::MissByInputs => {
            "miss: what it begins with is known only now, and no result for that is kept".to_owned()
        }
        CacheAnswer::NotSeenBefore => "miss: the store has not seen this step before".to_owned(),
        CacheAnswer::NotKept => "miss: nothing changed, but its result is not kept any more".to_owned(),
        CacheAnswer::NotAsked => "not asked for: --no-cache".to_owned(),
        CacheAnswer::Unneeded => "not needed: the result of a later step is known".to_owned(),
    };
    format!("cache: {name}: {what}")
}

fn list(changes: &[CacheChange]) -> String {
    // What comes from above is the consequence of something that is told of another step.
    let mut named: Vec<String> =
        changes.iter().take(NAMED).map(|change| format!("{} {}", change.what, change.how)).collect();
    if changes.len() > NAMED {
        named.push(format!("and {} more", changes.len() - NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_changed() {
        let change = |what: &str| CacheChange { what: what.to_owned(), how: "changed" };
        assert_eq!(
            line("[2/3] COPY . .", CacheAnswer::Miss, None, &[change("a.js"), change("b.js")]),
            "cache: [2/3] COPY . .: miss: a.js changed, b.js changed"
        );
        let many: Vec<_> = (0..10).map(|number| change(&number.to_string())).collect();
        assert!(line("x", CacheAnswer::Miss, None, &many).ends_with("7 changed, and 2 more"));
        assert!(line("x", CacheAnswer::Hit, Some("r/c"), &[]).ends_with("hit in r/c"));
    }
}
