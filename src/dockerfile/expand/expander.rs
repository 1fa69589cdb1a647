//! The expansion of one word.

use super::pattern::{Extent, Pattern};
use super::{Undefined, Variables};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::word::Word;

/// `${a:-${b:-…}}` may be this deep.
const MAX_DEPTH: usize = 64;

/// A word may expand to this many bytes: `ENV b=$a$a`, `ENV c=$b$b`, … doubles with every line.
const MAX_LENGTH: usize = 16 << 20;

/// A word that is being expanded.
pub(super) struct Expander<'a, V: ?Sized> {
    word: &'a Word,
    variables: &'a V,
    escape: char,
    /// Whether quotes are quotes, not characters.
    quotes: bool,
    /// Whether escape characters stay in the text, for patterns.
    keep_escapes: bool,
    offset: usize,
    depth: usize,
    length: usize,
    pub(super) undefined: Vec<Undefined>,
}

/// Expanded text, as a whole and split at blanks that are not quoted.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    /// Blanks separate words.
    fn push_splitting(&mut self, text: &str) {
        self.text.push_str(text);
        for c in text.chars() {
            if !c.is_whitespace() {
                self.word.push(c);
            } else if !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
        }
    }

    /// Blanks are characters.
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    pub(super) fn words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

impl<'a, V: Variables + ?Sized> Expander<'a, V> {
    pub(super) fn new(word: &'a Word, variables: &'a V, escape: char, quotes: bool) -> Self {
        Self {
            word,
            variables,
            escape,
            quotes,
            keep_escapes: false,
            offset: 0,
            depth: 0,
            length: 0,
            undefined: Vec::new(),
        }
    }

    /// Expands the whole word.
    pub(super) fn run(&mut self) -> Result<Output, Diagnostic> {
        self.until(None)
    }

    fn peek(&self) -> Option<char> {
        self.word.text.get(self.offset..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        Some(c)
    }

    /// An error from `start` up to here.
    fn error(&self, message: impl Into<String>, start: usize) -> Diagnostic {
        let span = self.word.span_of(start..self.offset.max(start + 1).min(self.word.text.len()));
        Diagnostic::error(Code::InvalidExpansion, message, span)
    }

    /// Counts what is written. Each level of nesting writes again, which is fine: there are few.
    fn grow(&mut self, text: &str, start: usize) -> Result<(), Diagnostic> {
        self.length += text.len();
        if self.length > MAX_LENGTH {
            return Err(self.error(format!("expands to more than {MAX_LENGTH} bytes"), start));
        }
        Ok(())
    }

    /// Expands up to `stop`, which is taken, or to the end if there is none.
    fn until(&mut self, stop: Option<char>) -> Result<Output, Diagnostic> {
        let mut output = Output::default();
        let start = self.offset;
        while let Some(c) = self.peek() {
            let at = self.offset;
            if Some(c) == stop {
                self.next();
                return Ok(output);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.grow(&value, at)?;
                    output.push_splitting(&value);
                }
                '\'' if self.quotes => output.push(&self.single_quoted()?),
                '"' if self.quotes => output.push(&self.double_quoted()?),
                c if c == self.escape => {
                    self.next();
                    if self.keep_escapes {
                        output.push(c.encode_utf8(&mut [0; 4]));
                    }
                    // At the very end it is dropped.
                    if let Some(escaped) = self.next() {
                        output.push(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                c => {
                    self.next();
                    output.push_splitting(c.encode_utf8(&mut [0; 4]));
                }
            }
        }
        match stop {
            None => Ok(output),
            Some('/') => Err(self.error("syntax error: missing '/' in ${}", start)),
            Some(_) => Err(self.error("syntax error: missing '}'", start)),
        }
    }

    fn single_quoted(&mut self) -> Result<String, Diagnostic> {
        let start = self.offset;
        self.next();
        let mut text = String::new();
        while let Some(c) = self.next() {
            if c == '\'' {
                return Ok(text);
            }
            text.push(c);
        }
        let message = "unexpected end of statement while looking for matching single-quote";
        Err(self.error(message, start))
    }

    fn double_quoted(&mut self) -> Result<String, Diagnostic> {
        let start = self.offset;
        self.next();
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.next();
                    return Ok(text);
                }
                '$' => {
                    let value = self.dollar()?;
                    self.grow(&value, start)?;
                    text.push_str(&value);
                }
                c if c == self.escape => {
                    self.next();
                    let escaped = self.peek().filter(|c| matches!(c, '"' | '$') || *c == self.escape);
                    if escaped.is_none() || self.keep_escapes {
                        text.push(c);
                    }
                    if escaped.is_some() {
                        text.extend(self.next());
                    }
                }
                c => {
                    self.next();
                    text.push(c);
                }
            }
        }
        let message = "unexpected end of statement while looking for matching double-quote";
        Err(self.error(message, start))
    }

