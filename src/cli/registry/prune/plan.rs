//! Which tags go, and which manifests with them: decided on plain data, before anything is deleted.
//!
//! Blobs are not deleted here at all: a registry's garbage collection removes those that no manifest refers to any
//! more. So what a kept image uses stays as long as its manifests stay, all of them: also those that an index lists, and
//! that have no tag of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::image::Time;
use crate::layer::Digest;
use crate::rootfs::glob::Glob;

/// What is known of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Survey {
    /// What the tags stand for.
    pub(in super::super) tags: BTreeMap<String, Digest>,
    /// All manifests and indexes that can be reached from the tags.
    pub(in super::super) manifests: BTreeMap<Digest, Surveyed>,
}

/// What is known of a manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Surveyed {
    /// When its image was made; `None` where that is not known.
    pub(in super::super) created: Option<Time>,
    /// The manifests that it refers to, whether or not they are there.
    pub(in super::super) manifests: BTreeSet<Digest>,
    /// The blobs that it refers to, with their sizes in bytes, and itself.
    pub(in super::super) blobs: BTreeMap<Digest, u64>,
}

/// Which tags stay.
#[derive(Debug, Clone, Default)]
pub(super) struct Policy {
    /// So many of the newest images.
    pub(super) keep: Option<usize>,
    /// Images made at this time or later.
    pub(super) since: Option<Time>,
    /// Images with a tag that matches one of these.
    pub(super) keep_tags: Vec<Glob>,
}

/// Why a tag stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    /// It matches `--keep-tag`, or its image has a tag that does.
    Protected,
    /// Its image is among the newest.
    Newest,
    /// Its image is not old enough.
    Young,
    /// Nobody knows when its image was made.
    AgeUnknown,
    /// It belongs to an image that stays, or that is not here: a signature, a bill of materials.
    Attached,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protected => "protected by --keep-tag",
            Self::Newest => "among the newest",
            Self::Young => "not old enough",
            Self::AgeUnknown => "of unknown age",
            Self::Attached => "belongs to an image that stays",
        })
    }
}

/// What is to be done in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Plan {
    /// Tags that go while their image stays, because another tag or an index that stays refers to it.
    pub(in super::super) untagged: BTreeSet<String>,
    /// Tags that go with their image.
    pub(in super::super) removed: BTreeSet<String>,
    /// Manifests that go, each before those it refers to.
    pub(in super::super) manifests: Vec<Digest>,
    /// Bytes that nothing else in the repository refers to. Other repositories may.
    pub(in super::super) freed: u64,
}

/// The tags that stay, with the reasons.
pub(super) fn kept(survey: &Survey, policy: &Policy) -> BTreeMap<String, Reason> {
    let attached = |tag: &str| subject(tag);
    let mut images: BTreeMap<Digest, Vec<&str>> = BTreeMap::new();
    for (tag, digest) in survey.tags.iter().filter(|(tag, _)| attached(tag).is_none()) {
        images.entry(*digest).or_default().push(tag);
    }
    let created = |digest: &Digest| survey.manifests.get(digest).and_then(|manifest| manifest.created);
    let mut by_age: Vec<(&Digest, &Vec<&str>)> = images.iter().collect();
    // The newest first; of two of the same age the one with the greater name, as version numbers grow.
    by_age.sort_by_key(|(digest, tags)| std::cmp::Reverse((created(digest), tags.last().copied())));
    let mut kept = BTreeMap::new();
    let mut newest = 0;
    for (digest, tags) in by_age {
        let is_protected = tags.iter().any(|tag| policy.keep_tags.iter().any(|glob| glob.matches(tag)));
        let reason = match created(digest) {
            _ if is_protected => Some(Reason::Protected),
            None => Some(Reason::AgeUnknown),
            Some(_) if policy.keep.is_some_and(|keep| newest < keep) => {
                newest += 1;
                Some(Reason::Newest)
            }
            Some(created) if policy.since.is_some_and(|since| created >= since) => Some(Reason::Young),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            kept.extend(tags.iter().map(|tag| ((*tag).to_owned(), reason)));
        }
    }
    // A signature goes with its image: when that was here and goes.
    let staying = survey.reachable(kept.keys().filter_map(|tag| survey.tags.get(tag)));
    for tag in survey.tags.keys() {
        let goes = match attached(tag) {
            Some(subject) => survey.manifests.contains_key(&subject) && !staying.contains(&subject),
            None => continue,
        };
        if !goes {
            kept.insert(tag.clone(), Reason::Attached);
        }
    }
    kept
}

