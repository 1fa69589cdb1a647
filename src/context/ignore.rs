//! `.dockerignore`: which files of a context a build does not see.
//!
//! The rules are those of moby's `ignorefile` and `patternmatcher` in the way BuildKit's walker uses them: the last
//! pattern that matches decides, a pattern that matches a directory also matches what is in it, and `!` takes files
//! in again.

use std::path::Path;

use crate::rootfs::glob::{Glob, PatternError};

/// The patterns of a `.dockerignore` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// `!`: what matches is taken in again.
    exception: bool,
    /// As written, cleaned.
    text: String,
    glob: Glob,
}

/// Why a text is no `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIgnoreError {
    /// A `!` with nothing behind it.
    #[error("illegal exclusion pattern: \"!\" in line {line}: write the pattern behind the `!`")]
    LoneException {
        /// Line, from 1.
        line: usize,
    },
    /// A pattern that is none.
    #[error("line {line}")]
    Pattern {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: PatternError,
    },
}

/// What is known about a directory while walking: it makes deciding about its entries a matter of one look at each
/// pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Level {
    /// Per pattern, whether it matched the directory or one above; empty for the root.
    matched: Vec<bool>,
    excluded: bool,
}

impl Ignore {
    /// Parses the text of a `.dockerignore` file.
    pub fn parse(text: &str) -> Result<Self, ParseIgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Only at the very beginning of a line, so that names may begin with blanks and `#`.
            if !line.starts_with('#') {
                patterns.extend(Pattern::parse(line.trim(), index + 1)?);
            }
        }
        Ok(Self { patterns })
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns, one as in each line of the file.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.patterns.iter().map(|pattern| {
            let mark = if pattern.exception { "!" } else { "" };
            format!("{mark}{}", pattern.text)
        })
    }

    /// Whether there are patterns that take files in again.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether the build does not see the file at `path`, which is relative to the context.
    ///
    /// Walkers are better off with [`Ignore::enter`], which does not begin at the root for every file.
    pub fn excludes(&self, path: &Path) -> bool {
        let parents: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        let level = parents.iter().rev().fold(Level::default(), |level, path| self.enter(&level, path));
        level.is_excluded()
    }

    /// What is known about `path`, an entry of the directory that `parent` is about; the root is
    /// [`Level::default`].
    pub fn enter(&self, parent: &Level, path: &Path) -> Level {
        let path = path.to_string_lossy();
        let mut level = Level { matched: Vec::with_capacity(self.patterns.len()), excluded: false };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.matched.get(index).copied().unwrap_or_default();
            // A pattern that cannot change anything is not looked at, and so is not inherited either. BuildKit does
            // the same, and it shows: with `a/b` and then `!a`, the file a/b stays out.
            let relevant = pattern.exception == level.excluded;
            let matched = inherited || relevant && pattern.glob.matches(&path);
            level.matched.push(matched);
            if matched {
                level.excluded = !pattern.exception;
            }
        }
        level
    }

    /// Whether an excluded directory may hold files that are taken in again, so that it must be walked all the same.
    pub fn may_include_below(&self, directory: &Path) -> bool {
        let directory = directory.to_string_lossy();
        self.patterns.iter().any(|pattern| pattern.exception && pattern.glob.may_match_below(&directory))
    }
}

impl Level {
    /// Whether the build does not see the file this is about.
    pub fn is_excluded(&self) -> bool {
        self.excluded
    }
}

