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
