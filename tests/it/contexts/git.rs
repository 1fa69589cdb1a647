//! Git repositories as contexts and in ADD. Checklist: dockerfile.md 1.8, "ADD extras", and 1.11; kaniko.md 2.4.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::registry::Authority;
use crate::support::{Build, Repositories, WebServer, wait_for};

/// Copies everything.
const ALL: &str = "FROM scratch\nCOPY . /all/\n";

/// A repository `app` with two commits, a branch `dev` and an annotated tag `v1`.
fn app() -> (Repositories, Vec<String>) {
    let repositories = Repositories::new();
    let copy = repositories.create("app");
    copy.write("Dockerfile", ALL)
        .write("file", "one\n")
        .write("sub/Dockerfile", "FROM scratch\nCOPY in /in\n");
    copy.write("sub/in", "inside\n").write("script", "#!/bin/sh\n").write(".dockerignore", "file\n");
    std::os::unix::fs::symlink("file", copy.path().join("link")).unwrap();
    crate::support::tool("chmod", ["+x", &copy.path().join("script").display().to_string()]);
    let first = copy.commit("first");
    copy.git(&["tag", "-a", "v1", "-m", "version 1"]);
    copy.git(&["checkout", "-q", "-b", "dev"]);
    copy.write("file", "dev\n");
    let dev = copy.commit("dev");
    copy.git(&["checkout", "-q", "main"]);
    copy.write("file", "two\n");
    let second = copy.commit("second");
    (repositories, vec![first, second, dev])
}

#[test]
fn a_repository_over_http() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    let image = Build::new("").source(&url).image();
    // `.dockerignore` of what is fetched is a file like others, as with BuildKit.
    assert_eq!(
        image.below("all"),
        [".dockerignore", "Dockerfile", "file", "link", "script", "sub", "sub/Dockerfile", "sub/in"]
    );
    assert_eq!(image.text("all/file"), "two\n");
    assert_eq!((image.at("all/file").mode, image.at("all/script").mode), (0o644, 0o755));
    assert_eq!(image.at("all/link").content, "file");
    // One commit, nothing older: `deepen 1` is what the server was asked for.
    let fetches: Vec<_> = server.requests().into_iter().filter(|request| request.method == "POST").collect();
    let fetch = String::from_utf8_lossy(&fetches.last().unwrap().body).into_owned();
    assert!(fetch.contains("deepen 1") && fetch.contains(&commits[1]), "{fetch}");
}

#[test]
fn branches_tags_commits_and_directories() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    for (reference, text) in [
        ("#dev", "dev\n"),
        ("#v1", "one\n"),
        ("#refs/heads/dev", "dev\n"),
        ("#refs/tags/v1", "one\n"),
        (&format!("#{}", commits[0]), "one\n"),
        ("?branch=dev", "dev\n"),
        ("?tag=v1", "one\n"),
        (&format!("?ref=main&commit={}", &commits[1][..10]), "two\n"),
        (&format!("?commit={}", commits[2]), "dev\n"),
        (&format!("?tag=v1&commit={}&fetch-by-commit=1", commits[0]), "one\n"),
    ] {
        let image = Build::new("").source(format!("{url}{reference}")).image();
        assert_eq!(image.text("all/file"), text, "{reference}");
    }
    for reference in ["#:sub", "#v1:sub", "?subdir=sub"] {
        let image = Build::new("").source(format!("{url}{reference}")).image();
        assert_eq!(image.text("in"), "inside\n", "{reference}");
    }
    // Another Dockerfile of the repository, also if one of that name lies around here.
    let image = Build::new("").source(&url).args(["--file", "sub/../sub/Dockerfile"]).run();
    image.failure(1, &["`in` was not found"]);
}

