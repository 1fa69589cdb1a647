//! `--build-context NAME=…` from elsewhere: in COPY, FROM and mounts. Checklist: dockerfile.md 1.11.

use crate::registry::Registry;
use crate::support::{Build, Reply, Repositories, Served, WebServer, tool};

#[test]
fn named_contexts_from_elsewhere() {
    let repositories = Repositories::new();
    let copy = repositories.create("lib");
    copy.write("lib.txt", "from git\n").write("sub/deep.txt", "deep\n").commit("lib");
    let git = WebServer::git(None, repositories.path(), None);
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("data.txt"), "from an archive\n").unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let (target, root) = (archive.path().display().to_string(), tree.path().display().to_string());
    tool("tar", ["-czf", &target, "-C", &root, "."]);
    let bytes = std::fs::read(archive.path()).unwrap();
    let web = WebServer::start(None, move |_| Reply::new(200, bytes.clone()));
    let dockerfile = "FROM lib AS begun\nCOPY own /own\nFROM base\nCOPY --from=lib lib.txt /from-git\n\
                      COPY --from=data /data.txt /from-archive\nCOPY --from=begun / /begun/\n\
                      RUN --mount=from=lib,source=sub,target=/mnt cat /mnt/deep.txt > /from-mount\n";
    let image = Build::new(dockerfile)
        .file("own", "own\n")
        .arg(format!("--build-context=lib={}/lib.git#main", git.url()))
        .arg(format!("--build-context=data={}/data.tar.gz", web.url()))
        .image();
    assert_eq!(image.text("from-git"), "from git\n");
    assert_eq!(image.text("from-archive"), "from an archive\n");
    assert_eq!(image.text("from-mount"), "deep\n");
    assert_eq!(image.below("begun"), ["lib.txt", "own", "sub", "sub/deep.txt"]);
}

#[test]
fn what_nothing_needs_is_not_fetched() {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("x"), "x\n").unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let (target, root) = (archive.path().display().to_string(), tree.path().display().to_string());
    tool("tar", ["-czf", &target, "-C", &root, "."]);
    let bytes = std::fs::read(archive.path()).unwrap();
    let web = WebServer::start(None, move |_| Reply::new(200, bytes.clone()));
    let dockerfile = "FROM scratch AS unused\nCOPY --from=unused-context /x /\n\
                      FROM base AS other\nRUN --mount=from=mounted,target=/m cat /m/x > /x\n\
                      FROM begun\nCOPY --from=copied /x /y\n";
    let build = |target: &str| {
        let build = Build::new(dockerfile).args(["--target", target]);
        ["unused-context", "mounted", "begun", "copied", "never"].iter().fold(build, |build, name| {
            build.arg(format!("--build-context={name}={}/{name}.tar.gz", web.url()))
        })
    };
    let asked = || {
        let mut asked: Vec<_> = web.requests().into_iter().map(|request| request.path).collect();
        asked.sort();
        asked
    };
    build("other").image();
    assert_eq!(asked(), ["/mounted.tar.gz"]);
    Build::new(dockerfile).args(["--target", "nowhere"]).run().failure(1, &["nowhere"]);
    let last = ["begun", "copied", "unused-context", "mounted"]
        .iter()
        .fold(Build::new(dockerfile), |build, name| {
            build.arg(format!("--build-context={name}={}/{name}.tar.gz", web.url()))
        });
    assert_eq!(last.image().text("y"), "x\n");
    assert_eq!(asked(), ["/begun.tar.gz", "/copied.tar.gz", "/mounted.tar.gz"]);
    // One that nothing needs may as well be unreachable.
    Build::new("FROM scratch\nLABEL a=b\n").arg("--build-context=x=http://127.0.0.1:1/x").run().success();
}

#[test]
fn a_base_is_looked_up_once_whatever_has_to_be_fetched() {
    let web = WebServer::start(None, |_| Reply::new(200, Vec::new()));
    let asked = |contexts: &[&str]| {
        let registry = Registry::start();
        Served::base().put(&registry, "app", "1");
        let build = Build::new(&format!("FROM {}/app:1\nLABEL a=b\n", registry.host()));
        build
            .args(contexts.iter().map(|name| format!("--build-context={name}={}/x.tar", web.url())))
            .run()
            .success();
        registry.requests().iter().filter(|request| request.target.contains("/manifests/")).count()
    };
    let usual = asked(&[]);
    assert!(usual > 0);
    assert_eq!(asked(&["unused"]), usual);
}

#[test]
fn a_named_context_may_stand_for_an_image_by_another_of_its_names() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x"), "x\n").unwrap();
    let context = format!("--build-context=docker.io/library/alpine:latest={}", directory.path().display());
    let image = Build::new("FROM alpine\nCOPY --from=alpine /x /y\n").arg(context).image();
    assert_eq!((image.text("x"), image.text("y")), ("x\n".into(), "x\n".into()));
}

#[test]
fn named_contexts_that_cannot_be() {
    let web = WebServer::start(None, |_| Reply::new(200, "FROM scratch\n"));
    let dockerfile = "FROM scratch\nCOPY --from=data x /\n";
    let build = Build::new(dockerfile).arg(format!("--build-context=data={}/x", web.url()));
    build.run().failure(1, &["it is no tar archive"]);
    Build::new(dockerfile).arg("--build-context=data=-").run().failure(2, &["the main context only"]);
    Build::new(dockerfile).arg("--build-context=data=ftp://x").run().failure(2, &["`ftp://`"]);
}
