//! What a cluster does with a Job, said by the test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{NAMESPACE, Shared};

/// A Job in the hands of a test.
pub(crate) struct Run {
    shared: Arc<Shared>,
    job: Value,
    pods: usize,
    lines: usize,
}

impl Run {
    /// The same for the Job of this name, whatever has been done with it.
    pub(super) fn of(shared: Arc<Shared>, name: &str) -> Self {
        let job = shared.state().get("jobs", name).unwrap_or_else(|| panic!("no Job {name}")).clone();
        Self { shared, job, pods: 0, lines: 0 }
    }

    /// Waits for a Job, and for what it mounts: without that no pod begins.
    pub(super) fn wait(shared: Arc<Shared>) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let state = shared.state();
            let jobs = state.list("jobs");
            let is_there = |volume: &Value| {
                let map = volume["configMap"]["name"].as_str();
                let secret = volume["secret"]["secretName"].as_str();
                let is_given = |name: &str| name == "registry-credentials";
                map.is_none_or(|name| state.get("configmaps", name).is_some())
                    && secret.is_none_or(|name| is_given(name) || state.get("secrets", name).is_some())
            };
            let ready = jobs.into_iter().find(|job| {
                let volumes = &job["spec"]["template"]["spec"]["volumes"];
                job["status"]["conditions"].is_null() && volumes.as_array().unwrap().iter().all(is_there)
            });
            drop(state);
            if let Some(job) = ready {
                return Self { shared, job, pods: 0, lines: 0 };
            }
            assert!(Instant::now() < deadline, "no Job comes: {:#?}", shared.state().requests);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The Job as it was created.
    pub(crate) fn job(&self) -> &Value {
        &self.job
    }

    pub(crate) fn name(&self) -> String {
        self.job["metadata"]["name"].as_str().unwrap().to_owned()
    }

    pub(crate) fn pod_name(&self) -> String {
        format!("{}-pod{}", self.name(), self.pods)
    }

