//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of a Dockerfile.

use std::str::FromStr;

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::lines::Line;
use super::source::Span;
use super::word::Word;

/// The parser directives of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// `# syntax=`: the frontend image, up to the first blank. It changes nothing here.
    pub syntax: Option<Word>,
    /// `# escape=`.
    pub escape: Escape,
    /// `# check=`.
    pub check: Check,
}

/// The character that continues lines and takes the meaning from the next character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escape {
    /// `\`.
    #[default]
    Backslash,
    /// `` ` ``, for Windows paths.
    Backtick,
}

/// What to check, and how strictly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Rules that are off.
    pub skip: Rules,
    /// Experimental rules that are on.
    pub experimental: Rules,
    /// Whether a warning is an error.
    pub error: bool,
}

/// A selection of lint rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Every rule.
    All,
    /// The named ones. Names are compared without case; unknown ones are kept.
    Named(Vec<String>),
}

impl Escape {
    /// The character itself.
    pub fn char(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Rules {
    /// Whether `code` is selected.
    pub fn contain(&self, code: Code) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name.eq_ignore_ascii_case(code.name())),
        }
    }
}

/// Why a text is not a [`Check`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCheckError {
    /// Not one of the options, or without a value.
    #[error("invalid check option \"{0}\": write `skip=RULE,RULE`, `error=true` or `experimental=RULE`")]
    UnknownOption(String),
    /// `error` takes a truth value.
    #[error("failed to parse check option \"{0}\": expected `error=true` or `error=false`")]
    NotBoolean(String),
}

impl FromStr for Check {
    type Err = ParseCheckError;

    /// Parses the value of `# check=` and of the build argument `BUILDKIT_DOCKERFILE_CHECK`:
    /// `skip=A,B;error=true;experimental=all`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut check = Self::default();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let unknown = || ParseCheckError::UnknownOption(option.to_owned());
            let (key, value) = option.split_once('=').ok_or_else(unknown)?;
            match key.trim() {
                "skip" => check.skip = Rules::parse(value),
                "experimental" => check.experimental = Rules::parse(value),
                "error" => {
                    let not_boolean = || ParseCheckError::NotBoolean(option.to_owned());
                    check.error = parse_boolean(value.trim()).ok_or_else(not_boolean)?;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(check)
    }
}

/// Reads the directives at the top of a file, line by line.
#[derive(Debug, Default)]
pub(super) struct DirectiveReader {
    directives: Directives,
    seen: Vec<String>,
    done: bool,
}

impl DirectiveReader {
    /// What was read so far.
    pub(super) fn directives(&self) -> &Directives {
        &self.directives
    }

    /// Takes the line if it is a directive. The first that is none is the end of the directives.
    pub(super) fn take(&mut self, line: &Line<'_>) -> Result<bool, Diagnostic> {
        if self.done {
            return Ok(false);
        }
        let Some((key, value)) = split_directive(line) else {
            self.done = true;
            return Ok(false);
        };
        let error = |message: String| Diagnostic::error(Code::InvalidDirective, message, value.span);
        if self.seen.contains(&key) {
            return Err(error(format!("only one {key} parser directive can be used")));
        }
        match key.as_str() {
            "escape" => {
                self.directives.escape = match value.text.as_str() {
                    "\\" => Escape::Backslash,
                    "`" => Escape::Backtick,
                    other => {
                        let message = format!("invalid escape token '{other}' does not match ` or \\");
                        return Err(error(message));
                    }
                }
            }
            "check" => {
                self.directives.check =
                    value.text.parse().map_err(|e: ParseCheckError| error(e.to_string()))?;
            }
            _ => {
                let length = value.text.find(' ').unwrap_or(value.text.len());
                self.directives.syntax = Some(value.slice(0..length));
            }
        }
        self.seen.push(key);
        Ok(true)
    }
}

/// Key (in lower case) and value of a known directive.
fn split_directive(line: &Line<'_>) -> Option<(String, Word)> {
    let (key, value) = line.text.trim_start().strip_prefix('#')?.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    let value = value.trim();
    if value.is_empty() || !["syntax", "escape", "check"].contains(&key.as_str()) {
        return None;
    }
    let end = line.start + line.text.trim_end().len();
    Some((key, Word::new(value, Span::new(end - value.len(), end))))
}

/// The check in a comment like `# check=skip=StageNameCasing`.
pub(super) fn check_comment(comment: &str) -> Option<Check> {
    let (key, value) = comment.strip_prefix('#')?.split_once('=')?;
    if key.trim().eq_ignore_ascii_case("check") { value.parse().ok() } else { None }
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

/// A truth value as Go writes it.
pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::lines::Lines;

    fn read(text: &str) -> Result<Directives, String> {
        let mut reader = DirectiveReader::default();
        let mut lines = Lines::new(text);
        while let Some(line) = lines.next().unwrap() {
            if !reader.take(&line).map_err(|diagnostic| diagnostic.message)? {
                break;
            }
        }
        Ok(reader.directives)
    }

    #[test]
    fn reads_directives() {
        let escape = |text: &str| read(text).unwrap().escape;
        // 1.2: only before anything else, key case-insensitive, spaces permitted
        assert_eq!(escape("# escape=`"), Escape::Backtick);
        assert_eq!(escape("#ESCAPE = `  \r\n"), Escape::Backtick);
        assert_eq!(escape("# syntax=x\n# escape=`"), Escape::Backtick);
        assert_eq!(escape("# unknown=x\n# escape=`"), Escape::Backslash);
        assert_eq!(escape("\n# escape=`"), Escape::Backslash);
        assert_eq!(escape("FROM x\n# escape=`"), Escape::Backslash);
        assert_eq!(escape("# escape =\n"), Escape::Backslash);
        // 1.2: the value of syntax is cut at the first space
        let syntax = read("# syntax = docker/dockerfile:1 --x ").unwrap().syntax.unwrap();
        assert_eq!((syntax.text.as_str(), syntax.span), ("docker/dockerfile:1", Span::new(11, 30)));
    }

    #[test]
    fn refuses_directives() {
        for (text, message) in [
            // 1.2: escape tokens and repeats
            ("# escape=x", "invalid escape token 'x' does not match ` or \\"),
            ("# escape=`\n# escape=`", "only one escape parser directive can be used"),
            ("# syntax=a\n# syntax=b", "only one syntax parser directive can be used"),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
        assert!(read("# check=skop=x").unwrap_err().starts_with("invalid check option \"skop=x\""));
    }

    #[test]
    fn reads_checks() {
        // 1.2: skip=A,B|all;error=true;experimental=…
        let check =
            read("# check=skip=StageNameCasing, FromAsCasing;error=true;experimental=all").unwrap().check;
        assert!(check.skip.contain(Code::StageNameCasing) && check.skip.contain(Code::FromAsCasing));
        assert!(!check.skip.contain(Code::UndefinedVar));
        assert_eq!((check.error, check.experimental), (true, Rules::All));
        assert_eq!("skip=all".parse::<Check>().unwrap().skip, Rules::All);
        assert_eq!("error=yes".parse::<Check>(), Err(ParseCheckError::NotBoolean("error=yes".into())));
    }
}