#[test]
fn what_is_not_there() {
    let (repositories, commits) = app();
    std::fs::create_dir(repositories.path().join("gone")).unwrap();
    repositories.create("empty");
    let server = WebServer::git(None, repositories.path(), None);
    let url = server.url();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = "0123456789abcdef0123456789abcdef01234567";
    for (source, said) in [
        (format!("{url}/app.git#mian"), "no branch, tag or commit `mian` (did you mean main?)"),
        (format!("{url}/app.git#{other}"), other),
        (format!("{url}/app.git#a..b"), "no branch, tag or commit `a..b`"),
        (format!("{url}/app.git?ref=dev&commit={}", commits[0]), "checksum mismatch"),
        (format!("{url}/app.git#:none"), "there is no directory `none` in it"),
        (format!("{url}/app.git?ref=a#b"), "not both"),
        (format!("{url}/app.git?reff=a"), "unexpected query \"reff\""),
        (format!("{url}/none.git"), "there is no git repository at"),
        (format!("{url}/empty.git"), "is empty"),
        (format!("http://{unused}/app.git"), "Connection refused"),
        ("https://no-such-host.invalid/app.git".to_owned(), "no-such-host.invalid"),
        ("ftp://host/app.git".to_owned(), "`ftp://` is not the beginning of a build context"),
    ] {
        Build::new("").source(source).run().failure(1, &[said]);
    }
}

#[test]
fn a_login_is_sent_and_never_shown() {
    let (repositories, _) = app();
    // x-access-token:s3cret, and user:s3cret
    let token = "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0";
    let user = "Basic dXNlcjpzM2NyZXQ=";
    let server = WebServer::git(None, repositories.path(), Some(token));
    let url = format!("{}/app.git", server.url());
    let refused = Build::new("").source(&url).run().failure(1, &["refuses access", "GIT_AUTH_TOKEN"]);
    assert!(!refused.stderr.contains("s3cret"));
    let with = |id: &str, value: &str| {
        Build::new("").source(&url).arg("--secret").arg(format!("id={id},env=VALUE")).env("VALUE", value)
    };
    let image = with("GIT_AUTH_TOKEN", "s3cret").image();
    assert_eq!(image.text("all/file"), "two\n");
    with("GIT_AUTH_TOKEN.127.0.0.1", "s3cret").run().success();
    with("GIT_AUTH_HEADER", token).run().success();
    with("GIT_AUTH_TOKEN", "wrong").run().failure(1, &["refuses access"]);
    with("GIT_AUTH_TOKEN.example.org", "s3cret").run().failure(1, &["refuses access"]);

    let server = WebServer::git(None, repositories.path(), Some(user));
    let with_user = format!("http://user:s3cret@{}/app.git", server.host());
    let outcome = Build::new("").source(&with_user).run().success();
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    // The login also holds for ADD, and is in no layer, not even in a kept `.git`.
    let image = Build::new(&format!("FROM scratch\nADD --keep-git-dir {with_user} /a\n")).image();
    assert!(image.text("a/.git/config").contains("/app.git"));
    assert!(!image.text("a/.git/config").contains("s3cret"));
}

