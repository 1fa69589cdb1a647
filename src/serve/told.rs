//! Reading events back from their JSON form, to show them as if the build were here.

use serde::Deserialize;

use crate::event::{ActivityId, ActivityKind, BuildEvent, EventKind, Outcome, OutputStream, Subject};

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    at_ms: u64,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Kind {
    Note {
        text: String,
    },
    Warning {
        text: String,
    },
    Begun {
        id: u64,
        activity: Activity,
        name: String,
    },
    Progress {
        id: u64,
        done: u64,
        total: Option<u64>,
    },
    Output {
        id: u64,
        stream: Stream,
        line: String,
    },
    Ended {
        id: u64,
        outcome: End,
        duration_ms: u64,
    },
    /// Of a later version, or nothing to show.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Activity {
    Pull,
    Step,
    Push,
    Export,
    #[serde(other)]
    Internal,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stream {
    Stderr,
    #[serde(other)]
    Stdout,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    Done,
    Cached,
    Failed,
    #[serde(other)]
    Stopped,
}

/// The event of a line; `None` for what shows nothing.
pub fn parse(line: &[u8]) -> Option<BuildEvent> {
    let Line { at_ms, kind } = serde_json::from_slice(line).ok()?;
    let kind = match kind {
        Kind::Note { text } => EventKind::Note { text },
        Kind::Warning { text } => EventKind::Warning { text },
        Kind::Begun { id, activity, name } => EventKind::Begun {
            id: ActivityId(id),
            activity: match activity {
                Activity::Pull => ActivityKind::Pull,
                Activity::Step => ActivityKind::Step,
                Activity::Push => ActivityKind::Push,
                Activity::Export => ActivityKind::Export,
                Activity::Internal => ActivityKind::Internal,
            },
            name,
            subject: Subject::Other,
        },
        Kind::Progress { id, done, total } => EventKind::Progress { id: ActivityId(id), done, total },
        Kind::Output { id, stream, line } => {
            let stream = match stream {
                Stream::Stdout => OutputStream::Stdout,
                Stream::Stderr => OutputStream::Stderr,
            };
            EventKind::Output { id: ActivityId(id), stream, line }
        }
        Kind::Ended { id, outcome, duration_ms } => EventKind::Ended {
            id: ActivityId(id),
            outcome: match outcome {
                End::Done => Outcome::Done,
                End::Cached => Outcome::Cached,
                End::Failed => Outcome::Failed,
                End::Stopped => Outcome::Stopped,
            },
            duration_ms,
        },
        Kind::Unknown => return None,
    };
    Some(BuildEvent { at_ms, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_written() {
        let id = ActivityId(7);
        for kind in [
            EventKind::Note { text: "a".to_owned() },
            EventKind::Warning { text: "a".to_owned() },
            EventKind::Begun {
                id,
                activity: ActivityKind::Push,
                name: "b".to_owned(),
                subject: Subject::Other,
            },
            EventKind::Progress { id, done: 1, total: None },
            EventKind::Progress { id, done: 1, total: Some(2) },
            EventKind::Output { id, stream: OutputStream::Stderr, line: "c".to_owned() },
            EventKind::Ended { id, outcome: Outcome::Cached, duration_ms: 3 },
        ] {
            let line = serde_json::to_string(&BuildEvent { at_ms: 5, kind }).unwrap();
            let read = parse(line.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), line);
        }
        for line in ["", "{}", "x", r#"{"at_ms":1,"event":"started","schema":1}"#, r#"{"event":"new-one"}"#] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
