//! The warmer, and the cache directory.

use std::path::Path;

use cooper::layer::Digest;

use super::Executor;
use crate::support::{Outcome, Served};

fn warm(executor: &Executor, arguments: &[&str]) -> Outcome {
    let mut command = executor.program("warmer");
    command.arg(format!("--cache-dir={}", executor.at("cache").display())).args(arguments);
    Outcome::of(command.output().unwrap())
}

#[test]
fn what_is_warmed_is_not_fetched_again() {
    let executor = Executor::new("FROM base\nRUN echo > /made\n").local().args(["--cache", "--cache-repo"]);
    let repo = executor.name("cache");
    let executor = executor.args([repo]).path("--cache-dir", "cache");
    let image = format!("--image={}", executor.name("base:1"));
    let said =
        warm(&executor, &[&image, "--force", "--cache-ttl=6h", "--log-format=text", "--log-timestamp"]);
    let said = said.success().stderr;
    assert!(said.contains("base:1 is in "), "{said}");
    let layers = || {
        executor
            .registry
            .requests()
            .iter()
            .filter(|request| {
                request.method == "GET"
                    && Served::base()
                        .digests()
                        .iter()
                        .any(|digest| request.target.contains(&digest.to_string()))
            })
            .count()
    };
    let fetched = layers();
    assert!(fetched > 0);
    executor.run().success();
    assert_eq!(layers(), fetched);
    let said = executor.run().success().stderr;
    assert!(said.contains("Using caching version of cmd: RUN echo > /made"), "{said}");
}

#[test]
fn the_bases_of_a_dockerfile_are_warmed() {
    let executor =
        Executor::new("ARG TAG=none\nFROM base AS first\nFROM base:$TAG AS x\nFROM first\nRUN true\n");
    let text = std::fs::read_to_string(executor.workspace().join("Dockerfile")).unwrap();
    let text = text.replace("base:1:$TAG", "base:$TAG");
    let executor = executor.file("Dockerfile", &text);
    let file = format!("--dockerfile={}", executor.workspace().join("Dockerfile").display());
    warm(&executor, &[&file, "--build-arg=TAG=1", "--customPlatform=linux/amd64"]).success();
    for digest in Served::base().digests() {
        assert_eq!(executor.registry.count("GET", &digest.to_string()), 1);
    }
}

#[test]
fn only_a_warmer_that_warms_nothing_fails() {
    let executor = Executor::new("");
    let (good, bad) = (executor.name("base:1"), executor.name("none:1"));
    let flags = ["--insecure-pull", "--skip-tls-verify-pull", "--verbosity=warn"];
    let said = warm(&executor, &[&["-i", &good, "-i", &bad], &flags[..]].concat()).success().stderr;
    assert!(said.contains("Error while trying to warm image"), "{said}");
    let outcome = warm(&executor, &[&["--image", &bad], &flags[..]].concat());
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stdout.contains("failed warming cache: "), "the text goes to standard output");
    warm(&executor, &[])
        .failure(1, &["Error: you must select at least one image to cache or a dockerfilepath to parse"]);
    warm(&executor, &["-d", "nowhere"]).failure(1, &["error validating dockerfile path"]);
}

/// Writes the tests' base into a directory as Google's warmer keeps it. Checklist: kaniko.md 1.4.
fn keep_as_archive(directory: &Path, base: &Served) {
    let (manifest, _) = base.manifest();
    let name = Digest::of(&manifest).to_string();
    std::fs::write(directory.join(format!("{name}.json")), &manifest).unwrap();
    let mut archive = tar::Builder::new(std::fs::File::create(directory.join(name)).unwrap());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    append(&Digest::of(&base.config).to_string(), &base.config);
    for (blob, _) in &base.layers {
        append(&format!("{}.tar.gz", Digest::of(blob).hex()), blob);
    }
    append("manifest.json", b"[]");
    archive.finish().unwrap();
}

/// The same as the fork's warmer keeps it.
fn keep_as_layout(directory: &Path, base: &Served) {
    let (manifest, _) = base.manifest();
    let blobs = directory.join(Digest::of(&manifest).to_string()).join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let layers = base.layers.iter().map(|(blob, _)| blob);
    for blob in layers.chain([&manifest, &base.config]) {
        std::fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
    }
}

#[test]
fn what_kanikos_own_warmer_has_kept_is_used() {
    for keep in [keep_as_archive, keep_as_layout] {
        let base = Served::base();
        let digest = Digest::of(base.manifest().0);
        let executor = Executor::new("FROM base\nRUN cat /etc/passwd > /copy\n").local();
        let fetched = |executor: &Executor| {
            let mut digests = base.digests().into_iter();
            digests.any(|digest| executor.registry.count("GET", &digest.to_string()) > 0)
        };
        let repo = executor.name("cache");
        let executor = executor.args(["--cache", "--cache-repo", &repo]).path("--cache-dir", "cache");
        std::fs::create_dir(executor.at("cache")).unwrap();
        keep(&executor.at("cache"), &base);
        executor.run().success();
        assert!(!fetched(&executor));

        // By its digest no registry is even asked.
        let executor = Executor::new("").local().args(["--cache", "--cache-repo=oci:nowhere"]);
        let text = format!("FROM no-such-host.invalid/base@{digest}\nRUN cat /etc/passwd > /copy\n");
        let executor = executor.file("Dockerfile", &text).path("--cache-dir", "cache");
        std::fs::create_dir(executor.at("cache")).unwrap();
        keep(&executor.at("cache"), &base);
        executor.run().success();

        // Without the cache it counts as little as with Kaniko; and neither does what is damaged.
        let without = Executor::new("FROM base\nRUN true\n").local().path("--cache-dir", "cache");
        std::fs::create_dir(without.at("cache")).unwrap();
        keep(&without.at("cache"), &base);
        without.run().success();
        assert!(fetched(&without));
        let executor = Executor::new("FROM base\nRUN cat /etc/passwd > /copy\n").local();
        let executor = executor.args(["--cache", "--no-push-cache"]).path("--cache-dir", "cache");
        std::fs::create_dir(executor.at("cache")).unwrap();
        keep(&executor.at("cache"), &base);
        for entry in walkdir::WalkDir::new(executor.at("cache")) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let mut bytes = std::fs::read(entry.path()).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(entry.path(), bytes).unwrap();
            }
        }
        executor.run().success();
        assert!(fetched(&executor));
    }
}
