//! Deploying what was pushed, to an API server in this process.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Service, id};
use crate::submit::api::ApiServer;

fn workload(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"name": "app", "image": "old:1"}]}},
        },
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    })
}

fn cluster() -> ApiServer {
    let api = ApiServer::start();
    api.add("deployments", workload("Deployment", "web"));
    api.add("statefulsets", workload("StatefulSet", "db"));
    api
}

fn service(api: &ApiServer, arguments: &[&str]) -> Service {
    let kubeconfig = api.kubeconfig().display().to_string();
    Service::start(&[&["--kubeconfig", &kubeconfig], arguments].concat())
}

fn request(service: &Service, targets: &[&str]) -> Value {
    let mut request = service.request("shop/app:1", "FROM scratch\nCOPY . /\n");
    request["set_image"] = json!(targets);
    request
}

/// The part of a controller: waits for the image to be set, and has all pods new.
fn roll_out(api: &ApiServer, plural: &str, name: &str) -> String {
    let image = || {
        let objects = api.objects(plural);
        let object = objects.iter().find(|object| object["metadata"]["name"] == name).unwrap().clone();
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        let image = object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        (generation, image)
    };
    api.wait_until("the image is set", |_| image().1 != "old:1");
    let (generation, image) = image();
    api.change(plural, name, |object| {
        object["status"] = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
            "availableReplicas": 1, "readyReplicas": 1, "updateRevision": "b", "currentRevision": "b"});
    });
    image
}

#[track_caller]
fn wait_for_deploying(service: &Service, id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let build = service.show(id);
        if build["deployments"][0]["message"].is_string() {
            return build;
        }
        assert!(Instant::now() < deadline, "{build:#}\n{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_pushed_is_deployed_by_digest() {
    let api = cluster();
    let service = service(&api, &[]);
    let targets = ["deployment/web=app", "ci/statefulset/db=app"];
    let build = id(&service.build(&request(&service, &targets), "").ok());
    let waiting = wait_for_deploying(&service, &build);
    assert_eq!(waiting["state"], "running", "{waiting:#}");
    assert_eq!(waiting["deployments"][1]["state"], "waiting", "one after the other");
    let images = [roll_out(&api, "deployments", "web"), roll_out(&api, "statefulsets", "db")];
    let ended = service.wait_for(&build, &["succeeded", "failed"]);
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let digest = ended["result"]["digest"].as_str().unwrap();
    let image = format!("{}/shop/app@{digest}", service.registry.host());
    assert_eq!(images, [image.clone(), image.clone()]);
    assert_eq!(
        ended["deployments"],
        json!([
            {"target": "ci/deployment/web=app", "image": image, "state": "succeeded"},
            {"target": "ci/statefulset/db=app", "image": image, "state": "succeeded"},
        ])
    );
    let log = service.get(&format!("/v1/builds/{build}/logs")).text();
    assert!(
        log.contains("deploy to ci/deployment/web=app") && log.contains("waits for its controller"),
        "{log}"
    );
    let events = service.get(&format!("/v1/builds/{build}/events")).text();
    let begun = events.lines().filter(|line| line.contains("\"name\":\"deploy to ")).count();
    assert_eq!(begun, 2, "{events}");
    assert!(events.contains("\"outcome\":\"done\""), "{events}");
}

#[test]
fn a_deployment_that_fails_fails_the_build_and_keeps_its_image() {
    let api = cluster();
    let service = service(&api, &[]);
    let targets = ["deployment/web=app", "statefulset/db=app"];
    let build = id(&service.build(&request(&service, &targets), "").ok());
    wait_for_deploying(&service, &build);
    api.change("deployments", "web", |web| {
        web["status"] = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": "timed out progressing"}]});
    });
    let ended = service.wait_for(&build, &["succeeded", "failed"]);
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("failed"), &Value::Null), "{ended:#}");
    let error = ended["error"].as_str().unwrap();
    assert!(
        error.starts_with("the image is pushed, but deploying it to ci/deployment/web=app failed: ")
            && error.contains("ProgressDeadlineExceeded: timed out progressing"),
        "{error}"
    );
    assert!(ended["result"]["digest"].is_string(), "{ended:#}");
    assert_eq!(ended["deployments"][0]["state"], "failed");
    assert_eq!(ended["deployments"][1]["state"], "waiting", "what comes after it is not begun");
    assert_eq!(api.objects("statefulsets")[0]["metadata"]["generation"], 1);
}

