//! The flags an instruction takes.

use std::collections::BTreeSet;

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::parts::Flag;
use super::suggest::did_you_mean;
use super::word::Word;

/// What a flag's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Boolean,
    /// `--flag=value`.
    Text,
    /// `--flag=value`, any number of times.
    Texts,
}

/// The checked flags of an instruction.
#[derive(Debug)]
pub(super) struct Flags<'a> {
    given: &'a [Flag],
}

impl<'a> Flags<'a> {
    /// Checks that `given` are flags of `known`, with values of their kinds.
    pub(super) fn check(given: &'a [Flag], known: &[(&str, Kind)]) -> Result<Self, Diagnostic> {
        let mut seen = BTreeSet::new();
        for flag in given {
            let name = flag.name.text.as_str();
            let error = |message: String| Diagnostic::error(Code::InvalidFlag, message, flag.span);
            let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let hint = did_you_mean(name, &names);
                let error = error(format!("unknown flag: --{name}{hint}"));
                return Err(if names.is_empty() {
                    error.advise("this instruction takes no flags")
                } else {
                    error.advise(format!("the flags here are --{}", names.join(", --")))
                });
            };
            if !seen.insert(name) && *kind != Kind::Texts {
                return Err(error(format!("duplicate flag specified: --{name}")));
            }
            match (kind, &flag.value) {
                (Kind::Boolean, Some(value)) if value.text.is_empty() => {
                    return Err(error(format!("missing a value on flag: --{name}")));
                }
                (Kind::Boolean, Some(value)) if boolean(&value.text).is_none() => {
                    return Err(error(format!(
                        "expecting boolean value for flag --{name}, not: {}",
                        value.text
                    )));
                }
                (Kind::Text | Kind::Texts, None) => {
                    return Err(error(format!("missing a value on flag: --{name}")));
                }
                _ => {}
            }
        }
        Ok(Self { given })
    }

    /// The value of a [`Kind::Text`] flag.
    pub(super) fn text(&self, name: &str) -> Option<Word> {
        self.texts(name).pop()
    }

    /// The value of a [`Kind::Text`] flag for which an empty value is none.
    pub(super) fn given_text(&self, name: &str) -> Option<Word> {
        self.text(name).filter(|value| !value.text.is_empty())
    }

    /// The values of a [`Kind::Texts`] flag.
    pub(super) fn texts(&self, name: &str) -> Vec<Word> {
        self.given
            .iter()
            .filter(|flag| flag.name.text == name)
            .filter_map(|flag| flag.value.clone())
            .collect()
    }

    /// The value of a [`Kind::Boolean`] flag, if given.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        let flag = self.given.iter().find(|flag| flag.name.text == name)?;
        flag.value.as_ref().map_or(Some(true), |value| boolean(&value.text))
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::directive::Escape;
    use crate::dockerfile::parts::Parts;
    use crate::dockerfile::source::Span;

    const KNOWN: [(&str, Kind); 4] =
        [("link", Kind::Boolean), ("chown", Kind::Text), ("chmod", Kind::Text), ("exclude", Kind::Texts)];

    fn flags(text: &str) -> Vec<Flag> {
        let line = format!("COPY {text} a b");
        let span = Span::new(0, line.len());
        Parts::split(&Word::new(line, span), Escape::Backslash).flags
    }

    #[test]
    fn refuses() {
        for (text, message) in [
            // 1.1: flags
            ("--foo", "unknown flag: --foo"),
            ("--chwn=1", "unknown flag: --chwn (did you mean chown?)"),
            ("--chown=1 --chown=2", "duplicate flag specified: --chown"),
            ("--link --link", "duplicate flag specified: --link"),
            ("--link=maybe", "expecting boolean value for flag --link, not: maybe"),
            ("--link=", "missing a value on flag: --link"),
            ("--chown", "missing a value on flag: --chown"),
            ("--exclude", "missing a value on flag: --exclude"),
        ] {
            assert_eq!(Flags::check(&flags(text), &KNOWN).unwrap_err().message, message);
        }
    }

    #[test]
    fn reads_values() {
        let given = flags("--link=TRUE --exclude=a --chown= --exclude=b");
        let flags = Flags::check(&given, &KNOWN).unwrap();
        assert_eq!(flags.boolean("link"), Some(true));
        assert_eq!(flags.text("chown").unwrap().text, "");
        assert_eq!(flags.given_text("chown"), None);
        assert_eq!(flags.text("chmod"), None);
        let excluded: Vec<String> = flags.texts("exclude").into_iter().map(|word| word.text).collect();
        assert_eq!(excluded, ["a", "b"]);
    }
}
