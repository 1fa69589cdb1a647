//! What a build says while it runs.
//!
//! The pipeline reports [`BuildEvent`]s; a [`Reporter`] shows them: as bars on a terminal, as plain lines, as
//! JSON lines, or not at all. Everything that takes time is an *activity*, opened with [`Events::begin`].

mod explained;
mod json;
mod logrus;
mod plain;
mod terminal;
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::layer::Digest;
use crate::outcome::{BuildOutcome, CacheUse};

pub use json::JsonReporter;
pub use logrus::{Log, LogFormat, LogLevel, LogStyle, LogrusReporter};
pub use plain::PlainReporter;
pub use terminal::TerminalReporter;
pub use trace::Trace;

/// Version of the JSON form of [`BuildEvent`]; raised when a field changes its meaning or goes away, not when one is
/// added. `docs/progress.md` and `docs/progress.schema.json` describe it.
pub const EVENT_SCHEMA_VERSION: u32 = 1;

/// Something that happened, with the moment it did.
#[derive(Debug, Clone, Serialize)]
pub struct BuildEvent {
    /// Milliseconds since the build began.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The first event of every build.
    Started {
        /// [`EVENT_SCHEMA_VERSION`].
        schema: u32,
    },
    /// Something to know, like the chosen isolation.
    Note {
        /// One line.
        text: String,
    },
    /// Something that may be a mistake, already rendered with its place in the Dockerfile where it has one.
    Warning {
        /// May have several lines.
        text: String,
    },
    /// An activity began.
    Begun {
        /// The activity.
        id: ActivityId,
        /// What kind of work it is.
        activity: ActivityKind,
        /// What is shown of it, like `[2/5] COPY . .`.
        name: String,
        /// What it is about, for reporters that have words of their own for it.
        #[serde(skip)]
        subject: Subject,
    },
    /// An activity moved on.
    Progress {
        /// The activity.
        id: ActivityId,
        /// Bytes done.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A RUN printed a line.
    Output {
        /// The activity.
        id: ActivityId,
        /// Which of the two.
        stream: OutputStream,
        /// The line, without its end; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// Why a step is carried out, or not; with `--explain-cache` only.
    Explained {
        /// The step.
        name: String,
        /// What the caches know of it.
        answer: CacheAnswer,
        /// Where its result was found: `store`, or a cache.
        place: Option<String>,
        /// What has changed since the last build.
        changes: Vec<CacheChange>,
    },
    /// An activity ended.
    Ended {
        /// The activity.
        id: ActivityId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        duration_ms: u64,
    },
    /// An image was put together, for programs; of several platforms each is told of.
    Image {
        /// What it runs on.
        platform: String,
        /// Of its manifest.
        digest: Digest,
        /// Its layers, lowest first.
        layers: Vec<LayerNews>,
    },
    /// Why the build failed, for programs; people are told otherwise.
    Error {
        /// May have several lines, with the place in the Dockerfile and what to do.
        text: String,
    },
    /// The last event of every build, for programs.
    Finished(BuildOutcome),
}

/// Names an activity within one build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ActivityId(pub u64);

/// What an activity is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subject {
    /// Nothing that needs words of its own.
    #[default]
    Other,
    /// Looking up a base image.
    Base {
        /// The image's name.
        image: String,
        /// The registry that has it, if one has.
        registry: Option<String>,
    },
    /// An instruction of the Dockerfile.
    Instruction {
        /// As it is written, on one line.
        text: String,
        /// Whether it executes a command.
        executes: bool,
    },
    /// Naming the image in a registry, after which others find it.
    Destination {
        /// The name.
        image: String,
        /// The same with the digest in place of the tag.
        pinned: String,
    },
}

/// Kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivityKind {
    /// Cooper's own preparations.
    Internal,
    /// Bytes from a registry.
    Pull,
    /// A step of the Dockerfile.
    Step,
    /// Bytes to a registry.
    Push,
    /// Writing an image elsewhere.
    Export,
}

/// What the caches know of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheAnswer {
    /// Its result.
    Hit,
    /// Its result: something changed, but to no effect on what the step begins with.
    HitByInputs,
    /// Nothing, because something changed.
    Miss,
    /// Nothing, and what the step is made from is known only when it is carried out.
    MissByInputs,
    /// Nothing: no build here had this step.
    NotSeenBefore,
    /// Nothing any more, or not in time: an earlier build had the same step.
    NotKept,
    /// They were not asked: `--no-cache`.
    NotAsked,
    /// The result of a later step is known, so nobody needs this one's.
    Unneeded,
}

/// Something a step is made from that has changed since the last build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheChange {
    /// What: a file's path, a variable, the command.
    pub what: String,
    /// How: `changed`, `added` or `gone`.
    pub how: &'static str,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerNews {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// The instruction that made it, as far as the image tells, and cut if it is long.
    pub created_by: String,
    /// Whether it is the base image's.
    pub is_base: bool,
}

/// Where a RUN printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How an activity ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The work was done.
    Done,
    /// The result was there already.
    Cached,
    /// It failed.
    Failed,
    /// It was not finished, because something else failed or the build was cancelled.
    Stopped,
}

/// Shows events. Called from many threads.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: &BuildEvent);

    /// Called once, after the last event.
    fn finish(&self) {}
}

