//! `--context` that is no directory, as far as the pushed image. Checklist: kaniko.md 2.4; issue 6, "Contexts".

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use super::Executor;
use crate::registry::Authority;
use crate::support::{Image, ObjectStore, Outcome, Reply, Repositories, WebServer, WorkingCopy, tool};

/// Copies everything.
const ALL: &str = "FROM scratch\nCOPY . /all/\n";

/// A build of this context that is pushed as `team/app:1`.
fn build(context: &str) -> Executor {
    Executor::new("").pushing().args([format!("--context={context}")])
}

/// Builds, and fetches with skopeo what was pushed.
#[track_caller]
fn pushed(executor: &Executor) -> Image {
    executor.run().success();
    fetched(executor)
}

#[track_caller]
fn fetched(executor: &Executor) -> Image {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("pushed");
    let (from, to) =
        (format!("docker://{}", executor.name("team/app:1")), format!("oci:{}:image", layout.display()));
    tool("skopeo", ["copy", "-q", "--src-tls-verify=false", &from, &to]);
    Image::read(&layout, directory)
}

/// A repository `app` with two commits on `main`, one on `dev`, a tag, and a pull request; and the ids of the first three.
fn repository() -> (Repositories, Vec<String>) {
    let repositories = Repositories::new();
    let copy = repositories.create("app");
    copy.write("Dockerfile", ALL)
        .write("file", "one\n")
        .write("ignored", "")
        .write(".dockerignore", "ignored\n");
    copy.write("sub/Dockerfile", "FROM scratch\nCOPY in /in\n").write("sub/in", "inside\n");
    let first = copy.commit("first");
    copy.git(&["tag", "-a", "v1", "-m", "version 1"]);
    let on = |copy: &WorkingCopy, branch: &str| {
        copy.git(&["checkout", "-q", "-B", branch, &first]);
        copy.write("file", &format!("{branch}\n")).commit(branch)
    };
    let dev = on(&copy, "dev");
    copy.git(&["checkout", "-q", "-b", "proposal", &first]);
    copy.write("file", "proposal\n").git(&["commit", "-q", "-a", "-m", "proposal"]);
    copy.git(&["push", "-q", "origin", "HEAD:refs/pull/7/head"]);
    copy.git(&["checkout", "-q", "main"]);
    copy.git(&["branch", "-q", "-D", "proposal"]);
    let second = copy.write("file", "two\n").commit("second");
    (repositories, vec![first, second, dev])
}

/// `git://` of a server in plain HTTP.
fn git(server: &WebServer, rest: &str) -> Executor {
    build(&format!("git://{}/{rest}", server.host())).env("GIT_PULL_METHOD", "http")
}

#[test]
fn git_branches_tags_commits_and_pull_requests() {
    let (repositories, commits) = repository();
    let server = WebServer::git(None, repositories.path(), None);
    for (rest, flags, text) in [
        ("", &[][..], "two\n"),
        ("#refs/heads/dev", &[], "dev\n"),
        ("#refs/tags/v1", &[], "one\n"),
        ("#refs/pull/7/head", &[], "proposal\n"),
        (&format!("#refs/heads/main#{}", commits[0]), &[], "one\n"),
        (&format!("##{}", commits[2]), &[], "dev\n"),
        (&format!("#{}", commits[0]), &[], "one\n"),
        ("", &["--git=branch=dev", "--git=single-branch=true"], "dev\n"),
    ] {
        let image = pushed(&git(&server, &format!("app.git{rest}")).args(flags.iter().copied()));
        assert_eq!(image.text("all/file"), text, "{rest} {flags:?}");
        let files = image.below("all");
        assert!(!files.contains(&"ignored"), "the repository's `.dockerignore` counts");
        assert!(
            files.contains(&".git/HEAD") && !files.contains(&".git/shallow"),
            "the whole history is there"
        );
    }
    let shallow = pushed(&git(&server, "app.git").args(["--git=depth=1", "--git=single-branch=true"]));
    assert_eq!(shallow.text("all/.git/shallow"), format!("{}\n", commits[1]));
    let inner = pushed(&git(&server, "app.git#refs/heads/main").args(["--context-sub-path=sub"]));
    assert_eq!(inner.text("in"), "inside\n");
}

