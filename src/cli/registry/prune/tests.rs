use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::plan::{Plan, Policy, Reason, Survey, Surveyed, kept};
use super::*;
use crate::layer::Digest;

fn digest(name: &str) -> Digest {
    Digest::of(name)
}

fn time(seconds: i64) -> Time {
    Time::from_epoch(1_700_000_000 + seconds).unwrap()
}

/// A repository: images with the blobs they have, indexes with the images they list, tags.
#[derive(Debug, Clone)]
struct Repository {
    images: Vec<(Option<i64>, BTreeSet<u8>)>,
    indexes: Vec<BTreeSet<usize>>,
    /// Of images first, then of indexes.
    tags: Vec<usize>,
    /// Images that have a signature.
    signed: BTreeSet<usize>,
}

impl Repository {
    fn name(&self, item: usize) -> String {
        let count = self.images.len();
        if item < count { format!("image {item}") } else { format!("index {}", item - count) }
    }

    fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        for (n, (created, blobs)) in self.images.iter().enumerate() {
            let blobs = blobs.iter().map(|blob| (digest(&format!("blob {blob}")), u64::from(*blob) + 1));
            let surveyed =
                Surveyed { created: created.map(time), manifests: BTreeSet::new(), blobs: blobs.collect() };
            survey.manifests.insert(digest(&self.name(n)), surveyed);
        }
        for (n, listed) in self.indexes.iter().enumerate() {
            let manifests = listed.iter().map(|image| digest(&self.name(image % self.images.len())));
            let created = listed.iter().filter_map(|image| self.images[image % self.images.len()].0).max();
            let surveyed = Surveyed {
                created: created.map(time),
                manifests: manifests.collect(),
                ..Surveyed::default()
            };
            survey.manifests.insert(digest(&self.name(self.images.len() + n)), surveyed);
        }
        let items = self.images.len() + self.indexes.len();
        for (n, item) in self.tags.iter().enumerate() {
            survey.tags.insert(format!("t{n}"), digest(&self.name(item % items)));
        }
        // What no tag leads to is not seen.
        let seen = survey.reachable(survey.tags.values());
        survey.manifests.retain(|digest, _| seen.contains(digest));
        for image in &self.signed {
            let subject = digest(&self.name(*image));
            let signature = digest(&format!("signature {image}"));
            survey.tags.insert(format!("sha256-{}.sig", subject.hex()), signature);
            survey.manifests.insert(signature, Surveyed::default());
        }
        survey
    }
}