/// Shows nothing: `--progress quiet`.
#[derive(Debug, Clone, Copy)]
pub struct QuietReporter;

impl Reporter for QuietReporter {
    fn report(&self, _event: &BuildEvent) {}
}

/// The sending side of one build's events; clones are the same build's.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    reporter: Arc<dyn Reporter>,
    began: Instant,
    next: AtomicU64,
    /// Steps that were begun, and those of them whose result was known.
    steps: AtomicU64,
    hits: AtomicU64,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Events of a build that begins now.
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        let events = Self {
            shared: Arc::new(Shared {
                reporter,
                began: Instant::now(),
                next: AtomicU64::new(1),
                steps: AtomicU64::new(0),
                hits: AtomicU64::new(0),
            }),
        };
        events.report(EventKind::Started { schema: EVENT_SCHEMA_VERSION });
        events
    }

    fn report(&self, kind: EventKind) {
        let at_ms = milliseconds(self.shared.began.elapsed());
        self.shared.reporter.report(&BuildEvent { at_ms, kind });
    }

    /// Says something worth knowing.
    pub fn note(&self, text: impl Into<String>) {
        self.report(EventKind::Note { text: text.into() });
    }

    /// Warns.
    pub fn warn(&self, text: impl Into<String>) {
        self.report(EventKind::Warning { text: text.into() });
    }

    /// Says why a step is carried out, or not.
    pub fn explain(
        &self,
        name: String,
        answer: CacheAnswer,
        place: Option<String>,
        changes: Vec<CacheChange>,
    ) {
        self.report(EventKind::Explained { name, answer, place, changes });
    }

    /// Opens an activity. It ends with [`Activity::done`] and the like; dropped before, it was stopped.
    pub fn begin(&self, activity: ActivityKind, name: impl Into<String>) -> Activity {
        self.begin_about(Subject::Other, activity, name)
    }

    /// The same for an activity about `subject`.
    pub fn begin_about(&self, subject: Subject, activity: ActivityKind, name: impl Into<String>) -> Activity {
        let id = ActivityId(self.shared.next.fetch_add(1, Ordering::Relaxed));
        self.report(EventKind::Begun { id, activity, name: name.into(), subject });
        Activity {
            events: self.clone(),
            id,
            kind: activity,
            began: Instant::now(),
            outcome: Outcome::Stopped,
            told: AtomicU64::new(0),
        }
    }

    /// Says what an image consists of, to programs.
    pub fn image(&self, platform: String, digest: Digest, layers: Vec<LayerNews>) {
        self.report(EventKind::Image { platform, digest, layers });
    }

    /// Says why the build failed, to programs.
    pub fn error(&self, text: impl Into<String>) {
        self.report(EventKind::Error { text: text.into() });
    }

    /// Says what came of the build, to programs. Nothing comes after it.
    pub fn conclude(&self, outcome: &BuildOutcome) {
        self.report(EventKind::Finished(outcome.clone()));
    }

    /// What the caches were good for, so far.
    pub fn cache_use(&self) -> CacheUse {
        CacheUse {
            hits: self.shared.hits.load(Ordering::Relaxed),
            steps: self.shared.steps.load(Ordering::Relaxed),
        }
    }

    /// How long the build has been running.
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Lets the reporter finish its display.
    pub fn finish(&self) {
        self.shared.reporter.finish();
    }
}

/// Work that is under way.
#[derive(Debug)]
#[must_use = "an activity that is dropped at once is reported as stopped"]
pub struct Activity {
    events: Events,
    id: ActivityId,
    kind: ActivityKind,
    began: Instant,
    outcome: Outcome,
    /// When progress was last reported, in milliseconds since it began.
    told: AtomicU64,
}

/// Milliseconds between two reports of progress: as quick as the eye, and few lines in a log.
const PROGRESS_PAUSE: u64 = 100;

impl Activity {
    /// Reports how far it is, in bytes; most calls soon after another are passed over.
    pub fn progress(&self, done: u64, total: Option<u64>) {
        let now = milliseconds(self.began.elapsed());
        if Some(done) != total && now < self.told.load(Ordering::Relaxed) + PROGRESS_PAUSE {
            return;
        }
        self.told.store(now, Ordering::Relaxed);
        self.events.report(EventKind::Progress { id: self.id, done, total });
    }

    /// Reports a line that a RUN printed.
    pub fn output(&self, stream: OutputStream, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.events.report(EventKind::Output { id: self.id, stream, line });
    }

    /// The work was done.
    pub fn done(mut self) {
        self.outcome = Outcome::Done;
    }

    /// The result was there already.
    pub fn cached(mut self) {
        self.outcome = Outcome::Cached;
    }

    /// It failed.
    pub fn failed(mut self) {
        self.outcome = Outcome::Failed;
    }

    /// The work was done, or it failed.
    pub fn end_with<T, E>(mut self, result: &Result<T, E>) {
        self.outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if self.kind == ActivityKind::Step {
            self.events.shared.steps.fetch_add(1, Ordering::Relaxed);
            let is_hit = self.outcome == Outcome::Cached;
            self.events.shared.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
        }
        self.events.report(EventKind::Ended {
            id: self.id,
            outcome: self.outcome,
            duration_ms: milliseconds(self.began.elapsed()),
        });
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
