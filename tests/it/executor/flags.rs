//! The flags: that none is missing, and that each has its effect.

use std::path::Path;

use super::{Built, Executor};
use crate::registry::{Effect, Fault, Registry};
use crate::support::{COOPER, Image, Served, tool};

/// Google's Kaniko 1.23.2 and 1.24.0, as `executor --help` and its source list them; typed off, not taken from the
/// table that is tested.
const GOOGLE: &str = "
azure-container-registry-config bucket build-arg cache cache-copy-layers cache-dir cache-repo cache-run-layers
cache-ttl cleanup compressed-caching compression compression-level context context-sub-path custom-platform
customPlatform destination digest-file dockerfile force force-build-metadata git ignore-path ignore-var-run
image-download-retry image-fs-extract-retry image-name-tag-with-digest-file image-name-with-digest-file insecure
insecure-pull insecure-registry kaniko-dir label log-format log-timestamp no-push no-push-cache oci-layout-path
push-ignore-immutable-tag-errors push-retry registry-certificate registry-client-cert registry-map registry-mirror
reproducible single-snapshot skip-default-registry-fallback skip-push-permission-check skip-tls-verify
skip-tls-verify-pull skip-tls-verify-registry skip-unused-stages snapshot-mode snapshotMode tar-path tarPath target
use-new-run verbosity whitelist-var-run";

/// What the fork 1.28.3 has besides.
const FORK: &str = "
annotation credential-helpers dryrun image-format materialize pre-cleanup preserve-context secret";

const PUSH: &str = "
credential-helpers destination image-download-retry insecure insecure-pull insecure-registry
push-ignore-immutable-tag-errors push-retry registry-certificate registry-client-cert registry-map registry-mirror
skip-default-registry-fallback skip-push-permission-check skip-tls-verify skip-tls-verify-pull
skip-tls-verify-registry";

const LOGIN: &str = "username password password-stdin";

const WARMER: &str = "
build-arg cache-dir cache-ttl customPlatform dockerfile force image insecure-pull insecure-registry log-format
log-timestamp registry-certificate registry-client-cert registry-map registry-mirror
skip-default-registry-fallback skip-tls-verify-pull skip-tls-verify-registry verbosity";

fn table() -> String {
    tool(COOPER, ["executor", "help", "flags"])
}

