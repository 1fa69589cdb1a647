//! The cache beside the store: results of steps, and what base layers list, in a registry or an OCI image layout.
//!
//! ```text
//! REPOSITORY:<key>             a step: the layers above the base, and what each of them lists
//! REPOSITORY:tree-<diff id>    a layer of a base image: what it lists, without the layer
//! ```
//!
//! Each entry is an OCI artifact: a manifest whose blobs are the layers themselves, so that a registry mounts them into
//! the image's repository without a byte being sent. See `artifact` for the format.
//!
//! An entry counts for its own key only, and what is taken from a cache is not put into the store's own records: a
//! cache that somebody else can write to harms no build that does not use it.

mod artifact;
mod entries;
mod place;

use std::time::Duration;

pub use artifact::{CachedLayer, CachedStep, EntryError, MAX_INDEX, MAX_LAYERS, parse_tree};
pub use entries::{CacheError, Entries, read_list};
pub use place::{CachePlace, ParseCachePlaceError};
use serde::{Deserialize, Serialize};

/// Where results of earlier builds are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSource {
    /// Where.
    pub place: CachePlace,
    /// Results that were made longer ago than this are not used.
    pub max_age: Option<Duration>,
}

/// Where results are put for later builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheTarget {
    /// Where.
    pub place: CachePlace,
    /// The results of which steps.
    pub steps: CachedSteps,
}

/// Which steps' results are put into a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachedSteps {
    /// All that make a layer.
    #[default]
    All,
    /// Those of RUN only. The layers below them come with them.
    Runs,
}
