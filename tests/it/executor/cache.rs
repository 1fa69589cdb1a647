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
