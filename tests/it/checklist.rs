//! `docs/language.md` names the tests that show each of its lines, and there are such tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DOCUMENT: &str = include_str!("../../docs/language.md");

/// How many lines each section has: a line that is lost is noticed.
const SECTIONS: [(&str, usize); 14] = [
    ("1.1", 13),
    ("1.2", 4),
    ("1.3", 3),
    ("1.4", 10),
    ("1.5", 11),
    ("1.6", 10),
    ("1.7", 15),
    ("1.8", 18),
    ("1.9", 10),
    ("1.10", 4),
    ("1.11", 7),
    ("1.12", 3),
    ("1.13", 1),
    ("1.14", 16),
];

/// A line of a section: its number, how much it matters, and the tests that it names.
struct Line {
    number: &'static str,
    priority: &'static str,
    tests: Vec<&'static str>,
}

fn lines() -> Vec<Line> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| 1."));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, priority, _, tests] = cells.as_slice() else { panic!("{row}") };
        Line { number, priority, tests: tests.split('`').filter(|test| !test.trim().is_empty()).collect() }
    })
    .collect()
}

/// The paths of all tests, without the crate and without modules called `tests`.
fn all_tests() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "tests/it"] {
        let directory = root.join(directory);
        for entry in walkdir::WalkDir::new(&directory) {
            let path = entry.unwrap().into_path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let inside = path.strip_prefix(&directory).unwrap().with_extension("");
            let names = inside.iter().map(|name| name.to_str().unwrap());
            let module: Vec<&str> =
                names.filter(|name| !["mod", "main", "lib", "tests"].contains(name)).collect();
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(tests_in(&text).iter().map(|test| [&module[..], &[*test]].concat().join("::")));
        }
    }
    found
}

/// The names of the tests of a file: functions behind `#[test]`, and the cases of the differential suite.
fn tests_in(text: &str) -> Vec<&str> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            if is_test && is_name(name) {
                found.push(name);
            }
            is_test = false;
        } else if let Some((name, _)) = line.split_once(": case(").filter(|(name, _)| is_name(name)) {
            found.push(name);
        } else {
            is_test = is_test || line == "#[test]";
        }
    }
    found
}

#[test]
fn every_line_names_tests_that_there_are() {
    let tests = all_tests();
    assert!(tests.len() > 600, "{} tests", tests.len());
    let mut wrong = Vec::new();
    for Line { number, priority, tests: named } in lines() {
        if !["P0", "P1", "P2", "–"].contains(&priority) {
            wrong.push(format!("{number}: `{priority}` is no priority"));
        }
        if named.is_empty() {
            wrong.push(format!("{number}: no test"));
        }
        for name in named {
            let end = format!("::{name}");
            let count = tests.iter().filter(|test| *test == name || test.ends_with(&end)).count();
            if count != 1 {
                wrong.push(format!("{number}: {count} tests are called `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/language.md:\n{}", wrong.join("\n"));
}

#[test]
fn no_line_is_missing() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in lines() {
        assert!(seen.insert(line.number), "{} is there twice", line.number);
        let (section, number) = line.number.rsplit_once('.').unwrap();
        let count = counts.entry(section.to_owned()).or_default();
        *count += 1;
        assert_eq!(number.parse(), Ok(*count), "{} is out of order", line.number);
    }
    let expected: BTreeMap<String, usize> =
        SECTIONS.iter().map(|(section, count)| ((*section).to_owned(), *count)).collect();
    assert_eq!(counts, expected);
}

#[test]
fn the_differential_suite_is_about_these_sections() {
    // Each case says which section its rule is of.
    let sections: BTreeSet<&str> = SECTIONS.iter().map(|(section, _)| *section).collect();
    for (name, rule) in crate::differential::rules() {
        let section = rule.split(' ').next().unwrap_or_default();
        assert!(sections.contains(section), "{name}: `{rule}` begins with no section");
    }
}
