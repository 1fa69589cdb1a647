//! Manifests and blobs that come.

use std::time::Duration;

use cooper::image::{Descriptor, MediaType};
use cooper::layer::Digest;
use cooper::registry::{Credentials, Mirror, Problem, RegistrySettings};

use super::{MANIFEST, app, chain, descriptor, fetch, noise, open, settings};
use crate::registry::{Effect, Fault, Registry};

#[tokio::test]
async fn manifests_come_by_tag_and_digest() {
    let registry = Registry::start();
    let digest = registry.put_manifest("app", "1", MANIFEST, "{}");
    for selector in ["1".to_owned(), digest.to_string()] {
        let manifest = app(&registry).manifest(&selector).await.unwrap();
        assert_eq!((&*manifest.bytes, manifest.digest), (&b"{}"[..], digest));
        assert_eq!(manifest.media_type, MediaType::ImageManifest);
    }
}

#[tokio::test]
async fn looking_up_a_tag_takes_one_head() {
    let registry = Registry::start();
    let digest = registry.put_manifest("app", "1", MANIFEST, "{}");
    let found = app(&registry).manifest_digest("1").await.unwrap();
    assert_eq!(found, Some(Descriptor::new(MediaType::ImageManifest, digest, 2)));
    assert_eq!(app(&registry).manifest_digest("2").await.unwrap(), None);
    assert_eq!((registry.count("HEAD", "/1"), registry.count("GET", "")), (1, 0));
}

#[tokio::test]
async fn looking_up_a_tag_works_without_head() {
    let registry = Registry::start().fault(Fault::on("HEAD", "/manifests/", Effect::Status(405)).always());
    let digest = registry.put_manifest("app", "1", MANIFEST, "{}");
    assert_eq!(app(&registry).manifest_digest("1").await.unwrap().unwrap().digest, digest);
    assert_eq!(app(&registry).manifest_digest("2").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let registry = Registry::start();
    registry.put_manifest("app", "1", MANIFEST, "{}");
    let host = registry.host();

    let error = app(&registry).manifest("2").await.unwrap_err();
    assert!(error.is_not_found());
    let expected = format!(
        "cannot pull the manifest of {host}/app:2: the image {host}/app:2 was not found \
         (the registry says: MANIFEST_UNKNOWN: manifest unknown)"
    );
    assert_eq!(chain(&error), expected);

    let other = open(settings(), Credentials::anonymous(), &host, "other");
    let error = other.manifest("1").await.unwrap_err();
    assert!(chain(&error).contains(&format!("the repository {host}/other does not exist")), "{error}");

    let blob = descriptor(b"nowhere");
    let error = app(&registry).blob(&blob).await.unwrap_err();
    assert!(
        matches!(*error.problem, Problem::BlobUnknown { digest, .. } if digest == blob.digest),
        "{error}"
    );
}

#[tokio::test]
async fn manifests_that_are_not_what_they_are_called_are_refused() {
    let registry = Registry::start().fault(Fault::on("GET", "/manifests/", Effect::Corrupt).always());
    let digest = registry.put_manifest("app", "1", MANIFEST, "{}");
    for selector in ["1".to_owned(), digest.to_string()] {
        let error = app(&registry).manifest(&selector).await.unwrap_err();
        assert!(
            matches!(*error.problem, Problem::WrongDigest { expected, .. } if expected == digest),
            "{error}"
        );
    }
}

#[tokio::test]
async fn manifests_have_a_limit() {
    let registry = Registry::start();
    registry.put_manifest("app", "fits", MANIFEST, vec![b' '; 4 << 20]);
    registry.put_manifest("app", "large", MANIFEST, vec![b' '; (4 << 20) + 1]);
    assert!(app(&registry).manifest("fits").await.is_ok());
    let error = app(&registry).manifest("large").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::TooLarge { what: "manifest", .. }), "{error}");
}

