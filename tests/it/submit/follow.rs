//! Following a Job: what is seen, how it ends.

use std::time::Duration;

use serde_json::Value;

use super::api::ApiServer;
use super::{DIGEST, Submit};
use crate::support::Outcome;

#[test]
fn a_build_is_like_a_local_one() {
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        run.event(false, "Normal", "SuccessfulCreate", "Created pod: x");
        run.pod();
        run.unschedulable("0/3 nodes are available: 3 Insufficient cpu.");
        run.event(true, "Warning", "FailedScheduling", "0/3 nodes are available");
        // The next state may come before anybody has seen this one.
        run.wait_for_requests("GET /api/v1/namespaces/ci/events", 4);
        run.waiting("ImagePullBackOff", "Back-off pulling image \"cooper\"\n");
        std::thread::sleep(Duration::from_millis(100));
        run.running();
        for line in ["#1 load build context", "#1 DONE", "tab\there"] {
            run.log(line);
        }
        run.succeed(DIGEST);
    });
    let outcome = Submit::to(&api).args(["--name", "app"]).run().success();
    controller.join().unwrap();
    assert_eq!(outcome.stdout, format!("{DIGEST}\n"));
    let said = &outcome.stderr;
    for text in [
        "cluster: created the Job app in the namespace ci\n",
        "cluster: job app: SuccessfulCreate: Created pod: x\n",
        "cluster: pod app-pod1: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.\n",
        "cluster: pod app-pod1: FailedScheduling: 0/3 nodes are available\n",
        "cluster: pod app-pod1: ImagePullBackOff: Back-off pulling image \"cooper\"\n",
        "#1 load build context\n#1 DONE\ntab\there\n",
    ] {
        assert!(said.contains(text), "{text:?}\n{said}");
    }
    // All goes with the Job.
    let job = &api.objects("jobs")[0];
    let map = &api.objects("configmaps")[0];
    assert_eq!(map["metadata"]["ownerReferences"][0]["uid"], job["metadata"]["uid"]);
    assert_eq!(job["metadata"]["annotations"]["cooper/image"], "registry.local:5000/team/app:1");
}

#[test]
fn names_are_made_of_the_image() {
    let api = ApiServer::start();
    let outcome = Submit::to(&api).arg("--detach").run().success();
    let name = outcome.stdout.trim();
    assert!(name.starts_with("cooper-app-") && name.len() == "cooper-app-xxxxx".len(), "{name}");
    assert_eq!(api.objects("jobs")[0]["metadata"]["name"], name);
    assert_eq!(api.objects("configmaps")[0]["metadata"]["name"], name);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn secrets_go_into_a_secret_of_the_job() {
    let api = ApiServer::start();
    let submit = Submit::to(&api).args(["--detach", "--secret", "id=a,env=A"]).env("A", "hidden".as_ref());
    submit.run().success();
    let (job, secret) = (&api.objects("jobs")[0], &api.objects("secrets")[0]);
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], job["metadata"]["uid"]);
    assert_eq!(secret["data"]["secret-0"], "aGlkZGVu");
    assert!(!job.to_string().contains("hidden"));
}

#[test]
fn a_build_that_fails_ends_with_its_exit_code() {
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        run.pod();
        run.running();
        run.log("#2 RUN make");
        run.terminate(7, "Error", r#"{"error": "Dockerfile:3: RUN make: exit code: 7", "digest": null}"#);
        run.finish("Failed", "BackoffLimitExceeded");
    });
    let outcome = Submit::to(&api).args(["--name", "app"]).run();
    controller.join().unwrap();
    outcome.failure(7, &["#2 RUN make", "the Job `app` has failed: Dockerfile:3: RUN make: exit code: 7"]);
}

#[test]
fn the_second_pod_counts_when_the_first_has_failed() {
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        run.pod();
        run.running();
        run.log("first");
        run.terminate(1, "Error", "killed");
        run.pod();
        run.running();
        run.log("second");
        run.succeed(DIGEST);
    });
    let outcome = Submit::to(&api).args(["--backoff-limit", "1"]).run().success();
    controller.join().unwrap();
    assert!(outcome.stderr.contains("first\n") && outcome.stderr.contains("second\n"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, format!("{DIGEST}\n"));
}

