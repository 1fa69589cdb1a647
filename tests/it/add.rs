//! ADD of archives and of URLs. Checklist: dockerfile.md 1.8, "ADD extras".

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use cooper::layer::Digest;

use crate::support::{Build, tool};

/// Makes an archive with GNU tar: `sub/file` (0640, 7:8), two links to it, and a directory 0700.
fn archive(context: &Path, name: &str, compression: &str) {
    let tree = context.join("tree");
    std::fs::create_dir_all(tree.join("sub/private")).unwrap();
    std::fs::write(tree.join("sub/file"), "contents\n").unwrap();
    std::os::unix::fs::symlink("file", tree.join("sub/link")).unwrap();
    std::fs::hard_link(tree.join("sub/file"), tree.join("sub/same")).unwrap();
    let chmod = |mode: &str, path: &str| tool("chmod", [mode, &tree.join(path).display().to_string()]);
    chmod("0640", "sub/file");
    chmod("0700", "sub/private");
    let target = context.join(name).display().to_string();
    let tree = tree.display().to_string();
    let arguments = ["--owner=7", "--group=8", "--sort=name", compression, "-cf", &target, "-C", &tree, "."];
    tool("tar", arguments.iter().filter(|argument| !argument.is_empty()));
    std::fs::remove_dir_all(tree).unwrap();
}

#[test]
fn unpacks_archives_by_content() {
    for compression in ["", "--gzip", "--bzip2", "--xz", "--zstd"] {
        // The name says nothing.
        let image = Build::new("FROM scratch\nADD data /into/\n")
            .prepare(|context| archive(context, "data", compression))
            .image();
        let file = image.at("into/sub/file");
        assert_eq!((file.mode, file.owner), (0o640, (7, 8)), "{compression}");
        assert_eq!(image.text("into/sub/file"), "contents\n");
        assert_eq!(image.at("into/sub/same").same_as, Some("into/sub/file".into()));
        assert_eq!(image.at("into/sub/link").content, "file");
        assert_eq!(image.at("into/sub/private").mode, 0o700);
        // The archive's own root says nothing about the destination.
        assert_eq!((image.at("into").mode, image.at("into").owner), (0o755, (0, 0)));
    }
}

#[test]
fn owner_is_for_all_and_mode_for_none() {
    let image = Build::new("FROM scratch\nADD --chown=5:6 --chmod=0777 data.tar /into/\n")
        .prepare(|context| archive(context, "data.tar", ""))
        .image();
    let file = image.at("into/sub/file");
    assert_eq!((file.mode, file.owner), (0o640, (5, 6)));
}

#[test]
fn unpack_can_be_said() {
    let image = Build::new("FROM scratch\nADD --unpack=false data.tar /into/\n")
        .prepare(|context| archive(context, "data.tar", "--gzip"))
        .image();
    assert_eq!(image.below("into"), ["data.tar"]);
}

#[test]
fn follows_links_inside_the_image_only() {
    // `/lib` leads to `usr/lib` in the base; `/etc/passwd` is a file that becomes a directory.
    let image = Build::new("FROM base\nADD data.tar /\n")
        .prepare(|context| {
            let tree = context.join("tree");
            std::fs::create_dir_all(tree.join("lib")).unwrap();
            std::fs::create_dir_all(tree.join("etc/passwd")).unwrap();
            std::fs::write(tree.join("lib/new"), "new\n").unwrap();
            std::fs::write(tree.join("etc/passwd/inside"), "").unwrap();
            let (target, tree) = (context.join("data.tar"), tree.display().to_string());
            // Without entries for the directories, as some tools write archives.
            let target = target.display().to_string();
            tool("tar", ["--no-recursion", "-cf", &target, "-C", &tree, "lib/new", "etc/passwd/inside"]);
            std::fs::remove_dir_all(tree).unwrap();
        })
        .image();
    assert_eq!(image.at("lib").content, "usr/lib");
    assert_eq!(image.text("usr/lib/new"), "new\n");
    assert_eq!(image.at("etc/passwd").kind, "directory");
}

