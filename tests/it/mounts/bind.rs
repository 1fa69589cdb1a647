//! `type=bind`.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::ISOLATIONS;
use crate::support::{Build, FileState, base_layout};

#[test]
fn a_bind_shows_the_context_without_what_is_ignored() {
    for isolation in ISOLATIONS {
        let build = Build::new(
            "FROM base\n\
             WORKDIR /src\n\
             RUN --mount=type=bind,target=. find . | sort > /tmp/all; ! echo > new; \
             stat -c '%u:%g %a' tool > /tmp/tool; cmp linked tool\n\
             RUN --mount=source=sub/../sub,dst=here ls here > /tmp/sub\n\
             RUN --mount=source=tool,destination=/bin/tool tool > /tmp/said\n\
             RUN --mount=source=up,target=/up cat /up > /tmp/up\n\
             RUN ls -A > /tmp/after\n",
        )
        .file("tool", "#!/bin/sh\necho said\n")
        .file("sub/a", "a")
        .file("sub/hidden", "h")
        .file(".dockerignore", "sub/hidden\nDockerfile\n.dockerignore\n")
        .file("etc/passwd", "the context's\n")
        .prepare(|context| {
            std::fs::set_permissions(context.join("tool"), std::fs::Permissions::from_mode(0o711)).unwrap();
            std::os::unix::fs::chown(context.join("tool"), Some(77), Some(78)).unwrap();
            std::fs::hard_link(context.join("tool"), context.join("linked")).unwrap();
            symlink("../../../../etc/passwd", context.join("up")).unwrap();
        });
        let image = build.args(["--isolation", isolation]).image();
        let all = "./etc\n./etc/passwd\n./linked\n./sub\n./sub/a\n./tool\n./up\n";
        assert_eq!(image.text("tmp/all"), format!(".\n{all}"));
        assert_eq!(image.text("tmp/tool"), "0:0 711\n");
        assert_eq!(image.text("tmp/sub"), "a\n");
        assert_eq!(image.text("tmp/said"), "said\n");
        assert_eq!(image.text("tmp/up"), "the context's\n");
        assert_eq!(image.text("tmp/after"), "");
        assert!(!image.files.contains_key("up"));
    }
}

#[test]
fn a_bind_shows_a_stage_with_its_owners() {
    for isolation in ISOLATIONS {
        let image = Build::new(
            "FROM base AS made\n\
             RUN mkdir -p /out/deep && echo text > /out/deep/file && chown 1000:50 /out/deep/file && \
             chmod 4750 /out/deep/file && ln -s deep/file /out/link && ln -s / /out/root && \
             ln -s /out /way && chown app /out/deep\n\
             FROM base\n\
             RUN --mount=from=made,source=/way,target=/m cp -a /m /kept && ls /m/root/ > /tmp/root\n\
             RUN --mount=from=made,source=out/link,target=/m cat /m > /tmp/text; stat -c '%u:%g %a' /m > /tmp/stat\n\
             RUN --mount=from=made,target=/m test -L /m/way && test -e /m/bin/busybox\n",
        )
        .args(["--isolation", isolation])
        .image();
        let file = image.at("kept/deep/file");
        assert_eq!((file.owner, file.mode), ((1000, 50), 0o4750));
        assert_eq!(image.at("kept/deep").owner, (1000, 0));
        assert_eq!(image.at("kept/link").content, "deep/file");
        assert!(image.text("tmp/root").contains("kept\n"), "a link is the command's, not the mount's");
        assert_eq!(
            (image.text("tmp/text"), image.text("tmp/stat")),
            ("text\n".into(), "1000:50 4750\n".into())
        );
    }
}

#[test]
fn a_bind_shows_an_image_and_a_named_context() {
    let build = Build::new(
        "FROM scratch AS empty\n\
         FROM base\n\
         RUN --mount=from=other,source=/usr/lib,target=/m ls /m > /tmp/image && test /m/one -ef /m/two\n\
         RUN --mount=from=files,source=a,target=/m ls /m > /tmp/files; ! test -e /m/skipped\n\
         RUN --mount=from=empty,target=/m ls -A /m > /tmp/empty\n",
    );
    let files = build.beside("files");
    std::fs::create_dir_all(files.join("a")).unwrap();
    std::fs::write(files.join("a/file"), "").unwrap();
    std::fs::write(files.join("a/skipped"), "").unwrap();
    std::fs::write(files.join(".dockerignore"), "**/skipped\n").unwrap();
    let image = build
        .args(["--build-context", &format!("files={}", files.display())])
        .args(["--build-context", &format!("other=oci-layout://{}:latest", base_layout().display())])
        .image();
    assert_eq!(image.text("tmp/image"), "one\ntwo\n");
    assert_eq!(image.text("tmp/files"), "file\n");
    assert_eq!(image.text("tmp/empty"), "");
}

#[test]
fn what_is_written_to_a_bind_is_discarded() {
    for isolation in ISOLATIONS {
        let build = Build::new(
            "FROM base\n\
             RUN --mount=target=/m,rw echo changed > /m/file && rm /m/other && echo > /m/new && cat /m/file\n\
             RUN --mount=target=/m cat /m/file > /tmp/file && ls /m > /tmp/list\n",
        )
        .file("file", "kept")
        .file("other", "")
        .args(["--isolation", isolation]);
        let image = build.image();
        assert_eq!(image.text("tmp/file"), "kept");
        assert_eq!(image.text("tmp/list"), "Dockerfile\nfile\nother\n");
        assert!(!image.files.contains_key("m"));
    }
}

#[test]
fn the_context_is_not_written_to() {
    let build = Build::new("FROM base\nRUN --mount=target=/m,readwrite echo changed > /m/file\n")
        .file("file", "kept");
    build.run().success();
    assert_eq!(std::fs::read_to_string(build.context().join("file")).unwrap(), "kept");
}

#[test]
fn a_step_is_known_by_what_its_binds_show() {
    let dockerfile = |stage: &str, source: &str| {
        format!(
            "FROM base AS {stage}\n\
             COPY lib /lib1\n\
             FROM base\n\
             RUN --mount=from={stage},source=/lib1,target=/l --mount=source={source},target=/m echo executed\n"
        )
    };
    let first = Build::new(&dockerfile("one", "a")).file("a/file", "1").file("b", "").file("lib/x", "x");
    let store = first.store_path().to_owned();
    first.run().success();
    let executed = |build: Build| {
        let outcome = build.store(&store).run().success();
        outcome.stderr.contains("| executed")
    };
    let build = |stage, source: &str, text: &str, library: &str| {
        Build::new(&dockerfile(stage, source))
            .file(&format!("{source}/file"), text)
            .file("b", text)
            .file("lib/x", library)
    };
    assert!(!executed(build("one", "a", "1", "x")), "nothing is different");
    assert!(!executed(build("two", "a", "1", "x")), "a stage's name is not what it holds");
    assert!(!executed(build("one", "c", "1", "x")), "nor is a path");
    assert!(executed(build("one", "a", "2", "x")), "a file of the context is different");
    assert!(executed(build("one", "a", "1", "y")), "a file of the stage is different");
}

#[test]
fn special_characters_in_a_source_are_names() {
    let image = Build::new("FROM base\nRUN --mount=source=a*[b,target=/m cp /m/file /tmp/file\n")
        .file("a*[b/file", "right")
        .file("acb/file", "wrong")
        .image();
    let FileState { kind, .. } = image.at("tmp/file");
    assert_eq!((*kind, image.text("tmp/file")), ("file", "right".to_owned()));
}
