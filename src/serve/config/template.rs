//! Texts with places for what a push says: `registry.example.com/shop/app:{branch}`.

use crate::dockerfile::nearest;

/// Digits of `{short_sha}`.
const SHORT: usize = 12;

/// Most characters of a branch or tag in a text: with a commit beside it, it still is a tag of an image.
pub(super) const MAX_NAME: usize = 60;

/// What a push says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Values {
    pub(in crate::serve) commit: String,
    pub(in crate::serve) branch: Option<String>,
    pub(in crate::serve) tag: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Sha,
    ShortSha,
    Branch,
    Tag,
}

const PLACEHOLDERS: [(&str, Placeholder); 4] = [
    ("sha", Placeholder::Sha),
    ("short_sha", Placeholder::ShortSha),
    ("branch", Placeholder::Branch),
    ("tag", Placeholder::Tag),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("there is no placeholder `{{{0}}}`")]
    Unknown(String),
    #[error("a `{{` without its `}}`")]
    Open,
}

impl TemplateError {
    /// What to try.
    pub(super) fn advice(&self) -> String {
        let names = PLACEHOLDERS.map(|(name, _)| name);
        match self {
            Self::Unknown(name) if nearest(name, &names).is_some() => {
                format!("did you mean `{{{}}}`?", nearest(name, &names).unwrap_or_default())
            }
            _ => "there are {sha}, {short_sha}, {branch} and {tag}; write `{{` for a brace".to_owned(),
        }
    }
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, found) = rest.split_at(at);
            plain.push_str(before);
            let brace = &found[..1];
            if found[1..].starts_with(brace) {
                plain.push_str(brace);
                rest = &found[2..];
            } else if brace == "}" {
                plain.push('}');
                rest = &found[1..];
            } else {
                let end = found.find('}').ok_or(TemplateError::Open)?;
                let name = &found[1..end];
                let known = PLACEHOLDERS.into_iter().find(|(known, _)| *known == name);
                let (_, placeholder) = known.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(placeholder));
                rest = &found[end + 1..];
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The text; `None` if it wants the name of a branch and this is a tag, or the other way round.
    pub(super) fn fill(&self, values: &Values) -> Option<String> {
        self.0.iter().map(|part| part.fill(values)).collect()
    }

    /// The text, with nothing where there is nothing to say.
    pub(super) fn fill_all(&self, values: &Values) -> String {
        self.0.iter().map(|part| part.fill(values).unwrap_or_default()).collect()
    }
}

impl Part {
    fn fill(&self, values: &Values) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Value(Placeholder::Sha) => Some(values.commit.clone()),
            Self::Value(Placeholder::ShortSha) => Some(values.commit.chars().take(SHORT).collect()),
            Self::Value(Placeholder::Branch) => values.branch.as_deref().map(safe),
            Self::Value(Placeholder::Tag) => values.tag.as_deref().map(safe),
        }
    }
}

/// A name that can be part of an image's tag, and of nothing else: whoever may push chooses it.
fn safe(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let text: String = name.chars().map(|c| if is_plain(&c) { c } else { '-' }).take(MAX_NAME).collect();
    match text.trim_start_matches(['.', '-']) {
        "" => "_".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(branch: Option<&str>, tag: Option<&str>) -> Values {
        Values {
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            branch: branch.map(str::to_owned),
            tag: tag.map(str::to_owned),
        }
    }

    #[test]
    fn is_filled() {
        let main = values(Some("feature/A b"), None);
        for (text, expected) in [
            ("app:1", Some("app:1")),
            ("{sha}", Some("0123456789abcdef0123456789abcdef01234567")),
            ("app:{branch}-{short_sha}", Some("app:feature-A-b-0123456789ab")),
            ("app:{tag}", None),
            ("{{sha}} }", Some("{sha} }")),
            ("", Some("")),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&main).as_deref(), expected, "{text}");
        }
        assert_eq!(Template::parse("v={tag}").unwrap().fill_all(&main), "v=");
        let tag = values(None, Some("v1.0+build"));
        assert_eq!(Template::parse("{tag}").unwrap().fill(&tag).as_deref(), Some("v1.0-build"));
        assert_eq!(Template::parse("{shaa}"), Err(TemplateError::Unknown("shaa".to_owned())));
        assert_eq!(Template::parse("{sha"), Err(TemplateError::Open));
        assert!(TemplateError::Unknown("shaa".to_owned()).advice().contains("{sha}"));
    }

    #[test]
    fn names_are_harmless() {
        for (name, expected) in [
            ("main", "main"),
            ("-x", "x"),
            ("...", "_"),
            ("$(id)", "id-"),
            ("a\nb", "a-b"),
            ("größe", "gr--e"),
        ] {
            assert_eq!(safe(name), expected, "{name}");
        }
        assert_eq!(safe(&"x".repeat(500)).len(), MAX_NAME);
    }
}
