//! Patterns of paths.
//!
//! Two dialects with one syntax: `*` (any characters but `/`), `?` (one of them), `[a-z]`, `[^x]`, and `\` in front
//! of a character that is meant itself. [`Glob::new`] is Go's `filepath.Match`, as in the sources of `COPY`;
//! [`Glob::deep`] adds `**` as moby's `patternmatcher` has it, for `.dockerignore`, `--exclude` and `--parents`:
//!
//! | written | matches |
//! |---|---|
//! | `**/x`, `a/**/x` | `x` at any depth, also right there |
//! | `a/**` | everything inside of `a`, not `a` |
//! | `**x` | whatever ends in `x` |
//!
//! Matching takes time proportional to the pattern times the path, whatever they are.

/// A pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `[…]`
    Class(Class),
    /// `**` before something else: nothing, or anything up to and with a `/`.
    Directories,
    /// `**` at the end: anything.
    Anything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    negated: bool,
    /// First and last character of each range.
    ranges: Vec<(char, char)>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern `{0}`: a `[` without its `]`, an empty `[]`, or a `\\` at the end")]
pub struct PatternError(String);

impl Glob {
    /// A pattern of Go's `filepath.Match`. Two `*` are the same as one.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Self::parse(pattern, false)
    }

    /// A pattern in which `**` crosses directories.
    pub fn deep(pattern: &str) -> Result<Self, PatternError> {
        Self::parse(pattern, true)
    }

    fn parse(pattern: &str, deep: bool) -> Result<Self, PatternError> {
        let error = || PatternError(pattern.to_owned());
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if deep && chars.next_if_eq(&'*').is_some() => {
                    // `**/` is the same as `**`.
                    let slash = chars.next_if_eq(&'/').is_some();
                    let first = tokens.is_empty();
                    let literal = !chars.clone().any(|c| matches!(c, '*' | '?' | '[' | ']' | '\\'));
                    match chars.peek() {
                        None => Token::Anything,
                        // A quirk that is relied upon: `**.log` finds `a/b.log`, though `a**.log` does not.
                        Some(_) if first && !slash && literal => Token::Anything,
                        Some(_) => Token::Directories,
                    }
                }
                '*' => Token::Star,
                '?' => Token::One,
                '[' => Token::Class(parse_class(&mut chars).ok_or_else(error)?),
                '\\' => Token::Literal(chars.next().ok_or_else(error)?),
                c => Token::Literal(c),
            });
        }
        Ok(Self { tokens })
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        self.follow(path).last() == Some(&self.tokens.len())
    }

    /// Whether something inside of `directory` may match, at any depth.
    pub fn may_match_below(&self, directory: &str) -> bool {
        // What has something left to match behind the `/` may go on.
        self.follow(&format!("{directory}/")).first().is_some_and(|position| *position < self.tokens.len())
    }

    /// The path that is the only one to match, where there are no wildcards.
    pub fn literal(&self) -> Option<String> {
        let literal = |token: &Token| if let Token::Literal(c) = token { Some(*c) } else { None };
        self.tokens.iter().map(literal).collect()
    }

    /// The positions in the pattern, in order, at which one may be after all of `path`. A finite automaton: all
    /// ways to match are followed at once.
    fn follow(&self, path: &str) -> Vec<usize> {
        let mut positions = Vec::new();
        // Most patterns differ in the first character: see that without allocating.
        if let (Some(token @ Token::Literal(_)), first) = (self.tokens.first(), path.chars().next())
            && !first.is_some_and(|c| token.takes(c))
        {
            if path.is_empty() {
                positions.push(0);
            }
            return positions;
        }
        self.arrive(&mut positions, 0);
        let mut next = Vec::new();
        for c in path.chars() {
            if positions.is_empty() {
                break;
            }
            for position in positions.drain(..) {
                match self.tokens.get(position) {
                    Some(Token::Star) if c != '/' => self.arrive(&mut next, position),
                    Some(Token::Anything) => self.arrive(&mut next, position),
                    Some(Token::Directories) => {
                        remain(&mut next, position);
                        if c == '/' {
                            self.arrive(&mut next, position + 1);
                        }
                    }
                    Some(token) if token.takes(c) => self.arrive(&mut next, position + 1),
                    _ => {}
                }
            }
            std::mem::swap(&mut positions, &mut next);
        }
        positions
    }

    /// Adds `position`, and those behind it that are reached without a character.
    fn arrive(&self, positions: &mut Vec<usize>, mut position: usize) {
        remain(positions, position);
        while let Some(Token::Star | Token::Directories | Token::Anything) = self.tokens.get(position) {
            position += 1;
            remain(positions, position);
        }
    }
}

/// Adds `position` unless it is there. Positions come in order, and whatever one position leads to has no gaps, so
/// all that are less than the last one are there already.
fn remain(positions: &mut Vec<usize>, position: usize) {
    if positions.last().is_none_or(|last| *last < position) {
        positions.push(position);
    }
}

impl Token {
    /// Whether this one-character token matches `c`.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => c != '/',
            Self::Class(class) => {
                let inside = class.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
                c != '/' && inside != class.negated
            }
            Self::Star | Self::Directories | Self::Anything => false,
        }
    }
}

