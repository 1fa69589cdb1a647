//! What is built.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::generate;

/// A build to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// The sample app: two stages, a RUN
    Sample,
    /// COPY and metadata only
    Copy,
    /// Debian, two RUNs
    Debian,
    /// 40,000 small files
    Files,
    /// One file of 1 GB
    Large,
    /// Four independent stages
    Stages,
    /// 30 layers
    Layers,
}

impl Case {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Sample, Self::Copy, Self::Debian, Self::Files, Self::Large, Self::Stages, Self::Layers];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Copy => "copy",
            Self::Debian => "debian",
            Self::Files => "files",
            Self::Large => "large",
            Self::Stages => "stages",
            Self::Layers => "layers",
        }
    }

    /// What it is, for a report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sample => "sample app (node base, two stages, one RUN)",
            Self::Copy => "COPY only (node base, 300 files)",
            Self::Debian => "Debian base, two RUNs",
            Self::Files => "40,000 small files",
            Self::Large => "one 1 GB file",
            Self::Stages => "four independent stages with a RUN each",
            Self::Layers => "30 layers",
        }
    }

    /// The base images it begins with: names of layouts and, after the colon, tags.
    pub(super) fn bases(self) -> &'static [&'static str] {
        match self {
            Self::Sample | Self::Copy | Self::Layers => &["node:20-alpine"],
            Self::Debian | Self::Stages => &["debian:stable"],
            Self::Files | Self::Large => &["busybox:latest"],
        }
    }

    /// The directory of `fixtures/` with its Dockerfile and the files it begins with.
    fn fixture(self) -> &'static str {
        match self {
            Self::Sample => "test-webapp",
            Self::Copy => "bench/copy",
            Self::Debian => "bench/debian",
            Self::Files => "bench/files",
            Self::Large => "bench/large",
            Self::Stages => "bench/stages",
            Self::Layers => "bench/layers",
        }
    }

    /// Makes the context at `target`: what `fixtures` has of it, its bases taken from the registry `host`, and what is
    /// made for it.
    pub(super) fn write(self, fixtures: &Path, host: &str, target: &Path) -> io::Result<()> {
        let source = fixtures.join(self.fixture());
        for entry in walkdir::WalkDir::new(&source) {
            let entry = entry?;
            let Ok(path) = entry.path().strip_prefix(&source) else { continue };
            let to = target.join(path);
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(to)?;
            } else {
                std::fs::copy(entry.path(), to)?;
            }
        }
        let dockerfile = target.join("Dockerfile");
        let text = std::fs::read_to_string(&dockerfile)?;
        std::fs::write(dockerfile, text.replace("docker.io/library/", &format!("{host}/library/")))?;
        match self {
            Self::Copy => generate::small_files(&target.join("app"), 300),
            Self::Files => generate::small_files(&target.join("node_modules"), 40_000),
            Self::Large => generate::large_file(&target.join("large.bin"), 1000),
            Self::Layers => generate::small_files(&target.join("files"), 1200),
            Self::Sample | Self::Debian | Self::Stages => Ok(()),
        }
    }

    /// Changes one file of the context.
    pub(super) fn edit(self, context: &Path, number: usize) -> io::Result<()> {
        let path = match self {
            Self::Sample => "src/page.js",
            Self::Copy => "app/package-0/lib-0/file-7.js",
            Self::Files => "node_modules/package-0/lib-0/file-7.js",
            Self::Layers => "files/package-0/lib-0/file-7.js",
            Self::Large => "large.bin",
            Self::Debian | Self::Stages => "settings",
        };
        let mut file = std::fs::OpenOptions::new().append(true).open(context.join(path))?;
        writeln!(file, "# {number}")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is at hand when a build begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing
    Cold,
    /// The base, fetched by a build before; steps are done anew
    Warm,
    /// Nothing here, all steps in a cache repository
    Cached,
    /// As `cached`, after one file of the context was changed
    Edited,
    /// All that a build before has left, nothing has changed
    Kept,
}

impl Mode {
    /// All.
    pub const ALL: [Self; 5] = [Self::Cold, Self::Warm, Self::Cached, Self::Edited, Self::Kept];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Cached => "cached",
            Self::Edited => "edited",
            Self::Kept => "kept",
        }
    }

    /// What it means, for a report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cold => "nothing at hand",
            Self::Warm => "base at hand, every step done anew",
            Self::Cached => "nothing at hand but a cache repository that has every step",
            Self::Edited => "nothing at hand but a cache repository; one file of the context has changed",
            Self::Kept => "the store of a build before, nothing has changed",
        }
    }

    /// Whether a cache repository is read and written.
    pub(super) fn has_cache_repository(self) -> bool {
        matches!(self, Self::Cached | Self::Edited)
    }

    /// Whether runs go on with what the build before them has left.
    pub(super) fn keeps_state(self) -> bool {
        matches!(self, Self::Warm | Self::Kept)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