#[test]
fn a_damaged_archive_is_an_error_at_its_place() {
    Build::new("FROM scratch\nADD data.tar /\n")
        .prepare(|context| {
            archive(context, "data.tar", "--gzip");
            let bytes = std::fs::read(context.join("data.tar")).unwrap();
            std::fs::write(context.join("data.tar"), &bytes[..bytes.len() - 20]).unwrap();
        })
        .run()
        .failure(1, &["cannot unpack this archive", "Dockerfile:2:5", "ADD data.tar /"]);
}

/// A web server for one file, which also redirects from `/moved`.
fn serve(body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let head = if request.starts_with("GET /moved ") {
                "HTTP/1.1 302 Found\r\nLocation: /file.txt\r\nContent-Length: 0\r\n".to_owned()
            } else if request.starts_with("GET /file.txt ") || request.starts_with("GET / ") {
                let length = body.len();
                format!(
                    "HTTP/1.1 200 OK\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: {length}\r\n"
                )
            } else {
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n".to_owned()
            };
            let found = head.starts_with("HTTP/1.1 200");
            // The client may have gone; the next one may not.
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(if found { body } else { &[] });
        }
    });
    address
}

#[test]
fn downloads_files() {
    let server = serve(b"from afar\n");
    let dockerfile = format!(
        "FROM scratch\nADD {server}/file.txt /a/\nADD {server}/moved /a/renamed\n\
         ADD --chmod=0644 --checksum={digest} {server}/file.txt /a/checked\n",
        digest = Digest::of("from afar\n")
    );
    let image = Build::new(&dockerfile).image();
    let file = image.at("a/file.txt");
    assert_eq!((file.mode, file.owner, file.mtime), (0o600, (0, 0), 1_445_412_480));
    assert_eq!(image.text("a/renamed"), "from afar\n");
    assert_eq!(image.at("a/checked").mode, 0o644);
}

#[test]
fn downloads_have_names_and_are_unpacked_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    archive(directory.path(), "data", "--gzip");
    let bytes: &'static [u8] = Box::leak(std::fs::read(directory.path().join("data")).unwrap().into());
    let server = serve(bytes);
    let dockerfile = format!(
        "FROM scratch\nARG SUM={digest}\nADD {server}/ /a/\nADD --unpack --checksum=$SUM {server}/file.txt /into/\n\
         ADD --chown=7:8 {server}/file.txt /a/\n",
        digest = Digest::of(bytes)
    );
    let image = Build::new(&dockerfile).image();
    assert_eq!(image.at("a/__unnamed__").mode, 0o600);
    assert_eq!((image.at("a/file.txt").owner, image.at("a/file.txt").mode), ((7, 8), 0o600));
    assert_eq!(image.text("into/sub/file"), "contents\n");
    assert_eq!(image.at("into/sub/same").same_as, Some("into/sub/file".into()));
}

#[test]
fn a_download_that_cannot_be_is_an_error_at_its_place() {
    let server = serve(b"x");
    let digest = Digest::of("y");
    for (line, said) in [
        (format!("ADD {server}/none /"), "the server answers 404"),
        (format!("ADD --checksum={digest} {server}/file.txt /"), "digest mismatch"),
        ("ADD --checksum=sha256:12 http://x/y /".to_owned(), "not a digest"),
        (format!("ADD --checksum={digest} local /"), "checksum requires HTTP(S) or Git sources"),
        (
            format!("ADD --checksum={digest} http://x/y http://x/z /a/"),
            "can't be specified for multiple sources",
        ),
        ("COPY http://x/y /".to_owned(), "source can't be a URL for COPY"),
        ("COPY git@github.com:a/b /".to_owned(), "source can't be a git ref for COPY"),
    ] {
        Build::new(&format!("FROM scratch\n{line}\n")).run().failure(1, &[said, "Dockerfile:2:"]);
    }
}