    fn uid(&self) -> String {
        self.job["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    fn notify(&self) {
        self.shared.changed.notify_all();
    }

    /// Does what a node does, with the program itself: runs the pod's command, and lets its container end as it ends. The
    /// files of the Job are where nobody else looks.
    pub(crate) fn execute(&mut self, program: &str, work: &std::path::Path) {
        use std::io::BufRead as _;
        let files = work.join("files");
        std::fs::create_dir_all(&files).unwrap();
        for map in self.shared.state().list("configmaps") {
            if map["metadata"]["ownerReferences"][0]["uid"] == self.job["metadata"]["uid"] {
                for (name, content) in map["data"].as_object().unwrap() {
                    std::fs::write(files.join(name), content.as_str().unwrap()).unwrap();
                }
            }
        }
        let container = &self.job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["/kaniko/cooper", "build"]));
        let arguments: Vec<String> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().replace("/kaniko/job/files", files.to_str().unwrap()))
            .collect();
        let message = work.join("termination-log");
        self.pod();
        self.running();
        self.ready();
        let mut child = std::process::Command::new(program)
            .arg("build")
            .args(arguments)
            .arg(format!("--termination-log={}", message.display()))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", work)
            .env("COOPER_STORE", work.join("store"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        for line in std::io::BufReader::new(child.stderr.take().unwrap()).lines() {
            self.log(&line.unwrap());
        }
        let code = child.wait().unwrap().code().unwrap();
        let message = std::fs::read_to_string(&message).unwrap_or_default();
        self.terminate(code, if code == 0 { "Completed" } else { "Error" }, &message);
        if code == 0 {
            self.finish("Complete", "");
        } else {
            self.finish("Failed", "BackoffLimitExceeded");
        }
    }

    /// Makes a pod, which waits.
    pub(crate) fn pod(&mut self) {
        self.pods += 1;
        let uid = self.uid();
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.pod_name(),
                "creationTimestamp": format!("2026-11-22T10:00:0{}Z", self.pods),
                "labels": {"batch.kubernetes.io/controller-uid": uid},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": self.name(), "uid": uid}],
            },
            "status": {"phase": "Pending"},
        });
        pod["spec"] = self.job["spec"]["template"]["spec"].clone();
        self.shared.state().insert("pods", pod).unwrap();
        self.notify();
    }

    /// Sets the state of the pod's container.
    fn container(&self, phase: &str, state: &Value) {
        self.shared.state().change("pods", &self.pod_name(), |pod| {
            pod["status"] = json!({"phase": phase, "containerStatuses": [{
                "name": "build", "image": "cooper", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }]});
        });
        self.notify();
    }

    pub(crate) fn waiting(&self, reason: &str, message: &str) {
        self.container("Pending", &json!({"waiting": {"reason": reason, "message": message}}));
    }

    pub(crate) fn unschedulable(&self, message: &str) {
        self.shared.state().change("pods", &self.pod_name(), |pod| {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            }]);
        });
        self.notify();
    }

    pub(crate) fn running(&self) {
        self.container("Running", &json!({"running": {"startedAt": "2026-11-22T10:00:01Z"}}));
    }

    /// Adds a line to the pod's log; four come in each second, two of them at the same time.
    pub(crate) fn log(&mut self, text: &str) {
        let (seconds, part) = (self.lines / 4, self.lines % 4 / 2 * 5);
        self.lines += 1;
        let line = format!("2026-11-22T10:{:02}:{:02}.{part}Z {text}", seconds / 60, seconds % 60);
        let mut state = self.shared.state();
        state.logs.entry(self.pod_name()).or_default().lines.push(line);
        drop(state);
        self.notify();
    }

    pub(crate) fn event(&self, on_pod: bool, kind: &str, reason: &str, message: &str) {
        let (object, name) = if on_pod { ("Pod", self.pod_name()) } else { ("Job", self.name()) };
        let mut state = self.shared.state();
        let plural = if on_pod { "pods" } else { "jobs" };
        let uid = state.get(plural, &name).unwrap()["metadata"]["uid"].clone();
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": message,
            "metadata": {"name": format!("{name}.{}", state.version())},
            "involvedObject": {"kind": object, "name": name, "namespace": NAMESPACE, "uid": uid},
        });
        state.insert("events", event).unwrap();
        drop(state);
        self.notify();
    }

    /// Ends the pod's container, and its log.
    pub(crate) fn terminate(&self, code: i32, reason: &str, message: &str) {
        self.shared.state().logs.entry(self.pod_name()).or_default().has_ended = true;
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        self.container(
            phase,
            &json!({"terminated": {"exitCode": code, "reason": reason, "message": message}}),
        );
    }

    /// Ends the Job.
    pub(crate) fn finish(&self, kind: &str, reason: &str) {
        self.shared.state().change("jobs", &self.name(), |job| {
            job["status"]["conditions"] = json!([{
                "type": kind, "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-22T10:05:00Z",
            }]);
        });
        self.notify();
    }

    /// A build that succeeds with this digest.
    pub(crate) fn succeed(&self, digest: &str) {
        let message = json!({"image": "r/app:1", "digest": digest, "duration": 1.5, "error": null});
        self.terminate(0, "Completed", &message.to_string());
        self.finish("Complete", "");
    }

    /// Says in the Job's status that its pod runs, as its controller does.
    pub(crate) fn ready(&self) {
        self.shared.state().change("jobs", &self.name(), |job| {
            job["status"]["ready"] = json!(1);
            job["status"]["startTime"] = json!("2026-11-22T10:00:01Z");
        });
        self.notify();
    }

    pub(crate) fn suspend(&self, is_suspended: bool) {
        self.shared.state().change("jobs", &self.name(), |job| job["spec"]["suspend"] = json!(is_suspended));
        self.notify();
    }

    pub(crate) fn remove(&self, plural: &str, name: &str) {
        self.shared.state().remove(plural, name);
        self.notify();
    }

    /// Adds an object, as others do.
    pub(crate) fn add(&self, plural: &str, object: Value) {
        self.shared.state().insert(plural, object).unwrap();
        self.notify();
    }

    /// Changes an object that is there.
    pub(crate) fn change(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        self.shared.state().change(plural, name, change);
        self.notify();
    }

    /// Waits until an object is as it should be.
    #[track_caller]
    pub(crate) fn wait_for(&self, plural: &str, name: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.shared.state().get(plural, name).is_some_and(&is_so) {
            assert!(Instant::now() < deadline, "{plural} {name}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for so many requests with this in them.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, part: &str, count: usize) {
        self.wait_while_doing(part, count, || {});
    }

    /// The same; the pod changes meanwhile, so that watches have something to tell.
    #[track_caller]
    pub(crate) fn change_until_requested(&self, part: &str, count: usize) {
        self.wait_while_doing(part, count, || self.running());
    }

    #[track_caller]
    fn wait_while_doing(&self, part: &str, count: usize, doing: impl Fn()) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.shared.state().requests.iter().filter(|request| request.contains(part)).count();
            if found >= count {
                return;
            }
            doing();
            assert!(Instant::now() < deadline, "{part}: {:#?}", self.shared.state().requests);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
