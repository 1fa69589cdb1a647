//! The log of a pod, each line once, however often the connection breaks.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::AsyncBufRead;
use futures_util::io::AsyncBufReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, LogParams};
use tokio::sync::mpsc;

use super::Notice;
use crate::kube::ApiError;
use crate::kube::manifest::BUILD_CONTAINER;

/// Longer lines are cut into pieces, in bytes.
const MAX_LINE: usize = 1 << 20;

/// How long a log may be out of reach.
const PATIENCE: Duration = Duration::from_mins(5);

/// Tells the lines of a pod's log until it ends. Only when the pod has ended is the end of a stream that of the log.
pub(super) async fn follow(
    api: Api<Pod>,
    pod: String,
    has_ended: Arc<AtomicBool>,
    notices: mpsc::Sender<Notice>,
) {
    let mut seen = Seen::default();
    let (mut wait, mut failing_since) = (Duration::from_millis(200), None);
    loop {
        let was_over = has_ended.load(Ordering::Relaxed);
        let parameters = LogParams {
            container: Some(BUILD_CONTAINER.to_owned()),
            follow: true,
            timestamps: true,
            since_time: seen.since(),
            ..LogParams::default()
        };
        let failure = match api.log_stream(&pod, &parameters).await {
            Ok(stream) => match tell(stream, &mut seen, &notices).await {
                Ok(()) if was_over => break,
                Ok(()) => None,
                Err(Stopped::Broken(error)) => {
                    tracing::debug!("the log of {pod} breaks off: {error}");
                    None
                }
                Err(Stopped::Unheard) => return,
            },
            Err(error) => Some(ApiError::from(error)),
        };
        match failure {
            None => (wait, failing_since) = (Duration::from_millis(200), None),
            // It is gone, or has none.
            Some(ApiError::Refused { code: 404, .. }) => break,
            Some(ApiError::Refused { code: 400, .. }) if was_over => break,
            Some(source) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                let is_final = source.is_final() && source.code() != Some(400);
                if is_final || since.elapsed() > PATIENCE {
                    // Nobody listens any more if this fails.
                    let _ = notices.send(Notice::Lost { action: "reading its log", source }).await;
                    return;
                }
                // 400 is the answer for a container that has not begun.
                if source.code() != Some(400) && notices.send(Notice::LogFails(source)).await.is_err() {
                    return;
                }
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
        tokio::time::sleep(wait).await;
    }
    let _ = notices.send(Notice::LogEnded).await;
}

enum Stopped {
    /// The stream failed.
    Broken(io::Error),
    /// Nobody listens any more.
    Unheard,
}

async fn tell(
    stream: impl AsyncBufRead,
    seen: &mut Seen,
    notices: &mpsc::Sender<Notice>,
) -> Result<(), Stopped> {
    let mut stream = pin!(stream);
    let mut line = Vec::new();
    loop {
        let (taken, is_whole) = {
            let buffer = stream.fill_buf().await.map_err(Stopped::Broken)?;
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len()).min(MAX_LINE - line.len())];
            line.extend_from_slice(part);
            let is_end = end == Some(part.len());
            (part.len() + usize::from(is_end), is_end || line.len() == MAX_LINE)
        };
        stream.as_mut().consume(taken);
        if is_whole {
            send(&mut line, seen, notices).await?;
        }
    }
    // The last line of a stream that breaks off may come again as a whole: only the end of the log has such a line.
    if line.is_empty() { Ok(()) } else { send(&mut line, seen, notices).await }
}

async fn send(line: &mut Vec<u8>, seen: &mut Seen, notices: &mpsc::Sender<Notice>) -> Result<(), Stopped> {
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    match seen.is_new(&text) {
        Some(text) => notices.send(Notice::Log(text.to_owned())).await.map_err(|_| Stopped::Unheard),
        None => Ok(()),
    }
}

/// Up to which line a log was told. Lines have times, which may be the same for several.
#[derive(Debug, Default)]
struct Seen {
    last: Option<Timestamp>,
    /// How many lines have that time.
    count: usize,
    /// How many of those were skipped, since the log was opened again.
    skipped: usize,
}

impl Seen {
    /// From when on the log is wanted. The API knows whole seconds.
    fn since(&mut self) -> Option<Timestamp> {
        self.skipped = 0;
        self.last.and_then(|last| Timestamp::from_second(last.as_second()).ok())
    }

    /// The line without its time, unless it was told before.
    fn is_new<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let (time, text) = line.split_once(' ').unwrap_or((line, ""));
        // What has no time is the rest of a line that was cut.
        let Ok(time) = time.parse::<Timestamp>() else { return Some(line) };
        match self.last {
            Some(last) if time < last => return None,
            Some(last) if time == last => {
                if self.skipped < self.count {
                    self.skipped += 1;
                    return None;
                }
                self.count += 1;
                self.skipped += 1;
            }
            _ => (self.last, self.count, self.skipped) = (Some(time), 1, 1),
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_once() {
        let lines = ["01.5Z a", "01.5Z b", "02Z c", "02Z d", "02.25Z e", "03Z", "03Z f"]
            .map(|line| format!("2026-11-22T10:00:{line}"));
        let all = ["a", "b", "c", "d", "e", "", "f"];
        // Broken off after each number of lines, and taken up from the beginning of that second or earlier.
        for broken in 0..=lines.len() {
            for begin in 0..=broken {
                let mut seen = Seen::default();
                let mut told: Vec<&str> = Vec::new();
                seen.since();
                told.extend(lines[..broken].iter().filter_map(|line| seen.is_new(line)));
                let since = seen.since();
                let second = |line: &str| line[..20].trim_end_matches(['.', 'Z']).to_owned() + "Z";
                let is_early = since.is_none_or(|since| {
                    lines[..begin].iter().all(|line| second(line).parse::<Timestamp>().unwrap() < since)
                });
                if is_early {
                    told.extend(lines[begin..].iter().filter_map(|line| seen.is_new(line)));
                    if since.is_some() || begin == 0 {
                        assert_eq!(told, all, "{broken} {begin}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_time_is_told() {
        let mut seen = Seen::default();
        assert_eq!(seen.is_new("rest of a line"), Some("rest of a line"));
    }

    #[tokio::test]
    async fn long_lines_are_cut() {
        let (sender, mut receiver) = mpsc::channel(8);
        let text = [vec![b'x'; MAX_LINE + 3], b"\n\nend".to_vec()].concat();
        let stream = futures_util::io::Cursor::new(text);
        assert!(tell(stream, &mut Seen::default(), &sender).await.is_ok());
        drop(sender);
        let mut lengths = Vec::new();
        while let Some(Notice::Log(line)) = receiver.recv().await {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [MAX_LINE, 3, 0, 3]);
    }
}
