//! Expansion of variables, and the removal of quotes.

use std::collections::{BTreeMap, HashMap};

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

/// A use of a variable that is not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undefined {
    /// Its name.
    pub name: String,
    /// Where it is used.
    pub span: Span,
}

/// Expands `word`, and removes quotes and escapes.
pub fn expand(word: &Word, variables: &impl Variables, escape: Escape) -> Result<Expanded, Diagnostic> {
    let _ = (variables, escape);
    Ok(Expanded { text: word.text.clone(), undefined: Vec::new() })
}

/// Expands `word` like [`expand`], and splits the result at blanks that are not quoted: the way of `EXPOSE`.
pub fn expand_words(
    word: &Word,
    variables: &impl Variables,
    escape: Escape,
) -> Result<Vec<Expanded>, Diagnostic> {
    Ok(vec![expand(word, variables, escape)?])
}

/// Expands the body of a here-document of `COPY` or `ADD`: quotes stay as they are.
pub fn expand_heredoc(
    body: &Word,
    variables: &impl Variables,
    escape: Escape,
) -> Result<Expanded, Diagnostic> {
    expand(body, variables, escape)
}
