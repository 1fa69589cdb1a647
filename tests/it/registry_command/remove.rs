//! `rm` and `prune`: what is kept stays whole, also after the registry's garbage collection.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Stage, for_two_platforms};
use crate::support::Build;

const IMAGE: &str = "FROM scratch\nCOPY file /\n";

/// An image of its own, made at a day of 2024.
fn made(stage: &Stage, text: &str, day: i64, name: &str) {
    let epoch = (1_704_067_200 + day * 86_400).to_string();
    stage.push_with(Build::new(IMAGE).file("file", text).env("SOURCE_DATE_EPOCH", epoch), name);
}

#[test]
fn a_tag_goes_alone_while_its_image_has_another() {
    let stage = Stage::new();
    made(&stage, "x", 1, "app:1");
    stage.run(&["copy", &stage.name("app:1"), &stage.name("app:2")]).success();
    let digest = stage.digest("app:1");
    let outcome = stage.run(&["rm", &stage.name("app:1")]).success();
    assert!(outcome.stdout.contains("its image stays"), "{}", outcome.stdout);
    assert_eq!(stage.tags("app"), ["2"]);
    assert_eq!(stage.digest("app:2"), digest);
    stage.registry.collect_garbage();
    stage.run(&["verify", &stage.name("app:2")]).success();

    let outcome = stage.run(&["rm", &stage.name("app:2")]).success();
    assert!(
        outcome.stdout.contains("registry garbage-collect /etc/docker/registry/config.yml"),
        "{}",
        outcome.stdout
    );
    assert_eq!(stage.tags("app"), Vec::<String>::new());
    stage.run(&["inspect", &stage.name(&format!("app@{digest}"))]).failure(1, &["was not found"]);
    stage.run(&["rm", &stage.name("app:2")]).failure(1, &["app:2 was not found"]);
}

#[test]
fn an_index_goes_with_its_images_unless_they_are_needed() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:both");
    stage
        .run(&["copy", "--platform", "linux/arm64", &stage.name("app:both"), &stage.name("app:arm")])
        .success();
    let images = stage.json(&["inspect", &stage.name("app:both")])["images"].clone();
    let [amd, arm] = [0, 1].map(|n| images[n]["digest"].as_str().unwrap().to_owned());
    stage
        .run(&["rm", &stage.name(&format!("app@{amd}"))])
        .failure(1, &["is listed by an index; remove that"]);
    let dry = stage.json(&["rm", "--dry-run", &stage.name("app:both")]);
    assert_eq!(stage.tags("app"), ["arm", "both"]);
    let wet = stage.json(&["rm", &stage.name("app:both")]);
    assert_eq!(dry["repositories"], wet["repositories"]);
    assert_eq!(stage.tags("app"), ["arm"]);
    stage.run(&["inspect", &stage.name(&format!("app@{amd}"))]).failure(1, &["was not found"]);
    assert_eq!(stage.digest("app:arm"), arm);
    stage.registry.collect_garbage();
    stage.run(&["verify", &stage.name("app:arm")]).success();
}

#[test]
fn the_platforms_tag_goes_and_the_index_stays() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:both");
    stage
        .run(&["copy", "--platform", "linux/arm64", &stage.name("app:both"), &stage.name("app:arm")])
        .success();
    stage.run(&["rm", &stage.name("app:arm")]).success();
    assert_eq!(stage.tags("app"), ["both"]);
    stage.registry.collect_garbage();
    stage.run(&["verify", &stage.name("app:both")]).success();
}

#[test]
fn prunes_by_number_age_and_pattern() {
    let stage = Stage::new();
    for day in 1..=6 {
        made(&stage, &format!("day {day}"), day, &format!("team/app:{day}"));
    }
    made(&stage, "cached", 1, "team/cache:key");
    stage.run(&["copy", &stage.name("team/app:2"), &stage.name("team/app:release")]).success();
    let arguments = ["prune", "--keep", "2", "--older-than", "1d", "--keep-tag", "rel*"];
    let repository = stage.name("team/app");
    let dry = stage.json(&[&arguments[..], &["--dry-run", &repository]].concat());
    assert_eq!(stage.tags("team/app").len(), 7);
    let wet = stage.json(&[&arguments[..], &[&repository]].concat());
    assert_eq!(dry["repositories"], wet["repositories"]);
    assert!(dry["next"].is_null() && wet["next"].as_str().unwrap().contains("garbage-collect"));
    assert_eq!(stage.tags("team/app"), ["2", "5", "6", "release"]);
    let before = size(&stage);
    stage.registry.collect_garbage();
    let freed = before - size(&stage);
    assert_eq!(wet["repositories"][0]["bytes"], freed);
    for tag in stage.tags("team/app") {
        stage.run(&["verify", &stage.name(&format!("team/app:{tag}"))]).success();
    }
    // A registry stands for all its repositories, cached layers included.
    stage.run(&["prune", "--older-than", "1d", stage.registry.host()]).success();
    assert_eq!(stage.tags("team/app"), Vec::<String>::new());
    assert_eq!(stage.tags("team/cache"), Vec::<String>::new());
}

