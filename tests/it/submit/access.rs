//! Finding the cluster, and what is permitted there.

use std::path::Path;
use std::process::Command;

use super::Submit;
use super::api::ApiServer;
use crate::support::{COOPER, Outcome};

#[test]
fn all_missing_permissions_are_named_before_anything_is_created() {
    let api = ApiServer::start().deny(&[
        "create configmaps",
        "get pods/log",
        "watch jobs.batch",
        "delete jobs.batch",
    ]);
    let outcome = Submit::to(&api).run().failure(
        1,
        &[
            "you lack permissions in the namespace `ci`: create configmaps, get pods/log, delete jobs.batch, watch jobs.batch",
            "- apiGroups: [\"batch\"]\n    resources: [\"jobs\"]\n    verbs: [\"delete\", \"watch\"]",
        ],
    );
    let created: Vec<String> = api
        .requests()
        .into_iter()
        .filter(|request| request.starts_with("POST") && !request.contains("reviews"))
        .collect();
    assert_eq!(created, Vec::<String>::new(), "{}", outcome.stderr);
}

#[test]
fn only_what_is_needed_is_asked_for() {
    // Neither secrets to carry, nor anything to follow.
    let denied = ["create secrets", "get pods/log", "list events", "watch pods", "patch deployments.apps"];
    let api = ApiServer::start().deny(&denied);
    Submit::to(&api).arg("--detach").run().success();
    let with_secret = Submit::to(&api).args(["--detach", "--secret", "id=a,env=HOME"]);
    with_secret.run().failure(1, &["create secrets"]);
}

#[test]
fn who_may_not_ask_finds_out_later() {
    let api = ApiServer::start()
        .deny(&["create selfsubjectaccessreviews.authorization.k8s.io", "create configmaps"]);
    let refused = ["cannot create the ConfigMap `cooper-app-", "create configmaps is forbidden", "(403)"];
    Submit::to(&api).arg("--detach").run().failure(1, &refused);
    // The Job that was created before is gone again.
    assert_eq!(api.objects("jobs").len(), 0);
}

#[test]
fn a_namespace_that_may_not_be_read_admits_everything() {
    let api = ApiServer::start().deny(&["get namespaces"]);
    let outcome = Submit::to(&api).arg("--detach").run().success();
    assert!(outcome.stderr.contains("--pod-security"), "{}", outcome.stderr);
    let job = &api.objects("jobs")[0];
    let security = &job["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!(security["seccompProfile"]["type"], "Unconfined");
    // Who says what it admits is not told.
    let said = Submit::to(&api).args(["--detach", "--pod-security=baseline"]).run().success();
    assert_eq!(said.stderr, "");
}

#[test]
fn a_cluster_with_tls_and_a_token() {
    let api = ApiServer::start_tls();
    Submit::to(&api).arg("--detach").run().success();
    assert_eq!(api.objects("jobs").len(), 1);
    let text = std::fs::read_to_string(api.kubeconfig()).unwrap().replace("the-token", "another");
    let wrong = Submit::to(&api).arg("--detach");
    let config = wrong.beside("config");
    std::fs::write(&config, text).unwrap();
    let wrong = wrong.args(["--kubeconfig".to_owned(), config.display().to_string()]);
    wrong.run().failure(1, &["cannot ask the cluster at https://127.0.0.1:", "Unauthorized (401)"]);
}

#[test]
fn a_pod_is_in_its_cluster() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a file system is mounted by root");
        return;
    }
    let api = ApiServer::start_tls();
    let submit = Submit::nowhere();
    let account = submit.beside("account");
    std::fs::create_dir(&account).unwrap();
    api.write_service_account(&account);
    // Where the kubelet mounts it, in a mount namespace of its own.
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && \
                  cp -r \"$0\" /run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
    let mut command = Command::new("unshare");
    let output = command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(&account)
        .args([COOPER, "submit", "--detach", "-t", "registry.local:5000/app:1", "--builder-image=cooper"])
        .arg(submit.context())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", submit.beside("nobody"))
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", api.address().port().to_string())
        .output()
        .unwrap();
    Outcome::of(output).success();
    assert_eq!(api.objects("jobs").len(), 1);
}

#[test]
fn without_a_cluster() {
    Submit::nowhere().run().failure(1, &["no cluster is known", "--kubeconfig FILE"]);
    let absent = Submit::nowhere().arg("--kubeconfig=/none");
    absent.run().failure(1, &["no cluster is known", "/none"]);
    let api = ApiServer::start();
    let context = Submit::to(&api).args(["--kube-context", "other"]);
    context.run().failure(1, &["no cluster is known", "other"]);
    let closed = Submit::to(&api).arg("--detach");
    let config = closed.beside("config");
    let text = std::fs::read_to_string(api.kubeconfig()).unwrap();
    // Nobody listens at the port that is reserved for nobody.
    std::fs::write(&config, text.replace(&api.address().to_string(), "127.0.0.1:1")).unwrap();
    let closed = closed.env("KUBECONFIG", Path::new(&config));
    closed.run().failure(1, &["cannot ask the cluster at http://127.0.0.1:1", "refused"]);
}

#[test]
fn a_name_that_is_taken() {
    let api = ApiServer::start();
    Submit::to(&api).args(["--detach", "--name", "app"]).run().success();
    let again = Submit::to(&api).args(["--detach", "--name", "app"]);
    again.run().failure(1, &["cannot create the Job `app`", "already exists (409)"]);
    assert_eq!(api.objects("jobs").len(), 1);
}
