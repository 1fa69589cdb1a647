//! Just enough of HTTP/1.1: heads, bodies of known length, connections that stay open.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

/// A request; names of headers are in lower case.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The values of a query parameter.
    pub(super) fn query(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        values(query.as_bytes(), name)
    }
}

/// The values of `name` in a form.
pub(super) fn values(form: &[u8], name: &str) -> Vec<String> {
    let pairs = url::form_urlencoded::parse(form);
    pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Close the connection after this many bytes of the body.
    pub(super) cut: Option<usize>,
    /// Send this many bytes at once, with a rest between.
    pub(super) slow: Option<(usize, Duration)>,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None, slow: None }
    }

    pub(super) fn header(mut self, name: &str, value: impl Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// A connection, seen from the server.
pub(super) struct Connection<S: Read + Write> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// The head of the next request; `None` when there is none. What is not HTTP is answered with 400.
    pub(super) fn read_head(&mut self) -> io::Result<Option<Request>> {
        let mut line = Vec::new();
        if self.stream.by_ref().take(64 << 10).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next())
        else {
            self.stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.stream.by_ref().take(64 << 10).read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None => return Ok(Some(Request { method, target, headers, body: Vec::new() })),
            };
        }
    }

    /// Reads the body into `request`, or as much as `limit` allows or arrives.
    pub(super) fn read_body(&mut self, request: &mut Request, limit: Option<usize>) -> io::Result<()> {
        let length: usize = request.header("content-length").map_or(0, |value| value.parse().unwrap());
        let wanted = limit.unwrap_or(length).min(length);
        let mut buffer = vec![0; 64 << 10];
        while request.body.len() < wanted {
            let free = (wanted - request.body.len()).min(buffer.len());
            let count = self.stream.read(&mut buffer[..free])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            request.body.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, request: &Request, response: &Response) -> io::Result<()> {
        let Response { status, headers, body, cut, slow } = response;
        let mut head = format!("HTTP/1.1 {status} Status\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if !headers.iter().any(|(name, _)| name == "Content-Length") && *status != 204 {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        let body = if request.method == "HEAD" { &[][..] } else { &body[..cut.unwrap_or(body.len())] };
        match slow {
            Some((size, rest)) => {
                for piece in body.chunks(*size) {
                    stream.write_all(piece)?;
                    stream.flush()?;
                    std::thread::sleep(*rest);
                }
            }
            None => stream.write_all(body)?,
        }
        stream.flush()
    }
}
