//! What of the language neither another builder can be asked about nor a small function can be called for.

use std::os::unix::fs::symlink;

use crate::support::Build;

#[test]
fn the_dockerfile_may_be_called_dockerfile_or_be_a_link() {
    // 1.11: default `Dockerfile`, fallback `dockerfile`; a link is followed
    for (real, link) in [("dockerfile", None), ("build/real", Some("Dockerfile"))] {
        let build =
            Build::new("").file(real, "FROM base\nCOPY a /a\n").file("a", "text").prepare(|context| {
                std::fs::remove_file(context.join("Dockerfile")).unwrap();
                if let Some(link) = link {
                    symlink(real, context.join(link)).unwrap();
                }
            });
        assert_eq!(build.image().text("a"), "text", "{real}");
    }
}

#[test]
fn an_ignore_file_beside_the_dockerfile_counts_alone() {
    // 1.11: `<Dockerfile>.dockerignore` next to the Dockerfile, wherever that is
    let build = Build::new("FROM nowhere\n")
        .file("a", "")
        .file("b", "")
        .file(".dockerignore", "a\n")
        .file("other/app.Dockerfile", "FROM base\nCOPY . /x/\n")
        .file("other/app.Dockerfile.dockerignore", "b\n");
    let image = build.args(["--file", "other/app.Dockerfile"]).image();
    assert!(image.files.contains_key("x/a") && !image.files.contains_key("x/b"));
}

#[test]
fn a_named_directory_is_a_stage_and_the_files_of_a_copy() {
    // 1.11: named contexts override stages and images, and have a .dockerignore of their own
    let build = Build::new(
        "FROM base AS files\nRUN exit 1\n\
         FROM files AS all\nENV A=1\n\
         FROM base\nCOPY --from=files d /copied/\nCOPY --from=all / /all/\nCOPY --from=scratch / /none/\n",
    );
    let directory = build.beside("files");
    std::fs::create_dir_all(directory.join("d")).unwrap();
    for (name, text) in [("d/kept", "1"), ("d/ignored", "2"), (".dockerignore", "**/ignored\n")] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let argument = format!("files={}", directory.display());
    let image = build.args(["--build-context", &argument]).image();
    assert_eq!(image.below("copied"), ["kept"]);
    assert_eq!(image.text("all/d/kept"), "1");
    assert!(!image.files.contains_key("all/d/ignored"));
    assert_eq!(image.below("none"), [""; 0]);
}

#[test]
fn an_image_of_a_named_directory_has_its_files_and_no_other() {
    let build = Build::new("FROM files\nLABEL a=b\n");
    let directory = build.beside("files");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("a"), "text").unwrap();
    let argument = format!("files={}", directory.display());
    let image = build.args(["--build-context", &argument]).image();
    assert_eq!(image.files.keys().filter(|path| !path.is_empty()).collect::<Vec<_>>(), ["a"]);
    // The layer has an entry, so that every tool finds the label's where it belongs.
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    let layers =
        image.config["history"].as_array().unwrap().iter().filter(|entry| entry["empty_layer"] != true);
    assert_eq!(layers.count(), 1, "{}", image.config);
}

#[test]
fn proxies_change_neither_image_nor_key() {
    // 1.6: predefined: excluded from history and cache key
    let text = "FROM base\nRUN test -n \"$http_proxy\" && test \"$http_proxy\" = \"$HTTP_PROXY\"\n";
    let build = Build::new(text).args(["--build-arg", "HTTP_PROXY=http://one.invalid"]);
    let first = build.run().success();
    let again = Build::new(text).store(build.store_path());
    let again = again.args(["--build-arg", "HTTP_PROXY=http://two.invalid"]);
    let second = again.run().success();
    assert_eq!(second.stderr.matches(" cached").count(), 1, "{}", second.stderr);
    assert_eq!(first.stderr.matches(" cached").count(), 0);
    let image = again.image();
    assert!(!image.config.to_string().contains(".invalid"), "{}", image.config);
    // Declared, it is an argument like any other.
    let declared = "FROM base\nARG HTTP_PROXY\nRUN true\n";
    let image = Build::new(declared).args(["--build-arg", "HTTP_PROXY=http://one.invalid"]).image();
    assert_eq!(image.history()[2], "ARG HTTP_PROXY=http://one.invalid");
}

#[test]
fn arguments_that_steer_other_builders_change_nothing() {
    // 1.2, 1.6: what selects a frontend, names a build, or asks for what is asked for otherwise here
    let text = "# syntax=docker/dockerfile:1\nFROM base\nRUN env > /environment\n";
    let build = Build::new(text).args([
        "--build-arg=BUILDKIT_SYNTAX=other/frontend",
        "--build-arg=BUILDKIT_BUILD_NAME=x",
        "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1",
        "--build-arg=BUILDKIT_SBOM_SCAN_CONTEXT=1",
        "--build-arg=BUILDKIT_SBOM_SCAN_STAGE=1",
        "--build-arg=BUILDKIT_INLINE_CACHE=1",
    ]);
    let image = build.image();
    assert!(!image.text("environment").contains("BUILDKIT"), "{}", image.text("environment"));
    assert_eq!(image.history()[2..], ["RUN /bin/sh -c env > /environment # buildkit"]);
}

#[test]
fn a_step_that_does_nothing_is_an_empty_layer() {
    // 1.10: no-op RUN and WORKDIR still make a layer
    let image = Build::new("FROM base\nRUN true\nWORKDIR /tmp\nWORKDIR /\n").image();
    let diff_ids = image.config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(diff_ids.len(), 4);
    // A tar of nothing: 1024 zero bytes.
    let nothing = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!((diff_ids[2].as_str(), diff_ids[3].as_str()), (Some(nothing), Some(nothing)));
    // `created` is the last entry's; every entry has a time.
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history.len(), 5);
    assert!(history.iter().all(|entry| entry["created"].is_string()), "{history:?}");
    assert_eq!(image.config["created"], history[4]["created"]);
    assert_eq!(history[2]["comment"], "cooper");
}

#[test]
fn what_cannot_be_is_refused_at_its_place() {
    // P2 of the checklist, and what is for later
    for (line, said, place) in [
        ("RUN --security=insecure true", "--security=insecure is not supported", "Dockerfile:2:16"),
        ("RUN --device=vendor.com/gpu true", "--device is not supported", "Dockerfile:2:14"),
        ("RUN --mount=type=bind,from=0,target=/x true", "not from `0`", "Dockerfile:2:28"),
        ("COPY --keep-git-dir a /a", "unknown flag: --keep-git-dir", "Dockerfile:2:6"),
        ("RUN --cpu=1 true", "unknown flag: --cpu", "Dockerfile:2:5"),
    ] {
        Build::new(&format!("FROM base\n{line}\n")).file("a", "").run().failure(1, &[said, place]);
    }
}
