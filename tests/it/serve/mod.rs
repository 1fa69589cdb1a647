//! `cooper serve` and `cooper remote` from outside: real builds into a registry.

mod access;
mod api;
mod deploy;
mod ends;
mod fleet;
mod hooks;
mod load;
mod page;
mod remote;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::Registry;
use crate::support::COOPER;

/// A running service, and the registry that it pushes to.
struct Service {
    process: Child,
    address: String,
    arguments: Vec<String>,
    log: Arc<Mutex<String>>,
    directory: Arc<TempDir>,
    registry: Arc<Registry>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its workers end when they notice.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    /// Without tokens, with these arguments besides.
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["--allow-anonymous"], arguments].concat();
        Self::with_tokens(&arguments, None)
    }

    fn with_tokens(arguments: &[&str], tokens: Option<&Value>) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        if let Some(tokens) = tokens {
            let path = directory.path().join("tokens.json");
            std::fs::write(&path, tokens.to_string()).unwrap();
            arguments.extend(["--tokens".to_owned(), path.display().to_string()]);
        }
        arguments.extend(["--min-free".to_owned(), "1MiB".to_owned()]);
        Self::spawn(arguments, directory, Arc::new(Registry::start()))
    }

    fn spawn(arguments: Vec<String>, directory: Arc<TempDir>, registry: Arc<Registry>) -> Self {
        let is_placed = arguments.iter().any(|argument| argument == "--listen");
        let mut process = Command::new(COOPER)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", directory.path())
            .arg("serve")
            .args(if is_placed { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .arg("--data")
            .arg(directory.path().join("data"))
            .args(&arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, address) = follow_log(process.stderr.take().unwrap());
        Self { process, address, arguments, log, directory, registry }
    }

    /// A new service in the place of this one, which has ended.
    fn again(mut self) -> Self {
        self.process.wait().unwrap();
        Self::spawn(self.arguments.clone(), Arc::clone(&self.directory), Arc::clone(&self.registry))
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        // Who refuses a body may close before it has read it.
        let _ = stream.write_all(body);
        Answer::read(&mut BufReader::new(stream))
    }

    /// Asks for a build of this Dockerfile and nothing else.
    fn build(&self, request: &Value, query: &str) -> Answer {
        let header = request.to_string();
        self.ask("POST", &format!("/v1/builds{query}"), &[("Cooper-Build", &header)], &context(&[]))
    }

    /// A request that gives the same image whenever it is done.
    fn request(&self, name: &str, dockerfile: &str) -> Value {
        json!({
            "tags": [format!("{}/{name}", self.registry.host())],
            "dockerfile_text": dockerfile,
            "build_args": {"SOURCE_DATE_EPOCH": "1000000000"},
        })
    }

    fn show(&self, id: &str) -> Value {
        self.get(&format!("/v1/builds/{id}")).ok()
    }

    /// Waits for a build to come into one of these states.
    #[track_caller]
    fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let build = self.show(id);
            if states.contains(&build["state"].as_str().unwrap()) {
                return build;
            }
            assert!(Instant::now() < deadline, "{build:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// The log, and the address that it names.
fn follow_log(stderr: ChildStderr) -> (Arc<Mutex<String>>, String) {
    let log = Arc::new(Mutex::new(String::new()));
    let (address, listening) = std::sync::mpsc::channel();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if value["message"] == "listening" {
                let _ = address.send(value["address"].as_str().unwrap().to_owned());
            }
            kept.lock().unwrap().extend([&line, "\n"]);
        }
    });
    let address = listening.recv_timeout(Duration::from_secs(30));
    let address = address.unwrap_or_else(|_| panic!("it does not listen:\n{}", log.lock().unwrap()));
    (log, address)
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(from: &mut impl std::io::BufRead) -> Self {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(from.read_line(&mut head).unwrap(), 0, "no answer: {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = Vec::new();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            loop {
                let mut line = String::new();
                from.read_line(&mut line).unwrap();
                let length = usize::from_str_radix(line.trim(), 16).unwrap();
                let mut chunk = vec![0; length + 2];
                from.read_exact(&mut chunk).unwrap();
                body.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    break;
                }
            }
        } else {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            // Who is refused before all is sent finds the connection broken behind the answer.
            body.resize(length.unwrap_or(0), 0);
            from.read_exact(&mut body).unwrap();
        }
        Self { status, head, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The body of an answer that is no refusal.
    #[track_caller]
    fn ok(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text());
        self.json()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A problem document with this status and kind.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:cooper:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

fn id(build: &Value) -> String {
    build["id"].as_str().unwrap().to_owned()
}

/// A tar of these files, and of one more, since an empty one is none.
fn context(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files.iter().chain(&[("file", b"text".as_slice())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Puts the tests' base with a shell into the registry; gives its name.
fn base(registry: &Registry) -> String {
    crate::support::Served::base().put(registry, "base", "1");
    format!("{}/base:1", registry.host())
}

/// How often, in this run: more at night.
fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// Whether a worker of this service is there.
fn workers(data: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("\0worker\0") && line.contains(&*data.to_string_lossy()) {
            found.push(process);
        }
    }
    found
}
