//! Archives as contexts: on disk, on standard input, behind addresses. Checklist: dockerfile.md 1.11, kaniko.md 2.4.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use crate::registry::Authority;
use crate::support::{Build, Image, Outcome, Reply, WebServer, tool};

const ALL: &str = "FROM scratch\nCOPY . /all/\n";

/// An archive of a small project, made by GNU tar.
fn archive(compression: &str) -> Vec<u8> {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(tree.path().join(path), text).unwrap();
    std::fs::create_dir(tree.path().join("sub")).unwrap();
    write("Dockerfile", ALL);
    write("sub/Dockerfile", "FROM scratch\nCOPY in /in\n");
    write("sub/in", "inside\n");
    write("script", "#!/bin/sh\n");
    tool("chmod", ["0750", &tree.path().join("script").display().to_string()]);
    packed(tree.path(), compression)
}

fn packed(tree: &Path, compression: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (file_path, tree) = (file.path().display().to_string(), tree.display().to_string());
    let arguments = ["--owner=7", "--group=8", compression, "-cf", &file_path, "-C", &tree, "."];
    tool("tar", arguments.iter().filter(|argument| !argument.is_empty()));
    std::fs::read(file.path()).unwrap()
}

fn check(image: &Image) {
    assert_eq!(image.below("all"), ["Dockerfile", "script", "sub", "sub/Dockerfile", "sub/in"]);
    let script = image.at("all/script");
    assert_eq!((script.mode, script.owner), (0o750, (0, 0)));
}

/// Runs a build with something on its standard input.
fn run_with(build: &Build, input: &[u8]) -> Outcome {
    let mut child =
        build.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program need not read to the end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Outcome::of(output)
}

#[test]
fn archives_behind_addresses() {
    let authority = Arc::new(Authority::new(false));
    for compression in ["", "--gzip", "--bzip2", "--xz", "--zstd"] {
        let bytes = archive(compression);
        let server =
            WebServer::start(Some(Arc::clone(&authority)), move |request| match request.path.as_str() {
                // The name says nothing.
                "/data" => Reply::new(200, bytes.clone()),
                "/moved" => Reply::new(302, "").header("Location", "/data"),
                _ => Reply::new(404, ""),
            });
        let build = Build::new("").source(format!("{}/moved?signature=s3cret", server.url()));
        let pem = build.beside("authority.pem");
        std::fs::write(&pem, &authority.pem).unwrap();
        let flag = format!("--registry-certificate={}={}", server.host(), pem.display());
        check(&build.arg(flag).image());
    }
}

#[test]
fn archives_on_standard_input() {
    for compression in ["", "--gzip", "--zstd"] {
        let build = Build::new("").source("-");
        let layout = build.beside("image");
        let build = build.arg(format!("--output=type=oci,dest={}", layout.display()));
        run_with(&build, &archive(compression)).success();
        check(&Image::read(&layout, tempfile::tempdir().unwrap()));
    }
    let build = Build::new("").source("-").args(["--file", "sub/Dockerfile"]);
    run_with(&build, &archive("")).failure(1, &["`in` was not found"]);
}

#[test]
fn a_dockerfile_instead_of_an_archive() {
    let dockerfile = "FROM scratch\nCOPY <<EOF /file\nhere\nEOF\n";
    let build = Build::new("").source("-");
    run_with(&build, dockerfile.as_bytes()).success();
    let with_copy = run_with(&build, b"FROM scratch\nCOPY file /\n");
    with_copy.failure(1, &["Dockerfile:2:", "COPY file /"]);
    let server = WebServer::start(None, move |_| Reply::new(200, dockerfile));
    let image = Build::new("").source(format!("{}/some/Dockerfile", server.url())).image();
    assert_eq!(image.text("file"), "here\n");
    let build = Build::new("").source("-").args(["--file", "-"]);
    build.run().failure(1, &["standard input cannot be both"]);
    let build = Build::new("").source("-").args(["--file", "other"]);
    run_with(&build, dockerfile.as_bytes()).failure(1, &["standard input is a Dockerfile"]);
}

