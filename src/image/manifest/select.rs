//! The choice of one image among several.

use super::{Index, NoSuchPlatform};
use crate::image::{Descriptor, Platform};

/// BuildKit lists attestations beside the images, under a platform that is none.
const UNKNOWN: &str = "unknown";

pub(super) fn select<'a>(index: &'a Index, wanted: &Platform) -> Result<&'a Descriptor, NoSuchPlatform> {
    let matching = |candidate: &Platform| {
        index
            .manifests
            .iter()
            .find(|entry| entry.platform.as_ref().is_some_and(|platform| platform.satisfies(candidate)))
    };
    if let Some(entry) = candidates(wanted).iter().find_map(matching) {
        return Ok(&entry.descriptor);
    }
    // An index over a single image that does not say for what: its config will tell.
    if let [entry] = index.manifests.as_slice()
        && entry.platform.is_none()
    {
        return Ok(&entry.descriptor);
    }
    let platforms = index.manifests.iter().filter_map(|entry| entry.platform.clone());
    let available = platforms.filter(|platform| platform.os() != UNKNOWN).collect();
    Err(NoSuchPlatform { wanted: wanted.clone(), available })
}

/// What runs on a platform, best first: itself, then its older variants, then no variant at all.
fn candidates(wanted: &Platform) -> Vec<Platform> {
    let with = |variant: Option<&str>| Platform::new(wanted.os(), wanted.architecture(), variant);
    let mut candidates = vec![wanted.clone()];
    let number = wanted.variant().and_then(|variant| variant.strip_prefix('v')?.parse::<u8>().ok());
    let oldest = if wanted.architecture() == "arm" { 5 } else { 1 };
    let older = (oldest..number.unwrap_or(0).min(9)).rev();
    candidates.extend(older.map(|number| with(Some(&format!("v{number}")))));
    // For arm no variant means v7, which may be newer than what is wanted.
    if wanted.architecture() != "arm" {
        candidates.push(with(None));
    }
    candidates
}
