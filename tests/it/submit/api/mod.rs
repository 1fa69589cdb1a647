//! A Kubernetes API server in this process: it takes only what makes sense, remembers what it was asked, and fails on
//! command.
//!
//! ```text
//! ApiServer ─► accept thread ─► thread per connection ─► fault? ─► who is it? ─► may they? ─► routes ─► state
//! Controller (a thread of the test) ─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a Job's controller, the scheduler, the kubelet and the Deployment's controller do is up to the test.

mod controller;
mod fault;
mod http;
mod routes;
mod schema;
mod state;
mod stream;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub(crate) use self::controller::Run;
pub(crate) use self::fault::{Effect, Fault};
use self::http::{Connection, Stream};
pub(crate) use self::schema::problems;
use self::state::State;
use crate::registry::Authority;

/// The only namespace.
pub(crate) const NAMESPACE: &str = "ci";

const TOKEN: &str = "the-token";

/// A running API server.
pub(crate) struct ApiServer {
    shared: Arc<Shared>,
    directory: tempfile::TempDir,
}

struct Shared {
    address: SocketAddr,
    authority: Option<Authority>,
    stopped: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A part of the test that has failed must not keep the program waiting for answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.shared.address));
    }
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        Self::listen(None)
    }

    /// With TLS, and an authority that nobody else knows.
    pub(crate) fn start_tls() -> Self {
        Self::listen(Some(Authority::new(false)))
    }

    fn listen(authority: Option<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            authority,
            stopped: AtomicBool::new(false),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &for_thread));
        let directory = tempfile::tempdir().unwrap();
        let server = Self { shared, directory };
        server.write_kubeconfig();
        server
    }

    fn write_kubeconfig(&self) {
        let cluster = match &self.shared.authority {
            None => format!("server: http://{}", self.shared.address),
            Some(authority) => format!(
                "server: https://{}\n    certificate-authority-data: {}",
                self.shared.address,
                STANDARD.encode(&authority.pem)
            ),
        };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: c\n  cluster:\n    {cluster}\n\
             users:\n- name: u\n  user:\n    token: {TOKEN}\ncontexts:\n- name: test\n  context:\n    cluster: c\n    \
             user: u\n    namespace: {NAMESPACE}\n"
        );
        std::fs::write(self.kubeconfig(), text).unwrap();
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What the kubelet mounts for a service account.
    pub(crate) fn write_service_account(&self, directory: &Path) {
        std::fs::write(directory.join("token"), TOKEN).unwrap();
        std::fs::write(directory.join("namespace"), NAMESPACE).unwrap();
        std::fs::write(directory.join("ca.crt"), &self.shared.authority.as_ref().unwrap().pem).unwrap();
    }

    /// Takes permissions away, written like `create configmaps`, `list jobs.batch` or `get pods/log`.
    pub(crate) fn deny(self, permissions: &[&str]) -> Self {
        self.shared.state().denied.extend(permissions.iter().map(ToString::to_string));
        self
    }

    /// What the namespace's label for Pod Security says.
    pub(crate) fn enforce(self, level: &str) -> Self {
        self.shared.state().pod_security = Some(level.to_owned());
        self
    }

    pub(crate) fn fault(self, fault: Fault) -> Self {
        self.shared.state().faults.push(fault);
        self
    }

    /// Adds an object, as others do.
    pub(crate) fn add(&self, plural: &str, object: Value) {
        self.shared.state().insert(plural, object).unwrap();
        self.shared.changed.notify_all();
    }

    /// Changes an object that is there, as its controller does.
    pub(crate) fn change(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        self.shared.state().change(plural, name, change);
        self.shared.changed.notify_all();
    }

    /// Does the part of the cluster, once, for the first Job that is created. The thread must be joined.
    #[must_use]
    pub(crate) fn control(&self, part: impl FnOnce(Run) + Send + 'static) -> std::thread::JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let run = Run::wait(shared);
            part(run);
        })
    }

    /// The part of the cluster for this Job.
    pub(crate) fn run(&self, job: &str) -> Run {
        Run::of(Arc::clone(&self.shared), job)
    }

    /// Waits for something to be true of the objects.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_true: impl Fn(&ApiServer) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_true(self) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.requests());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The objects of a kind, by its plural.
    pub(crate) fn objects(&self, plural: &str) -> Vec<Value> {
        self.shared.state().list(plural)
    }

    /// The requests so far: `METHOD TARGET STATUS`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        std::thread::spawn(move || {
            let stream: Box<dyn Stream> = match &shared.authority {
                None => Box::new(stream),
                Some(authority) => Box::new(authority.accept(stream)),
            };
            // Who goes away is no concern of the server.
            let _ = routes::serve(&shared, &mut Connection::new(stream));
        });
    }
}
