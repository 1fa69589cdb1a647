//! Caches that are damaged, hostile, or not to be had.

use super::{cached, fate, registry};
use crate::registry::{Effect, Fault, Registry};
use crate::support::Build;

/// Tags of the entries in the registry's cache that have `layers` layers.
fn tags(registry: &Registry, layers: usize) -> Vec<String> {
    let mut tags: Vec<String> = registry
        .requests()
        .iter()
        .filter(|one| one.method == "PUT" && one.target.starts_with("/v2/cache/manifests/"))
        .map(|one| one.target.rsplit('/').next().unwrap().to_owned())
        .filter(|tag| !tag.starts_with("tree-"))
        .filter(|tag| {
            let manifest = String::from_utf8(registry.manifest("cache", tag).unwrap()).unwrap();
            manifest.matches("tar+gzip").count() == layers
        })
        .collect();
    tags.sort();
    tags.dedup();
    tags
}

#[test]
fn an_entry_counts_for_its_own_key_only() {
    let registry = registry();
    let evil = cached("FROM base\nRUN echo evil > /program\n", &registry);
    evil.run().success();
    let evil = registry.manifest("cache", &tags(&registry, 1)[0]).unwrap();
    let text = "FROM base\nRUN echo good > /program\n";
    let other = self::registry();
    cached(text, &other).run().success();
    // Every entry of the good step is replaced by the evil one's.
    for tag in tags(&other, 1) {
        for (digest, blob) in blobs(&evil, &registry) {
            assert_eq!(other.put_blob("cache", blob).to_string(), digest);
        }
        other.put_manifest("cache", &tag, "application/vnd.oci.image.manifest.v1+json", evil.clone());
    }
    let build = cached(text, &other);
    let layout = build.beside("image");
    let build = build.arg(format!("--output=type=oci,dest={}", layout.display()));
    let said = build.run().success();
    assert!(said.stderr.contains("it is an entry for another key"), "{}", said.stderr);
    assert_eq!(fate(&said, "good"), "done");
    let image = crate::support::Image::read(&layout, tempfile::tempdir().unwrap());
    assert_eq!(image.text("program"), "good\n");
}

/// The blobs that a manifest names.
fn blobs(manifest: &[u8], registry: &Registry) -> Vec<(String, Vec<u8>)> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    layers
        .map(|layer| {
            let digest = layer["digest"].as_str().unwrap().to_owned();
            let blob = registry.blob("cache", digest.parse().unwrap()).unwrap();
            (digest, blob)
        })
        .collect()
}

#[test]
fn damaged_entries_are_passed_over() {
    let text = "FROM base\nRUN echo made > /made\nCOPY a /\n";
    for damage in [&b"{}"[..], b"", b"\xff\xff", br#"{"schemaVersion":2,"manifests":[]}"#] {
        let registry = registry();
        cached(text, &registry).file("a", "1").run().success();
        for tag in [tags(&registry, 1), tags(&registry, 2)].concat() {
            registry.put_manifest(
                "cache",
                &tag,
                "application/vnd.oci.image.manifest.v1+json",
                damage.to_vec(),
            );
        }
        let said = cached(text, &registry).file("a", "1").run().success();
        assert!(said.stderr.contains("is passed over"), "{}", said.stderr);
        assert_eq!(fate(&said, "made"), "done");
    }
}

#[test]
fn lists_that_are_none_are_made_anew() {
    let registry = registry();
    let text = "FROM base\nCOPY a /lib/\n";
    cached(text, &registry).file("a", "1").run().success();
    // What the base's layers list comes damaged from now on.
    for digest in list_blobs(&registry) {
        registry.add_fault(Fault::on("GET", &digest, Effect::Corrupt).always());
    }
    let said = cached(text, &registry).file("a", "2").run().success();
    assert!(said.stderr.contains("cannot use the cache"), "{}", said.stderr);
    let direct = cached(text, &registry).file("a", "2").arg("--no-cache");
    let layout = direct.beside("image");
    let direct = direct.arg(format!("--output=type=oci,dest={}", layout.display()));
    direct.run().success();
    let image = crate::support::Image::read(&layout, tempfile::tempdir().unwrap());
    assert_eq!(image.text("usr/lib/a"), "2");
}

fn list_blobs(registry: &Registry) -> Vec<String> {
    registry
        .requests()
        .iter()
        .filter(|one| one.method == "PUT" && one.target.contains("/cache/manifests/tree-"))
        .map(|one| one.target.rsplit('/').next().unwrap().to_owned())
        .map(|tag| {
            let manifest: serde_json::Value =
                serde_json::from_slice(&registry.manifest("cache", &tag).unwrap()).unwrap();
            manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_cache_that_says_no_is_a_warning() {
    for fault in [
        Fault::on("GET", "/v2/cache/manifests/", Effect::Refuse(403, "DENIED", "not yours")).always(),
        Fault::on("GET", "/v2/cache/manifests/", Effect::Refuse(400, "UNSUPPORTED", "")).always(),
        Fault::on("PUT", "/v2/cache/manifests/", Effect::Refuse(403, "DENIED", "read only")).always(),
        Fault::on("POST", "/v2/cache/blobs/", Effect::Refuse(403, "DENIED", "read only")).always(),
    ] {
        let registry = registry().fault(fault.clone());
        let said = cached("FROM base\nCOPY a /\nCOPY a /b\n", &registry).file("a", "1").run().success();
        assert_eq!(said.stderr.matches("cannot use the cache").count(), 1, "{fault:?}: {}", said.stderr);
        assert!(registry.manifest("app", "1").is_some());
    }
}

#[test]
fn a_cache_that_is_not_there_is_a_warning() {
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "1").args([
        "--cache-from=127.0.0.1:9/cache",
        "--cache-to=127.0.0.1:9/cache",
        "--output=type=oci,dest=-",
    ]);
    let output = build.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("cannot use the cache in 127.0.0.1:9/cache"), "{said}");
}

#[test]
fn what_a_cache_says_is_not_for_builds_without_it() {
    let registry = registry();
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\n";
    cached(text, &registry).run().success();
    let with = cached(text, &registry);
    assert_eq!(fate(&with.run().success(), "uuid"), "cached");
    let text = text.replace("FROM base", &format!("FROM {}/base:1", registry.host()));
    let without = Build::new(&text)
        .store(with.store_path())
        .args(["--push".to_owned(), format!("--tag={}/app:2", registry.host())]);
    assert_eq!(fate(&without.run().success(), "uuid"), "done");
}
