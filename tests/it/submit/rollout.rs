//! `--set-image`.

use serde_json::{Value, json};

use super::api::{ApiServer, Run};
use super::{DIGEST, Submit};
use crate::support::Outcome;

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": "registry.local:5000/team/app:0"}, {"name": "proxy", "image": "proxy:1"},
            ]}},
        },
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
    })
}

fn image() -> String {
    format!("registry.local:5000/team/app@{DIGEST}")
}

/// Submits with a rollout; after the build `part` is what the Deployment's controller does.
fn submit(api: &ApiServer, part: impl FnOnce(&Run) + Send + 'static) -> Outcome {
    let controller = api.control(|mut run| {
        run.pod();
        run.running();
        run.succeed(DIGEST);
        run.wait_for("deployments", "web", |web| web["metadata"]["generation"] == 2);
        part(&run);
    });
    let outcome = Submit::to(api).args(["--set-image", "deployment/web=app"]).run();
    controller.join().unwrap();
    outcome
}

#[test]
fn the_image_is_rolled_out_by_digest() {
    let api = ApiServer::start();
    api.add("deployments", deployment());
    let outcome = submit(&api, |run| {
        run.wait_for_requests("deployments?&watch=true", 1);
        for (updated, all, available) in [(1, 3, 2), (2, 3, 2), (2, 2, 1), (2, 2, 2)] {
            run.change("deployments", "web", |web| {
                web["status"] = json!({"observedGeneration": 2, "replicas": all,
                    "updatedReplicas": updated, "availableReplicas": available});
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    })
    .success();
    let web = &api.objects("deployments")[0];
    let containers = &web["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], image());
    assert_eq!(containers[1]["image"], "proxy:1");
    for text in [
        "1 of 2 pods are new",
        "one old pod has to end",
        "1 of 2 new pods are available",
        "web runs registry",
    ] {
        assert!(outcome.stderr.contains(text), "{text}\n{}", outcome.stderr);
    }
}

#[test]
fn a_rollout_that_gets_stuck_says_why() {
    let api = ApiServer::start();
    api.add("deployments", deployment());
    let outcome = submit(&api, |run| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-2", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": image()}]},
            "status": {"containerStatuses": [{
                "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "HTTP response to HTTPS client"}},
            }]},
        });
        run.add("pods", pod);
        run.change("deployments", "web", |web| {
            web["status"] = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1,
                "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                    "message": "ReplicaSet \"web-2\" has timed out progressing."}]});
        });
    });
    outcome.failure(
        1,
        &[
            "the Deployment `web` was not rolled out: ProgressDeadlineExceeded: ReplicaSet \"web-2\" has timed out",
            "the new pod web-2: ErrImagePull: HTTP response to HTTPS client",
        ],
    );
}

#[test]
fn a_paused_or_deleted_deployment() {
    let api = ApiServer::start();
    let mut paused = deployment();
    paused["spec"]["paused"] = json!(true);
    api.add("deployments", paused);
    submit(&api, |_| {}).failure(1, &["it is paused; `kubectl rollout resume`"]);
    let api = ApiServer::start();
    api.add("deployments", deployment());
    let outcome = submit(&api, |run| {
        run.wait_for_requests("deployments?&watch=true", 1);
        run.remove("deployments", "web");
    });
    outcome.failure(1, &["the Deployment `web` was not rolled out: it was deleted"]);
}

#[test]
fn what_is_not_there_is_found_before_the_build() {
    let api = ApiServer::start();
    api.add("deployments", deployment());
    let run = |target: &str| Submit::to(&api).args(["--set-image", target]).run();
    run("deployment/web=other").failure(1, &["has no container `other`; it has app, proxy"]);
    run("deployment/none=app").failure(1, &["cannot read the Deployment `none`", "not found (404)"]);
    run("web=app").failure(2, &["deployment/NAME=CONTAINER"]);
    let denied = ApiServer::start().deny(&["patch deployments.apps"]);
    let outcome = Submit::to(&denied).args(["--set-image", "deployment/web=app"]).run();
    outcome.failure(1, &["patch deployments.apps"]);
    assert_eq!((api.objects("jobs").len(), denied.objects("jobs").len()), (0, 0));
}