#[test]
fn an_unknown_authority_is_refused() {
    let (repositories, _) = app();
    let authority = Arc::new(Authority::new(false));
    let server = WebServer::git(Some(Arc::clone(&authority)), repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    Build::new("").source(&url).run().failure(1, &["certificate"]);
    let trusting = Build::new("");
    let pem = trusting.beside("authority.pem");
    std::fs::write(&pem, &authority.pem).unwrap();
    let image = trusting.source(&url).env("SSL_CERT_FILE", pem.display().to_string()).image();
    assert_eq!(image.text("all/file"), "two\n");
}

#[test]
fn submodules_come_along() {
    let repositories = Repositories::new();
    let (inner, middle, outer) =
        (repositories.create("inner"), repositories.create("middle"), repositories.create("outer"));
    inner.write("inner-file", "inner\n").commit("inner");
    // Relative, as GitLab recommends; and by its whole address, on a server that the parent knows nothing of.
    let server = WebServer::git(None, repositories.path(), None);
    let add = |copy: &crate::support::WorkingCopy, name: &str, url: &str, path: &str| {
        let bare = repositories.path().join(format!("{name}.git")).display().to_string();
        copy.git(&["submodule", "add", "-q", &bare, path]);
        copy.git(&["config", "-f", ".gitmodules", &format!("submodule.{path}.url"), url]);
    };
    add(&middle, "inner", "../inner.git", "deep/inner");
    middle.write("middle-file", "middle\n").commit("middle");
    add(&outer, "middle", &format!("{}/middle.git", server.url()), "middle");
    outer.write("Dockerfile", ALL).commit("outer");
    let url = format!("{}/outer.git", server.url());
    let image = Build::new("").source(&url).image();
    assert_eq!(image.text("all/middle/middle-file"), "middle\n");
    assert_eq!(image.text("all/middle/deep/inner/inner-file"), "inner\n");
    assert!(!image.below("all").iter().any(|path| path.ends_with("/.git")));
    let image = Build::new("").source(format!("{url}?submodules=false")).image();
    assert_eq!(image.below("all"), [".gitmodules", "Dockerfile", "middle"]);

    // The commit of a submodule that its repository does not have.
    outer.git(&["update-index", "--cacheinfo", "160000,0123456789abcdef0123456789abcdef01234567,middle"]);
    outer.git(&["commit", "-q", "-m", "broken"]);
    outer.push();
    Build::new("")
        .source(&url)
        .run()
        .failure(1, &["cannot fetch the submodule `middle`", "0123456789abcdef"]);
}

#[test]
fn what_has_come_is_told_in_bytes() {
    let repositories = Repositories::new();
    let copy = repositories.create("large");
    // Random numbers are not made any smaller on the way.
    let mut noise = vec![0; 3 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    std::fs::write(copy.path().join("noise"), &noise).unwrap();
    copy.write("Dockerfile", ALL).commit("large");
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/large.git", server.url());
    let add = format!("FROM scratch\nADD {url} /\n");
    for build in [Build::new("").source(&url), Build::new(&add)] {
        let said = build.args(["--progress", "json"]).run().success().stderr;
        let mut events = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let last = events.rfind(|event| event["event"] == "progress").unwrap();
        assert!(last["done"].as_u64().unwrap() > 3 << 20, "{said}");
        assert_eq!(last["done"], last["total"], "{said}");
    }
}

#[test]
fn git_dir_stays_if_wanted() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    let argument = Build::new("").source(&url).arg("--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1").image();
    assert!(argument.below("all").contains(&".git/HEAD"));
    let kept = Build::new("").source(format!("{url}?keep-git-dir=true")).image();
    assert_eq!(kept.text("all/.git/HEAD"), "ref: refs/heads/main\n");
    assert_eq!(kept.text("all/.git/refs/heads/main"), format!("{}\n", commits[1]));
    let files = kept.below("all");
    assert!(files.contains(&".git/index") && files.contains(&".git/shallow"), "{files:?}");
}

/// `git daemon`, as long as the test runs.
struct Daemon(Child, u16);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Daemon {
    fn start(repositories: &Repositories) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // The program itself and not `git daemon`, whose child would outlive the test.
        let program =
            std::path::Path::new(crate::support::tool("git", ["--exec-path"]).trim()).join("git-daemon");
        let child = Command::new(program)
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", repositories.path().display()))
            .envs([
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", "safe.directory"),
                ("GIT_CONFIG_VALUE_0", "*"),
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("git is installed: run tests/tools/packages.sh");
        let daemon = Self(child, address.port());
        wait_for(address, "git daemon");
        daemon
    }
}

#[test]
fn a_repository_over_gits_own_protocol() {
    let (repositories, commits) = app();
    let daemon = Daemon::start(&repositories);
    let url = format!("git://127.0.0.1:{}/app.git", daemon.1);
    let image = Build::new("").source(&url).image();
    assert_eq!(image.text("all/file"), "two\n");
    let image = Build::new("").source(format!("{url}#{}:sub", commits[2])).image();
    assert_eq!(image.text("in"), "inside\n");
    Build::new("").source(format!("git://127.0.0.1:{}/none.git", daemon.1)).run().failure(1, &["/none.git"]);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unreachable = format!("git://127.0.0.1:{unused}/app.git");
    Build::new("").source(unreachable).run().failure(1, &["cannot reach the git server 127.0.0.1"]);
}

#[test]
fn add_of_a_repository() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    let dockerfile = format!(
        "FROM scratch\nADD {url} /main\nADD {url}#dev:sub /sub/\nADD --checksum={} {url}#v1 /v1\n\
         ADD --keep-git-dir=true {url}#v1 /kept\nADD --chown=5:6 --chmod=0700 --exclude=sub {url}?commit={} local /both/\n",
        &commits[0][..12],
        commits[2],
    );
    let image = Build::new(&dockerfile).file("local", "local\n").image();
    assert_eq!(image.text("main/file"), "two\n");
    assert_eq!(image.below("sub"), ["Dockerfile", "in"]);
    assert_eq!(image.text("v1/file"), "one\n");
    assert!(!image.below("v1").iter().any(|path| path.starts_with(".git/")));
    assert_eq!(image.text("kept/.git/HEAD"), format!("{}\n", commits[0]));
    assert_eq!((image.text("both/file"), image.text("both/local")), ("dev\n".into(), "local\n".into()));
    assert_eq!((image.at("both/file").mode, image.at("both/file").owner), (0o700, (5, 6)));
    assert!(!image.below("both").contains(&"sub"));
}

#[test]
fn add_of_a_known_commit_fetches_nothing() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    let posts = |server: &WebServer| {
        let requests = server.requests().into_iter();
        requests.filter(|request| String::from_utf8_lossy(&request.body).contains("command=fetch")).count()
    };
    let store = tempfile::tempdir().unwrap();
    let build = |reference: &str| {
        Build::new(&format!("FROM scratch\nADD {url}{reference} /a\n")).store(store.path()).run().success()
    };
    build("#dev");
    assert_eq!(posts(&server), 1);
    let again = build("#dev");
    assert!(again.stderr.contains("cached"), "{}", again.stderr);
    assert_eq!(posts(&server), 1, "the commit was known");
    let requests = server.requests().len();
    build(&format!("#{}", commits[2]));
    assert_eq!(server.requests().len(), requests, "nobody need be asked what a commit id means");
    // The branch moves on.
    let copy = repositories.path().join("app.git").display().to_string();
    crate::support::tool("git", ["-C", &copy, "update-ref", "refs/heads/dev", &commits[0]]);
    build("#dev");
    assert_eq!(posts(&server), 2);
}

