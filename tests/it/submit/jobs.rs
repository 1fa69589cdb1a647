//! `cooper jobs`.

use serde_json::{Value, json};

use super::api::{ApiServer, Run};
use super::{DIGEST, Submit};

fn job(name: &str, made_at: &str, condition: Option<&str>) -> Value {
    let condition = condition
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T10:05:00Z"}));
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "creationTimestamp": made_at,
            "labels": {"app.kubernetes.io/managed-by": "cooper"},
            "annotations": {"cooper/image": format!("r/{name}:1")},
        },
        "spec": {"template": {"spec": {"containers": [], "volumes": []}}},
        "status": {"conditions": condition.into_iter().collect::<Vec<_>>()},
    })
}

fn cluster() -> ApiServer {
    let api = ApiServer::start();
    api.add("jobs", job("newer", "2026-11-22T10:00:00Z", Some("Complete")));
    api.add("jobs", job("older", "2026-11-22T09:00:00Z", Some("Failed")));
    api.add("jobs", job("runs", "2026-11-22T11:00:00Z", None));
    let mut foreign = job("foreign", "2026-11-22T08:00:00Z", Some("Complete"));
    foreign["metadata"]["labels"] = json!({});
    api.add("jobs", foreign);
    api
}

fn names(api: &ApiServer) -> Vec<String> {
    api.objects("jobs").iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ls_shows_coopers_own() {
    let api = cluster();
    let text = Submit::jobs(&api).arg("ls").run().success().stdout;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "AGE", "TOOK", "IMAGE"]);
    let first = |row: usize, columns: usize| rows[row][..columns].to_vec();
    assert_eq!(first(1, 2), ["older", "failed"]);
    assert_eq!((first(2, 2), rows[2][3], rows[2][4]), (vec!["newer", "complete"], "5m", "r/newer:1"));
    assert_eq!((first(3, 2), rows[3].last()), (vec!["runs", "pending"], Some(&"r/runs:1")));
    assert_eq!(rows.len(), 4);
    let json = Submit::jobs(&api).args(["ls", "--format=json"]).run().success().stdout;
    let list: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(list[0]["name"], "older");
    assert_eq!((&list[1]["state"], &list[1]["ended"]), (&json!("complete"), &json!(1_795_341_900)));
    let denied = ApiServer::start().deny(&["list jobs.batch"]);
    Submit::jobs(&denied).arg("ls").run().failure(1, &["list jobs.batch"]);
    assert_eq!(Submit::jobs(&ApiServer::start()).arg("ls").run().success().stdout, "no builds\n");
}

#[test]
fn cancel_deletes_with_all_that_belongs_to_it() {
    let api = ApiServer::start();
    Submit::to(&api).args(["--detach", "--name", "app"]).run().success();
    assert_eq!(api.objects("configmaps").len(), 1);
    let outcome = Submit::jobs(&api).args(["cancel", "app"]).run().success();
    assert_eq!(outcome.stderr, "deleted app\n");
    assert_eq!((api.objects("jobs").len(), api.objects("configmaps").len()), (0, 0));
    let nothing = Submit::jobs(&api).args(["cancel", "app"]);
    nothing.run().failure(1, &["there is no build `app` in the namespace `ci`"]);
    // What others have made is none of our business.
    let foreign = cluster();
    Submit::jobs(&foreign).args(["cancel", "foreign"]).run().failure(1, &["there is no build `foreign`"]);
    assert!(names(&foreign).contains(&"foreign".to_owned()));
}

#[test]
fn prune_removes_what_has_ended() {
    let api = cluster();
    let dry = Submit::jobs(&api).args(["prune", "--dry-run"]).run().success();
    assert_eq!((dry.stdout.as_str(), dry.stderr.as_str()), ("older\nnewer\n", "2 would be deleted\n"));
    let young = Submit::jobs(&api).args(["prune", "--older-than", "36500d"]).run().success();
    assert_eq!(young.stdout, "");
    assert_eq!(names(&api).len(), 4);
    let outcome = Submit::jobs(&api).arg("prune").run().success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("older\nnewer\n", "2 deleted\n"));
    assert_eq!(names(&api), ["foreign", "runs"]);
}

/// A Job whose pod has done its work before anybody looks.
fn detached(part: impl FnOnce(Run) + Send + 'static) -> ApiServer {
    let api = ApiServer::start();
    let controller = api.control(part);
    Submit::to(&api).args(["--detach", "--name", "app"]).run().success();
    controller.join().unwrap();
    api
}

#[test]
fn logs_and_wait_of_a_job_that_has_ended() {
    let api = detached(|mut run| {
        run.pod();
        run.running();
        run.log("one");
        run.log("two");
        run.succeed(DIGEST);
    });
    let logs = Submit::jobs(&api).args(["logs", "app"]).run().success();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("one\ntwo\n", ""));
    assert_eq!(Submit::jobs(&api).args(["wait", "app"]).run().success().stdout, format!("{DIGEST}\n"));
    Submit::jobs(&api).args(["wait", "other"]).run().failure(1, &["there is no build `other`"]);
}

#[test]
fn wait_ends_as_the_build_does() {
    let api = detached(|mut run| {
        run.pod();
        run.running();
        run.terminate(3, "Error", "");
        run.finish("Failed", "BackoffLimitExceeded");
    });
    Submit::jobs(&api).args(["wait", "app"]).run().failure(3, &["the Job `app` has failed", "exit code 3"]);
}

/// A builder that knows nothing of termination messages.
#[test]
fn digests_of_older_builders_come_from_the_log() {
    let api = detached(|mut run| {
        run.pod();
        run.running();
        run.log("built");
        run.log(DIGEST);
        run.terminate(0, "Completed", "");
        run.finish("Complete", "");
    });
    Submit::jobs(&api).args(["logs", "app"]).run().success();
    let api = ApiServer::start();
    let controller = api.control(|mut run| {
        run.pod();
        run.running();
        run.terminate(0, "Completed", "");
        run.finish("Complete", "");
    });
    let silent = Submit::to(&api).run();
    controller.join().unwrap();
    silent.failure(1, &["without saying the digest"]);
}