fn repositories() -> impl Strategy<Value = Repository> {
    let image = (proptest::option::weighted(0.9, 0..50_i64), proptest::collection::btree_set(0..12_u8, 1..5));
    let index = proptest::collection::btree_set(0..12_usize, 0..4);
    let parts = (
        proptest::collection::vec(image, 1..10),
        proptest::collection::vec(index, 0..4),
        proptest::collection::vec(0..20_usize, 0..14),
        proptest::collection::btree_set(0..10_usize, 0..4),
    );
    parts.prop_map(|(images, indexes, tags, signed)| {
        let signed = signed.into_iter().filter(|image| *image < images.len()).collect();
        Repository { images, indexes, tags, signed }
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let parts = (
        proptest::option::of(0..6_usize),
        proptest::option::of(0..50_i64),
        proptest::collection::vec(prop_oneof!["t[0-9]", Just("*1".to_owned())], 0..2),
    );
    parts.prop_map(|(keep, since, patterns)| Policy {
        keep,
        since: since.map(time),
        keep_tags: patterns.iter().map(|pattern| Glob::new(pattern).unwrap()).collect(),
    })
}

/// What the registry's garbage collection would leave: the blobs of all manifests but these.
fn blobs_left(survey: &Survey, deleted: &[Digest]) -> BTreeSet<Digest> {
    let left = survey.manifests.iter().filter(|(digest, _)| !deleted.contains(digest));
    left.flat_map(|(_, manifest)| manifest.blobs.keys().copied()).collect()
}

proptest! {
    #[test]
    fn nothing_goes_that_a_kept_image_uses(repository in repositories(), policy in policies()) {
        let survey = repository.survey();
        let kept = kept(&survey, &policy);
        let plan = Plan::new(&survey, |tag| kept.contains_key(tag));
        let left = blobs_left(&survey, &plan.manifests);
        for tag in kept.keys() {
            for manifest in survey.reachable([&survey.tags[tag]]) {
                prop_assert!(!plan.manifests.contains(&manifest), "{tag} needs {manifest}");
                prop_assert!(survey.manifests[&manifest].blobs.keys().all(|blob| left.contains(blob)));
            }
        }
    }

    #[test]
    fn every_tag_stays_or_goes_and_nothing_is_left_behind(repository in repositories(), policy in policies()) {
        let survey = repository.survey();
        let kept = kept(&survey, &policy);
        let plan = Plan::new(&survey, |tag| kept.contains_key(tag));
        let going: BTreeSet<_> = plan.removed.union(&plan.untagged).cloned().collect();
        prop_assert!(plan.removed.is_disjoint(&plan.untagged));
        prop_assert!(going.iter().all(|tag| !kept.contains_key(tag)));
        prop_assert_eq!(going.len() + kept.len(), survey.tags.len());
        // After deleting, whatever is there can be reached from a tag that stays.
        let needed = survey.reachable(kept.keys().map(|tag| &survey.tags[tag]));
        let left = survey.manifests.keys().filter(|digest| !plan.manifests.contains(digest));
        prop_assert_eq!(left.copied().collect::<BTreeSet<_>>(), needed);
        for tag in &plan.removed {
            prop_assert!(plan.manifests.contains(&survey.tags[tag]));
        }
        // Indexes before what they list.
        for (n, manifest) in plan.manifests.iter().enumerate() {
            let listed = &survey.manifests[manifest].manifests;
            prop_assert!(plan.manifests[..n].iter().all(|earlier| !listed.contains(earlier)));
        }
        // The space that is promised is the space that is freed.
        let before = blobs_left(&survey, &[]);
        let after = blobs_left(&survey, &plan.manifests);
        let sizes: BTreeMap<_, _> = survey.manifests.values().flat_map(|manifest| manifest.blobs.clone()).collect();
        prop_assert_eq!(plan.freed, before.difference(&after).map(|blob| sizes[blob]).sum::<u64>());
    }

    #[test]
    fn the_newest_stay(repository in repositories(), keep in 0..6_usize) {
        let survey = repository.survey();
        let kept = kept(&survey, &Policy { keep: Some(keep), ..Policy::default() });
        let images = |reason| -> BTreeSet<_> {
            kept.iter().filter(|(_, why)| **why == reason).map(|(tag, _)| survey.tags[tag]).collect()
        };
        let dated: BTreeSet<_> = survey
            .tags
            .iter()
            .filter(|(tag, digest)| !tag.starts_with("sha256-") && survey.manifests[*digest].created.is_some())
            .map(|(_, digest)| *digest)
            .collect();
        let newest = images(Reason::Newest);
        prop_assert_eq!(newest.len(), keep.min(dated.len()));
        let created = |digest: &Digest| survey.manifests[digest].created;
        for going in dated.difference(&newest) {
            prop_assert!(newest.iter().all(|stays| created(stays) >= created(going)));
        }
    }
}

#[test]
fn says_why_a_tag_stays() {
    let mut survey = Survey::default();
    let mut add = |tag: &str, image: &str, created: Option<i64>| {
        survey.tags.insert(tag.to_owned(), digest(image));
        survey
            .manifests
            .insert(digest(image), Surveyed { created: created.map(time), ..Surveyed::default() });
    };
    add("latest", "old", Some(1));
    add("1", "old", Some(1));
    add("2", "older", Some(2));
    add("3", "young", Some(30));
    add("4", "newest", Some(40));
    add("undated", "undated", None);
    let signature = |image: &str| format!("sha256-{}.sig", digest(image).hex());
    for image in ["older", "newest", "elsewhere"] {
        add(&signature(image), &format!("signature of {image}"), None);
    }
    let keep_tags = vec![Glob::new("late*").unwrap()];
    let policy = Policy { keep: Some(1), since: Some(time(20)), keep_tags };
    let expected = [
        ("latest".to_owned(), Reason::Protected),
        ("1".to_owned(), Reason::Protected),
        ("3".to_owned(), Reason::Young),
        ("4".to_owned(), Reason::Newest),
        ("undated".to_owned(), Reason::AgeUnknown),
        (signature("newest"), Reason::Attached),
        (signature("elsewhere"), Reason::Attached),
    ];
    assert_eq!(kept(&survey, &policy), BTreeMap::from(expected));
}

#[test]
fn ages() {
    for (text, seconds) in [
        ("30d", Some(2_592_000)),
        ("12h", Some(43_200)),
        ("2w", Some(1_209_600)),
        ("90s", Some(90)),
        ("5m", Some(300)),
    ] {
        assert_eq!(text.parse::<Age>().ok().map(|age| age.seconds), seconds, "{text}");
    }
    for text in ["", "30", "d", "1y", "-1d", "1.5d", "99999999999999999999d", "9223372036854775807w"] {
        assert!(text.parse::<Age>().is_err(), "{text}");
    }
}