#[test]
fn add_that_cannot_be_is_an_error_at_its_place() {
    let (repositories, commits) = app();
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/app.git", server.url());
    for (line, said) in [
        (format!("ADD {url}#none /"), "no branch, tag or commit `none`"),
        (format!("ADD --checksum={} {url}#dev /", commits[0]), "checksum mismatch"),
        (format!("ADD --checksum={} {url}?commit={} /", commits[0], commits[1]), "checksum mismatch"),
        (format!("ADD --checksum=xyz {url} /"), "no commit id"),
        (format!("ADD --keep-git-dir=false {url}?keep-git-dir=1 /"), "inconsistent keep-git-dir"),
        (format!("ADD {url}?x=1 /"), "unexpected query \"x\""),
        (format!("ADD {url}#:none /"), "there is no directory `none` in it"),
        ("ADD git@127.0.0.1:a/b /".to_owned(), "127.0.0.1"),
    ] {
        Build::new(&format!("FROM scratch\n{line}\n")).run().failure(1, &[said, "Dockerfile:2:"]);
    }
    Build::new(&format!("FROM scratch\nADD {url} /\n")).arg("--offline").run().failure(1, &["`--offline`"]);
}

#[test]
fn links_do_not_lead_out_of_a_repository() {
    let repositories = Repositories::new();
    let copy = repositories.create("evil");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, copy.path().join(name)).unwrap();
    };
    link("/etc/passwd", "Dockerfile");
    link("/etc", "etc");
    link("../../../../../../../etc", "up");
    copy.write("good", "FROM scratch\nCOPY etc/passwd /stolen\n").commit("evil");
    let server = WebServer::git(None, repositories.path(), None);
    let url = format!("{}/evil.git", server.url());
    let outcome = Build::new("").source(&url).run().failure(1, &["there is no Dockerfile"]);
    assert!(!outcome.stderr.contains("root:"), "{}", outcome.stderr);
    // Inside the repository `/etc` is the link itself.
    Build::new("")
        .source(&url)
        .args(["-f", "good"])
        .run()
        .failure(1, &["too many levels of symbolic links in `etc/passwd`"]);
    for directory in ["etc", "up"] {
        let source = format!("{url}#:{directory}");
        Build::new("").source(source).run().failure(1, &["there is no directory"]);
    }
    Build::new(&format!("FROM scratch\nADD {url}#:etc /\n")).run().failure(1, &["there is no directory"]);
}
