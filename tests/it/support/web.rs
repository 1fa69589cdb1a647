//! Web servers of tests: any answers, plain or with TLS; and git repositories behind `git http-backend`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::registry::Authority;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How many bytes of the body are sent before the connection is cut; all if `None`.
    pub(crate) cut: Option<usize>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A web server on loopback, as long as the test runs.
pub(crate) struct WebServer {
    address: SocketAddr,
    is_tls: bool,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl WebServer {
    /// Answers with `answer`; with TLS if there is an authority.
    pub(crate) fn start(
        authority: Option<Arc<Authority>>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let (seen, is_tls) = (Arc::clone(&requests), authority.is_some());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (seen, answer, authority) = (Arc::clone(&seen), Arc::clone(&answer), authority.clone());
                std::thread::spawn(move || match authority {
                    None => serve(stream, &seen, &*answer),
                    Some(authority) => serve(authority.accept(stream), &seen, &*answer),
                });
            }
        });
        Self { address, is_tls, requests }
    }

    /// Serves the repositories in `root` by `git http-backend`. With `login`, only who sends this `Authorization`.
    pub(crate) fn git(authority: Option<Arc<Authority>>, root: &Path, login: Option<&str>) -> Self {
        let (root, login) = (root.to_owned(), login.map(str::to_owned));
        Self::start(authority, move |request| {
            if login.is_some() && request.headers.get("authorization") != login.as_ref() {
                return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"git\"");
            }
            http_backend(&root, request)
        })
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request per connection.
fn serve(stream: impl Read + Write, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) {
    let mut stream = BufReader::new(stream);
    // Who goes away, or does not trust us, is no concern of the server.
    let Some(request) = read_request(&mut stream) else { return };
    seen.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.extend(["Content-Length: ", &reply.body.len().to_string(), "\r\n\r\n"]);
    let body =
        if request.method == "HEAD" { &[][..] } else { &reply.body[..reply.cut.unwrap_or(reply.body.len())] };
    let stream = stream.get_mut();
    let _ =
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
}

fn read_request(stream: &mut BufReader<impl Read>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

/// Asks git's own CGI program.
fn http_backend(root: &Path, request: &Request) -> Reply {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed: run tests/tools/packages.sh");
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    // The program may answer before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output.stdout[..end].to_vec()).unwrap();
    let mut reply = Reply::new(200, &output.stdout[end + 4..]);
    for line in head.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name {
            "Status" => reply.status = value.split_whitespace().next().unwrap().parse().unwrap(),
            _ => reply.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    reply
}

/// Waits until somebody listens.
pub(crate) fn wait_for(address: SocketAddr, who: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(std::time::Instant::now() < deadline, "{who} does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
