//! The cache, as far as it is in the cache directory.

use super::Executor;

#[test]
fn results_are_used_only_with_the_flag() {
    for (flags, hits) in [(&["--cache=false"][..], 0), (&["--cache=true", "--no-push-cache"], 1)] {
        let executor = Executor::new("FROM base\nRUN echo made\n").local().args(flags.iter().copied());
        std::fs::create_dir(executor.at("cache")).unwrap();
        let executor = executor.path("--cache-dir", "cache");
        executor.run().success();
        let outcome = executor.run().success();
        assert_eq!(outcome.stderr.matches("Using caching version of cmd: RUN echo made").count(), hits);
        assert_eq!(outcome.stdout.contains("made"), hits == 0);
        assert_eq!(executor.at("cache/cooper").exists(), hits == 1, "a directory of layers, too");
    }
}

#[test]
fn old_results_and_runs_can_be_left_out() {
    for (flags, hits) in [
        (&["--cache-copy-layers", "--cache-ttl=1h"][..], 2),
        (&["--cache-run-layers=false"], 1),
        (&["--cache-ttl=0s"], 0),
    ] {
        let executor = Executor::new("FROM base\nRUN echo made\nCOPY Dockerfile /\n").local();
        let executor = executor.args(["--cache", "--no-push-cache"]).args(flags.iter().copied());
        executor.run().success();
        // Times are kept to the second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let outcome = executor.run().success();
        assert_eq!(outcome.stderr.matches("Using caching version of cmd").count(), hits, "{flags:?}");
    }
}

#[test]
fn a_repository_brings_results_to_an_empty_machine() {
    let dockerfile = "FROM base\nCOPY Dockerfile /\nRUN echo made > /made\n";
    // What is found again, with COPY's results in the repository and without, and where nothing may be written.
    for (flags, hits) in [
        (&["--cache-copy-layers"][..], 2),
        (&[], 2),
        (&["--cache-run-layers=false", "--cache-copy-layers"], 1),
        (&["--no-push-cache"], 0),
    ] {
        let executor = Executor::new(dockerfile).pushing().args(["--cache"]).args(flags.iter().copied());
        let repo = executor.name("results");
        let executor = executor.args(["--cache-repo".to_owned(), repo]);
        executor.run().success();
        let first = executor.pushed_digest();
        std::fs::remove_dir_all(executor.at("kaniko/cooper")).unwrap();
        let said = executor.run().success().stderr;
        assert_eq!(said.matches("Using caching version of cmd").count(), hits, "{flags:?}\n{said}");
        assert_eq!(executor.pushed_digest() == first, hits == 2, "{flags:?}");
        let written = executor.registry.count("PUT", "/v2/results/manifests/");
        assert_eq!(written > 0, !flags.contains(&"--no-push-cache"), "{flags:?}");
    }
}

#[test]
fn the_repository_is_below_the_destination_or_a_directory() {
    let executor = Executor::new("FROM base\nRUN echo made\n").pushing().args(["--cache"]);
    executor.run().success();
    assert!(executor.registry.count("PUT", "/v2/team/app/cache/manifests/") > 0);

    let executor = Executor::new("FROM base\nRUN echo made\n").local().args(["--cache"]);
    let place = format!("--cache-repo=oci:{}", executor.at("results").display());
    let executor = executor.args([place]);
    executor.run().success();
    std::fs::remove_dir_all(executor.at("kaniko/cooper")).unwrap();
    let said = executor.run().success().stderr;
    assert!(said.contains("Using caching version of cmd: RUN echo made"), "{said}");
}
