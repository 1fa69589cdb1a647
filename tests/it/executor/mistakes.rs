//! Bad input: one clear error, and Kaniko's exit code.

use super::Executor;
use crate::support::Outcome;

fn fails(arguments: &[&str], said: &[&str]) -> Outcome {
    let executor = Executor::new("FROM scratch\nLABEL a=b\n").args(arguments.iter().copied());
    let outcome = executor.run().failure(1, said);
    assert_eq!(outcome.stderr.matches("rror: ").count().max(1), 1, "one error: {}", outcome.stderr);
    outcome
}

#[test]
fn what_cannot_be_read_is_shown_with_the_usage() {
    for (arguments, said) in [
        (
            &["--no-push", "--no-such-flag"][..],
            "Error: unknown flag: --no-such-flag\nUsage:\n  executor [flags]\n",
        ),
        (&["--no-push", "-z"], "Error: unknown shorthand flag: 'z' in -z\nUsage:\n"),
        (
            &["--cache-ttl=24"],
            "Error: invalid argument \"24\" for \"--cache-ttl\" flag: time: missing unit in duration \"24\"",
        ),
        (&["--no-push", "--digest-file"], "Error: flag needs an argument: --digest-file\nUsage:\n"),
    ] {
        fails(arguments, &[said]);
    }
    let said = fails(&["--no-push", "surplus"], &["unknown command \"surplus\" for \"executor\""]).stderr;
    assert!(said.contains("Run 'executor --help' for usage.") && !said.contains("Flags:"), "{said}");
}

#[test]
fn what_makes_no_sense_is_told_in_kanikos_words() {
    let name = "--destination=registry.example/app";
    for (arguments, said) in [
        (&[][..], "Error: you must provide --destination, or use --no-push"),
        (
            &["--no-push", "--cache"],
            "Error: cache flags invalid: if using cache with --no-push, specify cache repo with --cache-repo",
        ),
        (
            &["--no-push", "--image-name-with-digest-file=x"],
            "Error: you must provide --destination if setting ImageNameDigestFile",
        ),
        (
            &["--no-push", "--image-name-tag-with-digest-file=x"],
            "Error: you must provide --destination if setting ImageNameTagDigestFile",
        ),
        (&["--no-push", "--custom-platform=pdp/11/x/y"], "Error: Invalid platform \"pdp/11/x/y\": "),
        (&["--no-push", "--snapshot-mode=never"], "Error: \"never\" is not a valid snapshot mode"),
        (&["--no-push", "--verbosity=loud"], "Error: parsing log level: not a valid logrus Level: \"loud\""),
        (
            &["--no-push", "--log-format=xml"],
            "Error: not a valid log format: \"xml\". Please specify one of (text, color, json)",
        ),
        (
            &["--no-push", "--context=zip://x"],
            "unknown build context prefix provided, please use one of the following: ",
        ),
        (
            &["--no-push", "--context="],
            "please specify a path to the build context with the --context flag or a bucket",
        ),
        (&["--no-push", "--context=/no/such/directory"], "`/no/such/directory` is not a directory"),
        (
            &["--no-push", "--dockerfile=nowhere"],
            "Error: error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile",
        ),
        (&["--destination=UPPER/case"], "Error: getting tag for destination: "),
        (
            &[name, "--image-format=docker", "--compression=zstd"],
            "--compression=zstd cannot be used with --image-format=docker",
        ),
        (
            &["--no-push", "--tar-path=x", "--compression=zstd"],
            "--compression=zstd cannot be used with --tar-path",
        ),
        (&["--no-push", "--tar-path=x", "--image-format=oci"], "cannot be used with --image-format=oci"),
        (
            &["--no-push", "--compression-level=12"],
            "invalid value \"12\" for --compression-level: it goes from 1 to 9",
        ),
        (
            &["--no-push", "--registry-client-cert=host=only-one"],
            "expected format: host=/path/to/cert,/path/to/key",
        ),
        (&["--no-push", "--registry-certificate=host=/no/such.pem"], "`/no/such.pem`"),
        (
            &["--no-push", "--secret=id=a,src=/no/such/secret"],
            "cannot read the secret `a` from `/no/such/secret`",
        ),
        (
            &["--no-push", "--cache-repo=UPPER/case"],
            "Error: cache flags invalid: --cache-repo: `UPPER/case` is not an image name",
        ),
        (&["--no-push", "--target=nowhere"], "nowhere"),
    ] {
        fails(arguments, &[said]);
    }
}

#[test]
fn a_bucket_is_a_context() {
    let executor = Executor::new("");
    let mut command = executor.program("executor");
    command.args(["--bucket=zip://bucket/context.tar.gz", "--no-push"]);
    let said =
        Outcome::of(command.output().unwrap()).failure(1, &["Error: error resolving source context: "]);
    assert!(said.stderr.contains("zip://bucket"), "{}", said.stderr);
}

#[test]
fn a_broken_config_is_told_without_what_is_in_it() {
    let executor = Executor::new("FROM scratch\nLABEL a=b\n").pushing();
    std::fs::create_dir(executor.at("docker")).unwrap();
    let config = executor.at("docker/config.json");
    std::fs::write(&config, "{\"auths\": {\"x\": {\"auth\": \"c2VjcmV0\"}").unwrap();
    let directory = executor.at("docker").display().to_string();
    let executor = executor.env("DOCKER_CONFIG", directory);
    let said = executor.run().failure(1, &["docker/config.json is not a docker config: line 1"]).stderr;
    assert!(!said.contains("c2VjcmV0"), "{said}");
    // A directory in its place cannot be read.
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    executor.run().failure(1, &["config.json` cannot be read"]);
}

#[test]
fn a_helper_that_is_not_there_matters_only_when_it_is_asked() {
    let run = |registry: crate::registry::Registry| {
        let executor = Executor::with(registry, "FROM scratch\nLABEL a=b\n").pushing();
        std::fs::create_dir(executor.at("docker")).unwrap();
        let config = serde_json::json!({"credsStore": "absent"}).to_string();
        std::fs::write(executor.at("docker/config.json"), config).unwrap();
        let directory = executor.at("docker").display().to_string();
        let executor = executor.env("DOCKER_CONFIG", directory);
        executor.run()
    };
    run(crate::registry::Registry::start()).success();
    let said = run(crate::registry::Registry::start().auth("user", "secret"));
    let said = said.failure(1, &["`docker-credential-absent` is not on the PATH"]).stderr;
    assert_eq!(said.matches("docker-credential-absent").count(), 1, "{said}");
}
