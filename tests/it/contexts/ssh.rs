//! Git over SSH with a real `sshd`. Checklist: kaniko.md 2.4; issue 6, "deploy keys" with `known_hosts`.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Build, Outcome, Repositories, tool, wait_for};

/// A server for one user, who logs in with one key, and whose command is always git's.
struct Sshd {
    process: Child,
    directory: TempDir,
    address: SocketAddr,
    user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Sshd {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("sshd").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        keygen(&at("host-key"), "ed25519");
        keygen(&at("user-key"), "ed25519");
        keygen(&at("rsa-key"), "rsa");
        keygen(&at("other-key"), "ed25519");
        let authorized =
            ["user-key.pub", "rsa-key.pub"].map(|name| std::fs::read_to_string(at(name)).unwrap());
        std::fs::write(at("authorized"), authorized.concat()).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nAcceptEnv GIT_PROTOCOL\nPermitRootLogin prohibit-password\n",
            at("host-key").display(),
            at("authorized").display(),
        );
        std::fs::write(at("config"), config).unwrap();
        // Where the server puts those who are not logged in yet; it comes with the package's service.
        let _ = std::fs::create_dir_all("/run/sshd");
        let log = std::fs::File::create(at("log")).unwrap();
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd is installed: run tests/tools/packages.sh");
        wait_for(address, "sshd");
        let user = tool("id", ["-un"]).trim().to_owned();
        Self { process, directory, address, user }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The line by which clients know the server: with the key in `name`.
    fn known_hosts(&self, name: &str) -> String {
        let key = std::fs::read_to_string(self.key(name)).unwrap();
        format!("[127.0.0.1]:{} {key}", self.address.port())
    }

    fn url(&self, path: &Path) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, path.display())
    }
}

fn keygen(path: &Path, kind: &str) {
    tool("ssh-keygen", ["-q", "-t", kind, "-N", "", "-f", &path.display().to_string()]);
}

/// A build in a home with these files in `.ssh`.
fn build(source: &str, home: &Path, files: &[(&str, String)]) -> Build {
    let directory = home.join(".ssh");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    Build::new("").source(source).env("HOME", home.display().to_string())
}

fn repository() -> (Repositories, String) {
    let repositories = Repositories::new();
    let copy = repositories.create("app");
    copy.write("Dockerfile", "FROM scratch\nCOPY file /\n").write("file", "one\n");
    let first = copy.commit("first");
    copy.write("file", "two\n").commit("second");
    (repositories, first)
}

#[test]
fn deploy_keys_and_known_hosts() {
    let sshd = Sshd::start();
    let (repositories, first) = repository();
    let path = repositories.path().join("app.git");
    let read = |name: &str| std::fs::read_to_string(sshd.key(name)).unwrap();
    let known = ("known_hosts", sshd.known_hosts("host-key.pub"));
    for (name, key) in [("id_ed25519", "user-key"), ("ssh-privatekey", "user-key"), ("id_rsa", "rsa-key")] {
        let home = tempfile::tempdir().unwrap();
        let files = [(name, read(key)), known.clone()];
        let image = build(&sshd.url(&path), home.path(), &files).image();
        assert_eq!(image.text("file"), "two\n", "{name}");
    }
    let home = tempfile::tempdir().unwrap();
    let files = [("id_ed25519", read("user-key")), known.clone()];
    let image = build(&format!("{}#{first}", sshd.url(&path)), home.path(), &files).image();
    assert_eq!(image.text("file"), "one\n");
    // Elsewhere than in the home.
    let home = tempfile::tempdir().unwrap();
    let elsewhere = home.path().join("hosts");
    std::fs::write(&elsewhere, &known.1).unwrap();
    build(&sshd.url(&path), home.path(), &[("id_ed25519", read("user-key"))])
        .env("SSH_KNOWN_HOSTS", elsewhere.display().to_string())
        .run()
        .success();
}

