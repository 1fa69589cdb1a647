//! What is to be measured: `CASE[=MODE,…][@BUILDER,…]`.

use std::str::FromStr;

use clap::ValueEnum as _;

use super::case::{Case, Mode};

/// A case, the modes it is measured in, and the builders that do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The case.
    pub case: Case,
    /// The modes.
    pub modes: Vec<Mode>,
    /// Beginnings of the names of builders; none stands for all.
    pub builders: Vec<String>,
}

/// Why a text is no [`Selection`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectionError {
    /// There is no such case.
    #[error("there is no case `{0}`; there are sample, copy, debian, files, large, stages and layers")]
    Case(String),
    /// There is no such mode.
    #[error("there is no mode `{0}`; there are cold, warm, cached, edited and kept")]
    Mode(String),
}

impl FromStr for Selection {
    type Err = ParseSelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, builders) = text.split_once('@').unwrap_or((text, ""));
        let (case, modes) = text.split_once('=').unwrap_or((text, "cold,warm,cached"));
        let mode =
            |text: &str| Mode::from_str(text, false).map_err(|_| ParseSelectionError::Mode(text.to_owned()));
        Ok(Self {
            case: Case::from_str(case, false).map_err(|_| ParseSelectionError::Case(case.to_owned()))?,
            modes: modes.split(',').map(mode).collect::<Result<_, _>>()?,
            builders: builders.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    }
}

impl Selection {
    /// Every case, each cold, warm and cached.
    pub fn all() -> Vec<Self> {
        let modes = vec![Mode::Cold, Mode::Warm, Mode::Cached];
        Case::ALL.map(|case| Self { case, modes: modes.clone(), builders: Vec::new() }).to_vec()
    }

    /// Whether the builder of this name takes part.
    pub(super) fn includes(&self, builder: &str) -> bool {
        self.builders.is_empty() || self.builders.iter().any(|name| builder.starts_with(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_briefly() {
        let selection: Selection = "sample=cold,kept@cooper,kaniko".parse().unwrap();
        assert_eq!(selection.modes, [Mode::Cold, Mode::Kept]);
        assert!(selection.includes("kaniko-1.28.3") && !selection.includes("buildah"));
        let selection: Selection = "large".parse().unwrap();
        assert_eq!(selection.modes, [Mode::Cold, Mode::Warm, Mode::Cached]);
        assert!(selection.includes("buildah"));
        assert_eq!("x=cold".parse::<Selection>(), Err(ParseSelectionError::Case("x".to_owned())));
        assert_eq!("copy=hot".parse::<Selection>(), Err(ParseSelectionError::Mode("hot".to_owned())));
    }
}