    /// The value of what begins with the `$` here.
    fn dollar(&mut self) -> Result<String, Diagnostic> {
        let start = self.offset;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.value_or_note(&name, start));
        }
        self.next();
        if self.depth == MAX_DEPTH {
            return Err(self.error("substitutions are nested too deeply", start));
        }
        self.depth += 1;
        let value = self.braces(start);
        self.depth -= 1;
        value
    }

    /// The value of what stands between `${` and `}`.
    fn braces(&mut self, start: usize) -> Result<String, Diagnostic> {
        match self.peek() {
            None => return Err(self.error("syntax error: missing '}'", start)),
            Some('{' | '}' | ':') => {
                self.next();
                return Err(self.error("syntax error: bad substitution", start));
            }
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.next() else {
            return Err(self.error("syntax error: missing '}'", start));
        };
        match operator {
            '}' => Ok(self.value_or_note(&name, start)),
            ':' => {
                let Some(operator) = self.next() else {
                    return Err(self.error("syntax error: missing '}'", start));
                };
                if !matches!(operator, '-' | '+' | '?') {
                    return Err(self.unsupported(&format!(":{operator}"), start));
                }
                self.alternative(&name, operator, true, start)
            }
            '-' | '+' | '?' => self.alternative(&name, operator, false, start),
            '#' | '%' => self.trimmed(&name, operator, start),
            '/' => self.replaced(&name, start),
            _ => Err(self.unsupported(operator.encode_utf8(&mut [0; 4]), start)),
        }
    }

    fn unsupported(&self, modifier: &str, start: usize) -> Diagnostic {
        self.error(format!("unsupported modifier ({modifier}) in substitution"), start).advise(
            "the forms are ${v:-word} ${v:+word} ${v:?message} ${v#pattern} ${v%pattern} ${v/pattern/replacement}",
        )
    }

    /// `${v-w}`, `${v+w}`, `${v?w}`; with a colon in front an empty value counts as none.
    fn alternative(
        &mut self,
        name: &str,
        operator: char,
        empty_is_unset: bool,
        start: usize,
    ) -> Result<String, Diagnostic> {
        let word = self.argument('}', false)?;
        let value = self.variables.get(name);
        let usable = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (operator, usable) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value.to_owned()),
            (_, None) => {
                let message = match (word.as_str(), value) {
                    ("", None) => "is not allowed to be unset",
                    ("", Some(_)) => "is not allowed to be empty",
                    (word, _) => word,
                };
                Err(self.error(format!("{name}: {message}"), start))
            }
        }
    }

    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`.
    fn trimmed(&mut self, name: &str, operator: char, start: usize) -> Result<String, Diagnostic> {
        let argument = self.argument('}', true)?;
        let (text, extent) = match argument.strip_prefix(operator) {
            Some(text) => (text, Extent::Longest),
            None => (argument.as_str(), Extent::Shortest),
        };
        let value = self.value_or_note(name, start);
        let trim = if operator == '#' { Pattern::trim_start } else { Pattern::trim_end };
        Pattern::parse(text)
            .and_then(|pattern| trim(&pattern, &value, extent))
            .map_err(|reason| self.invalid_pattern(text, &reason, start))
    }

    /// `${v/p/r}`, `${v//p/r}`.
    fn replaced(&mut self, name: &str, start: usize) -> Result<String, Diagnostic> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let text = self.argument('/', true)?;
        let replacement = self.argument('}', true)?;
        let value = self.value_or_note(name, start);
        let found = Pattern::parse(&text)
            .and_then(|pattern| pattern.find(&value, all))
            .map_err(|reason| self.invalid_pattern(&text, &reason, start))?;
        let mut result = String::new();
        let mut offset = 0;
        for range in found {
            let kept = value.get(offset..range.start).unwrap_or_default();
            let matched = value.get(range.clone()).unwrap_or_default();
            // BuildKit's quirk: for `//` the replacement is a template of Go's regular expressions.
            let inserted = if all { fill_template(&replacement, matched) } else { replacement.clone() };
            self.grow(&inserted, start)?;
            result.push_str(kept);
            result.push_str(&inserted);
            offset = range.end;
        }
        result.push_str(value.get(offset..).unwrap_or_default());
        Ok(result)
    }

    fn invalid_pattern(&self, pattern: &str, reason: &str, start: usize) -> Diagnostic {
        self.error(format!("invalid pattern ({pattern}) in substitution: {reason}"), start)
    }

    /// The word of a modifier, up to `stop`.
    fn argument(&mut self, stop: char, keep_escapes: bool) -> Result<String, Diagnostic> {
        let outer = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let output = self.until(Some(stop));
        self.keep_escapes = outer;
        Ok(output?.text)
    }

    /// A name: letters, digits and `_`; digits alone; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    name.extend(self.next());
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.next()),
            _ => {
                while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    name.extend(self.next());
                }
            }
        }
        name
    }

    /// The value, or nothing; then it is noted that the variable is missing.
    fn value_or_note(&mut self, name: &str, start: usize) -> String {
        if let Some(value) = self.variables.get(name) {
            return value.to_owned();
        }
        // Nobody can set `$1` or `$@`.
        if name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            let span = self.word.span_of(start..self.offset);
            self.undefined.push(Undefined { name: name.to_owned(), span });
        }
        String::new()
    }
}

/// Replaces `$0` and `${0}` by the match, `$$` by `$`, and other `$name` by nothing.
fn fill_template(template: &str, matched: &str) -> String {
    let mut result = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let (name, after_name) = template_name(after);
        match name {
            None => result.push('$'),
            Some(name) if !name.is_empty() && name.bytes().all(|b| b == b'0') => result.push_str(matched),
            Some(_) => {}
        }
        rest = after_name;
    }
    result + rest
}

/// The name of a group behind a `$`, and what follows it.
fn template_name(text: &str) -> (Option<&str>, &str) {
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at_checked(end).unwrap_or(("", inner));
    match (name, braced, rest.strip_prefix('}')) {
        ("", ..) | (_, Some(_), None) => (None, text),
        (name, Some(_), Some(rest)) => (Some(name), rest),
        (name, None, _) => (Some(name), rest),
    }
}