#[test]
fn git_submodules_come_if_they_are_asked_for() {
    let repositories = Repositories::new();
    let (inner, outer) = (repositories.create("inner"), repositories.create("outer"));
    inner.write("inner-file", "inner\n").commit("inner");
    let bare = repositories.path().join("inner.git").display().to_string();
    outer.git(&["submodule", "add", "-q", &bare, "sub"]);
    outer.git(&["config", "-f", ".gitmodules", "submodule.sub.url", "../inner.git"]);
    outer.write("Dockerfile", ALL).commit("outer");
    let server = WebServer::git(None, repositories.path(), None);
    let without = pushed(&git(&server, "outer.git"));
    assert!(!without.below("all").contains(&"sub/inner-file"));
    let with = pushed(&git(&server, "outer.git").args(["--git=recurse-submodules=true"]));
    assert_eq!(with.text("all/sub/inner-file"), "inner\n");
}

#[test]
fn git_logins_come_from_the_environment_and_stay_there() {
    use base64::Engine as _;
    let (repositories, _) = repository();
    for (pair, context, variables) in [
        ("s3cret:", "app.git", &[("GIT_TOKEN", "s3cret")][..]),
        ("user:s3cret", "app.git", &[("GIT_USERNAME", "user"), ("GIT_PASSWORD", "s3cret")]),
        ("s3cret:", "s3cret@app.git", &[]),
    ] {
        let login = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let server = WebServer::git(None, repositories.path(), Some(&login));
        let context = match context.split_once('@') {
            Some((token, path)) => format!("git://{token}@{}/{path}", server.host()),
            None => format!("git://{}/{context}", server.host()),
        };
        let executor = build(&context).env("GIT_PULL_METHOD", "http");
        let executor = variables.iter().fold(executor, |executor, (name, value)| executor.env(name, *value));
        let outcome = executor.args(["--verbosity=trace"]).run();
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
        outcome.success();
    }
    let login = Some("Basic dXNlcjpzM2NyZXQ=");
    let server = WebServer::git(None, repositories.path(), login);
    let kept = git(&server, "app.git").env("GIT_USERNAME", "user").env("GIT_PASSWORD", "s3cret");
    assert!(!pushed(&kept).text("all/.git/config").contains("s3cret"));
    git(&server, "app.git")
        .run()
        .failure(1, &["error resolving source context: ", "refuses access", "GIT_TOKEN"]);
}

#[test]
fn git_is_https_and_certificates_are_checked() {
    let (repositories, _) = repository();
    let authority = Arc::new(Authority::new(false));
    let server = WebServer::git(Some(Arc::clone(&authority)), repositories.path(), None);
    for context in [format!("git://{}/app.git", server.host()), format!("{}/app.git", server.url())] {
        build(&context).run().failure(1, &["error resolving source context: ", "certificate"]);
        let unchecked = build(&context).args(["--git=insecure-skip-tls=true"]);
        assert_eq!(pushed(&unchecked).text("all/file"), "two\n");
        let trusting = build(&context);
        std::fs::create_dir(trusting.at("certs")).unwrap();
        std::fs::write(trusting.at("certs/own.pem"), &authority.pem).unwrap();
        let certificates = trusting.at("certs").display().to_string();
        assert_eq!(pushed(&trusting.env("SSL_CERT_DIR", certificates)).text("all/file"), "two\n");
    }
}

/// An archive of a small project, made by GNU tar.
fn archive(compression: &str) -> tempfile::NamedTempFile {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(tree.path().join(path), text).unwrap();
    std::fs::create_dir(tree.path().join("sub")).unwrap();
    write("Dockerfile", ALL);
    write(".dockerignore", "ignored\n");
    write("ignored", "");
    write("file", "from an archive\n");
    write("sub/Dockerfile", "FROM scratch\nCOPY in /in\n");
    write("sub/in", "inside\n");
    let archive = tempfile::NamedTempFile::new().unwrap();
    let (target, root) = (archive.path().display().to_string(), tree.path().display().to_string());
    let arguments = [compression, "-cf", &target, "-C", &root, "."];
    tool("tar", arguments.iter().filter(|argument| !argument.is_empty()));
    archive
}

fn check(image: &Image) {
    assert_eq!(image.text("all/file"), "from an archive\n");
    assert_eq!(
        image.below("all"),
        [".dockerignore", "Dockerfile", "file", "sub", "sub/Dockerfile", "sub/in"]
    );
}

#[test]
fn archives_on_disk() {
    for compression in ["--gzip", "", "--bzip2", "--xz", "--zstd"] {
        let archive = archive(compression);
        let context = format!("tar://{}", archive.path().display());
        check(&pushed(&build(&context)));
        let inner = pushed(&build(&context).args(["--context-sub-path=sub"]));
        assert_eq!(inner.text("in"), "inside\n", "{compression}");
    }
}

