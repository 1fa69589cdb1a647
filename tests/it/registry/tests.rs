//! The registry for tests is tested itself, with a client of its own: bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Effect, Fault, Registry};

/// Sends one request and reads to the end of the connection.
fn ask(registry: &Registry, request: &str) -> String {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn keeps_what_it_is_given() {
    let registry = Registry::start();
    let digest = registry.put_blob("app", "content");
    let answer = ask(&registry, &format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nRange: bytes=3-\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\ntent"), "{answer}");
    assert_eq!(registry.blob("app", digest).unwrap(), b"content");
    assert_eq!(registry.blob("other", digest), None);
}

#[test]
fn refuses_manifests_of_unknown_blobs() {
    let registry = Registry::start();
    let digest = registry.put_blob("elsewhere", "x");
    let body = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#);
    let request = format!("PUT /v2/app/manifests/1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(ask(&registry, &request).contains("MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(registry.manifest("app", "1"), None);
}

#[test]
fn fails_on_command_and_remembers() {
    let registry = Registry::start().fault(Fault::on("GET", "/v2/", Effect::Status(500)).after(1));
    let statuses: Vec<_> = (0..3).map(|_| ask(&registry, "GET /v2/ HTTP/1.1\r\n\r\n")).collect();
    let starts = ["HTTP/1.1 200 ", "HTTP/1.1 500 ", "HTTP/1.1 200 "];
    assert!(statuses.iter().zip(starts).all(|(answer, start)| answer.starts_with(start)), "{statuses:?}");
    assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [200, 500, 200]);
    assert_eq!(registry.count("GET", "/v2/"), 3);
}

#[test]
fn wants_a_login() {
    let registry = Registry::start().auth("user", "password");
    assert!(ask(&registry, "GET /v2/ HTTP/1.1\r\n\r\n").contains("WWW-Authenticate: Basic"));
    let login = "GET /v2/ HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\r\n";
    assert!(ask(&registry, login).starts_with("HTTP/1.1 200 "));
}
