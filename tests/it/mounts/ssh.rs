//! `type=ssh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ISOLATIONS;
use crate::support::{Build, tool};

/// An SSH agent with one key.
struct Agent {
    child: Child,
    socket: PathBuf,
    /// What `ssh-add -l` says.
    list: String,
    _directory: tempfile::TempDir,
}

impl Agent {
    fn begin() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (socket, key) = (directory.path().join("agent"), directory.path().join("key"));
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("openssh-client is installed: run tests/tools/packages.sh");
        let mut agent = Self { child, socket, list: String::new(), _directory: directory };
        let begun = Instant::now();
        while !agent.socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the agent does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &key.display().to_string()]);
        agent.add(&["-q", &key.display().to_string()]);
        agent.list = agent.add(&["-l"]);
        agent
    }

    fn add(&self, arguments: &[&str]) -> String {
        let output =
            Command::new("ssh-add").args(arguments).env("SSH_AUTH_SOCK", &self.socket).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts `ssh-add` and the libraries it needs into the context's directory `ssh`.
fn bring_ssh_add(context: &Path) {
    let directory = context.join("ssh");
    std::fs::create_dir(&directory).unwrap();
    let libraries = tool("ldd", ["/usr/bin/ssh-add"]);
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain(["/usr/bin/ssh-add"]) {
        let name = Path::new(path).file_name().unwrap();
        // The loader gets a name that does not depend on the machine.
        let name = if name.to_string_lossy().starts_with("ld-") { "loader".as_ref() } else { name };
        std::fs::copy(path, directory.join(name)).unwrap();
    }
}

/// Lists the agent's keys, from inside a RUN.
const LIST: &str = "/ssh/loader --library-path /ssh /ssh/ssh-add -l";

#[test]
fn an_agent_is_forwarded() {
    let agent = Agent::begin();
    for isolation in ISOLATIONS {
        let image = Build::new(&format!(
            "FROM base\n\
             COPY ssh /ssh\n\
             RUN --mount=type=ssh {LIST} > /tmp/root && echo $SSH_AUTH_SOCK > /tmp/where && \
             stat -c '%u:%g %a' $SSH_AUTH_SOCK > /tmp/stat && {LIST} && {LIST}\n\
             RUN --mount=type=ssh,id=other,target=/run/other,mode=0666,required {LIST} > /tmp/other && \
             test $SSH_AUTH_SOCK = /run/other\n\
             RUN --mount=type=ssh,id=other --mount=type=ssh ls /run/buildkit > /tmp/two; \
             echo $SSH_AUTH_SOCK >> /tmp/two\n\
             ENV SSH_AUTH_SOCK=/mine\n\
             RUN --mount=type=ssh,target=/mine {LIST} && test $SSH_AUTH_SOCK = /mine\n\
             USER app\n\
             RUN --mount=type=ssh,uid=1000,gid=50,target=/mine {LIST} > /tmp/app\n\
             RUN --mount=type=ssh,target=/mine ! {LIST}\n"
        ))
        .prepare(bring_ssh_add)
        .args(["--isolation", isolation, "--ssh", "default"])
        .args(["--ssh", &format!("other={}", agent.socket.display())])
        .env("SSH_AUTH_SOCK", agent.socket.display().to_string())
        .image();
        for place in ["root", "other", "app"] {
            assert_eq!(image.text(&format!("tmp/{place}")), agent.list, "{place}");
        }
        assert_eq!(image.text("tmp/where"), "/run/buildkit/ssh_agent.0\n");
        assert_eq!(image.text("tmp/stat"), "0:0 600\n");
        assert_eq!(image.text("tmp/two"), "ssh_agent.0\nssh_agent.1\n/run/buildkit/ssh_agent.0\n");
        assert!(!image.files.contains_key("run") && !image.files.contains_key("mine"));
    }
}

#[test]
fn a_missing_agent_is_skipped_and_what_is_none_is_refused() {
    let dockerfile = "FROM base\nRUN --mount=type=ssh test ! -e $SSH_AUTH_SOCK\n";
    Build::new(dockerfile).run().success();
    let outcome = Build::new(dockerfile).args(["--ssh", "default"]).run();
    outcome.failure(1, &["SSH_AUTH_SOCK is not set"]);
    let build = Build::new(dockerfile).file("id_ed25519", "a key");
    let argument = format!("default={}/id_ed25519", build.context().display());
    build.args(["--ssh", &argument]).run().failure(1, &["is not the socket of an SSH agent", "`ssh-add`"]);
    let outcome = Build::new(dockerfile).args(["--ssh", "default=/nowhere/at/all"]).run();
    outcome.failure(1, &["cannot use the SSH agent `default` at `/nowhere/at/all`"]);
}
