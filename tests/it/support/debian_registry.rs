//! A real registry: Debian's `docker-registry`, with a password.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tool;

/// A running registry with the user `user` and the password `secret`, on loopback.
pub(crate) struct DebianRegistry {
    process: Child,
    host: String,
    directory: TempDir,
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl DebianRegistry {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// One that takes no pushes.
    pub(crate) fn start_read_only() -> Self {
        Self::start_with(", maintenance: {readonly: {enabled: true}}")
    }

    /// With more settings of its storage.
    fn start_with(storage: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let passwords = directory.path().join("htpasswd");
        std::fs::write(&passwords, tool("htpasswd", ["-Bbn", "-C4", "user", "secret"])).unwrap();
        // The port is free again for a moment; nothing else here binds ports it was not given.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("localhost:{port}");
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}{storage}}}\n\
             auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            root = directory.path().join("data").display(),
            passwords = passwords.display(),
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .env("OTEL_TRACES_EXPORTER", "none")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed: run tests/tools/packages.sh");
        let registry = Self { process, host, directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry.log_in("secret");
        registry
    }

    /// `localhost:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A directory for `DOCKER_CONFIG` with the right password.
    pub(crate) fn docker_config(&self) -> PathBuf {
        self.directory.path().join("docker")
    }

    /// Writes a `config.json` with this password.
    pub(crate) fn log_in(&self, password: &str) {
        use base64::Engine as _;
        std::fs::create_dir_all(self.docker_config()).unwrap();
        let login = base64::engine::general_purpose::STANDARD.encode(format!("user:{password}"));
        let config = serde_json::json!({"auths": {&self.host: {"auth": login}}});
        std::fs::write(self.docker_config().join("config.json"), config.to_string()).unwrap();
    }

    /// Where its blobs, manifests and tags are.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Removes the blobs that no manifest refers to; gives what it printed.
    pub(crate) fn collect_garbage(&self) -> String {
        let config = self.directory.path().join("config.yml").display().to_string();
        tool("docker-registry", ["garbage-collect", &config])
    }

    /// The requests so far, as the registry's log has them.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Copies an image of a layout into the registry.
    pub(crate) fn load(&self, layout: &Path, tag: &str, name: &str) {
        let authfile = self.docker_config().join("config.json").display().to_string();
        let source = format!("oci:{}:{tag}", layout.display());
        let target = format!("docker://{}/{name}", self.host);
        tool(
            "skopeo",
            ["copy", "-q", "--all", "--dest-tls-verify=false", "--authfile", &authfile, &source, &target],
        );
    }

    /// Copies an image of the registry into a layout, as its only image.
    pub(crate) fn save(&self, name: &str, layout: &Path) {
        let authfile = self.docker_config().join("config.json").display().to_string();
        let source = format!("docker://{}/{name}", self.host);
        let target = format!("oci:{}:image", layout.display());
        tool("skopeo", ["copy", "-q", "--src-tls-verify=false", "--authfile", &authfile, &source, &target]);
    }
}
