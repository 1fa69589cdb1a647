//! `--trace FILE`: where the time of a build went, as a Chrome trace that Perfetto and `chrome://tracing` show.
//!
//! Two kinds of tracks. *Threads* have slices of work: `tracing` spans of this crate, entered around what costs time
//! (`inflate`, `deflate`, `digest`, `run`, …) and around what waits (`wait for …`). *Activities* are the build's own
//! events: steps, pulls, pushes. See the "Trace Event Format" of the Chromium project.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::span::Id;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::{ActivityId, ActivityKind, BuildEvent, EventKind, Reporter};

/// A build's trace in the making; clones are the same one's.
#[derive(Debug, Clone)]
pub struct Trace {
    recorder: Arc<Recorder>,
}

#[derive(Debug)]
struct Recorder {
    began: Instant,
    records: Mutex<Records>,
    threads: AtomicU64,
}

#[derive(Debug, Default)]
struct Records {
    slices: Vec<Slice>,
    /// Names of the threads that have slices.
    threads: BTreeMap<u64, String>,
    under_way: HashMap<ActivityId, (Duration, ActivityKind, String)>,
    activities: Vec<Activity>,
}

/// What a thread did without a break.
#[derive(Debug, Clone, Copy)]
struct Slice {
    name: &'static str,
    thread: u64,
    began: Duration,
    took: Duration,
    /// Without the slices inside.
    own: Duration,
}

/// An activity that has ended.
#[derive(Debug, Clone)]
struct Activity {
    name: String,
    kind: ActivityKind,
    began: Duration,
    ended: Duration,
}

/// A slice that a thread is in: when it began, and the time spent in slices inside it.
type Entered = (Instant, Duration);

thread_local! {
    /// This thread's number, and the slices it is in.
    static THREAD: RefCell<(Option<u64>, Vec<Entered>)> = const { RefCell::new((None, Vec::new())) };
}

impl Trace {
    /// Begins to record what the whole process does. Only one trace can be made in a process.
    pub fn begin() -> Self {
        let recorder =
            Recorder { began: Instant::now(), records: Mutex::default(), threads: AtomicU64::new(1) };
        let trace = Self { recorder: Arc::new(recorder) };
        let subscriber = tracing_subscriber::registry().with(Spans(Arc::clone(&trace.recorder)));
        // If somebody else listens to spans already, the activities are recorded all the same.
        let _ = tracing::subscriber::set_global_default(subscriber);
        trace
    }

    /// A reporter that records what it passes on to `shown`.
    pub fn reporter(&self, shown: Arc<dyn Reporter>) -> Arc<dyn Reporter> {
        Arc::new(Recording { recorder: Arc::clone(&self.recorder), shown })
    }

    /// Writes what was recorded so far.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(std::fs::File::create(path)?);
        self.write_to(&mut file)?;
        file.flush()
    }

    fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        let summary = self.summary();
        let records = self.recorder.records();
        let mut events = vec![
            json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "activities"}}),
            json!({"ph": "M", "pid": 2, "name": "process_name", "args": {"name": "threads"}}),
        ];
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        // Activities overlap: each goes to the first lane that is free.
        let mut activities: Vec<&Activity> = records.activities.iter().collect();
        activities.sort_by_key(|activity| activity.began);
        let mut lanes: Vec<Duration> = Vec::new();
        for activity in activities {
            let free = lanes.iter().position(|end| *end <= activity.began);
            let lane = free.unwrap_or(lanes.len());
            lanes.resize(lanes.len().max(lane + 1), Duration::ZERO);
            lanes[lane] = activity.ended;
            events.push(json!({
                "ph": "X", "pid": 1, "tid": lane, "name": activity.name, "cat": activity.kind,
                "ts": micros(activity.began), "dur": micros(activity.ended.saturating_sub(activity.began)),
            }));
        }
        for (thread, name) in &records.threads {
            let args = json!({"name": name});
            events.push(json!({"ph": "M", "pid": 2, "tid": thread, "name": "thread_name", "args": args}));
        }
        events.extend(records.slices.iter().map(|slice| {
            json!({
                "ph": "X", "pid": 2, "tid": slice.thread, "name": slice.name, "cat": "work",
                "ts": micros(slice.began), "dur": micros(slice.took),
            })
        }));
        let trace =
            json!({"displayTimeUnit": "ms", "otherData": {"summary": summary}, "traceEvents": events});
        serde_json::to_writer(file, &trace).map_err(io::Error::from)
    }

    /// Where the time went: what the end of the build waited for, and what threads were busy with.
    pub fn summary(&self) -> String {
        let records = self.recorder.records();
        let mut text = String::from("the way to the end:\n");
        for (name, took) in critical_path(&records.activities) {
            let _ = writeln!(text, "  {:>8.3} s  {name}", took.as_secs_f64());
        }
        let mut work: BTreeMap<&str, (Duration, usize)> = BTreeMap::new();
        for slice in &records.slices {
            let (time, count) = work.entry(slice.name).or_default();
            *time += slice.own;
            *count += 1;
        }
        let mut work: Vec<_> = work.into_iter().collect();
        work.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
        text.push_str("threads, all together:\n");
        for (name, (time, count)) in work {
            let _ = writeln!(text, "  {:>8.3} s  {name} ({count})", time.as_secs_f64());
        }
        text
    }
}

/// The shortest stretch that is worth a line.
const WORTH_A_LINE: Duration = Duration::from_millis(1);

