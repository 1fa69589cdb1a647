//! `--dispatch kubernetes`: replicas that share nothing but the cluster, which is an API server in this process.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Answer, Service, id};
use crate::registry::Registry;
use crate::submit::api::{ApiServer, Effect, Fault};
use crate::support::COOPER;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn replica(api: &ApiServer, registry: &Arc<Registry>, more: &[&str]) -> Service {
    let kubeconfig = api.kubeconfig().display().to_string();
    let own = ["--allow-anonymous", "--dispatch=kubernetes", "--builder-image=cooper:1", "--min-free=1MiB"];
    let all = [&own[..], &["--kubeconfig", kubeconfig.as_str()], more].concat();
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let arguments = all.iter().map(ToString::to_string).collect();
    let service = Service::spawn(arguments, directory, Arc::clone(registry));
    wait("it is ready", || service.get("/readyz").status == 200);
    service
}

fn two(api: &ApiServer) -> [Service; 2] {
    let registry = Arc::new(Registry::start());
    [replica(api, &registry, &[]), replica(api, &registry, &[])]
}

#[track_caller]
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A request whose files are elsewhere and cannot change.
fn settled(service: &Service, name: &str) -> Value {
    let host = service.registry.host();
    json!({
        "tags": [format!("{host}/{name}")],
        "context": {"artifact": format!("oci://{host}/contexts@{DIGEST}")},
    })
}

fn post(service: &Service, request: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    service.ask("POST", "/v1/builds", &headers, request.to_string().as_bytes())
}

/// The name of the Job of a build.
fn job(api: &ApiServer, id: &str) -> String {
    let jobs = api.objects("jobs");
    let job = jobs.iter().find(|job| job["metadata"]["labels"]["cooper/build"] == id).unwrap();
    job["metadata"]["name"].as_str().unwrap().to_owned()
}

fn job_object(api: &ApiServer, name: &str) -> Value {
    api.objects("jobs").into_iter().find(|job| job["metadata"]["name"] == name).unwrap()
}

/// How many replicas say that they have ended the build.
fn ends(replicas: &[&Service], id: &str) -> usize {
    let is_end = |line: &&str| {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        value["message"] == "ended" && value["build"] == id
    };
    replicas.iter().map(|replica| replica.log().lines().filter(is_end).count()).sum()
}

#[test]
fn a_build_is_a_job_that_every_replica_shows() {
    let api = ApiServer::start();
    let [one, other] = two(&api);
    let mut request = one.request("shop/app:1", "FROM scratch\nCOPY file /\n");
    request["memory"] = json!("128MiB");
    request["timeout"] = json!("10m");
    let asked = one.build(&request, "");
    assert_eq!(asked.status, 202, "{}", asked.text());
    let build = id(&asked.json());
    // At once, whether its watch has told of it or not.
    assert_eq!(other.show(&build)["state"], "queued");
    let name = job(&api, &build);
    let made = job_object(&api, &name);
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"cpu": "1500m", "memory": "134217728"}));
    assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "134217728"}));
    assert_eq!(made["spec"]["activeDeadlineSeconds"], 600);
    let arguments = container["args"].to_string();
    assert!(
        arguments.contains("--progress=json") && arguments.contains("--source-reach=public"),
        "{arguments}"
    );
    let artifact = made["metadata"]["annotations"]["cooper/context"].as_str().unwrap();
    assert!(container["args"][0] == format!("oci://{artifact}"), "{arguments}");

    let work = tempfile::tempdir().unwrap();
    api.run(&name).execute(COOPER, work.path());
    let [ended, same] = [&one, &other].map(|replica| replica.wait_for(&build, &["succeeded", "failed"]));
    assert_eq!(ended["state"], "succeeded", "{ended:#}\n{}", one.log());
    for field in ["result", "ended_at", "started_at", "attempts", "request"] {
        assert_eq!(ended[field], same[field], "{field}");
    }
    let digest = ended["result"]["digest"].as_str().unwrap();
    assert!(one.registry.manifest("shop/app", digest).is_some(), "{digest}");
    let (_, context) = artifact.split_once('@').unwrap();
    let removal = format!("/shop/app/manifests/{context}");
    let streams = [&one, &other].map(|replica| replica.get(&format!("/v1/builds/{build}/events")).text());
    let lines = |text: &str| text.split("event: end").next().unwrap().to_owned();
    assert_eq!(lines(&streams[0]), lines(&streams[1]), "ids mean the same in every replica");
    assert!(streams[0].contains("COPY file /") && streams[0].contains("event: end"), "{}", streams[0]);
    // A stream that began at one goes on at the other.
    let ids = streams[0].lines().filter_map(|line| line.strip_prefix("id: "));
    let middle = ids.clone().nth(ids.count() / 2).unwrap().to_owned();
    let rest = other.ask("GET", &format!("/v1/builds/{build}/events"), &[("Last-Event-ID", &middle)], b"");
    assert_eq!(rest.status, 200, "{}", rest.text());
    assert!(lines(&streams[0]).ends_with(&lines(&rest.text())), "{}\n{}", streams[0], rest.text());
    let logs = [&one, &other].map(|replica| replica.get(&format!("/v1/builds/{build}/logs")).text());
    assert!(logs[0] == logs[1] && logs[0].contains("COPY file /"), "{logs:?}");
    assert_eq!(ends(&[&one, &other], &build), 1, "one replica does what follows from the end");
    wait("the context is removed", || one.registry.count("DELETE", &removal) > 0);
    assert_eq!(one.registry.count("DELETE", &removal), 1);
    let rebuilt = other.ask("POST", &format!("/v1/builds/{build}/rebuild"), &[], b"");
    rebuilt.problem(410, "context-gone");
    // Who starts anew knows what there is.
    let late = replica(&api, &one.registry, &[]);
    assert_eq!(late.show(&build)["result"], ended["result"]);
    wait("the log is there", || late.get(&format!("/v1/builds/{build}/logs")).text() == logs[0]);
    assert_eq!(late.get("/v1/builds").ok()["builds"].as_array().unwrap().len(), 1);
    assert_eq!(ends(&[&one, &other, &late], &build), 1);
}