/// The names in one of the tables.
fn listed(table: &str, heading: &str) -> Vec<String> {
    let heading = format!("### `{heading}`\n");
    let from = table.find(&heading).expect("there is such a table") + heading.len();
    let section = table[from..].split("\n### ").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `--"));
    names.map(|line| line.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn no_flag_of_either_kaniko_is_missing() {
    let table = table();
    for (heading, wanted) in [
        ("executor", [GOOGLE, FORK].join(" ")),
        ("executor push", PUSH.to_owned()),
        ("executor login", LOGIN.to_owned()),
        ("warmer", WARMER.to_owned()),
    ] {
        let listed = listed(&table, heading);
        for flag in wanted.split_whitespace() {
            assert!(listed.iter().any(|name| name == flag), "`{heading}` has no --{flag}");
        }
    }
    let own: Vec<_> = listed(&table, "executor")
        .into_iter()
        .filter(|name| ![GOOGLE, FORK].join(" ").split_whitespace().any(|known| known == name))
        .collect();
    assert_eq!(own, ["isolation", "termination-log"], "what only Cooper has is said to be so");
    let forks = |line: &&str| line.contains("| fork |");
    let forks: Vec<_> =
        table.split("\n### ").find(|part| part.contains("--dryrun")).unwrap().lines().filter(forks).collect();
    assert_eq!(forks.len(), FORK.split_whitespace().count(), "{forks:?}");
}

#[test]
fn the_documentation_has_the_table_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kaniko.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(table().trim()), "docs/kaniko.md is not what `cooper executor help flags` prints");
}

#[test]
fn every_flag_is_in_a_test() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/executor");
    let mut tests = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        tests.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    for flag in [GOOGLE, FORK, LOGIN, WARMER].join(" ").split_whitespace() {
        let is_used =
            [" ", "=", "\"", "\\\""].iter().any(|after| tests.contains(&format!("\"--{flag}{after}")));
        assert!(is_used, "no test gives --{flag}");
    }
}

#[test]
fn flags_about_kanikos_ways_are_taken_and_explained() {
    for argument in [
        "--force",
        "--snapshot-mode=redo",
        "--snapshotMode=time",
        "--compressed-caching=false",
        "--pre-cleanup",
        "--preserve-context",
        "--ignore-var-run=false",
        "--whitelist-var-run=false",
        "--use-new-run",
        "--skip-unused-stages=false",
        "--force-build-metadata",
        "--azure-container-registry-config=/nowhere",
        "--materialize",
    ] {
        let executor = Executor::new("FROM scratch\nLABEL a=b\n").local();
        let said = executor.args([argument, "--verbosity=debug"]).run().success().stderr;
        let flag = argument.split('=').next().unwrap();
        assert!(said.contains(&format!("{flag} changes nothing: ")), "{argument}\n{said}");
    }
}

#[test]
fn arguments_labels_annotations_and_targets() {
    let built = Executor::new(
        "FROM base AS first\nARG VALUE\nARG BARE\nARG ABSENT=default\nLABEL value=$VALUE bare=$BARE absent=$ABSENT\n\
         FROM scratch AS other\nCOPY --from=first /nowhere /\n",
    )
    .args(["--build-arg=VALUE=a=b", "--build-arg", "BARE", "--build-arg=ABSENT"])
    .args(["--label=one=1", "--label", "two=a=b", "--annotation=note=x", "--target=FIRST"])
    .env("BARE", "of the environment")
    .built();
    let labels = &built.config["config"]["Labels"];
    for (name, value) in
        [("value", "a=b"), ("bare", "of the environment"), ("absent", ""), ("one", "1"), ("two", "a=b")]
    {
        assert_eq!(labels[name], value, "{labels}");
    }
    assert_eq!(built.manifest["annotations"]["note"], "x");
}

#[test]
fn further_targets_are_built_too() {
    let dockerfile = "FROM base AS one\nRUN echo is one\nFROM base AS two\nRUN echo is two\nFROM base AS three\nRUN echo is three\n";
    let executor = Executor::new(dockerfile).local().args(["--target=one,two"]);
    let said = executor.run().success().stdout;
    assert!(said.contains("is one") && said.contains("is two") && !said.contains("is three"), "{said}");
    let built = Built::read(&executor.at("layout"));
    assert!(built.config["history"].to_string().contains("is one"));
}

#[test]
fn a_target_may_be_a_number() {
    let dockerfile =
        "FROM scratch AS one\nLABEL is=one\nFROM scratch\nLABEL is=two\nFROM scratch\nLABEL is=three\n";
    for (target, is) in [("0", "one"), ("ONE", "one"), ("1", "two"), ("2", "three")] {
        let built = Executor::new(dockerfile).args(["--target", target]).built();
        assert_eq!(built.config["config"]["Labels"]["is"], is, "{target}");
    }
    Executor::new(dockerfile).local().args(["--target=3"]).run().failure(1, &["target stage \"3\""]);
}

#[test]
fn the_platform_is_that_which_is_asked_for() {
    for flag in ["--custom-platform=linux/arm64/v8", "--customPlatform=linux/arm64"] {
        let built =
            Executor::new("FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n").args([flag]).built();
        assert_eq!(built.config["architecture"], "arm64");
        assert_eq!(built.config["config"]["Labels"]["arch"], "arm64");
    }
}

#[test]
fn dockerfiles_are_found_as_given_then_in_the_context_then_by_url() {
    let executor = Executor::new("FROM scratch\nLABEL is=default\n")
        .file("deploy/Other", "FROM scratch\nLABEL is=other\nCOPY . /\n")
        .file("deploy/Other.dockerignore", "deploy\nDockerfile\n")
        .file("kept", "");
    let built = executor.args(["--dockerfile=deploy/Other"]).built();
    assert_eq!(built.config["config"]["Labels"]["is"], "other");
    let executor = Executor::new("FROM scratch\nLABEL is=default\n").file("x", "");
    std::fs::write(executor.at("Outside"), "FROM scratch\nLABEL is=outside\n").unwrap();
    let outside = executor.at("Outside").display().to_string();
    assert_eq!(executor.args(["-f".to_owned(), outside]).built().config["config"]["Labels"]["is"], "outside");
    // A registry serves blobs, and so any text.
    let executor = Executor::new("FROM scratch\n");
    let text = executor.registry.put_blob("files", b"FROM scratch\nLABEL is=remote\n".as_slice());
    let url = format!("http://{}/v2/files/blobs/{text}", executor.registry.host());
    assert_eq!(
        executor.args([format!("--dockerfile={url}")]).built().config["config"]["Labels"]["is"],
        "remote"
    );
}

#[test]
fn contexts_are_directories_with_or_without_a_scheme() {
    let executor = || {
        let executor = Executor::new("");
        let dockerfile = format!("FROM {}\nCOPY . /\n", executor.name("base:1"));
        executor.file("sub/Dockerfile", &dockerfile).file("sub/inner", "x").file("outer", "x")
    };
    for (context, sub_path) in [("", "sub"), ("dir://", "sub"), ("", "/sub/")] {
        let executor = executor().local();
        let context = format!("{context}{}", executor.workspace().display());
        let mut command = executor.program("executor");
        command.args(["-c", &context, "--context-sub-path", sub_path]).args(&executor.arguments);
        assert!(command.status().unwrap().success());
        assert_eq!(Built::read(&executor.at("layout")).added(), [["Dockerfile", "inner"]]);
    }
}

#[test]
fn one_snapshot_makes_one_layer() {
    let dockerfile = "FROM base\nCOPY a /a\nRUN rm /a /etc/passwd && mkdir /d && echo new > /d/new\nWORKDIR /w\nCOPY a /b\n";
    let usual = Executor::new(dockerfile).file("a", "a\n").built();
    assert_eq!(usual.added().len(), 4);
    let single = Executor::new(dockerfile).file("a", "a\n").args(["--single-snapshot"]).built();
    let added = single.added();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0], ["b", "d", "d/new", "etc", "etc/.wh.passwd", "w"]);
    let history = single.config["history"].as_array().unwrap();
    let layers = history.iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(layers, single.layers().len());
    assert_eq!(single.config["config"]["WorkingDir"], "/w");
}

#[test]
fn one_snapshot_is_pushed() {
    let executor = Executor::new("FROM base\nCOPY a /a\nCOPY a /b\n").file("a", "").pushing();
    let executor = executor.args(["--single-snapshot"]);
    executor.run().success();
    let layers = executor.pushed()["layers"].as_array().unwrap().len();
    assert_eq!(layers, Built::base_layers() + 1);
}

#[test]
fn reproducible_images_are_the_same_at_any_time() {
    let build = || {
        let executor = Executor::new("FROM scratch\nCOPY a /\nRUN [\"/nothing\"]\n").file("a", "a\n");
        executor.file("Dockerfile", "FROM scratch\nCOPY a /\n").args(["--reproducible"]).built()
    };
    let first = build();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = build();
    assert_eq!(first.manifest, second.manifest);
    assert_eq!(first.config["created"], "1970-01-01T00:00:00Z");
    let usual = Executor::new("FROM scratch\nCOPY a /\n").file("a", "a\n").built();
    assert_ne!(usual.manifest, first.manifest);
}

#[test]
fn ignored_paths_are_in_no_layer() {
    let dockerfile = "FROM base\nRUN mkdir -p /var/cache/x /keep && echo 1 > /var/cache/x/y && echo 1 > /keep/a\nCOPY . /var/\n";
    let built = Executor::new(dockerfile).file("cache/z", "z").file("other", "o");
    let built = built.args(["--ignore-path=/var/cache", "--ignore-path", "/var/Dockerfile"]).built();
    let added = built.added();
    assert!(added[0].contains(&"keep/a".to_owned()));
    assert!(added[1].contains(&"var/other".to_owned()));
    let paths = added.concat();
    assert!(!paths.iter().any(|path| path.contains("cache") || path.contains("Dockerfile")), "{paths:?}");
}

#[test]
fn a_file_whose_first_name_is_ignored_has_its_other_names() {
    // In a layer the contents are at the first name; the next one takes over, of a RUN and of a COPY.
    let files = "echo text > a/file && chmod 640 a/file && ln a/file b/one && ln a/file b/two && echo alone > a/alone";
    let dockerfile = format!(
        "FROM base AS run\nRUN mkdir /a /b && cd / && {files}\n\
         FROM base AS source\nRUN mkdir -p /src/a /src/b && cd /src && {files}\n\
         FROM scratch AS copy\nCOPY --from=source /src/ /\n"
    );
    for target in ["run", "copy"] {
        let executor = Executor::new(&dockerfile).pushing().args(["--ignore-path=/a", "--target", target]);
        executor.run().success();
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("pushed");
        let from = format!("docker://{}", executor.name("team/app:1"));
        let to = format!("oci:{}:image", layout.display());
        tool("skopeo", ["copy", "-q", "--src-tls-verify=false", &from, &to]);
        let image = Image::read(&layout, directory);
        assert_eq!(image.text("b/one"), "text\n", "{target}");
        let (one, two) = (image.at("b/one"), image.at("b/two"));
        assert_eq!((one.mode, two.same_as.as_deref()), (0o640, Some("b/one")), "{target}");
        assert!(!image.files.contains_key("a/file") && !image.files.contains_key("a/alone"));
    }
}

#[test]
fn layers_are_compressed_as_asked() {
    let build = |arguments: &[&str]| {
        let text = "some text that can be made shorter\n".repeat(5000);
        Executor::new("FROM base\nCOPY a /\n").file("a", &text).args(arguments.iter().copied()).built()
    };
    let own = Built::base_layers();
    let zstd = build(&["--compression=zstd"]);
    assert!(zstd.layer(own).starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(zstd.layers()[own]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    let [fast, best] = ["--compression-level=1", "--compression-level=9"]
        .map(|level| build(&["--compression", "gzip", level]).layer(own).len());
    assert!(best < fast, "{best} {fast}");
}

#[test]
fn the_format_is_the_base_images_or_what_is_asked_for() {
    for (arguments, expected) in [
        (vec![], "application/vnd.docker.distribution.manifest.v2+json"),
        (vec!["--image-format=oci"], "application/vnd.oci.image.manifest.v1+json"),
        (vec!["--image-format=docker"], "application/vnd.docker.distribution.manifest.v2+json"),
        (vec!["--annotation=a=b"], "application/vnd.oci.image.manifest.v1+json"),
        (vec!["--compression=zstd"], "application/vnd.oci.image.manifest.v1+json"),
    ] {
        let executor = Executor::new("FROM base\nLABEL a=b\n");
        Served::base().docker().put(&executor.registry, "base", "1");
        let built = executor.args(arguments.clone()).built();
        assert_eq!(built.manifest["mediaType"], expected, "{arguments:?}");
    }
}

#[test]
fn secrets_are_for_runs_that_mount_them() {
    let dockerfile = "FROM base\n\
        RUN --mount=type=secret,id=a cat /run/secrets/a && echo\n\
        RUN --mount=type=secret,id=b cat /run/secrets/b && echo\n\
        RUN --mount=type=secret,id=IMPLIED cat /run/secrets/IMPLIED && echo\n";
    let executor = Executor::new(dockerfile).local().env("TOKEN", "of b").env("IMPLIED", "by its name");
    std::fs::write(executor.at("secret"), "of a").unwrap();
    let file = format!("--secret=id=a,src={}", executor.at("secret").display());
    let executor =
        executor.args([file.as_str(), "--secret", "id=b,env=TOKEN,type=env", "--secret=id=IMPLIED"]);
    let said = executor.run().success().stdout;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["of a", "of b", "by its name"]);
}

#[test]
fn a_dry_run_tells_the_plan_and_does_nothing() {
    let executor = Executor::new("FROM base\nCOPY Dockerfile /\nRUN echo executed\n").pushing();
    let outcome = executor.args(["--dryrun"]).run().success();
    assert!(outcome.stdout.contains("COPY Dockerfile /\n") && outcome.stdout.contains("RUN echo executed\n"));
    assert!(!outcome.stdout.contains("\nexecuted"), "{}", outcome.stdout);
}

#[test]
fn cleaning_up_leaves_nothing_behind() {
    for (arguments, variable, is_kept) in
        [(vec![], "false", true), (vec!["--cleanup"], "false", false), (vec![], "true", false)]
    {
        let executor = Executor::new("FROM base\nRUN true\n").local().args(arguments);
        let executor = executor.path("--kaniko-dir", "elsewhere").env("KANIKO_CLEANUP", variable);
        std::fs::create_dir(executor.at("elsewhere")).unwrap();
        executor.run().success();
        assert_eq!(executor.at("elsewhere/cooper").exists(), is_kept);
        assert!(!executor.at("kaniko/cooper").exists(), "the flag wins over KANIKO_DIR");
    }
}

#[test]
fn failed_pushes_and_look_ups_are_tried_again_as_often_as_asked() {
    let refuse = |method, part: &str| Fault::on(method, part, Effect::Refuse(400, "UNKNOWN", "not yet"));
    for (fault, flag) in [
        (refuse("PUT", "/manifests/1"), "--push-retry=1"),
        (refuse("GET", "base/manifests/1"), "--image-download-retry=1"),
    ] {
        let build = || {
            let registry = Registry::start();
            let executor = Executor::with(registry, "FROM base\nLABEL a=b\n").pushing();
            executor.registry.add_fault(fault.clone());
            executor
        };
        build().run().failure(1, &["not yet"]);
        build().args([flag]).run().success();
    }
    // What this flag asks for happens anyway; it may ask for more.
    let registry = Registry::start();
    let executor = Executor::with(registry, "FROM base\nRUN true\n").local();
    executor.registry.add_fault(Fault::on("GET", "/blobs/", Effect::Status(500)).times(6));
    executor.args(["--image-fs-extract-retry=9"]).run().success();
}

#[test]
fn a_tag_that_may_not_be_overwritten_is_an_error_or_not() {
    let immutable = "cannot be overwritten because the tag is immutable";
    let build = || {
        let fault = Fault::on("PUT", "/manifests/1", Effect::Refuse(400, "TAG_INVALID", immutable)).always();
        Executor::with(Registry::start().fault(fault), "FROM scratch\nLABEL a=b\n")
            .pushing()
            .args(["--skip-push-permission-check"])
    };
    let refused = build();
    refused.registry.add_fault(Fault::on("PUT", "x", Effect::Status(500)));
    refused.run().failure(1, &["error pushing image: ", immutable]);
    let said = build().args(["--push-ignore-immutable-tag-errors"]).run().success().stderr;
    assert!(said.contains("Immutable tag error ignored for "), "{said}");
}

#[test]
fn pushing_is_tried_first_unless_that_is_not_wanted() {
    let fault = || Fault::on("POST", "/blobs/uploads/", Effect::Refuse(403, "DENIED", "no")).always();
    let build = || {
        let executor = Executor::new("FROM base\nRUN echo executed\n").pushing();
        executor.registry.add_fault(fault());
        executor
    };
    let outcome = build().run().failure(1, &["error checking push permissions"]);
    assert!(!outcome.stdout.contains("executed"));
    let late = build().args(["--skip-push-permission-check"]).run().failure(1, &["error pushing image: "]);
    assert!(!late.stderr.contains("error checking push permissions"));
}

#[test]
fn options_for_git_are_checked() {
    for value in
        ["branch=main", "single-branch=true", "depth=1", "recurse-submodules=t", "insecure-skip-tls=0"]
    {
        Executor::new("FROM scratch\nLABEL a=b\n").local().args(["--git", value]).run().success();
    }
}

#[test]
fn isolations_have_names() {
    let executor = Executor::new("FROM scratch\nLABEL a=b\n").local();
    executor.args(["--isolation=none"]).run().failure(1, &["invalid value \"none\" for --isolation"]);
    Executor::new("FROM scratch\nLABEL a=b\n").local().args(["--isolation=auto"]).run().success();
}