#[test]
fn what_cannot_be_a_context() {
    let cut = archive("--gzip");
    let short = archive("");
    let server = WebServer::start(None, move |request| match request.path.as_str() {
        "/damaged" => Reply::new(200, &cut[..cut.len() - 30]),
        "/short" => Reply::new(200, &short[..1500]),
        "/broken" => Reply { cut: Some(100), ..Reply::new(200, cut.clone()) },
        "/binary" => Reply::new(200, [1, 2, 3, 0, 4]),
        "/empty" => Reply::new(200, ""),
        "/login" => Reply::new(401, ""),
        _ => Reply::new(404, ""),
    });
    for (path, said) in [
        ("damaged", "the archive cannot be unpacked"),
        ("short", "the file is incomplete"),
        ("broken", "cannot load the build context"),
        ("binary", "neither a tar archive"),
        ("empty", "it is empty"),
        ("none", "the server answers 404"),
        ("login", "HTTP_AUTH_TOKEN_HOST"),
    ] {
        let build = Build::new("").source(format!("{}/{path}", server.url()));
        build
            .run()
            .failure(1, &[said, &format!("cannot load the build context from {}/{path}", server.url())]);
        // Nothing of it is left behind.
        let left: Vec<_> = std::fs::read_dir(build.store_path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    Build::new("").source("s3://").run().failure(1, &["names no object"]);
    Build::new("").source("none/here").run().failure(1, &["none/here` is not a directory"]);
}

#[test]
fn a_server_that_comes_to_is_asked_again() {
    let bytes = archive("--gzip");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server =
        WebServer::start(None, move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::new(503, ""),
            _ => Reply::new(200, bytes.clone()),
        });
    check(&Build::new("").source(format!("{}/a.tar.gz", server.url())).image());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_login_for_a_server() {
    let bytes = archive("--gzip");
    let server = WebServer::start(None, move |request| {
        match request.headers.get("authorization").map(String::as_str) {
            Some("Bearer s3cret" | "Basic dXNlcjpzM2NyZXQ=") => Reply::new(200, bytes.clone()),
            _ => Reply::new(401, ""),
        }
    });
    let url = format!("{}/a.tar.gz", server.url());
    let secret = "id=HTTP_AUTH_TOKEN_127.0.0.1,env=VALUE";
    let build = || Build::new("").args(["--secret", secret]).env("VALUE", "s3cret");
    build().source(&url).run().success();
    Build::new(&format!("FROM scratch\nADD {url} /\n"))
        .args(["--secret", secret])
        .env("VALUE", "s3cret")
        .run()
        .success();
    let with_login = format!("http://user:s3cret@{}/a.tar.gz", server.host());
    let outcome = Build::new("").source(with_login).run().success();
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    // What is for one server is not for another one that it sends us to.
    let thief = WebServer::start(None, |_| Reply::new(404, ""));
    let target = format!("{}/x", thief.url());
    let sender = WebServer::start(None, move |_| Reply::new(302, "").header("Location", &target));
    build().source(format!("{}/a", sender.url())).run().failure(1, &["404"]);
    assert!(sender.requests()[0].headers.contains_key("authorization"));
    assert!(!thief.requests()[0].headers.contains_key("authorization"));
}

/// An archive whose members lead out, or try to.
fn hostile(members: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, kind, target) in members {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        let contents = if *kind == "0" { *target } else { "" };
        put(124, &format!("{:011o}\0", contents.len()));
        put(136, "00000000000\0");
        put(156, kind);
        if *kind != "0" {
            put(157, target);
        }
        put(257, "ustar\x0000");
        put(148, "        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        let mut contents = contents.as_bytes().to_vec();
        contents.resize(contents.len().next_multiple_of(512), 0);
        tar.extend_from_slice(&contents);
    }
    tar.extend_from_slice(&[0; 1024]);
    tar
}

#[test]
fn hostile_archives_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().display().to_string();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let through = format!("{out}/victim");
    let build = Build::new("").source("-");
    for members in [
        // Through a link that leads out.
        vec![("a", "2", out.as_str()), ("a/victim", "0", "overwritten")],
        vec![("a", "2", through.as_str()), ("a", "0", "overwritten")],
        vec![("../../../../../../../tmp/cooper-escape", "0", "escaped")],
        // A hard link to what is outside.
        vec![("a", "1", through.as_str()), ("a", "0", "overwritten")],
    ] {
        // Whether it is refused or confined depends on the member; what is outside is untouched.
        let mut members = members;
        members.push(("Dockerfile", "0", "FROM scratch\nCOPY . /\n"));
        run_with(&build, &hostile(&members));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched", "{members:?}");
        assert!(!Path::new("/tmp/cooper-escape").exists());
    }
    // A Dockerfile or a file to copy that is a link to something of the builder's.
    let steal = hostile(&[("Dockerfile", "2", "/etc/passwd")]);
    let outcome = run_with(&build, &steal).failure(1, &["there is no Dockerfile"]);
    assert!(!outcome.stderr.contains("root:"));
    let steal = hostile(&[("Dockerfile", "0", "FROM scratch\nCOPY a /\n"), ("a", "2", "/etc/passwd")]);
    run_with(&build, &steal).failure(1, &["was not found"]);
    // Devices are left out, whoever runs the build.
    let device = hostile(&[("Dockerfile", "0", "FROM scratch\nCOPY dev /\n"), ("dev", "3", "")]);
    run_with(&build, &device).failure(1, &["`dev` was not found"]);
}
