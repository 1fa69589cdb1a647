//! Caches in registries and layouts, and pods that begin with an empty store.

use std::time::Duration;

use super::{cached, fate, fates, registry};
use crate::registry::{Effect, Fault, Registry};
use crate::support::{Build, DebianRegistry, Image, Served, node_layout, sample_app};

/// Requests of `docker-registry`'s access log.
fn requests(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split('"').nth(1).filter(|_| line.starts_with("127."))).collect()
}

#[test]
fn the_sample_app_is_assembled_from_the_cache() {
    let registry = DebianRegistry::start();
    registry.load(node_layout(), "20-alpine", "library/node:20-alpine");
    let build = |name: &str| {
        let cache = format!("{}/team/cache", registry.host());
        sample_app()
            .env("DOCKER_CONFIG", registry.docker_config().display().to_string())
            .args(["--push", "--registry-mirror", registry.host()])
            .args([format!("--cache-from={cache}"), format!("--cache-to=type=registry,ref={cache}")])
            .args(["--tag".to_owned(), format!("{}/{name}", registry.host())])
    };
    let first = build("team/app:1").run().success();
    assert!(!first.stderr.contains("warning"), "{}", first.stderr);
    let before = registry.log().len();
    let second = build("team/other:1").run().success();
    assert_eq!(second.stdout, first.stdout, "the same image: {}", second.stderr);
    assert!(fates(&second).iter().all(|(_, fate)| fate == "cached"), "{}", second.stderr);
    let log = registry.log();
    let requests = requests(&log[before..]);
    assert!(requests.len() < 25, "{}: {requests:#?}", requests.len());
    let blobs = requests.iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/"));
    assert_eq!(blobs.count(), 1, "the base's config, and no layer: {requests:#?}");
    let sent = requests.iter().filter(|line| line.starts_with("PUT") && line.contains("/blobs/"));
    assert_eq!(sent.count(), 1, "the image's config, and no layer: {requests:#?}");
}

#[test]
fn copies_onto_a_base_that_is_never_fetched() {
    let text = "FROM base\nCOPY a /lib/\nCOPY --chown=app:staff a /home/app/\nWORKDIR /usr/lib/x\nCOPY a one /tmp/\n";
    let registry = registry();
    let with = |content: &str| {
        cached(text, &registry).file("a", content).file("one", "1").env("SOURCE_DATE_EPOCH", "1000000000")
    };
    with("1").run().success();
    let before = registry.requests().len();
    let changed = with("2").run().success();
    assert_eq!(fate(&changed, "a /lib/"), "done", "{}", changed.stderr);
    let asked = registry.requests().split_off(before);
    for digest in Served::base().digests() {
        let fetched =
            asked.iter().filter(|one| one.method == "GET" && one.target.contains(&digest.to_string()));
        assert_eq!(fetched.count(), 0, "{digest}");
    }
    // As with everything at hand, bit for bit.
    let direct = with("2").arg("--no-cache").run().success();
    assert_eq!(changed.stdout, direct.stdout);
    let layout = Build::new(text).file("a", "2").file("one", "1").image();
    assert_eq!(layout.text("usr/lib/a"), "2");
    assert_eq!(layout.at("home/app/a").owner, (1000, 50));
}

#[test]
fn a_run_is_executed_once_for_all_pods() {
    let registry = registry();
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\nCOPY a /\nRUN cat /id /a > /both\n";
    let first = cached(text, &registry).file("a", "1").run().success();
    let again = cached(text, &registry).file("a", "1").run().success();
    assert_eq!(first.stdout, again.stdout);
    // Another file: the first RUN's layer comes from the cache, to be executed on.
    let build = cached(text, &registry).file("a", "2");
    let layout = build.beside("image");
    let build = build.arg(format!("--output=type=oci,dest={}", layout.display()));
    let other = build.run().success();
    assert_eq!(fate(&other, "uuid"), "cached", "{}", other.stderr);
    assert_eq!(fate(&other, "both"), "done");
    let image = Image::read(&layout, tempfile::tempdir().unwrap());
    assert_eq!(image.text("both"), format!("{}2", image.text("id")));
}

#[test]
fn a_later_entry_brings_the_layers_below_it() {
    let registry = registry();
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN cat /id > /copy\n";
    let first = cached(text, &registry).run().success();
    // Only the entry of the last step answers.
    let tags: Vec<String> = registry
        .requests()
        .iter()
        .filter(|one| one.method == "PUT" && one.target.contains("/cache/manifests/"))
        .map(|one| one.target.rsplit('/').next().unwrap().to_owned())
        .collect();
    for tag in tags {
        let manifest = String::from_utf8(registry.manifest("cache", &tag).unwrap()).unwrap();
        if manifest.matches("tar+gzip").count() == 1 {
            registry.add_fault(Fault::on("GET", &tag, Effect::Refuse(404, "MANIFEST_UNKNOWN", "")).always());
        }
    }
    let again = cached(text, &registry).run().success();
    assert_eq!(again.stdout, first.stdout, "{}", again.stderr);
}

#[test]
fn results_grow_old() {
    let registry = registry();
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\n";
    let first = cached(text, &registry).run().success();
    std::thread::sleep(Duration::from_secs(2));
    let with_ttl = |ttl: &str| {
        let cache = format!("--cache-from=type=registry,ref={}/cache,ttl={ttl}", registry.host());
        let text = text.replace("FROM base", &format!("FROM {}/base:1", registry.host()));
        Build::new(&text).args([cache, "--push".to_owned(), format!("--tag={}/app:2", registry.host())])
    };
    assert_eq!(with_ttl("1h").run().success().stdout, first.stdout);
    let old = with_ttl("1s").run().success();
    assert_eq!(fate(&old, "uuid"), "done");
    assert_ne!(old.stdout, first.stdout);
}

#[test]
fn a_layout_is_a_cache_too() {
    let directory = tempfile::tempdir().unwrap();
    let cache = format!("oci:{}", directory.path().join("cache").display());
    let text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\nCOPY a /\n";
    let run = |content: &str| {
        let build = Build::new(text).file("a", content).args([
            format!("--cache-from={cache}"),
            format!("--cache-to={cache}"),
            "--offline".to_owned(),
        ]);
        build.image().text("id")
    };
    let first = run("1");
    assert_eq!(run("1"), first);
    assert_eq!(run("2"), first, "the RUN is known, and its layer is in the layout");
}

#[test]
fn offline_asks_no_registry() {
    let registry = Registry::start();
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "1").args([
        "--offline".to_owned(),
        format!("--cache-from={}/cache", registry.host()),
        format!("--cache-to={}/cache", registry.host()),
    ]);
    build.image();
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn a_base_of_another_registry_is_piped() {
    let (from, to) = (Registry::start(), Registry::start());
    Served::base().put(&from, "small", "1");
    let text = format!("FROM {}/small:1\nLABEL only=metadata\n", from.host());
    let build = Build::new(&text).args(["--push".to_owned(), format!("--tag={}/team/app:1", to.host())]);
    build.run().success();
    for digest in Served::base().digests() {
        assert!(to.blob("team/app", digest).is_some());
        assert_eq!(from.count("GET", &digest.to_string()), 1);
        assert!(
            !build.store_path().join("blobs/sha256").join(digest.hex()).exists(),
            "it never touched the disk"
        );
    }
}