/// Runs with a file's bytes, or the first of them, on standard input.
fn run_with(executor: &Executor, input: &Path, length: usize) -> Outcome {
    let mut command = executor.command();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut bytes = std::fs::read(input).unwrap();
    bytes.truncate(length);
    // The program need not read to the end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Outcome::of(output)
}

#[test]
fn archives_on_standard_input() {
    for compression in ["--gzip", "", "--zstd"] {
        let archive = archive(compression);
        let executor = build("tar://stdin");
        run_with(&executor, archive.path(), usize::MAX).success();
        check(&fetched(&executor));
    }
}

#[test]
fn archives_behind_addresses() {
    let bytes = std::fs::read(archive("--gzip").path()).unwrap();
    let authority = Arc::new(Authority::new(false));
    let server = WebServer::start(Some(Arc::clone(&authority)), move |request| match request.path.as_str() {
        "/team/context.tar.gz" => Reply::new(200, bytes.clone()),
        _ => Reply::new(404, ""),
    });
    let trusting = |path: &str| {
        let executor = build(&format!("{}/{path}", server.url()));
        std::fs::create_dir(executor.at("certs")).unwrap();
        std::fs::write(executor.at("certs/own.pem"), &authority.pem).unwrap();
        let certificates = executor.at("certs").display().to_string();
        executor.env("SSL_CERT_DIR", certificates)
    };
    check(&pushed(&trusting("team/context.tar.gz")));
    trusting("none.tar.gz").run().failure(1, &["error resolving source context: ", "the server answers 404"]);
}

#[test]
fn archives_in_s3() {
    let store = ObjectStore::start("s3");
    store.put_s3("contexts", &["team/app.tar.gz", "context.tar.gz"], archive("--gzip").path());
    let build = |context: &str| {
        let executor = build(context).env("S3_ENDPOINT", store.url()).env("S3_FORCE_PATH_STYLE", "true");
        let executor = executor.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "test");
        executor.env("AWS_SECRET_ACCESS_KEY", "s3cret")
    };
    for context in ["s3://contexts/team/app.tar.gz", "s3://contexts"] {
        check(&pushed(&build(context)));
    }
    let none = build("s3://contexts/none.tar.gz").run();
    let none = none.failure(1, &["error resolving source context: ", "there is no such object"]);
    assert!(!none.stderr.contains("s3cret"));
}

/// One error, in Kaniko's words, and nothing pushed.
#[track_caller]
fn refused(executor: &Executor, outcome: Outcome, said: &str) {
    let outcome = outcome.failure(1, &["Error: error resolving source context: ", said]);
    assert_eq!(outcome.stderr.matches("Error: ").count(), 1, "one error: {}", outcome.stderr);
    assert_eq!(executor.registry.manifest("team/app", "1"), None);
}

#[test]
fn archives_that_are_cut_off() {
    for compression in ["--gzip", "", "--bzip2", "--xz", "--zstd"] {
        let archive = archive(compression);
        let whole = std::fs::read(archive.path()).unwrap();
        let length = if compression.is_empty() { 1500 } else { whole.len() - 40 };
        let executor = build("tar://stdin");
        let outcome = run_with(&executor, archive.path(), length);
        refused(&executor, outcome, "the archive cannot be unpacked");
        std::fs::write(archive.path(), &whole[..length]).unwrap();
        let executor = build(&format!("tar://{}", archive.path().display()));
        let outcome = executor.run();
        refused(&executor, outcome, "the archive cannot be unpacked");
    }
    let executor = build("tar:///no/such/context.tar.gz");
    refused(&executor, executor.run(), "No such file or directory");
}

#[test]
fn git_servers_that_nobody_reaches() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (context, said) in [
        (format!("git://{unused}/app.git"), "Connection refused"),
        ("git://no-such-host.invalid/app.git".to_owned(), "no-such-host.invalid"),
    ] {
        let executor = build(&context);
        refused(&executor, executor.run(), said);
    }
    let server = WebServer::git(None, Repositories::new().path(), None);
    let executor = git(&server, "none.git");
    refused(&executor, executor.run(), "there is no git repository at");
    let executor = build("git://h/a.git").env("GIT_PULL_METHOD", "ftp");
    refused(&executor, executor.run(), "GIT_PULL_METHOD is `ftp`");
}
