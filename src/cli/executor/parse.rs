//! Reading a command line as Go's pflag does, with its words for what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::flag::{Flag, Kind, Variable, Visibility};
use super::value;

/// A command line that was read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    /// What is not a flag.
    pub(crate) arguments: Vec<String>,
    /// What to tell about flags with old names.
    pub(crate) warnings: Vec<String>,
    /// Whether `--help` is all that is wanted.
    pub(crate) help: bool,
}

/// Why a command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("unknown shorthand flag: '{letter}' in -{all}")]
    UnknownShort { letter: char, all: String },
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    #[error("invalid argument {value:?} for \"{flag}\" flag: {reason}")]
    Value { value: String, flag: String, reason: String },
    #[error("invalid value {value:?} for {variable} environment variable: {reason}")]
    Variable { value: String, variable: &'static str, reason: String },
}

/// Reads `arguments`, without the program's name. Flags may stand anywhere; after `--` there are none.
pub(crate) fn parse(
    flags: &[&'static Flag],
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Parsed, ParseError> {
    let mut parsed = Parsed::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            parsed.arguments.extend(rest.cloned());
            break;
        }
        if let Some(name) = argument.strip_prefix("--") {
            parsed.long(flags, argument, name, &mut rest)?;
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            parsed.letters(flags, letters, &mut rest)?;
        } else {
            parsed.arguments.push(argument.clone());
        }
        if parsed.help {
            return Ok(parsed);
        }
    }
    parsed.read_variables(flags, environment)?;
    Ok(parsed)
}

/// The first argument that is not a flag nor a flag's value: the name of a command, if the program has commands.
pub(crate) fn command(flags: &[&'static Flag], arguments: &[String]) -> Option<usize> {
    let takes_value = |flag: &&Flag| flag.kind != Kind::Switch;
    let mut position = 0;
    while let Some(argument) = arguments.get(position) {
        let skipped = if argument == "--" {
            return None;
        } else if let Some(name) = argument.strip_prefix("--") {
            !name.contains('=') && flags.iter().find(|flag| flag.name == name).is_some_and(takes_value)
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let letter = letters.chars().next();
            letters.chars().count() == 1
                && flags.iter().find(|flag| flag.short == letter).is_some_and(takes_value)
        } else {
            return Some(position);
        };
        position += if skipped { 2 } else { 1 };
    }
    None
}

impl Parsed {
    fn long<'a>(
        &mut self,
        flags: &[&'static Flag],
        argument: &str,
        name: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), ParseError> {
        if name.starts_with(['-', '=']) {
            return Err(ParseError::Syntax(argument.to_owned()));
        }
        let (name, given) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(ParseError::Unknown(name.to_owned()));
        };
        let value = match given {
            Some(value) => value,
            None if flag.kind == Kind::Switch => "true",
            None => rest.next().ok_or_else(|| ParseError::NoValue(argument.to_owned()))?,
        };
        self.set(flag, value)
    }

    /// One or several one-letter flags behind one dash: `-vdebug`, `-v=debug`, `-v debug`.
    fn letters<'a>(
        &mut self,
        flags: &[&'static Flag],
        letters: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), ParseError> {
        let mut letters = letters;
        while let Some(letter) = letters.chars().next() {
            let after = letters.get(letter.len_utf8()..).unwrap_or_default();
            let Some(flag) = flags.iter().find(|flag| flag.short == Some(letter)) else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(ParseError::UnknownShort { letter, all: letters.to_owned() });
            };
            let (value, next) = if let Some(value) = after.strip_prefix('=').filter(|value| !value.is_empty())
            {
                (value, "")
            } else if flag.kind == Kind::Switch {
                ("true", after)
            } else if !after.is_empty() {
                (after, "")
            } else {
                let missing = || ParseError::NoValue(format!("'{letter}' in -{letters}"));
                (rest.next().ok_or_else(missing)?.as_str(), "")
            };
            self.set(flag, value)?;
            letters = next;
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), ParseError> {
        let known = self.values.get(flag.name).map(Vec::as_slice).unwrap_or_default();
        value::check(flag.kind, value, known).map_err(|reason| {
            let long = format!("--{}", flag.name);
            let flag = flag.short.map_or_else(|| long.clone(), |short| format!("-{short}, {long}"));
            ParseError::Value { value: value.to_owned(), flag, reason }
        })?;
        match flag.visibility {
            Visibility::Deprecated(advice) => {
                self.warnings.push(format!("Flag --{} has been deprecated, {advice}", flag.name));
            }
            // An old name with nothing behind it is as good as not given.
            Visibility::Renamed(new) if !value.is_empty() => {
                self.warnings.push(format!("Flag --{} is deprecated. Use: --{}", flag.name, new.name));
            }
            Visibility::Shown | Visibility::Hidden | Visibility::Renamed(_) => {}
        }
        self.values.entry(flag.name).or_default().push(value.to_owned());
        Ok(())
    }

    /// Takes over what variables say, and what was said under old names.
    fn read_variables(
        &mut self,
        flags: &[&'static Flag],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ParseError> {
        for flag in flags {
            if let Visibility::Renamed(new) = flag.visibility
                && let Some(value) = self.values.get(flag.name).and_then(|values| values.last())
                && !value.is_empty()
            {
                let value = value.clone();
                self.values.insert(new.name, vec![value]);
            }
            let Some((variable, how)) = flag.variable else { continue };
            let Some(value) = environment(variable) else { continue };
            let values = self.values.entry(flag.name).or_default();
            if value.is_empty() || (how == Variable::Default && !values.is_empty()) {
                continue;
            }
            value::check(flag.kind, &value, values).map_err(|reason| ParseError::Variable {
                value: value.clone(),
                variable,
                reason,
            })?;
            if how != Variable::Adds {
                values.clear();
            }
            values.push(value);
        }
        Ok(())
    }

    /// Whether the flag or its variable was given.
    pub(crate) fn is_given(&self, flag: &Flag) -> bool {
        self.values.get(flag.name).is_some_and(|values| !values.is_empty())
    }

    /// The last value, or the default.
    pub(crate) fn text(&self, flag: &Flag) -> &str {
        self.values.get(flag.name).and_then(|values| values.last()).map_or(flag.default, String::as_str)
    }

    /// The same, where nothing is none.
    pub(crate) fn some(&self, flag: &Flag) -> Option<&str> {
        Some(self.text(flag)).filter(|text| !text.is_empty())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, flag: &Flag) -> bool {
        value::switch(self.text(flag)).unwrap_or_default()
    }

    /// A number.
    pub(crate) fn number(&self, flag: &Flag) -> i64 {
        value::number(self.text(flag)).unwrap_or_default()
    }

    /// A duration; negative ones are nothing.
    pub(crate) fn duration(&self, flag: &Flag) -> Duration {
        let nanoseconds = value::duration(self.text(flag)).unwrap_or_default();
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
    }

    /// All values as they were given.
    pub(crate) fn all(&self, flag: &Flag) -> &[String] {
        self.values.get(flag.name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The parts of all values of a list.
    pub(crate) fn list(&self, flag: &Flag) -> Vec<String> {
        self.all(flag).iter().filter_map(|value| value::list(value).ok()).flatten().collect()
    }

    /// Keys and values, in the order given.
    pub(crate) fn pairs(&self, flag: &Flag) -> Vec<(String, String)> {
        let parts = self.all(flag).iter().flat_map(|value| match flag.kind {
            Kind::Maps => value.split(';').collect::<Vec<_>>(),
            _ => vec![value.as_str()],
        });
        let pairs = parts.filter_map(|part| part.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests;
