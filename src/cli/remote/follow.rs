//! Showing a build that runs elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::Failure;
use super::client::Client;
use crate::cli::build::{complain, say};
use crate::cli::progress::Progress;
use crate::event::Reporter;
use crate::pipeline;
use crate::serve::{Build, BuildId, State, told};

/// How often a stream that broke off is taken up again without anything new.
const ATTEMPTS: u32 = 10;

/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// Most bytes of one event.
const MAX_EVENT: usize = 16 << 20;

/// Reads a stream of events, WHATWG HTML §9.2.
#[derive(Debug, Default)]
struct Frames {
    buffer: Vec<u8>,
    name: String,
    data: Vec<u8>,
    /// The id of the last event.
    last: Option<String>,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    name: String,
    data: Vec<u8>,
}

impl Frames {
    /// What came; gives the events that are whole by now.
    fn take(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.buffer[begin..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer[begin..begin + length].to_vec();
            begin += length + 1;
            frames.extend(self.line(&line));
        }
        self.buffer.drain(..begin);
        frames
    }

    fn line(&mut self, line: &[u8]) -> Option<Frame> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return (!data.is_empty()).then_some(Frame { name, data });
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => self.data.extend_from_slice(value),
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" => self.last = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
        None
    }

    /// What was begun when the stream broke off comes again.
    fn reset(&mut self) {
        *self = Self { last: self.last.take(), ..Self::default() };
    }
}

/// Shows a build until it has ended. A stream that breaks off is taken up where it broke.
pub(super) async fn follow(client: &Client, id: &BuildId, reporter: &dyn Reporter) -> Result<Build, String> {
    let mut frames = Frames::default();
    let mut failures = 0;
    loop {
        let before = frames.last.clone();
        let broke = match once(client, id, reporter, &mut frames).await {
            Ok(Some(build)) => return Ok(build),
            Ok(None) => "the stream of events ended before the build".to_owned(),
            Err(error) => error,
        };
        failures = if frames.last == before { failures + 1 } else { 0 };
        if failures >= ATTEMPTS {
            return Err(format!("{broke}; the build {id} may go on: `cooper remote logs --follow {id}`"));
        }
        frames.reset();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(
    client: &Client,
    id: &BuildId,
    reporter: &dyn Reporter,
    frames: &mut Frames,
) -> Result<Option<Build>, String> {
    let mut response = client.events(id, frames.last.as_deref()).await?;
    while let Some(chunk) =
        response.chunk().await.map_err(|error| pipeline::describe(&error.without_url()))?
    {
        for frame in frames.take(&chunk) {
            if frame.name == "end" {
                return Ok(Some(client.show(id).await?));
            }
            if let Some(event) = told::parse(&frame.data) {
                reporter.report(&event);
            }
        }
        if frames.buffer.len() > MAX_EVENT {
            return Err("the service sends an event that is too long".to_owned());
        }
    }
    Ok(None)
}

/// Says what came of a build, as a local one does.
pub(super) fn conclude(build: &Build, progress: Progress) -> Result<(), Failure> {
    match (build.state, &build.result) {
        (State::Succeeded, Some(built)) => {
            if progress == Progress::Quiet || progress != Progress::Json && !std::io::stdout().is_terminal() {
                say(&mut std::io::stdout(), &built.digest.to_string());
            }
            if progress != Progress::Quiet && progress != Progress::Json {
                for name in &built.images {
                    complain(&format!("pushed {name}"));
                }
                let seconds = match (build.started_at, build.ended_at) {
                    (Some(started), Some(ended)) => ended.seconds_since(started),
                    _ => 0.0,
                };
                complain(&format!("built {} in {seconds:.2}s", built.digest));
            }
            Ok(())
        }
        (State::Cancelled, _) => {
            complain(&pipeline::error_line(build.error.as_deref().unwrap_or("cancelled"), true));
            Err(Failure::Build(130))
        }
        _ => {
            complain(&pipeline::error_line(build.error.as_deref().unwrap_or("the build failed"), true));
            Err(Failure::Build(build.exit_code.filter(|code| *code != 0).unwrap_or(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_streams_in_pieces() {
        let text = b":\n\nid: 7\ndata: {\"a\":1}\n\nevent: end\nid: 9\ndata: x\n\nid: 11\ndata: half";
        for size in [1, 3, 1000] {
            let mut frames = Frames::default();
            let all: Vec<Frame> = text.chunks(size).flat_map(|chunk| frames.take(chunk)).collect();
            let frame =
                |name: &str, data: &str| Frame { name: name.to_owned(), data: data.as_bytes().to_vec() };
            assert_eq!(all, [frame("", "{\"a\":1}"), frame("end", "x")]);
            frames.reset();
            assert!(frames.data.is_empty() && frames.buffer.is_empty());
        }
    }
}