impl Pattern {
    /// The pattern in a line without blanks around; `None` if it matches nothing at all.
    fn parse(text: &str, line: usize) -> Result<Option<Self>, ParseIgnoreError> {
        let (exception, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if text.is_empty() {
            return if exception { Err(ParseIgnoreError::LoneException { line }) } else { Ok(None) };
        }
        let text = clean(text);
        let glob = Glob::deep(&text).map_err(|source| ParseIgnoreError::Pattern { line, source })?;
        // `.`, `/` and `..` name nothing in the context.
        Ok(if text.is_empty() || text == ".." || text.starts_with("../") {
            None
        } else {
            Some(Self { exception, text, glob })
        })
    }
}

/// The path without `.`, `..`, doubled and outer slashes, as Go's `path.Clean` does by the letters alone.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excluded(patterns: &str, path: &str) -> bool {
        Ignore::parse(patterns).unwrap().excludes(Path::new(path))
    }

    #[test]
    fn decides() {
        for (patterns, path, expected) in [
            // 1.11: one pattern per line; `#` at col 0 comment; BOM stripped; trimmed; cleaned; leading `/` removed
            ("a\nb\r\n", "b", true),
            ("#a", "#a", false),
            (" #a", "#a", true),
            ("\u{feff}a", "a", true),
            ("  a  ", "a", true),
            ("./a//b/../c/", "a/c", true),
            ("/a", "a", true),
            ("a", "b/a", false),
            ("a", "ab", false),
            // 1.11: `.` ignored
            (".", "a", false),
            ("/", "a", false),
            ("..", "a", false),
            // 1.11: `!` negation, last match wins
            ("*\n!a", "a", false),
            ("*\n!a", "b", true),
            ("!a\n*", "a", true),
            ("*.md\n!R*.md\nRx.md", "README.md", false),
            ("*.md\n!R*.md\nRx.md", "Rx.md", true),
            ("! a", "a", false),
            // 1.11: a directory match excludes children, `!child` re-includes
            ("a", "a/b/c", true),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/b/c", false),
            ("a\n!a/b", "a/c", true),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("a\n!a/b\na/b/c", "a/b/d", false),
            // 1.11: `**` any depth
            ("**/node_modules", "node_modules", true),
            ("**/node_modules", "a/b/node_modules/c", true),
            ("**/*.log", "a/b.log", true),
            ("*.log", "a/b.log", false),
            ("**\n!a", "a", false),
            // BuildKit's walker: an exception that comes too early for a directory is not inherited
            ("a/b\n!a", "a/b", true),
        ] {
            assert_eq!(excluded(patterns, path), expected, "{patterns:?} {path}");
        }
        assert!(!excluded("**", ""));
    }

    #[test]
    fn refuses() {
        assert_eq!(Ignore::parse("a\n!"), Err(ParseIgnoreError::LoneException { line: 2 }));
        let error = Ignore::parse("a\nb\n[").unwrap_err();
        assert!(matches!(error, ParseIgnoreError::Pattern { line: 3, .. }));
    }

    #[test]
    fn tells_which_directories_may_be_skipped() {
        let ignore = Ignore::parse("*\n!a/b/*.txt\n!c").unwrap();
        for (directory, expected) in
            [("a", true), ("a/b", true), ("a/x", false), ("c", false), ("b", false), ("a/b/c", false)]
        {
            assert_eq!(ignore.may_include_below(Path::new(directory)), expected, "{directory}");
        }
        assert!(ignore.has_exceptions() && !ignore.is_empty());
        assert!(!Ignore::parse("a").unwrap().may_include_below(Path::new("a")));
    }

    /// Go over all parents of all patterns, as the documentation of `.dockerignore` says. It is BuildKit's answer
    /// wherever exceptions name nothing above what other patterns name, so the test has none.
    fn model(patterns: &str, path: &str) -> bool {
        let mut excluded = false;
        for line in patterns.lines() {
            let (exception, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let glob = Glob::deep(pattern).unwrap();
            let parents = Path::new(path).ancestors().map(|p| p.to_string_lossy().into_owned());
            if parents.filter(|p| !p.is_empty()).any(|p| glob.matches(&p)) {
                excluded = !exception;
            }
        }
        excluded
    }

    proptest! {
        #[test]
        fn equals_the_model(
            excluding in prop::collection::vec("[ab*]{1,2}", 1..3),
            exceptions in prop::collection::vec("![ab]{1,2}/[ab*]{1,2}(/[ab*]{1,2})?", 0..3),
            path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let patterns = [excluding, exceptions].concat().join("\n");
            prop_assert_eq!(excluded(&patterns, &path), model(&patterns, &path), "{:?}", patterns);
        }

        #[test]
        fn pruning_loses_nothing(
            patterns in prop::collection::vec("!?[ab*/]{1,5}[ab]", 1..5),
            directory in "[ab]{1,2}(/[ab]{1,2}){0,1}",
            rest in "[ab]{1,2}(/[ab]{1,2}){0,2}",
        ) {
            let ignore = Ignore::parse(&patterns.join("\n")).unwrap();
            let directory = Path::new(&directory);
            if ignore.excludes(directory) && !ignore.may_include_below(directory) {
                prop_assert!(ignore.excludes(&directory.join(rest)));
            }
        }

        #[test]
        fn never_panics(patterns in any::<String>(), path in any::<String>()) {
            if let Ok(ignore) = Ignore::parse(&patterns) {
                ignore.excludes(Path::new(&path));
                ignore.may_include_below(Path::new(&path));
            }
        }
    }
}