#[test]
fn failures_of_the_cluster_are_explained() {
    let run = |part: fn(super::api::Run)| -> Outcome {
        let api = ApiServer::start();
        let controller = api.control(part);
        let outcome = Submit::to(&api).args(["--name", "app", "--deadline", "2m"]).run();
        controller.join().unwrap();
        outcome
    };
    run(|mut run| {
        run.pod();
        run.waiting("ErrImagePull", "http: server gave HTTP response to HTTPS client");
        run.wait_for_requests("GET /api/v1/namespaces/ci/events", 4);
        run.remove("pods", &run.pod_name());
        run.finish("Failed", "DeadlineExceeded");
    })
    .failure(
        1,
        &["longer than 120 seconds", "ErrImagePull: http: server gave HTTP response to HTTPS client"],
    );
    run(|mut run| {
        run.pod();
        run.running();
        run.terminate(137, "OOMKilled", "");
        run.finish("Failed", "BackoffLimitExceeded");
    })
    .failure(137, &["more memory than it may (1Gi)", "--limits memory=2Gi"]);
    run(|run| run.remove("jobs", "app")).failure(1, &["the Job `app` was deleted before it had ended"]);
}

#[test]
fn a_namespace_that_does_not_admit_the_pod() {
    let api = ApiServer::start().enforce("baseline");
    let controller = api.control(|run| {
        let container = &run.job()["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["securityContext"], serde_json::json!({"runAsUser": 0, "runAsNonRoot": false}));
        run.event(
            false,
            "Warning",
            "FailedCreate",
            "pods \"x\" is forbidden: violates PodSecurity \"restricted\"",
        );
    });
    let outcome = Submit::to(&api).run();
    controller.join().unwrap();
    outcome.failure(1, &["does not admit the pod", "violates PodSecurity", "--pod-security restricted"]);
    assert_eq!((api.objects("jobs").len(), api.objects("configmaps").len()), (0, 0));
}

#[test]
fn a_job_in_a_queue_waits() {
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        assert_eq!(run.job()["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "pis");
        run.suspend(true);
        run.wait_for_requests("watch=true", 2);
        std::thread::sleep(Duration::from_millis(200));
        run.suspend(false);
        run.pod();
        run.running();
        run.succeed(DIGEST);
    });
    let outcome = Submit::to(&api).args(["--queue", "pis"]).run().success();
    controller.join().unwrap();
    assert!(outcome.stderr.contains("the Job is suspended"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the Job may run"), "{}", outcome.stderr);
}

#[test]
fn an_interrupt_deletes_the_job_and_what_it_owns() {
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        run.pod();
        run.running();
        run.log("#1 RUN sleep");
    });
    let submit = Submit::to(&api).args(["--secret", "id=a,env=HOME"]);
    let child = submit.spawn();
    controller.join().unwrap();
    api.wait_until("the log is read", |api| api.requests().iter().any(|request| request.contains("/log?")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    outcome.failure(130, &["deleting the Job cooper-app-", "interrupted"]);
    for plural in ["jobs", "configmaps", "secrets", "pods"] {
        assert_eq!(api.objects(plural), Vec::<Value>::new(), "{plural}");
    }
}

#[test]
fn json_and_quiet_are_for_programs() {
    for progress in ["json", "quiet"] {
        let api = ApiServer::start();
        let controller = api.control(|mut run| {
            let words = run.job()["spec"]["template"]["spec"]["containers"][0]["args"].clone();
            let progress = words.as_array().unwrap()[2].as_str().unwrap().to_owned();
            run.pod();
            run.running();
            run.log(&format!("{{\"is\": \"{progress}\"}}"));
            run.succeed(DIGEST);
        });
        let outcome = Submit::to(&api).args(["--progress", progress]).run().success();
        controller.join().unwrap();
        if progress == "json" {
            assert_eq!(outcome.stderr, "{\"is\": \"--progress=json\"}\n");
            assert_eq!(outcome.stdout, "");
        } else {
            assert_eq!((outcome.stderr.as_str(), outcome.stdout), ("", format!("{DIGEST}\n")));
        }
    }
}
