//! A stand-in for the services of clouds, for tests of recorded protocols.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::Variables;
use crate::registry::clients::Clients;
use crate::registry::{RegistrySettings, Secret};

/// Answers requests that begin with one of its texts with the text that belongs to it, and all others with 404.
pub(super) struct StandIn {
    host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub(super) fn new(answers: Vec<(&str, &str)>) -> Self {
        let answers: Vec<(String, String)> =
            answers.into_iter().map(|(request, answer)| (request.to_owned(), answer.to_owned())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let request = format!("{head}\n{}", String::from_utf8(body).unwrap());
                let answer = answers.iter().find(|(beginning, _)| request.starts_with(beginning));
                let (status, text) = answer.map_or(("404 Not Found", ""), |(_, text)| ("200 OK", text));
                heard.lock().unwrap().push(request);
                let length = text.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
                )
                .unwrap();
            }
        });
        Self { host, requests }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    /// Its root.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.host)
    }

    /// What was asked, heads and bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub(super) fn asking_with(variables: &[(&str, &str)]) -> Variables {
    variables.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

pub(super) fn clients() -> Clients {
    Clients::new(RegistrySettings::default()).unwrap()
}