/// The activities on the way back from the end: each time the one that ended last before the one after it began, or, if
/// that leaves a gap, the one that was under way in it. What is left is nobody's.
fn critical_path(activities: &[Activity]) -> Vec<(String, Duration)> {
    let mut path: Vec<(String, Duration)> = Vec::new();
    let mut until = activities.iter().map(|activity| activity.ended).max().unwrap_or_default();
    while until > Duration::ZERO {
        let before = activities.iter().filter(|activity| activity.began < until);
        let ended =
            before.clone().filter(|activity| activity.ended <= until).max_by_key(|a| (a.ended, a.began));
        let gap_began = ended.map_or(Duration::ZERO, |activity| activity.ended);
        let under_way =
            before.filter(|activity| activity.ended > until).max_by_key(|activity| activity.began);
        let (name, began) = match (ended, under_way) {
            (Some(ended), _) if until.saturating_sub(gap_began) < WORTH_A_LINE => {
                (ended.name.as_str(), ended.began)
            }
            (_, Some(under_way)) if under_way.began < until => {
                (under_way.name.as_str(), under_way.began.max(gap_began))
            }
            _ => ("(between activities)", gap_began),
        };
        // The same one may go on behind another that ended in the middle of it.
        match path.last_mut() {
            Some((last, took)) if last == name => *took += until.saturating_sub(began),
            _ => path.push((name.to_owned(), until.saturating_sub(began))),
        }
        until = began;
    }
    path.retain(|(_, took)| *took >= WORTH_A_LINE);
    path.reverse();
    path
}

impl Recorder {
    fn records(&self) -> MutexGuard<'_, Records> {
        // Records are only ever added.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records activities.
struct Recording {
    recorder: Arc<Recorder>,
    shown: Arc<dyn Reporter>,
}

impl Reporter for Recording {
    fn report(&self, event: &BuildEvent) {
        let now = self.recorder.began.elapsed();
        match &event.kind {
            EventKind::Begun { id, activity, name, .. } => {
                self.recorder.records().under_way.insert(*id, (now, *activity, name.clone()));
            }
            EventKind::Ended { id, .. } => {
                let mut records = self.recorder.records();
                if let Some((began, kind, name)) = records.under_way.remove(id) {
                    records.activities.push(Activity { name, kind, began, ended: now });
                }
            }
            _ => {}
        }
        self.shown.report(event);
    }

    fn finish(&self) {
        self.shown.finish();
    }
}

/// Records spans of this crate, as slices of the threads that are in them.
struct Spans(Arc<Recorder>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_span() && metadata.target().starts_with("cooper")
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        THREAD.with_borrow_mut(|(_, slices)| slices.push((Instant::now(), Duration::ZERO)));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let now = Instant::now();
        let left = THREAD.with_borrow_mut(|(thread, slices)| {
            let (began, inside) = slices.pop()?;
            let took = now.saturating_duration_since(began);
            if let Some((_, inside)) = slices.last_mut() {
                *inside += took;
            }
            let thread = *thread.get_or_insert_with(|| self.0.threads.fetch_add(1, Ordering::Relaxed));
            Some((began, took, took.saturating_sub(inside), thread))
        });
        let (Some((began, took, own, thread)), Some(metadata)) = (left, context.metadata(id)) else { return };
        let began = began.saturating_duration_since(self.0.began);
        let mut records = self.0.records();
        records.slices.push(Slice { name: metadata.name(), thread, began, took, own });
        let name = || std::thread::current().name().unwrap_or("worker").to_owned();
        records.threads.entry(thread).or_insert_with(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(name: &str, began: u64, ended: u64) -> Activity {
        let at = Duration::from_millis;
        Activity { name: name.to_owned(), kind: ActivityKind::Step, began: at(began), ended: at(ended) }
    }

    #[test]
    fn the_way_to_the_end_goes_over_what_was_waited_for() {
        let path = critical_path(&[
            activity("look up", 5, 20),
            activity("pull", 20, 100),
            activity("short", 20, 30),
            activity("push", 100, 150),
            activity("name", 160, 170),
        ]);
        let path: Vec<_> = path.iter().map(|(name, took)| (name.as_str(), took.as_millis())).collect();
        assert_eq!(
            path,
            [
                ("(between activities)", 5),
                ("look up", 15),
                ("pull", 80),
                ("push", 50),
                ("(between activities)", 10),
                ("name", 10),
            ]
        );
    }

    #[test]
    fn what_was_under_way_in_a_gap_is_on_the_way() {
        let path =
            critical_path(&[activity("step", 0, 100), activity("pull", 10, 60), activity("push", 90, 120)]);
        let path: Vec<_> = path.iter().map(|(name, took)| (name.as_str(), took.as_millis())).collect();
        assert_eq!(path, [("step", 10), ("pull", 50), ("step", 30), ("push", 30)]);
    }

    #[test]
    fn slices_are_of_threads_and_know_what_is_inside() {
        let trace = Trace::begin();
        std::thread::Builder::new()
            .name("digger".to_owned())
            .spawn(|| {
                let _outer = tracing::info_span!("outer").entered();
                let _inner = tracing::info_span!("inner").entered();
                std::thread::sleep(Duration::from_millis(20));
            })
            .unwrap()
            .join()
            .unwrap();
        let records = trace.recorder.records();
        let outer = records.slices.iter().find(|slice| slice.name == "outer").unwrap();
        let inner = records.slices.iter().find(|slice| slice.name == "inner").unwrap();
        assert!(outer.took >= inner.took && outer.own < Duration::from_millis(10), "{outer:?} {inner:?}");
        assert_eq!(records.threads[&outer.thread], "digger");
        drop(records);
        let mut file = Vec::new();
        trace.write_to(&mut file).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&file).unwrap();
        let names: Vec<_> = json["traceEvents"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
        assert!(names.contains(&&json!("inner")) && names.contains(&&json!("thread_name")));
    }
}
