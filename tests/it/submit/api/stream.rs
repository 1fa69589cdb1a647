//! Watches and logs: answers that go on.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::Shared;
use super::fault::Effect;
use super::http::{Answer, Connection, Request};
use super::routes::Kind;

/// The fields that are known for all objects here.
const KNOWN: [&str; 2] = ["metadata.name", "involvedObject.uid"];

/// Which objects are wanted.
pub(super) struct Selector {
    fields: Vec<(String, String)>,
    labels: Vec<(String, String)>,
}

impl Selector {
    pub(super) fn of(request: &Request) -> Result<Self, Answer> {
        let pairs = |name: &str| -> Result<Vec<(String, String)>, Answer> {
            let text = request.query(name).unwrap_or_default();
            let parts = text.split(',').filter(|part| !part.is_empty());
            let pair = |part: &str| {
                let (key, value) = part.split_once('=')?;
                Some((key.to_owned(), value.trim_start_matches('=').to_owned()))
            };
            let wrong = || Answer::failure(400, "BadRequest", "this is no selector");
            parts.map(|part| pair(part).ok_or_else(wrong)).collect()
        };
        let selector = Self { fields: pairs("fieldSelector")?, labels: pairs("labelSelector")? };
        if selector.fields.iter().any(|(key, _)| !KNOWN.contains(&key.as_str())) {
            return Err(Answer::failure(400, "BadRequest", "field label not supported"));
        }
        Ok(selector)
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        let field = |key: &str| key.split('.').fold(object, |value, name| &value[name]);
        let label = |key: &str| &object["metadata"]["labels"][key];
        self.fields.iter().all(|(key, value)| field(key) == value)
            && self.labels.iter().all(|(key, value)| label(key) == value)
    }
}

pub(super) fn watch(
    shared: &Shared,
    connection: &mut Connection,
    request: &Request,
    kind: &Kind,
    selector: &Selector,
    effect: Option<&Effect>,
) -> io::Result<()> {
    let version = request.query("resourceVersion").and_then(|text| text.parse::<u64>().ok());
    let mut version = version.expect("a watch begins at a version");
    connection.begin_chunks()?;
    let mut sent = 0;
    loop {
        let changes: Vec<_> = {
            let mut state = shared.state();
            loop {
                if shared.stopped.load(Ordering::SeqCst) {
                    return Ok(());
                }
                let is_wanted =
                    |plural: &str, object: &Value| plural == kind.plural && selector.takes(object);
                let changes = state.changes.iter().filter(|change| change.version > version);
                let changes = changes.filter(|change| is_wanted(&change.plural, &change.object));
                let changes: Vec<_> = changes.cloned().collect();
                if !changes.is_empty() || effect == Some(&Effect::Gone(sent)) {
                    break changes;
                }
                state = shared.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
            }
        };
        if effect == Some(&Effect::Gone(sent)) {
            let status = Answer::failure(410, "Expired", "too old resource version").body;
            connection.chunk(format!("{}\n", json!({"type": "ERROR", "object": status})).as_bytes())?;
            return connection.end_chunks();
        }
        for change in changes {
            let line = format!("{}\n", json!({"type": change.kind, "object": change.object}));
            if effect == Some(&Effect::Cut(sent)) {
                // In the middle of the event, and without the end of the chunks.
                return connection.chunk(&line.as_bytes()[..line.len() / 2]);
            }
            connection.chunk(line.as_bytes())?;
            version = change.version;
            sent += 1;
            if effect == Some(&Effect::Gone(sent)) {
                break;
            }
        }
    }
}

pub(super) fn log(
    shared: &Shared,
    connection: &mut Connection,
    request: &Request,
    pod: &str,
    effect: Option<&Effect>,
) -> io::Result<()> {
    if request.query("container").as_deref() != Some("build") {
        return connection.answer(&Answer::failure(400, "BadRequest", "there is no such container"));
    }
    let failure = match shared.state().get("pods", pod) {
        None => Some(Answer::failure(404, "NotFound", &format!("pods \"{pod}\" not found"))),
        Some(pod) if pod["status"]["containerStatuses"][0]["state"]["waiting"].is_object() => {
            Some(Answer::failure(400, "BadRequest", "container \"build\" is waiting to start"))
        }
        Some(_) => None,
    };
    if let Some(failure) = failure {
        return connection.answer(&failure);
    }
    assert!(request.is_set("timestamps"), "{}", request.target);
    // Of whole seconds, as in the API.
    let since = request.query("sinceTime").map(|text| text[..19].to_owned()).unwrap_or_default();
    connection.begin_chunks()?;
    let (mut next, mut sent) = (0, 0);
    loop {
        let (lines, has_ended) = {
            let mut state = shared.state();
            loop {
                let log = state.logs.entry(pod.to_owned()).or_default();
                if log.lines.len() > next || log.has_ended || shared.stopped.load(Ordering::SeqCst) {
                    break (
                        log.lines[next..].to_vec(),
                        log.has_ended || shared.stopped.load(Ordering::SeqCst),
                    );
                }
                if !request.is_set("follow") {
                    break (Vec::new(), true);
                }
                state = shared.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
            }
        };
        next += lines.len();
        for line in lines.iter().filter(|line| line[..19] >= *since) {
            if effect == Some(&Effect::Cut(sent)) {
                return connection.chunk(&line.as_bytes()[..line.len() - 2]);
            }
            connection.chunk(format!("{line}\n").as_bytes())?;
            sent += 1;
        }
        if has_ended {
            return connection.end_chunks();
        }
    }
}
