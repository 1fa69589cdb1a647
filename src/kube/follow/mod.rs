//! Following a Job to its end.
//!
//! ```text
//! watch of the Job ───┐
//! watch of its pods ──┼─► notices ─► Following (what is known) ─► lines, and a result
//! watches of events ──┤
//! logs of the pods ───┘
//! ```
//!
//! Each arrow on the left is a task that takes up its stream again when it breaks. The watches are `kube`'s: they list
//! anew after `410 Gone`, and wait longer after each failure.

mod log;
mod result;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::runtime::watcher::Config;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use result::JobResult;

use super::cluster::{Cluster, ask};
use super::error::{ApiError, KubeError};
use super::jobs::JobState;
use super::pod;
use super::watch::{Change, watch};

/// How long the rest of a log is waited for when its Job has ended.
const LOG_LIMIT: Duration = Duration::from_secs(15);

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// What the cluster does.
    Event(String),
    /// What the build says.
    Log(String),
}

/// A Job to be followed.
pub struct Follow<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// The Job, with its name and uid.
    pub job: &'a Job,
    /// Whether its log is wanted.
    pub wants_log: bool,
    /// Shows a line.
    pub show: &'a mut (dyn FnMut(Line) + Send),
}

impl std::fmt::Debug for Follow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("job", &self.job.metadata.name).finish_non_exhaustive()
    }
}

/// What the tasks tell.
enum Notice {
    Job(Change<Job>),
    Pod(Change<Pod>),
    Event(Change<Event>),
    Log(String),
    /// It is tried again.
    LogFails(ApiError),
    LogEnded,
    /// A stream cannot be had.
    Lost {
        action: &'static str,
        source: ApiError,
    },
}

/// How a task that watches tells what it hears.
fn heard<K>(
    action: &'static str,
    notice: fn(Change<K>) -> Notice,
) -> impl Fn(Result<Change<K>, ApiError>) -> Notice {
    move |change| match change {
        Ok(change) => notice(change),
        Err(source) => Notice::Lost { action, source },
    }
}

/// What is known of a pod.
struct Known {
    pod: Pod,
    /// Tells the task of its log that no more will come.
    has_ended: Arc<AtomicBool>,
    has_log: bool,
}

struct Following<'a> {
    follow: Follow<'a>,
    notices: mpsc::Sender<Notice>,
    tasks: JoinSet<()>,
    pods: BTreeMap<String, Known>,
    open_logs: usize,
    told: BTreeSet<String>,
    last_log_line: Option<String>,
    is_waiting: bool,
}

impl Follow<'_> {
    /// Follows it to its end. Dropped before, it stops.
    pub async fn run(self) -> Result<JobResult, KubeError> {
        let (sender, mut notices) = mpsc::channel(256);
        let mut following = Following {
            follow: self,
            notices: sender,
            tasks: JoinSet::new(),
            pods: BTreeMap::new(),
            open_logs: 0,
            told: BTreeSet::new(),
            last_log_line: None,
            is_waiting: false,
        };
        following.begin();
        let mut job = None;
        // The sender is kept, so that the channel never closes.
        while let Some(notice) = notices.recv().await {
            if let Some(ended) = following.take(notice)? {
                job = Some(ended);
                break;
            }
        }
        let job = job.unwrap_or_else(|| following.follow.job.clone());
        following.end(&mut notices).await?;
        following.result(&job)
    }
}

