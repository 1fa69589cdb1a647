//! A network of its own, with a name server and a registry on the usual ports.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::tool;

/// A network namespace with nothing but loopback, where programs may have any port.
pub(super) struct Network {
    /// Holds the namespace.
    holder: Child,
    servers: Vec<Child>,
    directory: TempDir,
}

impl Drop for Network {
    fn drop(&mut self) {
        for process in self.servers.iter_mut().chain([&mut self.holder]) {
            // It may have ended by itself; a test that depends on it has failed then.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Network {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = "ip link set lo up && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = holder.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        assert_eq!(line, "ready\n", "no network namespace");
        Self { holder, servers: Vec::new(), directory }
    }

    /// A directory for what belongs to it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that runs in this network.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .arg("--")
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program that must succeed, and gives what it printed.
    #[track_caller]
    pub(super) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn serve(&mut self, program: &str, arguments: &[&str], port: u16) {
        let log = std::fs::File::create(self.path(&format!("{port}.log"))).unwrap();
        let mut command = self.command(program);
        command.args(arguments).env("OTEL_TRACES_EXPORTER", "none");
        let server = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.servers.push(server.unwrap_or_else(|error| panic!("{program}: {error}")));
        let deadline = Instant::now() + Duration::from_secs(20);
        // Listening, for TCP and UDP, on this port in hexadecimal.
        let address = format!(":{port:04X} ");
        while !self.tool("cat", &["/proc/net/tcp", "/proc/net/udp", "/proc/net/tcp6"]).contains(&address) {
            let log = std::fs::read_to_string(self.path(&format!("{port}.log"))).unwrap();
            assert!(Instant::now() < deadline, "{program} does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a name server at 127.0.0.1 that knows one name, as the address 127.0.0.1.
    pub(super) fn serve_name(&mut self, name: &str) {
        let address = format!("--address=/{name}/127.0.0.1");
        let options = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file"];
        let place = ["--listen-address=127.0.0.1", "--bind-interfaces", "--conf-file=/dev/null", &address];
        self.serve("dnsmasq", &[&options[..], &place].concat(), 53);
    }

    /// Starts a registry with the user `user` and the password `secret`. With a certificate and its key it speaks TLS.
    pub(super) fn serve_registry(&mut self, port: u16, tls: Option<(&Path, &Path)>) {
        let passwords = self.path("htpasswd");
        std::fs::write(&passwords, tool("htpasswd", ["-Bbn", "-C4", "user", "secret"])).unwrap();
        let mut text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            root = self.path("data").display(),
            passwords = passwords.display(),
        );
        if let Some((certificate, key)) = tls {
            let (certificate, key) = (certificate.display(), key.display());
            writeln!(text, "  tls: {{certificate: {certificate}, key: {key}}}").unwrap();
        }
        let config = self.path("registry.yml");
        std::fs::write(&config, text).unwrap();
        self.serve("docker-registry", &["serve", &config.display().to_string()], port);
    }

    /// Writes docker's `config.json` for a registry to a directory, and gives its text.
    pub(super) fn log_in(&self, host: &str) -> String {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode("user:secret");
        let config = serde_json::json!({"auths": {host: {"auth": login}}}).to_string();
        std::fs::write(self.path("config.json"), &config).unwrap();
        config
    }

    /// Copies an image of a layout into the registry at `localhost:PORT`.
    #[track_caller]
    pub(super) fn load(&self, layout: &Path, tag: &str, port: u16, name: &str) {
        let source = format!("oci:{}:{tag}", layout.display());
        let target = format!("docker://localhost:{port}/{name}");
        let options = ["copy", "-q", "--all", "--dest-tls-verify=false", "--dest-creds=user:secret"];
        self.tool("skopeo", &[&options[..], &[&source, &target]].concat());
    }

    /// What skopeo says of an image of the registry at `localhost:PORT`.
    #[track_caller]
    pub(super) fn inspect(&self, options: &[&str], port: u16, name: &str) -> String {
        let image = format!("docker://localhost:{port}/{name}");
        let first = ["inspect", "--tls-verify=false", "--creds=user:secret"];
        self.tool("skopeo", &[&first[..], options, &[&image]].concat())
    }
}
