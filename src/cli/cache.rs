//! `--cache-from`, `--cache-to` and their like.

use std::str::FromStr;

use clap::Args;

use crate::cache::{CachePlace, CacheSource, CacheTarget, CachedSteps, ParseCachePlaceError};
use crate::layer::Encoding;
use crate::units;

/// What a build takes about results of other builds, and about the form of its own.
#[derive(Debug, Args)]
pub(super) struct CacheArguments {
    /// Where to look for results: REPOSITORY, oci:DIRECTORY, or type=registry|oci,ref=…[,ttl=DURATION]
    #[arg(long = "cache-from", value_name = "CACHE")]
    from: Vec<CacheSource>,
    /// Where to put results for other builds: REPOSITORY, oci:DIRECTORY, or type=registry|oci,ref=…[,steps=run]
    #[arg(long = "cache-to", value_name = "CACHE")]
    to: Vec<CacheTarget>,
    /// Say for each step why its result is known or not
    #[arg(long)]
    explain_cache: bool,
    /// How new layers are compressed: gzip, zstd or uncompressed
    #[arg(long, value_name = "TYPE", default_value = "gzip")]
    compression: Compression,
    /// How much: 0 to 9 with gzip, 1 to 22 with zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<u8>,
}

/// A kind of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
    Uncompressed,
}

impl CacheArguments {
    pub(super) fn from(&self) -> Vec<CacheSource> {
        self.from.clone()
    }

    pub(super) fn to(&self) -> Vec<CacheTarget> {
        self.to.clone()
    }

    pub(super) fn explain(&self) -> bool {
        self.explain_cache
    }

    pub(super) fn compression(&self) -> Result<Encoding, String> {
        match (self.compression, self.compression_level) {
            (Compression::Gzip, level @ (None | Some(0..=9))) => {
                Ok(Encoding::Gzip { level: level.unwrap_or(Encoding::DEFAULT_GZIP_LEVEL) })
            }
            (Compression::Zstd, level @ (None | Some(1..=22))) => {
                Ok(Encoding::Zstd { level: level.unwrap_or(Encoding::DEFAULT_ZSTD_LEVEL) })
            }
            (Compression::Uncompressed, None) => Ok(Encoding::Uncompressed),
            (Compression::Gzip, Some(_)) => Err("levels of gzip go from 0 to 9".to_owned()),
            (Compression::Zstd, Some(_)) => Err("levels of zstd go from 1 to 22".to_owned()),
            (Compression::Uncompressed, Some(_)) => {
                Err("`--compression uncompressed` has no level".to_owned())
            }
        }
    }
}

/// Why a text is no `--cache-from` or `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCacheError {
    /// A part that is not `key=value`.
    #[error("`{0}` is not of the form key=value; write type=registry,ref=REPOSITORY")]
    NotAPair(String),
    /// A kind of cache that Cooper does not have.
    #[error("there is no cache type `{0}`; there are registry and oci")]
    Type(String),
    /// An unknown key.
    #[error("a cache has no `{key}`; it has {known}")]
    Key {
        /// What was given.
        key: String,
        /// What there is.
        known: &'static str,
    },
    /// No `ref`.
    #[error("`ref=REPOSITORY` is missing")]
    NoReference,
    /// Not a duration.
    #[error("`{0}` is no duration; write 336h, 90m or 30s")]
    Duration(String),
    /// Not a choice of steps.
    #[error("`{0}` is neither all nor run")]
    Steps(String),
    /// Not a name of a cache.
    #[error(transparent)]
    Place(#[from] ParseCachePlaceError),
}

/// A place and what else was said.
struct Parts<'a> {
    place: CachePlace,
    rest: Vec<(&'a str, &'a str)>,
}

fn parts(text: &str) -> Result<Parts<'_>, ParseCacheError> {
    if !text.contains('=') {
        return Ok(Parts { place: text.parse()?, rest: Vec::new() });
    }
    let (mut kind, mut reference, mut rest) = ("registry", None, Vec::new());
    for part in text.split(',') {
        let pair = part.split_once('=').ok_or_else(|| ParseCacheError::NotAPair(part.to_owned()))?;
        match pair {
            ("type", value) => kind = value,
            ("ref" | "src" | "dest", value) => reference = Some(value),
            // BuildKit's choice between layers of the image and all layers; here it is always all.
            ("mode", "max") => {}
            pair => rest.push(pair),
        }
    }
    let reference = reference.ok_or(ParseCacheError::NoReference)?;
    let place = match kind {
        "registry" => reference.parse()?,
        "oci" | "local" => CachePlace::Layout(reference.into()),
        other => return Err(ParseCacheError::Type(other.to_owned())),
    };
    Ok(Parts { place, rest })
}

impl FromStr for CacheSource {
    type Err = ParseCacheError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Parts { place, rest } = parts(text)?;
        let mut max_age = None;
        for (key, value) in rest {
            if key != "ttl" {
                let known = "type, ref and ttl";
                return Err(ParseCacheError::Key { key: key.to_owned(), known });
            }
            max_age = Some(units::duration(value).map_err(|_| ParseCacheError::Duration(value.to_owned()))?);
        }
        Ok(Self { place, max_age })
    }
}

impl FromStr for CacheTarget {
    type Err = ParseCacheError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Parts { place, rest } = parts(text)?;
        let mut steps = CachedSteps::All;
        for (key, value) in rest {
            steps = match (key, value) {
                ("steps", "all") => CachedSteps::All,
                ("steps", "run") => CachedSteps::Runs,
                ("steps", other) => return Err(ParseCacheError::Steps(other.to_owned())),
                _ => {
                    let known = "type, ref and steps";
                    return Err(ParseCacheError::Key { key: key.to_owned(), known });
                }
            };
        }
        Ok(Self { place, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_buildx_and_plain_names() {
        for (text, place, age) in [
            ("r:5000/c", "r:5000/c", None),
            ("oci:/c", "oci:/c", None),
            ("type=registry,ref=r:5000/c", "r:5000/c", None),
            ("type=registry,ref=r:5000/c,ttl=1h30m", "r:5000/c", Some(5400)),
            ("type=oci,ref=/c,ttl=14d", "oci:/c", Some(14 * 86_400)),
        ] {
            let source: CacheSource = text.parse().unwrap();
            assert_eq!(
                (source.place.to_string().as_str(), source.max_age.map(|age| age.as_secs())),
                (place, age)
            );
        }
        let target: CacheTarget = "type=registry,ref=r:5000/c,mode=max,steps=run".parse().unwrap();
        assert_eq!(target.steps, CachedSteps::Runs);
    }

    #[test]
    fn refuses_with_a_reason() {
        for text in
            ["type=s3,ref=x", "type=registry", "ref=r/c,ttl=1", "ref=r/c,ttl=1w", "ref=r/c,x=y", "ref,=a"]
        {
            assert!(text.parse::<CacheSource>().is_err(), "{text}");
        }
        for text in ["ref=r/c,ttl=1h", "ref=r/c,steps=some", "type=inline"] {
            assert!(text.parse::<CacheTarget>().is_err(), "{text}");
        }
    }
}
