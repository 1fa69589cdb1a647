//! `--build-context NAME=…` from elsewhere: in COPY, FROM and mounts. Checklist: dockerfile.md 1.11.

use crate::support::{Build, Reply, Repositories, WebServer, tool};

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
fn named_contexts_that_cannot_be() {
    let web = WebServer::start(None, |_| Reply::new(200, "FROM scratch\n"));
    let dockerfile = "FROM scratch\nCOPY --from=data x /\n";
    let build = Build::new(dockerfile).arg(format!("--build-context=data={}/x", web.url()));
    build.run().failure(1, &["it is no tar archive"]);
    Build::new(dockerfile).arg("--build-context=data=-").run().failure(2, &["the main context only"]);
    Build::new(dockerfile).arg("--build-context=data=ftp://x").run().failure(2, &["`ftp://`"]);
}
