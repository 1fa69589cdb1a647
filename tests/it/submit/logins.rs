//! Logins that go with a Job.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Submit;
use super::api::ApiServer;

const PASSWORD: &str = "the-password-of-somebody";

/// With logins here for several registries, one of them by a helper program.
fn with_logins(submit: Submit) -> Submit {
    let auth = |user: &str| json!({"auth": STANDARD.encode(format!("{user}:{PASSWORD}"))});
    let config = json!({
        "auths": {
            "registry.local:5000": auth("pusher"),
            "base.example": auth("base"),
            "tools.example/team": auth("tools"),
            "unused.example": auth("unused"),
        },
        "credHelpers": { "cache.example": "test" },
    });
    let docker = submit.beside("docker");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::write(docker.join("config.json"), config.to_string()).unwrap();
    let bin = submit.beside("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let helper = bin.join("docker-credential-test");
    let answer = json!({"Username": "cache", "Secret": PASSWORD});
    std::fs::write(&helper, format!("#!/bin/sh\ntouch \"$0.asked\"\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    submit.env("DOCKER_CONFIG", &docker).env("PATH", path.as_ref()).arg("--with-logins").file(
        "Dockerfile",
        "ARG BASE=base.example/os\nFROM ${BASE}:1\nCOPY --from=tools.example/team/tool:2 /a /\n\
         RUN --mount=from=open.example/x,target=/x true\n",
    )
}

/// What the Secret of the only Job has, by registry.
fn carried(api: &ApiServer) -> Value {
    let secret = &api.objects("secrets")[0];
    let text = STANDARD.decode(secret["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn the_job_gets_the_logins_that_it_needs() {
    let api = ApiServer::start();
    let submit = with_logins(Submit::to(&api)).args(["--detach", "--cache-to", "cache.example/team/cache"]);
    let outcome = submit.run().success();
    let auth = |user: &str| json!({"auth": STANDARD.encode(format!("{user}:{PASSWORD}"))});
    let expected = json!({"auths": {
        "base.example": auth("base"),
        "cache.example": auth("cache"),
        "registry.local:5000": auth("pusher"),
        "tools.example": auth("tools"),
    }});
    assert_eq!(carried(&api), expected);
    let (job, secret) = (&api.objects("jobs")[0], &api.objects("secrets")[0]);
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    let owner = &secret["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Job"), &job["metadata"]["uid"]));
    // As a variable: no file that a RUN could read.
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == "DOCKER_AUTH_CONFIG").unwrap();
    let reference =
        json!({"name": secret["metadata"]["name"], "key": ".dockerconfigjson", "optional": false});
    assert_eq!(variable["valueFrom"]["secretKeyRef"], reference);
    assert!(container["volumeMounts"].as_array().unwrap().iter().all(|mount| mount["name"] != "credentials"));
    for text in [PASSWORD.to_owned(), STANDARD.encode(format!("pusher:{PASSWORD}"))] {
        assert!(!outcome.stdout.contains(&text) && !outcome.stderr.contains(&text), "{outcome:?}");
        assert!(!job.to_string().contains(&text), "{job:#}");
    }
}

#[test]
fn whether_secrets_may_be_made_is_asked_before() {
    let api = ApiServer::start().deny(&["create secrets"]);
    let submit = with_logins(Submit::to(&api)).arg("--detach");
    submit.run().failure(1, &["create secrets"]);
    assert_eq!(api.objects("jobs").len(), 0);
    assert!(!submit.beside("bin/docker-credential-test.asked").exists());
}

#[test]
fn a_login_that_cannot_be_had_is_told_before_anything_is_made() {
    let api = ApiServer::start();
    let submit = with_logins(Submit::to(&api)).args(["--detach", "--cache-from", "cache.example/team/cache"]);
    std::fs::remove_file(submit.beside("bin/docker-credential-test")).unwrap();
    submit.run().failure(1, &["`docker-credential-test` is not on the PATH"]);
    assert_eq!((api.objects("jobs").len(), api.objects("secrets").len()), (0, 0));
}

#[test]
fn without_logins_there_is_no_secret() {
    let api = ApiServer::start();
    let outcome = Submit::to(&api).args(["--detach", "--with-logins"]).run().success();
    assert!(outcome.stderr.contains("no logins are known here for registry.local:5000"), "{outcome:?}");
    assert_eq!(api.objects("secrets").len(), 0);
    let job = api.objects("jobs")[0].to_string();
    assert!(!job.contains("DOCKER_AUTH_CONFIG"), "{job}");
}

#[test]
fn a_dry_run_asks_nobody_and_shows_nothing() {
    let submit = with_logins(Submit::nowhere()).args(["--cache-to", "cache.example/c", "--name", "app"]);
    for format in ["yaml", "json"] {
        let dry = ["--dry-run=client".to_owned(), "-o".to_owned(), format.to_owned()];
        let outcome = crate::support::Outcome::of(
            submit.command(&[crate::support::COOPER]).args(dry).output().unwrap(),
        )
        .success();
        assert!(outcome.stdout.contains("secretKeyRef") && outcome.stdout.contains("-logins"), "{outcome:?}");
        assert!(outcome.stderr.contains("kubectl create secret docker-registry app-"), "{outcome:?}");
        for text in [PASSWORD.to_owned(), STANDARD.encode(format!("pusher:{PASSWORD}"))] {
            assert!(!outcome.stdout.contains(&text) && !outcome.stderr.contains(&text), "{outcome:?}");
        }
    }
    assert!(!submit.beside("bin/docker-credential-test.asked").exists());
}

#[test]
fn it_is_one_secret_or_the_other() {
    let submit = Submit::nowhere().args(["--with-logins", "--registry-secret", "x", "--dry-run"]);
    submit.run().failure(2, &["--registry-secret"]);
}