impl Following<'_> {
    fn name(&self) -> String {
        self.follow.job.metadata.name.clone().unwrap_or_default()
    }

    fn begin(&mut self) {
        let cluster = self.follow.cluster;
        let (name, uid) = (self.name(), self.follow.job.metadata.uid.clone().unwrap_or_default());
        let job = Config::default().fields(&format!("metadata.name={name}"));
        self.tasks.spawn(watch(
            cluster.api(),
            job,
            heard("watching the Job", Notice::Job),
            self.notices.clone(),
        ));
        // The Job's controller sets the label; its uid tells the pods from those of an earlier Job of the same name.
        let pods = Config::default().labels(&format!("batch.kubernetes.io/controller-uid={uid}"));
        self.tasks.spawn(watch(
            cluster.api(),
            pods,
            heard("watching its pods", Notice::Pod),
            self.notices.clone(),
        ));
        self.watch_events(&uid);
    }

    fn watch_events(&mut self, uid: &str) {
        let events = Config::default().fields(&format!("involvedObject.uid={uid}"));
        let api = self.follow.cluster.api();
        self.tasks.spawn(watch(api, events, heard("watching events", Notice::Event), self.notices.clone()));
    }

    /// The Job, when it has ended.
    fn take(&mut self, notice: Notice) -> Result<Option<Job>, KubeError> {
        match notice {
            Notice::Job(Change::Is(job)) => {
                // Another one of the same name is not followed.
                if job.metadata.uid != self.follow.job.metadata.uid {
                    return Err(KubeError::Deleted { name: self.name() });
                }
                self.tell_whether_it_waits(&job);
                return Ok(JobState::of(&job).has_ended().then_some(*job));
            }
            Notice::Job(Change::Gone(_) | Change::None) => {
                return Err(KubeError::Deleted { name: self.name() });
            }
            Notice::Pod(Change::Is(pod)) => self.see(*pod),
            Notice::Pod(Change::Gone(pod)) => {
                let name = pod::name(&pod).to_owned();
                self.see(*pod);
                if let Some(known) = self.pods.get(&name) {
                    known.has_ended.store(true, Ordering::Relaxed);
                }
            }
            Notice::Event(Change::Is(event)) => self.tell_event(&event)?,
            Notice::Pod(Change::None) | Notice::Event(Change::None | Change::Gone(_)) => {}
            Notice::Log(line) => {
                self.last_log_line = Some(line.clone());
                (self.follow.show)(Line::Log(line));
            }
            Notice::LogFails(source) => self.tell(format!("the log cannot be read now: {source}")),
            Notice::LogEnded => self.open_logs = self.open_logs.saturating_sub(1),
            Notice::Lost { action, source } => {
                return Err(KubeError::LostContact { action, name: self.name(), source });
            }
        }
        Ok(None)
    }

    fn tell(&mut self, text: String) {
        if self.told.insert(text.clone()) {
            (self.follow.show)(Line::Event(text));
        }
    }

    fn tell_whether_it_waits(&mut self, job: &Job) {
        let is_waiting = job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true));
        if is_waiting && !self.is_waiting {
            (self.follow.show)(Line::Event("the Job is suspended: it waits for its turn".to_owned()));
        } else if self.is_waiting && !is_waiting {
            (self.follow.show)(Line::Event("the Job may run".to_owned()));
        }
        self.is_waiting = is_waiting;
    }

    fn see(&mut self, pod: Pod) {
        let name = pod::name(&pod).to_owned();
        if !self.pods.contains_key(&name) {
            self.watch_events(&pod.metadata.uid.clone().unwrap_or_default());
        }
        if let Some(trouble) = pod::trouble(&pod) {
            self.tell(format!("pod {name}: {trouble}"));
        }
        let (has_begun, has_ended) = (pod::has_begun(&pod), pod::has_ended(&pod));
        let known = self.pods.entry(name.clone()).or_insert_with(|| Known {
            pod: pod.clone(),
            has_ended: Arc::default(),
            has_log: false,
        });
        known.pod = pod;
        if has_ended {
            known.has_ended.store(true, Ordering::Relaxed);
        }
        if has_begun && !known.has_log && self.follow.wants_log {
            known.has_log = true;
            self.open_logs += 1;
            let has_ended = Arc::clone(&known.has_ended);
            let api = self.follow.cluster.api();
            self.tasks.spawn(log::follow(api, name, has_ended, self.notices.clone()));
        }
    }

    fn tell_event(&mut self, event: &Event) -> Result<(), KubeError> {
        let message = event.message.as_deref().unwrap_or_default();
        if message.contains("violates PodSecurity") {
            return Err(KubeError::NotAdmitted { message: pod::printable(message) });
        }
        let object = &event.involved_object;
        let kind = object.kind.as_deref().unwrap_or("object").to_lowercase();
        let name = object.name.as_deref().unwrap_or_default();
        let reason = event.reason.as_deref().unwrap_or_default();
        self.tell(format!("{kind} {name}: {}", pod::told(reason, Some(message))));
        Ok(())
    }

    /// Waits for what the logs still have to say.
    async fn end(&mut self, notices: &mut mpsc::Receiver<Notice>) -> Result<(), KubeError> {
        // A watch may lag behind: this is how the pods are now.
        let uid = self.follow.job.metadata.uid.clone().unwrap_or_default();
        let parameters = ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={uid}"));
        let api = self.follow.cluster.api::<Pod>();
        let pods = ask(|| api.list(&parameters)).await;
        for pod in pods.map_err(ApiError::while_trying("list the pods of the Job"))? {
            self.see(pod);
        }
        for known in self.pods.values() {
            known.has_ended.store(true, Ordering::Relaxed);
        }
        let rest = async {
            while self.open_logs > 0 {
                match notices.recv().await {
                    Some(notice @ (Notice::Log(_) | Notice::LogFails(_) | Notice::LogEnded)) => {
                        drop(self.take(notice)?);
                    }
                    // The Job has ended: nothing else can change that.
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(())
        };
        let Ok(result) = tokio::time::timeout(LOG_LIMIT, rest).await else {
            self.tell("the end of the log does not come".to_owned());
            return Ok(());
        };
        result
    }

    fn result(&self, job: &Job) -> Result<JobResult, KubeError> {
        let pods: Vec<&Pod> = self.pods.values().map(|known| &known.pod).collect();
        JobResult::of(job, &pods, self.last_log_line.as_deref())
    }
}