#[tokio::test]
async fn blobs_come_whole() {
    let registry = Registry::start();
    for length in [0, 1, 1 << 20, 3_000_001] {
        let bytes = noise(length);
        registry.put_blob("app", bytes.to_vec());
        assert_eq!(fetch(&app(&registry), &descriptor(&bytes)).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn small_blobs_come_at_once_and_only_small_ones() {
    let registry = Registry::start();
    registry.put_blob("app", "config");
    let blob = descriptor(b"config");
    assert_eq!(app(&registry).blob_bytes(&blob, 6).await.unwrap(), "config");
    let error = app(&registry).blob_bytes(&blob, 5).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::TooLarge { limit: 5, .. }), "{error}");
    assert_eq!(registry.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let bytes = noise(300_000);
    let cut = Fault::on("GET", "/blobs/", Effect::Truncate(100_000)).times(2);
    let registry = Registry::start().fault(cut);
    registry.put_blob("app", bytes.to_vec());
    assert_eq!(fetch(&app(&registry), &descriptor(&bytes)).await.unwrap(), bytes);
    let ranges: Vec<_> = registry.requests().into_iter().map(|request| request.range).collect();
    let range = |start: usize| Some(format!("bytes={start}-299999"));
    assert_eq!(ranges, [None, range(100_000), range(200_000)]);
}

#[tokio::test]
async fn a_broken_download_goes_on_also_without_ranges() {
    let bytes = noise(300_000);
    let registry = Registry::start()
        .fault(Fault::on("GET", "/blobs/", Effect::Truncate(100_000)))
        .fault(Fault::on("GET", "/blobs/", Effect::IgnoreRange).always());
    registry.put_blob("app", bytes.to_vec());
    assert_eq!(fetch(&app(&registry), &descriptor(&bytes)).await.unwrap(), bytes);
    assert_eq!(registry.count("GET", "/blobs/"), 2);
}

#[tokio::test]
async fn a_download_without_progress_ends() {
    let bytes = noise(300_000);
    let registry = Registry::start()
        .fault(Fault::on("GET", "/blobs/", Effect::Truncate(100_000)))
        .fault(Fault::on("GET", "/blobs/", Effect::Truncate(0)).always());
    registry.put_blob("app", bytes.to_vec());
    let error = fetch(&app(&registry), &descriptor(&bytes)).await.unwrap_err();
    assert!(
        matches!(*error.problem, Problem::Truncated { expected: 300_000, received: 100_000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_bytes_are_an_error_at_the_end() {
    let bytes = noise(300_000);
    for effect in [Effect::Corrupt, Effect::Lengthen] {
        let registry = Registry::start().fault(Fault::on("GET", "/blobs/", effect.clone()).always());
        registry.put_blob("app", bytes.to_vec());
        let error = fetch(&app(&registry), &descriptor(&bytes)).await.unwrap_err();
        match effect {
            Effect::Corrupt => {
                assert!(chain(&error).contains("does not match its digest: expected sha256:"), "{error}");
            }
            _ => assert!(chain(&error).contains("more than the expected 300000 bytes"), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_descriptor_with_the_wrong_size_is_found_out() {
    let registry = Registry::start();
    let digest = registry.put_blob("app", "content");
    for size in [3, 100] {
        let blob = Descriptor::new(MediaType::ImageLayer, digest, size);
        assert!(fetch(&app(&registry), &blob).await.is_err(), "{size}");
    }
}

#[tokio::test]
async fn slow_is_not_broken() {
    let bytes = noise(40_000);
    let slow = Effect::Slow(10_000, Duration::from_millis(2));
    let registry = Registry::start().fault(Fault::on("GET", "/blobs/", slow));
    registry.put_blob("app", bytes.to_vec());
    assert_eq!(fetch(&app(&registry), &descriptor(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn redirects_are_followed_without_the_login() {
    let storage = Registry::start();
    let bytes = noise(300_000);
    storage.put_blob("app", bytes.to_vec());
    storage.add_fault(Fault::on("GET", "/blobs/", Effect::Truncate(100_000)));
    let elsewhere = Effect::Redirect(format!("http://{}", storage.host()));
    let registry = Registry::start()
        .auth("user", "secret")
        .fault(Fault::on("GET", "/blobs/", elsewhere).after(1).always());
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    assert_eq!(fetch(&repository, &descriptor(&bytes)).await.unwrap(), bytes);
    assert_eq!(storage.count("GET", "/blobs/"), 2);
    assert!(storage.requests().iter().all(|request| request.authorization.is_none()));
    assert!(registry.requests().iter().skip(1).all(|request| request.authorization.is_some()));
}

#[tokio::test]
async fn endless_redirects_end() {
    let registry = Registry::start();
    let itself = Effect::Redirect(format!("http://{}", registry.host()));
    registry.add_fault(Fault::on("GET", "/blobs/", itself).always());
    let error = app(&registry).blob(&descriptor(b"x")).await.unwrap_err();
    assert!(chain(&error).contains("redirects more than"), "{error}");
}

/// Settings in which `mirror` stands before `upstream`.
fn mirrored(mirror: &str, upstream: &Registry) -> RegistrySettings {
    let mirrors = [(upstream.host(), vec![Mirror::parse(mirror)])].into();
    RegistrySettings { mirrors, ..settings() }
}

#[tokio::test]
async fn mirrors_are_asked_first_and_told_whom_they_stand_for() {
    let (mirror, upstream) = (Registry::start(), Registry::start());
    mirror.put_manifest("hub/app", "1", MANIFEST, "{}");
    let settings = mirrored(&format!("{}/hub", mirror.host()), &upstream);
    let repository = open(settings, Credentials::anonymous(), &upstream.host(), "app");
    assert_eq!(repository.manifest("1").await.unwrap().digest, Digest::of("{}"));
    let expected = format!("/v2/hub/app/manifests/1?ns={}", upstream.host().replace(':', "%3A"));
    assert_eq!(mirror.requests()[0].target, expected);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn what_mirrors_lack_or_spoil_comes_from_the_upstream() {
    for fault in [None, Some(Effect::Corrupt), Some(Effect::Status(500)), Some(Effect::Drop)] {
        let (mirror, upstream) = (Registry::start(), Registry::start());
        if let Some(effect) = fault {
            mirror.put_manifest("app", "1", MANIFEST, "{}");
            mirror.add_fault(Fault::on_any("/manifests/", effect).always());
        }
        upstream.put_manifest("app", "1", MANIFEST, "{}");
        let settings = mirrored(&mirror.host(), &upstream);
        let repository = open(settings, Credentials::anonymous(), &upstream.host(), "app");
        assert!(repository.manifest("1").await.is_ok());
        assert!(mirror.count("GET", "/manifests/1") > 0);
    }
}

#[tokio::test]
async fn the_upstream_is_left_alone_when_only_mirrors_count() {
    let (mirror, upstream) = (Registry::start(), Registry::start());
    upstream.put_manifest("app", "1", MANIFEST, "{}");
    let settings = RegistrySettings { only_mirrors: true, ..mirrored(&mirror.host(), &upstream) };
    let repository = open(settings, Credentials::anonymous(), &upstream.host(), "app");
    assert!(repository.manifest("1").await.unwrap_err().is_not_found());
    assert!(upstream.requests().is_empty());
}