#[test]
fn who_is_not_known_is_refused() {
    let sshd = Sshd::start();
    let (repositories, _) = repository();
    let url = sshd.url(&repositories.path().join("app.git"));
    let read = |name: &str| std::fs::read_to_string(sshd.key(name)).unwrap();
    let key = ("id_ed25519", read("user-key"));
    let known = ("known_hosts", sshd.known_hosts("host-key.pub"));
    let run = |url: &str, files: &[(&str, String)]| -> Outcome {
        let home = tempfile::tempdir().unwrap();
        build(url, home.path(), files).run()
    };
    run(&url, std::slice::from_ref(&key)).failure(1, &["is not known", "known_hosts"]);
    let wrong = ("known_hosts", sshd.known_hosts("other-key.pub"));
    run(&url, &[key.clone(), wrong]).failure(1, &["shows a key that is not the one in `known_hosts`"]);
    let rsa = ("known_hosts", sshd.known_hosts("rsa-key.pub"));
    run(&url, &[key.clone(), rsa]).failure(1, &["shows a key that is not the one in `known_hosts`"]);
    run(&url, std::slice::from_ref(&known)).failure(1, &["there is no key to show"]);
    let other = ("id_ed25519", read("other-key"));
    run(&url, &[other, known.clone()]).failure(1, &["the one key that was shown is not welcome"]);
    let none = sshd.url(&repositories.path().join("none.git"));
    run(&none, &[key.clone(), known.clone()]).failure(1, &["does not appear to be a git repository"]);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = ("known_hosts", known.1.replace(&sshd.address.port().to_string(), &unused.port().to_string()));
    let nobody = format!("ssh://git@{unused}/app.git");
    run(&nobody, &[key, line]).failure(1, &["cannot reach the git server 127.0.0.1"]);
}

#[test]
fn patterns_hashes_and_markers() {
    let sshd = Sshd::start();
    let (repositories, _) = repository();
    let url = sshd.url(&repositories.path().join("app.git"));
    let read = |name: &str| std::fs::read_to_string(sshd.key(name)).unwrap();
    let run = |lines: &str| -> Outcome {
        let home = tempfile::tempdir().unwrap();
        let files = [("id_ed25519", read("user-key")), ("known_hosts", lines.to_owned())];
        build(&url, home.path(), &files).run()
    };
    let (own, other, port) = (read("host-key.pub"), read("other-key.pub"), sshd.address.port());
    run(&format!("[127.*]:{port} {own}")).success();
    run(&format!("*,!example.org\t{own}")).success();
    run(&format!("*,![127.0.0.?]:{port} {own}")).failure(1, &["is not known"]);
    // Hashed by OpenSSH itself.
    let hosts = sshd.key("hashed");
    std::fs::write(&hosts, sshd.known_hosts("host-key.pub")).unwrap();
    tool("ssh-keygen", ["-q", "-H", "-f", &hosts.display().to_string()]);
    let hashed = std::fs::read_to_string(&hosts).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    run(&hashed).success();
    run(&format!("@revoked * {other}{hashed}")).success();
    run(&format!("@revoked * {own}{hashed}")).failure(1, &["is known by revoked keys only"]);
    let said = run(&format!("# authorities\n@cert-authority *,[*]:* {other}"));
    said.failure(
        1,
        &["is known by the `@cert-authority` in `", "known_hosts`, line 2", "add the key of the host itself"],
    );
    run(&format!("@cert-authority * {other}{hashed}")).success();
}

/// `ssh-agent`, as long as the test runs.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn agents() {
    let sshd = Sshd::start();
    let (repositories, _) = repository();
    let url = sshd.url(&repositories.path().join("app.git"));
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent");
    let process =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let agent = Agent(process);
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for key in ["other-key", "rsa-key"] {
        let added =
            Command::new("ssh-add").arg("-q").arg(sshd.key(key)).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.unwrap().success());
    }
    let known = ("known_hosts", sshd.known_hosts("host-key.pub"));
    let socket = socket.display().to_string();
    let home = tempfile::tempdir().unwrap();
    let known = std::slice::from_ref(&known);
    build(&url, home.path(), known).arg(format!("--ssh=default={socket}")).run().success();
    build(&url, home.path(), known).env("SSH_AUTH_SOCK", &socket).run().success();
    // A Dockerfile may use only what the build was given.
    let add = |build: Build| {
        let path = build.beside("Dockerfile");
        std::fs::write(&path, format!("FROM scratch\nADD {url} /\n")).unwrap();
        build.arg(format!("--file={}", path.display()))
    };
    let context = tempfile::tempdir().unwrap();
    let context = context.path().display().to_string();
    let ambient = add(build(&context, home.path(), known)).env("SSH_AUTH_SOCK", &socket);
    ambient.run().failure(1, &["there is no key to show; give an agent with `--ssh default`"]);
    let image = add(build(&context, home.path(), known)).arg(format!("--ssh=default={socket}")).image();
    assert_eq!(image.text("file"), "two\n");
    drop(agent);
}
