//! The warmer, and the cache directory.

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