/// Bytes of all blobs.
fn size(stage: &Stage) -> u64 {
    let blobs = walkdir::WalkDir::new(stage.registry.data().join("docker/registry/v2/blobs"));
    blobs
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

#[test]
fn without_a_time_an_image_stays() {
    let stage = Stage::new();
    let reproducible = Build::new(IMAGE).file("file", "x").env("SOURCE_DATE_EPOCH", "0");
    stage.push_with(reproducible, "app:1");
    let report = stage.json(&["prune", "--older-than", "1s", &stage.name("app")]);
    assert_eq!(report["repositories"][0]["kept"]["1"], "age-unknown");
    assert_eq!(stage.tags("app"), ["1"]);
    stage.run(&["prune", &stage.name("app")]).failure(2, &["--keep"]);
    stage.run(&["prune", "--older-than", "3 years", &stage.name("app")]).failure(2, &["is no age"]);
}

/// What one run of the random test pushes.
#[derive(Debug, Clone)]
struct Images {
    /// Text (few, so that layers are shared), day, and whether for two platforms.
    pushed: Vec<(u8, i64, bool)>,
    /// Further tags of images.
    tags: Vec<usize>,
    keep: usize,
    since: i64,
}

#[test]
fn what_is_kept_outlives_pruning_and_garbage_collection() {
    let stage = Stage::new();
    let image = (0..3_u8, 0..20_i64, proptest::bool::weighted(0.3));
    let images = (
        proptest::collection::vec(image, 2..6),
        proptest::collection::vec(0..6_usize, 0..3),
        0..4_usize,
        0..20_i64,
    );
    let images = images.prop_map(|(images, tags, keep, since)| Images { pushed: images, tags, keep, since });
    let mut runner = TestRunner::new(Config { cases: 4, failure_persistence: None, ..Config::default() });
    let mut round = 0;
    let round = std::cell::RefCell::new(&mut round);
    runner
        .run(&images, |Images { pushed: images, tags, keep, since }| {
            **round.borrow_mut() += 1;
            let app = format!("app{}", round.borrow());
            for (n, (text, day, is_index)) in images.iter().enumerate() {
                let epoch = (1_704_067_200 + day * 86_400).to_string();
                let text = format!("text {text}");
                let build =
                    if *is_index { for_two_platforms(&text) } else { Build::new(IMAGE).file("file", text) };
                stage.push_with(build.env("SOURCE_DATE_EPOCH", epoch), &format!("{app}:{n}"));
            }
            for (n, image) in tags.iter().enumerate() {
                let from = stage.name(&format!("{app}:{}", image % images.len()));
                stage.run(&["copy", &from, &stage.name(&format!("{app}:further-{n}"))]).success();
            }
            let now = jiff::Timestamp::now().as_second();
            let age = format!("{}s", now - (1_704_067_200 + since * 86_400));
            let keep = keep.to_string();
            let report = stage.json(&["prune", "--keep", &keep, "--older-than", &age, &stage.name(&app)]);
            let kept: BTreeSet<String> =
                report["repositories"][0]["kept"].as_object().unwrap().keys().cloned().collect();
            prop_assert_eq!(stage.tags(&app).into_iter().collect::<BTreeSet<_>>(), kept.clone());
            stage.registry.collect_garbage();
            for tag in kept {
                let outcome = stage.run(&["verify", &stage.name(&format!("{app}:{tag}"))]);
                prop_assert_eq!(outcome.code, Some(0), "{} {}", outcome.stdout, outcome.stderr);
            }
            Ok(())
        })
        .unwrap();
}
