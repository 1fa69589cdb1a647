//! Platforms: operating system, architecture, variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on, in the normal form of containerd's `platforms` package:
/// `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
}

/// Why a text is not a [`Platform`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: write `os/architecture` or `os/architecture/variant`, like linux/arm64")]
pub struct ParsePlatformError(String);

impl Platform {
    /// The normal form of the given parts.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
        let (architecture, variant) = match (architecture.to_ascii_lowercase().as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64".to_owned(), variant.filter(|v| *v != "v1")),
            ("aarch64" | "arm64", variant) => {
                ("arm64".to_owned(), variant.filter(|v| !matches!(*v, "8" | "v8")))
            }
            ("armhf", _) | ("arm", None | Some("7")) => ("arm".to_owned(), Some("v7")),
            ("arm", Some("5")) => ("arm".to_owned(), Some("v5")),
            ("armel", _) | ("arm", Some("6")) => ("arm".to_owned(), Some("v6")),
            ("i386" | "386", _) => ("386".to_owned(), None),
            (other, variant) => (other.to_owned(), variant),
        };
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        Self { os, architecture, variant: variant.map(str::to_owned), os_version: None }
    }

    /// The same platform with a Windows-style operating system version, which images keep.
    #[must_use]
    pub fn with_os_version(mut self, version: Option<String>) -> Self {
        self.os_version = version.filter(|version| !version.is_empty());
        self
    }

    /// The platform this program runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Operating system, like `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Architecture in Go's naming, like `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Variant, like `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Version of the operating system, only ever set for Windows images.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }

    /// Whether an image for `self` is an image for `wanted`; versions of the operating system do not matter.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os && self.architecture == wanted.architecture && self.variant == wanted.variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// Accepts `os/arch[/variant]`, and a lone `os` or `arch` as `docker buildx` does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlatformError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(valid) {
            return Err(error());
        }
        let host = Self::host();
        match parts.as_slice() {
            [os @ ("linux" | "windows" | "darwin" | "freebsd")] => {
                Ok(Self::new(os, host.architecture(), host.variant()))
            }
            [architecture] => {
                let platform = Self::new("linux", architecture, None);
                let known =
                    ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64", "mips64le"];
                if known.contains(&platform.architecture()) { Ok(platform) } else { Err(error()) }
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = ParsePlatformError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/V8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("linux/386", "linux/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in ["", "/", "linux/", "a/b/c/d", "nonsense", "linux/amd 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
