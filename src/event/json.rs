//! One JSON object per line and event: `--progress json`.

use std::io::Write;
use std::sync::Mutex;

use super::{BuildEvent, EventKind, Reporter};

/// Writes events as JSON lines.
#[derive(Debug)]
pub struct JsonReporter<W> {
    output: Mutex<W>,
}

impl<W: Write + Send> JsonReporter<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> Self {
        Self { output: Mutex::new(output) }
    }
}

impl<W: Write + Send> Reporter for JsonReporter<W> {
    fn report(&self, event: &BuildEvent) {
        let Ok(mut output) = self.output.lock() else { return };
        let line = match &event.kind {
            // Colours are for people.
            EventKind::Warning { text } => {
                let text = anstream::adapter::strip_str(text).to_string();
                serde_json::to_string(&BuildEvent { at_ms: event.at_ms, kind: EventKind::Warning { text } })
            }
            _ => serde_json::to_string(event),
        };
        let Ok(line) = line else { return };
        // Nobody may be reading any more; the build goes on.
        let _ = writeln!(output, "{line}");
    }
}