/// The image that a tag like `sha256-0123….sig` belongs to. See cosign's specification, `SIGNATURE_SPEC.md`, and the OCI
/// distribution specification, "Referrers Tag Schema".
fn subject(tag: &str) -> Option<Digest> {
    let rest = tag.strip_prefix("sha256-")?;
    let hex = rest.split_once('.').map_or(rest, |(hex, _)| hex);
    format!("sha256:{hex}").parse().ok()
}

impl Plan {
    /// Removes all tags but those that `stays` says.
    pub(in super::super) fn new(survey: &Survey, stays: impl Fn(&str) -> bool) -> Self {
        let (staying, going): (Vec<_>, Vec<_>) = survey.tags.iter().partition(|(tag, _)| stays(tag));
        let needed = survey.reachable(staying.iter().map(|(_, digest)| *digest));
        let mut plan = Self::default();
        for (tag, digest) in &going {
            let tags = if needed.contains(*digest) { &mut plan.untagged } else { &mut plan.removed };
            tags.insert((*tag).clone());
        }
        let gone = survey.reachable(going.iter().map(|(_, digest)| *digest));
        plan.manifests = survey.in_order(gone.difference(&needed).copied().collect());
        plan.freed = survey.only_used_by(&plan.manifests);
        plan
    }

    /// Whether there is nothing to do.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.untagged.is_empty() && self.manifests.is_empty()
    }
}

impl Survey {
    /// These manifests, and all that they refer to.
    pub(in super::super) fn reachable<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a Digest>,
    ) -> BTreeSet<Digest> {
        let mut pending: Vec<Digest> = roots.into_iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(digest) = pending.pop() {
            if let Some(manifest) = self.manifests.get(&digest)
                && found.insert(digest)
            {
                pending.extend(&manifest.manifests);
            }
        }
        found
    }

    /// Each before those it refers to: some registries refuse to delete what an index lists.
    fn in_order(&self, mut left: BTreeSet<Digest>) -> Vec<Digest> {
        let mut ordered = Vec::new();
        while !left.is_empty() {
            let referred: BTreeSet<Digest> = left
                .iter()
                .filter_map(|digest| self.manifests.get(digest))
                .flat_map(|m| m.manifests.clone())
                .collect();
            let mut next: Vec<Digest> = left.difference(&referred).copied().collect();
            if next.is_empty() {
                // Digests cannot refer to each other in a circle; whoever claims so gets any order.
                next = left.iter().copied().collect();
            }
            for digest in next {
                left.remove(&digest);
                ordered.push(digest);
            }
        }
        ordered
    }

    /// Bytes of the blobs that nothing but these manifests refers to.
    fn only_used_by(&self, manifests: &[Digest]) -> u64 {
        let going: BTreeSet<&Digest> = manifests.iter().collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.manifests.iter().partition(|(digest, _)| going.contains(digest));
        let needed: BTreeSet<&Digest> = kept.iter().flat_map(|(_, manifest)| manifest.blobs.keys()).collect();
        let freed: BTreeMap<&Digest, &u64> = gone.iter().flat_map(|(_, manifest)| &manifest.blobs).collect();
        freed.into_iter().filter(|(digest, _)| !needed.contains(digest)).map(|(_, size)| *size).sum()
    }
}
