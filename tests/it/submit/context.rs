//! Contexts that are too large for a ConfigMap go through a registry.

use serde_json::Value;

use super::api::ApiServer;
use super::{DIGEST, Submit};
use crate::support::{COOPER, DebianRegistry, Outcome};

/// Bytes that compression makes nothing of.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

fn large(submit: Submit, registry: &DebianRegistry) -> Submit {
    let submit = submit.file("large", noise(1 << 20)).env("DOCKER_CONFIG", &registry.docker_config());
    submit
        .arg(format!("--tag={}/team/app:1", registry.host()))
        .args(["--context-repo".to_owned(), format!("{}/contexts", registry.host())])
}

fn context_of(job: &Value) -> String {
    let word = &job["spec"]["template"]["spec"]["containers"][0]["args"][0];
    word.as_str().unwrap().to_owned()
}

#[test]
fn a_large_context_goes_through_the_registry_and_is_removed() {
    let registry = DebianRegistry::start();
    let api = ApiServer::start();
    let store = tempfile::tempdir().unwrap();
    let (config, place) = (registry.docker_config(), store.path().to_owned());
    let controller = api.control(move |mut run| {
        run.pod();
        run.running();
        // What the pod would do: the artifact is a context.
        let output = std::process::Command::new(COOPER)
            .env_clear()
            .env("DOCKER_CONFIG", config)
            .args(["build", "--progress=quiet", "--store"])
            .arg(place.join("store"))
            .args(["--output", &format!("type=local,dest={}", place.join("out").display())])
            .arg(context_of(run.job()))
            .output()
            .unwrap();
        Outcome::of(output).success();
        run.succeed(DIGEST);
    });
    let outcome = large(Submit::to(&api), &registry).run().success();
    controller.join().unwrap();
    assert_eq!(std::fs::read(store.path().join("out/a")).unwrap(), b"a");
    assert_eq!(api.objects("configmaps").len(), 0, "there is nothing for it");
    let context = context_of(&api.objects("jobs")[0]);
    assert!(context.starts_with(&format!("oci://{}/contexts@sha256:", registry.host())), "{context}");
    assert!(outcome.stderr.contains("cluster: pushed the context as "), "{}", outcome.stderr);
    let image = context.trim_start_matches("oci://").to_owned();
    let show = Outcome::of(inspect(&registry, &image));
    assert_ne!(show.code, Some(0), "the context is still there: {}", show.stdout);
}

fn inspect(registry: &DebianRegistry, image: &str) -> std::process::Output {
    let mut command = std::process::Command::new(COOPER);
    command.env_clear().env("DOCKER_CONFIG", registry.docker_config());
    command.args(["registry", "inspect", image]).output().unwrap()
}

#[test]
fn a_detached_job_keeps_its_context_until_it_is_cancelled() {
    let registry = DebianRegistry::start();
    let api = ApiServer::start();
    // Two Jobs with the same files: each has its own.
    for name in ["one", "two"] {
        large(Submit::to(&api), &registry).args(["--detach", "--name", name]).run().success();
    }
    let jobs = api.objects("jobs");
    let contexts: Vec<String> = jobs.iter().map(|job| context_of(job).replace("oci://", "")).collect();
    assert_ne!(contexts[0], contexts[1]);
    for context in &contexts {
        Outcome::of(inspect(&registry, context)).success();
    }
    let cancel = Submit::jobs(&api).args(["cancel", "one"]).env("DOCKER_CONFIG", &registry.docker_config());
    assert_eq!(cancel.run().success().stderr, "deleted one\n");
    assert_ne!(Outcome::of(inspect(&registry, &contexts[0])).code, Some(0));
    Outcome::of(inspect(&registry, &contexts[1])).success();
    // Without a login it stays, and that is said.
    let cancel = Submit::jobs(&api).args(["cancel", "two"]).env("DOCKER_CONFIG", "/none".as_ref());
    let said = cancel.run().success().stderr;
    assert!(said.contains(&format!("the context {} stays in its registry", contexts[1])), "{said}");
}

#[test]
fn a_dry_run_pushes_nothing() {
    let registry = DebianRegistry::start();
    let outcome = large(Submit::nowhere(), &registry).arg("--dry-run=client").run().success();
    assert!(outcome.stdout.contains("/contexts@sha256:"), "{}", outcome.stdout);
    assert!(!registry.log().contains("contexts"), "{}", registry.log());
}

#[test]
fn a_registry_that_takes_nothing() {
    let registry = DebianRegistry::start();
    registry.log_in("wrong");
    let api = ApiServer::start();
    let outcome = large(Submit::to(&api), &registry).run();
    outcome.failure(1, &["cannot push the build context to `", "--context-repo"]);
    assert_eq!(api.objects("jobs").len(), 0);
}
