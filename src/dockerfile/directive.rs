//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of a Dockerfile.

use super::code::Code;
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