/// What follows a `[`, with its `]`.
fn parse_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Class> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Class { negated, ranges });
        }
        let first = class_char(chars)?;
        let last = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { first };
        ranges.push((first, last));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Whether a path has wildcards, other than behind a `\`. BuildKit takes a path without any as it is written,
/// backslashes and all.
pub fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, path, expected) in [
            // 1.8: Go filepath.Match wildcards (`* ? [a-z] [^x] \`), per path element, no `**`
            ("src", "src", true),
            ("src", "srcs", false),
            ("*", "main.rs", true),
            ("*.rs", "main.rs", true),
            ("*.rs", ".rs", true),
            ("main*", "main/x", false),
            ("s*/main.*", "src/main.rs", true),
            ("s*/main.*", "src/bin/main.rs", false),
            ("*-*-*.tar", "app-1-2.tar", true),
            ("*-*-*.tar", "app-1.tar", false),
            ("v?.?", "v1.2", true),
            ("v?.?", "v1.", false),
            ("?", "/", false),
            ("x?", "xß", true),
            ("x??", "xß", false),
            ("lib[0-9]", "lib7", true),
            ("lib[0-9]", "libx", false),
            ("lib[^0-9]", "libx", true),
            ("lib[^0-9]", "lib7", false),
            ("lib[^0-9x]", "libx", false),
            ("[!q]", "!", true),
            ("[à-ü]*", "éa", true),
            (r"\*.rs", "*.rs", true),
            (r"\*.rs", "a.rs", false),
            (r"[\]q]", "]", true),
            (r"[q\-]", "-", true),
            ("q[r/]s", "q/s", false),
            ("**", "a/b", false),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "a/x/y/b", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn matches_deep() {
        for (pattern, path, expected) in [
            // 1.11: `**` any depth
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "xa", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/*.go", "x/y.go", true),
            ("**/*.go", "y.go", true),
            ("**/a*/**/b", "x/ay/z/z/b", true),
            ("**/a*/**/b", "x/y/z/z/b", false),
            ("a**b", "a/b", true),
            ("a**b", "ax/b", true),
            ("a**b", "axb", false),
            ("**.log", "x/y.log", true),
            ("**.log", "y.log", true),
            ("**?log", "y.log", false),
            ("a/**/**/b", "a/b", true),
            ("**/x/*/y", "a/x/x/b/y", true),
            ("**/[ab]/c", "z/b/c", true),
        ] {
            assert_eq!(Glob::deep(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn refuses_broken_patterns() {
        for pattern in
            ["[", "[]", "[]a]", "[-]", "[x-]", "[-x]", "[a", "[^", "[^]", "a[", r"a\", r"[a\", "[a-"]
        {
            assert_eq!(Glob::new(pattern), Err(PatternError(pattern.to_owned())), "{pattern}");
            assert!(Glob::deep(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn tells_where_a_walk_may_end() {
        for (pattern, directory, expected) in [
            ("a/b/c", "a", true),
            ("a/b/c", "a/b", true),
            ("a/b/c", "a/b/c", false),
            ("a/b/c", "a/x", false),
            ("a", "a", false),
            ("*/b", "x", true),
            ("*/b", "x/y", false),
            ("**/b", "x/y/z", true),
            ("a/**/b", "x", false),
            ("a/**", "a/x", true),
            ("ab*", "a", false),
            ("a?/[x]/c", "ab/x", true),
            ("a?/[x]/c", "ab/y", false),
        ] {
            let glob = Glob::deep(pattern).unwrap();
            assert_eq!(glob.may_match_below(directory), expected, "{pattern} {directory}");
        }
    }

    #[test]
    fn knows_literal_patterns() {
        assert_eq!(Glob::new(r"a/\*b").unwrap().literal().as_deref(), Some("a/*b"));
        assert_eq!(Glob::new("a*").unwrap().literal(), None);
        assert!(has_wildcards("a?") && !has_wildcards("a.b/c") && !has_wildcards(r"a\*"));
    }

    #[test]
    fn takes_no_exponential_time() {
        let pattern = "**/*a".repeat(50) + "b";
        let path = "a/".repeat(500) + &"a".repeat(1000);
        assert!(!Glob::deep(&pattern).unwrap().matches(&path));
    }

    /// The pattern as moby's patternmatcher describes it: a regular expression.
    fn model(pattern: &str) -> Regex {
        let mut expression = "(?s)^".to_owned();
        let mut chars = pattern.chars().peekable();
        let literal_tail =
            pattern.strip_prefix("**").filter(|tail| !tail.is_empty() && !tail.starts_with('/'));
        if let Some(tail) = literal_tail.filter(|tail| !tail.contains(['*', '?'])) {
            return Regex::new(&format!("(?s){}$", regex::escape(tail))).unwrap();
        }
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    expression += if chars.peek().is_none() { ".*" } else { "(.*/)?" };
                }
                '*' => expression += "[^/]*",
                '?' => expression += "[^/]",
                '\\' => expression += &regex::escape(&chars.next().unwrap_or('\\').to_string()),
                c => expression += &regex::escape(&c.to_string()),
            }
        }
        Regex::new(&(expression + "$")).unwrap()
    }

    proptest! {
        #[test]
        fn equals_the_model(pattern in "[ab*/?.]{0,9}", path in "[ab./]{0,9}") {
            prop_assert_eq!(Glob::deep(&pattern).unwrap().matches(&path), model(&pattern).is_match(&path));
        }

        #[test]
        fn below_is_never_pruned_wrongly(pattern in "[ab*/?]{0,9}", directory in "[ab]{1,2}(/[ab]{1,2}){0,2}", rest in "[ab]{1,2}(/[ab]{1,2}){0,2}") {
            let glob = Glob::deep(&pattern).unwrap();
            if glob.matches(&format!("{directory}/{rest}")) {
                prop_assert!(glob.may_match_below(&directory));
            }
        }

        #[test]
        fn never_panics(pattern in any::<String>(), path in any::<String>()) {
            for glob in [Glob::new(&pattern), Glob::deep(&pattern)].into_iter().flatten() {
                glob.matches(&path);
                glob.may_match_below(&path);
            }
        }
    }
}
