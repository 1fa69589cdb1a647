//! `RUN --mount`, from the outside.

mod bind;
mod cache;
mod secret;
mod ssh;

use std::path::{Path, PathBuf};

use crate::support::Build;

/// The isolations under which mounts are tested.
const ISOLATIONS: [&str; 2] = ["overlay", "userns"];

#[test]
fn a_tmpfs_has_a_size_and_is_forgotten() {
    for isolation in ISOLATIONS {
        let image = Build::new(
            "FROM base\n\
             RUN --mount=type=tmpfs,target=/mem,size=1m \
             ! dd if=/dev/zero of=/mem/large bs=1024 count=2048 2> /tmp/said && grep -q 'No space' /tmp/said && \
             grep -q ' /mem tmpfs .*size=1024k' /proc/mounts\n\
             WORKDIR /app\n\
             RUN --mount=type=tmpfs,target=mem touch mem/file && test -e /app/mem/file\n\
             RUN test ! -e /mem && test ! -e /app/mem\n",
        )
        .args(["--isolation", isolation])
        .image();
        assert!(!image.files.contains_key("mem") && !image.files.contains_key("app/mem"));
    }
}

#[test]
fn nothing_of_a_mount_point_remains() {
    let build = "FROM base\n\
        RUN --mount=type=tmpfs,target=/home/a/b --mount=type=cache,target=/home/app/.cache \
        --mount=type=secret,id=one,target=/home/secret --mount=type=secret,id=one \
        --mount=source=a.txt,target=/home/a.txt --mount=type=tmpfs,target=/lib/mem \
        test -s /home/secret && test -s /home/a.txt && test -d /usr/lib/mem && echo > /made\n";
    for isolation in ISOLATIONS {
        let image = Build::new(build)
            .file("a.txt", "a\n")
            .args(["--secret", "id=one,env=ONE", "--isolation", isolation])
            .env("ONE", "value")
            .image();
        assert_eq!(image.below("home"), ["app"]);
        for directory in ["home", "home/app", "usr/lib"] {
            assert_eq!(image.at(directory).mtime, 1_000_000_000, "{directory}");
        }
        assert!(!image.files.contains_key("run"));
        let layers = image.manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 3);
    }
}

#[test]
fn a_later_mount_of_the_same_place_wins_and_inner_ones_come_after_outer_ones() {
    let image = Build::new(
        "FROM base\n\
         RUN --mount=source=one,target=/m --mount=source=two,target=/m cp /m/name /tmp/name\n\
         RUN --mount=type=cache,target=/m/inner --mount=source=one,target=/m \
         touch /m/inner/file && cat /m/name > /tmp/outer\n",
    )
    .file("one/name", "one")
    .file("one/inner/.keep", "")
    .file("two/name", "two")
    .image();
    assert_eq!((image.text("tmp/name"), image.text("tmp/outer")), ("two".into(), "one".into()));
}

#[test]
fn variables_are_expanded_in_mounts() {
    let image = Build::new(
        "ARG WHERE=/global\n\
         FROM base\n\
         ARG WHERE\n\
         ENV NAME=a\n\
         RUN --mount=source=$NAME.txt,target=$WHERE cat /global > /tmp/a\n",
    )
    .file("a.txt", "text")
    .image();
    assert_eq!(image.text("tmp/a"), "text");
}

#[test]
fn mistakes_have_a_place() {
    for (mount, said) in [
        ("type=cache,target=/", "invalid mount target \"/\""),
        ("type=cache,target=../..", "invalid mount target \"/\""),
        ("type=tmpfs,target=.", "invalid mount target \"/\""),
        ("source=missing,target=/x", "`missing` was not found"),
        ("from=nothing,source=missing,target=/x", "`missing` was not found"),
        ("type=secret,id=token,required", "secret token: not found"),
        ("type=secret,id=token,env=TOKEN,required=true", "secret token: not found"),
        ("type=ssh,required", "SSH agent default: not found"),
        ("type=cache,from=later,target=/x", "cannot mount from stage \"later\" to \"it\""),
        ("type=cache,source=Dockerfile,from=files,target=/x", "is not a directory"),
        ("type=tmpf,target=/x", "unsupported mount type \"tmpf\" (did you mean tmpfs?)"),
        ("type=cache,target=/x,sharing=alone", "unsupported sharing value \"alone\""),
    ] {
        let dockerfile = format!(
            "FROM scratch AS nothing\nFROM base AS it\nRUN --mount={mount} true\nFROM base AS later\n"
        );
        let build = Build::new(&dockerfile).args(["--target", "it"]);
        let files = format!("files={}", build.context().display());
        let outcome = build.args(["--build-context", &files]).run();
        outcome.failure(1, &[said, "Dockerfile:3:"]);
    }
}

#[test]
fn networks_hosts_and_names() {
    let outcome = Build::new(
        "FROM base\n\
         RUN --network=none test \"$(ls /sys/class/net)\" = lo || ip addr; ip -o link | wc -l > /tmp/none\n\
         RUN --network=host ip -o link > /tmp/host\n\
         RUN --network=default ip -o link > /tmp/default\n\
         RUN grep -q '^10.1.2.3\tfiles.local$' /etc/hosts && grep -q '^::5\tsix$' /etc/hosts && \
         test \"$(hostname)\" = machine && test \"$HOSTNAME\" = machine && grep -q 'localhost machine' /etc/hosts\n",
    )
    .args(["--add-host", "files.local:10.1.2.3", "--add-host", "six=[::5]"])
    .args(["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=machine"])
    .image();
    assert_eq!(outcome.text("tmp/none"), "1\n");
    assert_eq!(outcome.text("tmp/host"), outcome.text("tmp/default"));
    assert!(!outcome.files.contains_key("etc/hosts"));
}

#[test]
fn scripts_of_here_documents_are_executed() {
    let image = Build::new(
        "FROM base\n\
         WORKDIR /app\n\
         USER app\n\
         RUN <<'EOF'\n\
         #!/bin/awk -f\n\
         BEGIN { print \"awk in \" ENVIRON[\"PWD\"] > \"/tmp/awk\" }\n\
         EOF\n\
         RUN <<END\n\
         #!/bin/sh\n\
         echo $0 > /tmp/sh\n\
         ! echo > $0\n\
         END\n",
    )
    .image();
    assert_eq!(image.text("tmp/sh"), "/dev/pipes/END\n");
    assert_eq!(image.at("tmp/awk").owner, (1000, 1000));
}

/// The one cache directory of a store whose contents have a file of this name.
fn cache_with(store: &Path, name: &str) -> Option<PathBuf> {
    caches(store).into_iter().find(|directory| directory.join(name).exists())
}

/// The cache directories of a store.
fn caches(store: &Path) -> Vec<PathBuf> {
    let Ok(maps) = std::fs::read_dir(store.join("rootfs")) else { return Vec::new() };
    let entries = maps.filter_map(|map| std::fs::read_dir(map.unwrap().path().join("cache")).ok());
    let paths = entries.flatten().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}
