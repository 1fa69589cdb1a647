//! A proxy before a registry that counts what goes through.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Longest head of a request, in bytes.
const MAX_HEAD: u64 = 256 << 10;

/// What a registry without TLS answers to a builder that tries TLS first, which then goes on without.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Bytes moved at once.
const BUFFER: usize = 256 << 10;

/// What went through since it was last asked, as the builder sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    /// Bytes from the registry.
    pub(super) received: u64,
    /// Bytes to the registry.
    pub(super) sent: u64,
    /// First lines of the requests.
    pub(super) requests: Vec<String>,
}

/// Passes connections on to a registry.
#[derive(Debug)]
pub(super) struct Proxy {
    host: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    counted: Mutex<Counted>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters are consistent between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Listens at this address of the machine, which builders know by `name`, for as long as this process lives.
    pub(super) fn start(target: SocketAddr, listen: IpAddr, name: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((listen, 0))?;
        let host = format!("{name}:{}", listener.local_addr()?.port());
        let shared = Arc::new(Shared { target: Mutex::new(target), counted: Mutex::default() });
        let passing = Arc::clone(&shared);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&passing);
                // A connection that cannot be served is closed, which the builder reports.
                let _ = thread::Builder::new().spawn(move || pass(&client, &shared));
            }
        })?;
        Ok(Self { host, shared })
    }

    /// `NAME:PORT`.
    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    /// From now on, new connections lead there.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// What was counted since the last call.
    pub(super) fn take(&self) -> Counted {
        std::mem::take(&mut *lock(&self.shared.counted))
    }
}

fn pass(client: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut requests = BufReader::with_capacity(BUFFER, client);
    if !requests.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase) {
        let mut client = client;
        client.write_all(NO_TLS)?;
        client.shutdown(Shutdown::Write)?;
        // Closing before all is read could cost the answer.
        return io::copy(&mut client, &mut io::sink()).map(drop);
    }
    let server = TcpStream::connect(*lock(&shared.target))?;
    server.set_nodelay(true)?;
    let (back, answers, counting) = (client.try_clone()?, server.try_clone()?, Arc::clone(shared));
    let answering = thread::Builder::new().spawn(move || {
        let count = |bytes| lock(&counting.counted).received += bytes;
        // A broken connection ends both ways; each side notices by itself.
        let _ = transfer(&mut &answers, &mut &back, u64::MAX, &count);
        let _ = back.shutdown(Shutdown::Both);
    })?;
    let count = |bytes| lock(&shared.counted).sent += bytes;
    while let Some(request) = head(&mut requests)? {
        {
            let mut counted = lock(&shared.counted);
            counted.requests.push(request.line);
            counted.sent += request.bytes.len() as u64;
        }
        (&server).write_all(&request.bytes)?;
        match request.body {
            Body::Of(length) => transfer(&mut requests, &mut &server, length, &count)?,
            Body::Chunked => chunks(&mut requests, &mut &server, &count)?,
        }
    }
    // What was asked may still be answered.
    server.shutdown(Shutdown::Write)?;
    let _ = answering.join();
    Ok(())
}

/// What a request begins with. See RFC 9112.
struct Head {
    line: String,
    bytes: Vec<u8>,
    body: Body,
}

enum Body {
    Of(u64),
    Chunked,
}

fn head(requests: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut bytes = Vec::new();
    let mut limited = requests.take(MAX_HEAD);
    let (mut line, mut body) = (None, Body::Of(0));
    loop {
        let start = bytes.len();
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return if start == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let text = String::from_utf8_lossy(&bytes[start..]);
        let text = text.trim_end();
        if text.is_empty() {
            return Ok(line.map(|line| Head { line, bytes, body }));
        }
        match text.split_once(':') {
            _ if line.is_none() => line = Some(text.to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                body = Body::Of(value.trim().parse().map_err(io::Error::other)?);
            }
            Some((name, value))
                if name.eq_ignore_ascii_case("transfer-encoding")
                    && value.trim().eq_ignore_ascii_case("chunked") =>
            {
                body = Body::Chunked;
            }
            _ => {}
        }
    }
}

/// Passes a chunked body on, to its last, empty chunk and the trailers behind it.
fn chunks(from: &mut impl BufRead, to: &mut impl Write, count: &impl Fn(u64)) -> io::Result<()> {
    let line = |from: &mut dyn BufRead, to: &mut dyn Write| -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        from.take(MAX_HEAD).read_until(b'\n', &mut line)?;
        count(line.len() as u64);
        to.write_all(&line)?;
        if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
    };
    loop {
        let text = line(from, to)?;
        let text = String::from_utf8_lossy(&text);
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            while line(from, to)?.trim_ascii_end() != b"" {}
            return Ok(());
        }
        // The line's end belongs to the chunk.
        transfer(from, to, size + 2, count)?;
    }
}

/// Moves `length` bytes, or all there are if there are less.
fn transfer(from: &mut impl Read, to: &mut impl Write, length: u64, count: &impl Fn(u64)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let moved = match from.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Counted first: whoever has received it may ask for the count at once.
        count(moved as u64);
        to.write_all(&buffer[..moved])?;
        left -= moved as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tries_tls_is_told_at_once_that_there_is_none() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap(), [127, 0, 0, 1].into(), "localhost").unwrap();
        let port = proxy.host().rsplit(':').next().unwrap().parse().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"\x16\x03\x01\x02\x00\x01\n more of a greeting").unwrap();
        let mut answer = Vec::new();
        // Ends without the client's closing its side.
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, NO_TLS);
        assert!(proxy.take().requests.is_empty());
    }

    #[test]
    fn counts_requests_and_bytes() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap(), [127, 0, 0, 1].into(), "localhost").unwrap();
        let bodies = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            while !all.ends_with(b"last") {
                let count = stream.read(&mut buffer).unwrap();
                all.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            all
        });
        let port = proxy.host().rsplit(':').next().unwrap().parse().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // A body that looks like a request is none.
        let sent = "PUT /a HTTP/1.1\r\ncontent-LENGTH: 22\r\n\r\nGET /none HTTP/1.1\r\n\r\n\
                    PATCH /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\n\r\n\
                    PUT /c HTTP/1.1\r\nContent-Length: 4\r\n\r\nlast";
        client.write_all(sent.as_bytes()).unwrap();
        let mut answer = [0; 40];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(bodies.join().unwrap(), sent.as_bytes());
        let counted = proxy.take();
        assert_eq!(counted.requests, ["PUT /a HTTP/1.1", "PATCH /b HTTP/1.1", "PUT /c HTTP/1.1"]);
        assert_eq!((counted.sent, counted.received), (sent.len() as u64, 40));
        assert!(proxy.take().requests.is_empty());
    }
}