#[test]
fn deploying_is_cancelled_and_takes_its_time_from_the_build() {
    let api = cluster();
    // Builds that are deployed hold nothing of the budget: the second one begins.
    let service = service(&api, &["--cpus", "1", "--build-cpus", "1"]);
    let build = id(&service.build(&request(&service, &["deployment/web=app"]), "").ok());
    wait_for_deploying(&service, &build);
    let mut quick = request(&service, &["statefulset/db=app"]);
    quick["timeout"] = json!("4s");
    quick["tags"] = json!([format!("{}/shop/other:1", service.registry.host())]);
    let late = service.build(&quick, "?wait=60s").ok();
    assert_eq!(late["state"], "failed", "{late:#}");
    let error = late["error"].as_str().unwrap();
    assert!(error.contains("the image is pushed") && error.contains("longer than 4 seconds"), "{error}");
    assert_eq!(late["deployments"][0]["state"], "stopped");
    assert_eq!(service.ask("DELETE", &format!("/v1/builds/{build}"), &[], b"").status, 202);
    let ended = service.wait_for(&build, &["cancelled"]);
    assert!(ended["result"]["digest"].is_string(), "{ended:#}");
    assert_eq!(ended["deployments"][0]["state"], "stopped");
}

#[test]
fn deploying_goes_on_with_the_next_service() {
    let api = cluster();
    let mut service = service(&api, &["--grace", "1s"]);
    let build = id(&service.build(&request(&service, &["deployment/web=app"]), "").ok());
    let before = wait_for_deploying(&service, &build);
    // In good order it costs nothing; a kill costs one of two attempts.
    for (signal, attempts) in [(Signal::TERM, 1), (Signal::KILL, 2)] {
        service.signal(signal);
        service = service.again();
        let deadline = Instant::now() + Duration::from_secs(30);
        while service.show(&build)["state"] != "running" {
            assert!(Instant::now() < deadline, "{}", service.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let build = wait_for_deploying(&service, &build);
        assert_eq!(build["attempts"], attempts, "{build:#}");
        assert_eq!(build["result"], before["result"], "it is not built again");
    }
    roll_out(&api, "deployments", "web");
    let ended = service.wait_for(&build, &["succeeded", "failed"]);
    assert_eq!((&ended["state"], &ended["attempts"]), (&json!("succeeded"), &json!(2)), "{ended:#}");
    let log = service.get(&format!("/v1/builds/{build}/logs")).text();
    assert!(log.contains("deploying did not come to its end; it is done again"), "{log}");
}

#[test]
fn who_may_deploy_where() {
    let api = cluster().deny(&["patch daemonsets.apps"]);
    let kubeconfig = api.kubeconfig().display().to_string();
    let token = |name: &str, deployments: &[&str]| {
        json!({"name": name, "sha256": cooper::layer::Digest::of(name).hex(), "projects": ["p"],
               "destinations": ["**"], "contexts": ["upload"], "deployments": deployments})
    };
    let tokens =
        json!({"tokens": [token("none", &[]), token("web", &["ci/deployment/we*", "ci/daemonset/*"])]});
    let service = Service::with_tokens(&["--kubeconfig", &kubeconfig], Some(&tokens));
    let ask = |token: &str, target: &str| {
        let header = request(&service, &[target]).to_string();
        let bearer = format!("Bearer {token}");
        let headers = [("Cooper-Build", header.as_str()), ("Authorization", bearer.as_str())];
        service.ask("POST", "/v1/builds", &headers, &super::context(&[]))
    };
    ask("none", "deployment/web=app").problem(403, "deployment");
    ask("web", "statefulset/db=app").problem(403, "deployment");
    ask("web", "other/deployment/web=app").problem(403, "deployment");
    ask("web", "web=app").problem(400, "bad-request");
    for (target, said) in [
        ("deployment/web=other", "the Deployment `web` has no container `other`; it has app"),
        ("deployment/weg=app", "cannot read the Deployment `weg`"),
        ("daemonset/agent=app", "patch daemonsets.apps"),
    ] {
        let refused = ask("web", target);
        refused.problem(400, "deployment");
        assert!(refused.text().contains(said), "{}", refused.text());
    }
    assert_eq!(ask("web", "deployment/web=app").status, 202);
    let nowhere = Service::start(&[]);
    let refused = nowhere.build(&request(&nowhere, &["deployment/web=app"]), "");
    refused.problem(400, "deployment");
    assert!(refused.text().contains("no cluster is known"), "{}", refused.text());
}
