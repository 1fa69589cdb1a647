//! Sending a directory: what `.dockerignore` leaves of it, as a tar that is made while it is sent.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::context::fetch::write_archive;
use crate::context::ignore::Ignore;
use crate::pipeline::describe;

/// Bytes that are sent at a time, and how many times as much may wait for the connection.
const BUFFER: usize = 64 << 10;
const CHUNKS: usize = 4;

/// Where the Dockerfile is.
fn place(directory: &Path, file: Option<&Path>) -> PathBuf {
    match file {
        None => {
            let usual = directory.join("Dockerfile");
            let lower = directory.join("dockerfile");
            if !usual.exists() && lower.exists() { lower } else { usual }
        }
        // As `cooper build` looks for it.
        Some(file) if file.exists() => file.to_owned(),
        Some(file) => directory.join(file),
    }
}

/// The text of the Dockerfile, which need not be among the files that are sent.
pub(super) fn dockerfile(directory: &Path, file: Option<&Path>) -> Result<String, String> {
    let path = place(directory, file);
    std::fs::read_to_string(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

/// The rules of `DOCKERFILE.dockerignore`, or else of the directory's `.dockerignore`.
pub(super) fn ignore(directory: &Path, file: Option<&Path>) -> Result<Ignore, String> {
    let mut own = place(directory, file).into_os_string();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), directory.join(".dockerignore")] {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return Ignore::parse(&text)
                    .map_err(|error| format!("`{}`: {}", path.display(), describe(&error)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
        }
    }
    Ok(Ignore::default())
}

/// The archive of a directory, and what came of making it.
pub(super) fn stream(directory: PathBuf, ignore: Ignore) -> (reqwest::Body, JoinHandle<Result<(), String>>) {
    let (to, from) = mpsc::channel(CHUNKS);
    let packing = tokio::task::spawn_blocking(move || {
        let context = Context::load(&directory, &ignore).map_err(|error| describe(&error));
        let sender = Sender(to.clone());
        let packed = context.and_then(|context| {
            let target = io::BufWriter::with_capacity(BUFFER, sender);
            let mut target = match write_archive(&context, target) {
                // The service has answered before the end; its answer says why.
                Err(error) if is_broken_pipe(&error) => return Ok(()),
                written => written.map_err(|error| describe(&error))?,
            };
            match target.flush() {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
                _ => Ok(()),
            }
        });
        if packed.is_err() {
            // What is half an archive must not look whole.
            let _ = to.blocking_send(Err(io::Error::other("the context cannot be read")));
        }
        packed
    });
    let chunks = futures_util::stream::unfold(from, |mut from| async move {
        let chunk = from.recv().await?;
        Some((chunk, from))
    });
    (reqwest::Body::wrap_stream(chunks), packing)
}

/// Writes to a connection from a thread that may block.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    false
}
