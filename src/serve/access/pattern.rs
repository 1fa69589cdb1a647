//! Names with wildcards.

use crate::rootfs::glob::Glob;

/// Some patterns; what matches one of them matches. `*` and `?` stop at `/`, `**` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    glob: Glob,
}

impl Patterns {
    /// Everything matches.
    pub(in crate::serve) fn all() -> Self {
        Self::new(["**"]).unwrap_or(Self(Vec::new()))
    }

    /// Fails with the pattern that is none.
    pub(in crate::serve) fn new<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let patterns = texts.into_iter().map(|text| {
            let text = text.into();
            match Glob::deep(&text) {
                Ok(glob) => Ok(Pattern { text, glob }),
                Err(_) => Err(text),
            }
        });
        patterns.collect::<Result<_, _>>().map(Self)
    }

    pub(in crate::serve) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.glob.matches(name))
    }

    /// The first one if it is a name.
    pub(in crate::serve) fn first_literal(&self) -> Option<String> {
        self.0.first().and_then(|pattern| pattern.glob.literal())
    }

    /// As written.
    pub(in crate::serve) fn shown(&self) -> String {
        let texts: Vec<&str> = self.0.iter().map(|pattern| pattern.text.as_str()).collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes() {
        let patterns = Patterns::new(["r.example/shop/*", "r.example/all/**", "exact"]).unwrap();
        for (name, expected) in [
            ("r.example/shop/a", true),
            ("r.example/shop/a/b", false),
            ("r.example/shop", false),
            ("r.example/shopping/a", false),
            ("r.example/all/a/b", true),
            ("exact", true),
            ("exactly", false),
            ("x/exact", false),
        ] {
            assert_eq!(patterns.matches(name), expected, "{name}");
        }
        assert!(Patterns::all().matches("any/thing"));
        assert!(!Patterns::new(Vec::<String>::new()).unwrap().matches(""));
        assert!(Patterns::new(["["]).is_err());
    }
}