#[test]
fn same_requests_are_joined_across_replicas() {
    let api = ApiServer::start();
    let replicas = two(&api);
    let request = settled(&replicas[0], "shop/app:1");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..10)
            .map(|index| {
                let (replica, request) = (&replicas[index % 2], &request);
                scope.spawn(move || id(&post(replica, request).ok()))
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(api.objects("jobs").len(), 1, "{ids:?}");
    assert!(ids.iter().all(|other| *other == ids[0]), "{ids:?}");
    for replica in &replicas {
        wait("all are counted", || replica.show(&ids[0])["requests"] == 10);
    }
    // Other files, another project, or a branch that may have moved: something else.
    let mut branch = request.clone();
    branch["context"] = json!({"git": {"url": "https://example.com/a.git", "ref": "main"}});
    let mut project = request.clone();
    project["project"] = json!("other");
    for (request, jobs) in [(&project, 2), (&branch, 3), (&branch, 4)] {
        assert_eq!(post(&replicas[1], request).status, 202);
        assert_eq!(api.objects("jobs").len(), jobs);
    }
    // What has ended is not joined.
    let mut run = api.run(&job(&api, &ids[0]));
    run.pod();
    run.running();
    run.succeed(DIGEST);
    for replica in &replicas {
        replica.wait_for(&ids[0], &["succeeded"]);
    }
    let again = post(&replicas[0], &request);
    assert_eq!(again.status, 202);
    let (first, second) = (job(&api, &ids[0]), job(&api, &id(&again.json())));
    let stem = first.strip_suffix("-0").unwrap();
    assert_eq!(second, format!("{stem}-1"));
}

#[test]
fn any_replica_cancels() {
    let api = ApiServer::start();
    let [one, other] = two(&api);
    let path = |id: &str| format!("/v1/builds/{id}");
    let waiting = id(&post(&one, &settled(&one, "a:1")).ok());
    let running = id(&post(&one, &settled(&one, "b:1")).ok());
    let mut run = api.run(&job(&api, &running));
    run.pod();
    run.running();
    run.ready();
    run.log(r#"{"at_ms":1,"event":"note","text":"begun"}"#);
    other.wait_for(&running, &["running"]);
    for build in [&waiting, &running] {
        let cancelled = other.ask("DELETE", &path(build), &[], b"");
        assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
        one.wait_for(build, &["cancelled"]);
        assert_eq!(one.ask("DELETE", &path(build), &[], b"").status, 200, "once more changes nothing");
        // The Job's controller ends it; the Job stays, with what came of it.
        assert_eq!(job_object(&api, &job(&api, build))["spec"]["activeDeadlineSeconds"], 1);
        assert_eq!(ends(&[&one, &other], build), 1);
    }
    assert_eq!(one.show(&waiting)["error"], "cancelled by anonymous");
    assert_eq!(one.show(&running)["error"], "cancelled while it was running");
    // What its pod does in the last second changes nothing.
    run.succeed(DIGEST);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(one.show(&running)["state"], "cancelled");
    let done = id(&post(&one, &settled(&one, "c:1")).ok());
    let mut run = api.run(&job(&api, &done));
    run.pod();
    run.running();
    run.succeed(DIGEST);
    other.wait_for(&done, &["succeeded"]);
    other.ask("DELETE", &path(&done), &[], b"").problem(409, "build-has-ended");
}

#[test]
fn failures_and_troubles_are_told() {
    let api = ApiServer::start();
    let [one, other] = two(&api);
    let build = id(&post(&one, &settled(&one, "a:1")).ok());
    let mut run = api.run(&job(&api, &build));
    run.pod();
    run.waiting("ImagePullBackOff", "no such image");
    wait("the trouble is shown", || {
        other.show(&build)["cluster"]
            .as_str()
            .is_some_and(|text| text.contains("ImagePullBackOff: no such image"))
    });
    run.running();
    run.ready();
    run.terminate(7, "Error", r#"{"error": "Dockerfile:3: RUN make: exit code: 7", "digest": null}"#);
    run.finish("Failed", "BackoffLimitExceeded");
    for replica in [&one, &other] {
        let ended = replica.wait_for(&build, &["failed"]);
        assert_eq!(
            (&ended["error"], &ended["exit_code"]),
            (&json!("Dockerfile:3: RUN make: exit code: 7"), &json!(7))
        );
    }
    // A Job that somebody deletes is not known any more.
    api.run(&job(&api, &build)).remove("jobs", &job(&api, &build));
    wait("it is forgotten", || one.get(&format!("/v1/builds/{build}")).status == 404);
}

#[test]
fn builds_end_once_whoever_dies() {
    let api = ApiServer::start();
    let [one, other] = two(&api);
    let registry = Arc::clone(&one.registry);
    let first = id(&post(&one, &settled(&one, "a:1")).ok());
    let second = id(&post(&one, &settled(&one, "b:1")).ok());
    other.wait_for(&first, &["queued"]);
    // The one that has accepted them is killed; the other one ends the first.
    one.signal(Signal::KILL);
    let mut run = api.run(&job(&api, &first));
    run.pod();
    run.running();
    run.log(r#"{"at_ms":1,"event":"note","text":"begun"}"#);
    run.succeed(DIGEST);
    let ended = other.wait_for(&first, &["succeeded"]);
    assert_eq!(ended["result"]["digest"], DIGEST);
    assert_eq!(ended["result"]["images"][0], format!("{}/a:1", registry.host()));
    // Nobody is there when the second ends.
    other.signal(Signal::KILL);
    let mut run = api.run(&job(&api, &second));
    run.pod();
    run.running();
    run.succeed(DIGEST);
    let late = [replica(&api, &registry, &[]), replica(&api, &registry, &[])];
    for replica in &late {
        replica.wait_for(&second, &["succeeded"]);
        assert_eq!(replica.show(&first)["state"], "succeeded");
    }
    wait("it is told", || ends(&[&late[0], &late[1]], &second) > 0);
    assert_eq!(ends(&[&late[0], &late[1]], &second), 1);
    assert_eq!(ends(&[&one, &other, &late[0], &late[1]], &first), 1);
}

/// The end is written, but the answer gets lost: it is still this replica's, and told once.
#[test]
fn an_end_whose_answer_is_lost_counts_once() {
    let api = ApiServer::start().fault(Fault::on("PATCH", "/jobs/cooper-", Effect::DropAnswer));
    let one = replica(&api, &Arc::new(Registry::start()), &[]);
    let build = id(&post(&one, &settled(&one, "a:1")).ok());
    let mut run = api.run(&job(&api, &build));
    run.pod();
    run.running();
    run.succeed(DIGEST);
    one.wait_for(&build, &["succeeded"]);
    wait("it is told", || ends(&[&one], &build) > 0);
    assert_eq!(ends(&[&one], &build), 1);
}

#[test]
fn newer_builds_supersede_those_that_wait() {
    let api = ApiServer::start();
    let [one, other] = two(&api);
    let request = |name: &str| {
        let mut request = settled(&one, name);
        request["supersede"] = json!("main");
        request
    };
    let first = id(&post(&one, &request("a:1")).ok());
    let mut run = api.run(&job(&api, &first));
    run.pod();
    run.running();
    run.ready();
    other.wait_for(&first, &["running"]);
    let second = id(&post(&one, &request("a:2")).ok());
    api.run(&job(&api, &second)).suspend(true);
    let third = id(&post(&other, &request("a:3")).ok());
    let superseded = one.wait_for(&second, &["cancelled"]);
    assert_eq!(superseded["superseded_by"], third.as_str());
    assert_eq!(one.show(&first)["state"], "running", "what has begun goes on");
    assert_eq!(one.show(&third)["state"], "queued");
}

fn web() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "app", "image": "old:1"}]}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    })
}

