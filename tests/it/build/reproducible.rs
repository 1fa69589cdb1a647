//! Same inputs, same digests.

use std::time::{Duration, SystemTime};

use crate::support::{Build, Image, node_layout, sample_app};

/// The sample app into a layout beside it, offline.
fn sample() -> Build {
    let build = sample_app();
    let image = format!("type=oci,dest={}", build.beside("image").display());
    let base = format!("docker.io/library/node:20-alpine=oci-layout://{}:20-alpine", node_layout().display());
    build.args(["--offline", "--build-context", &base, "--output", &image])
}

#[test]
fn the_sample_app_twice_is_the_same_image() {
    let by_environment = sample().env("SOURCE_DATE_EPOCH", "0");
    let by_argument = sample().args(["--build-arg", "SOURCE_DATE_EPOCH=0"]);
    let digests = [&by_environment, &by_argument].map(|build| build.run().success().stdout);
    assert_eq!(digests[0], digests[1]);

    let image = Image::read(&by_argument.beside("image"), tempfile::tempdir().unwrap());
    assert_eq!(image.config["created"], "1970-01-01T00:00:00Z");
    let history = image.config["history"].as_array().unwrap();
    let made: Vec<_> = history.iter().filter(|entry| entry["comment"] == "cooper").collect();
    assert_eq!(made.len(), 9);
    for entry in made {
        assert_eq!(entry["created"], "1970-01-01T00:00:00Z", "{entry}");
    }
    for path in ["app", "app/src/server.js", "app/package.json", "home/nodejs", "etc/passwd"] {
        assert_eq!(image.at(path).mtime, 0, "{path}");
    }
    assert!(image.at("usr/local/bin/node").mtime > 0, "the base's own layers stay as they are");
}

#[test]
fn only_times_after_the_epoch_are_changed() {
    let image = Build::new("FROM base\nCOPY . /copied/\nRUN touch -d @5 /early && touch /late\n")
        .file("early", "")
        .file("late", "")
        .prepare(|context| {
            let early = std::fs::File::options().write(true).open(context.join("early")).unwrap();
            early.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        })
        .env("SOURCE_DATE_EPOCH", "1000000000")
        .image();
    let times = ["copied/early", "copied/late", "early", "late"].map(|path| image.at(path).mtime);
    assert_eq!(times, [5, 1_000_000_000, 5, 1_000_000_000]);
    assert_eq!(image.config["created"], "2001-09-09T01:46:40Z");
}

#[test]
fn file_times_do_not_change_what_is_cached() {
    let build = Build::new("FROM base\nCOPY a.txt /\nRUN echo x > /b.txt\n").file("a.txt", "text");
    build.run().success();
    let file = std::fs::File::options().write(true).open(build.context().join("a.txt")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let again = build.run().success();
    assert_eq!(again.stderr.matches(" cached").count(), 2, "{}", again.stderr);
}

#[test]
fn a_run_sees_the_epoch_where_it_is_declared() {
    let text = "FROM base\nRUN echo \"<$SOURCE_DATE_EPOCH>\" > /a\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /b\n";
    let image = Build::new(text).env("SOURCE_DATE_EPOCH", "7").image();
    assert_eq!((image.text("a"), image.text("b")), ("<>\n".into(), "7\n".into()));
}

#[test]
fn the_dockerfile_may_have_an_epoch_of_its_own() {
    let text = "ARG BASE=1000000\nARG SOURCE_DATE_EPOCH=${BASE}000\nFROM base\nARG SOURCE_DATE_EPOCH\n\
                RUN echo $SOURCE_DATE_EPOCH > /a\n";
    let created = |build: Build| {
        let image = build.image();
        (image.config["created"].as_str().unwrap().to_owned(), image.at("a").mtime, image.text("a"))
    };
    let default = created(Build::new(text));
    assert_eq!(default, ("2001-09-09T01:46:40Z".to_owned(), 1_000_000_000, "1000000000\n".to_owned()));
    let other = created(Build::new(text).args(["--build-arg", "BASE=0"]));
    assert_eq!((other.0.as_str(), other.1), ("1970-01-01T00:00:00Z", 0));
    for build in [
        Build::new(text).env("SOURCE_DATE_EPOCH", "7"),
        Build::new(text).args(["--build-arg", "SOURCE_DATE_EPOCH=7"]),
    ] {
        assert_eq!(created(build), ("1970-01-01T00:00:07Z".to_owned(), 7, "7\n".to_owned()));
    }
    // An empty value takes it away.
    let none = created(Build::new(text).args(["--build-arg", "SOURCE_DATE_EPOCH="]));
    assert!(none.0.as_str() > "2026" && none.2 == "\n", "{none:?}");
    let wrong = Build::new("ARG SOURCE_DATE_EPOCH=yesterday\nFROM base\n").run();
    wrong.failure(
        1,
        &["Dockerfile:1:23", "SOURCE_DATE_EPOCH is `yesterday`; it must be a whole number of seconds"],
    );
    // In a stage it is an argument like others.
    let in_stage = Build::new("FROM base\nARG SOURCE_DATE_EPOCH=5\nRUN echo $SOURCE_DATE_EPOCH > /a\n");
    let in_stage = created(in_stage);
    assert!(in_stage.0.as_str() > "2026" && in_stage.2 == "5\n", "{in_stage:?}");
}

#[test]
fn an_epoch_that_is_none_is_refused() {
    let build = Build::new("FROM base\n").env("SOURCE_DATE_EPOCH", "yesterday");
    build
        .run()
        .failure(1, &["error: SOURCE_DATE_EPOCH is `yesterday`; it must be a whole number of seconds"]);
}

#[test]
fn what_stages_have_in_common_is_done_once() {
    let text = "FROM base AS one\nRUN sleep 0.1; cat /proc/sys/kernel/random/uuid > /number\n\
                FROM base\nRUN sleep 0.1; cat /proc/sys/kernel/random/uuid > /number\nCOPY --from=one /number /other\n";
    for arguments in [&[][..], &["--no-cache"]] {
        let image = Build::new(text).args(arguments.iter().copied()).image();
        assert_eq!(image.text("number"), image.text("other"));
    }
}
