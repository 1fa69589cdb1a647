//! Expansion of variables, and the removal of quotes.

mod expander;
mod pattern;

use std::collections::{BTreeMap, HashMap};

use expander::Expander;

use super::diagnostic::Diagnostic;
use super::directive::Escape;
use super::source::Span;
use super::word::Word;

/// Where values of variables come from.
pub trait Variables {
    /// The value of `name`; `None` if it is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
}

impl<S: std::hash::BuildHasher> Variables for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
    }
}

/// No variable is set.
impl Variables for () {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// An expanded word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text, without quotes and escapes.
    pub text: String,
    /// The variables that are not set and for which no default was given, in order.
    pub undefined: Vec<Undefined>,
}

/// The words a word expanded to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpandedWords {
    /// The words, without quotes and escapes; none is empty.
    pub words: Vec<String>,
    /// The variables that are not set and for which no default was given, in order.
    pub undefined: Vec<Undefined>,
}

/// A use of a variable that is not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undefined {
    /// Its name.
    pub name: String,
    /// Where it is used.
    pub span: Span,
}

/// Expands `word`, and removes quotes and escapes.
pub fn expand(
    word: &Word,
    variables: &(impl Variables + ?Sized),
    escape: Escape,
) -> Result<Expanded, Diagnostic> {
    let mut expander = Expander::new(word, variables, escape.char(), true);
    let text = expander.run()?.text;
    Ok(Expanded { text, undefined: expander.undefined })
}

/// Expands `word` like [`expand`], and splits the result at blanks that are not quoted: the way of `EXPOSE`, where
/// a variable may hold several ports.
pub fn expand_words(
    word: &Word,
    variables: &(impl Variables + ?Sized),
    escape: Escape,
) -> Result<ExpandedWords, Diagnostic> {
    let mut expander = Expander::new(word, variables, escape.char(), true);
    let words = expander.run()?.words();
    Ok(ExpandedWords { words, undefined: expander.undefined })
}

/// Expands the body of a here-document of `COPY` or `ADD`: quotes stay as they are, and the escape character is
/// always the backslash, as in BuildKit.
pub fn expand_heredoc(body: &Word, variables: &(impl Variables + ?Sized)) -> Result<Expanded, Diagnostic> {
    let mut expander = Expander::new(body, variables, Escape::Backslash.char(), false);
    let text = expander.run()?.text;
    Ok(Expanded { text, undefined: expander.undefined })
}

#[cfg(test)]
mod tests;