#[test]
fn another_replica_takes_over_what_is_deployed() {
    for signal in [Signal::TERM, Signal::KILL] {
        let api = ApiServer::start();
        api.add("deployments", web());
        let [one, other] = two(&api);
        let mut request = settled(&one, "a:1");
        request["set_image"] = json!(["deployment/web=app"]);
        let build = id(&post(&one, &request).ok());
        let mut run = api.run(&job(&api, &build));
        run.pod();
        run.running();
        run.succeed(DIGEST);
        let owner = || {
            let job = job_object(&api, &job(&api, &build));
            let claim =
                job["metadata"]["annotations"]["cooper/deploying"].as_str().unwrap_or("{}").to_owned();
            let claim: Value = serde_json::from_str(&claim).unwrap();
            claim["owner"].as_str().unwrap_or_default().to_owned()
        };
        wait("somebody deploys it", || !owner().is_empty());
        let first = owner();
        let is_first = |replica: &&Service| replica.log().contains(&first);
        let (dying, living) = if is_first(&&one) { (&one, &other) } else { (&other, &one) };
        let settings =
            || api.requests().iter().filter(|request| request.contains("PATCH /apis/apps/v1/")).count();
        wait("the image is set", || settings() > 0);
        assert_eq!(living.show(&build)["state"], "running");
        dying.signal(signal);
        let begun = Instant::now();
        wait("another one deploys it", || !owner().is_empty() && owner() != first);
        if signal == Signal::TERM {
            assert!(begun.elapsed() < Duration::from_secs(15), "it was handed over: {:?}", begun.elapsed());
        }
        wait("the image is set again", || settings() > 1);
        api.change("deployments", "web", |web| {
            let generation = web["metadata"]["generation"].clone();
            web["status"] = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
                "availableReplicas": 1});
        });
        let ended = living.wait_for(&build, &["succeeded", "failed"]);
        assert_eq!(ended["state"], "succeeded", "{ended:#}");
        assert_eq!(ended["deployments"][0]["state"], "succeeded");
        let image = format!("{}/a@{DIGEST}", one.registry.host());
        assert_eq!(
            api.objects("deployments")[0]["spec"]["template"]["spec"]["containers"][0]["image"],
            image
        );
        wait("it is told", || ends(&[living], &build) == 1);
    }
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let run = |api: &ApiServer, more: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(COOPER)
            .env_clear()
            .env("KUBECONFIG", api.kubeconfig())
            .args([
                "serve",
                "--allow-anonymous",
                "--listen",
                "127.0.0.1:0",
                "--dispatch",
                "kubernetes",
                "--data",
            ])
            .arg(directory.path())
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let api = ApiServer::start().deny(&["patch jobs.batch"]);
    let said = run(&api, &["--builder-image", "cooper:1"]);
    assert!(said.contains("patch jobs.batch") && said.contains("resources: [\"jobs\"]"), "{said}");
    assert!(run(&api, &[]).contains("--builder-image IMAGE"));
    let login = ["--builder-image", "cooper:1", "--git-login", "git.example=/tmp/token"];
    assert!(run(&api, &login).contains("`--git-login` is not for"));
}

/// What the cluster refuses, and what it does not answer.
#[test]
fn refusals_are_answers() {
    let refusal = Fault::on("POST", "/namespaces/ci/jobs", Effect::Refuse(403, "Forbidden"));
    let api = ApiServer::start().fault(refusal);
    let one = replica(&api, &Arc::new(Registry::start()), &["--max-queued", "1"]);
    let refused = post(&one, &settled(&one, "a:1"));
    refused.problem(502, "cluster");
    let mut large = settled(&one, "a:1");
    let values: serde_json::Map<String, Value> =
        (0..8).map(|index| (format!("A{index}"), json!("x".repeat(30_000)))).collect();
    large["build_args"] = json!(values);
    post(&one, &large).problem(413, "too-large");
    assert_eq!(post(&one, &settled(&one, "a:1")).status, 202);
    wait("it is known", || post(&one, &settled(&one, "b:1")).status == 429);
}
