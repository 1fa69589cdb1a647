//! The kustomizations.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{directory, objects, one, script};
use crate::support::{COOPER, Outcome};

const OVERLAYS: [(&str, &str); 3] = [
    ("overlays/crio-runtime-default", "baseline"),
    ("overlays/unconfined", "privileged"),
    ("overlays/restricted", "restricted"),
];

#[track_caller]
fn rendered(name: &str) -> Vec<Value> {
    let (is_rendered, text) = script(&["kustomize", &directory(name).display().to_string()], "");
    assert!(is_rendered, "{name}: {text}");
    objects(&text)
}

fn pod(objects: &[Value]) -> &Value {
    &one(objects, "Job")["spec"]["template"]["spec"]
}

#[test]
fn all_are_valid_and_complete() {
    for name in OVERLAYS.map(|(name, _)| name).into_iter().chain([""]) {
        let objects = rendered(name);
        let pod = pod(&objects);
        let has = |kind: &str, named: &Value| {
            named.is_null()
                || objects.iter().any(|object| object["kind"] == kind && object["metadata"]["name"] == *named)
        };
        for volume in pod["volumes"].as_array().unwrap() {
            let is_there = has("ConfigMap", &volume["configMap"]["name"])
                && has("PersistentVolumeClaim", &volume["persistentVolumeClaim"]["claimName"]);
            // Secrets are everybody's own.
            assert!(is_there && volume["hostPath"].is_null(), "{name}: {volume}");
        }
        assert!(has("ServiceAccount", &pod["serviceAccountName"]), "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        let container = &pod["containers"][0];
        let context = &container["securityContext"];
        assert!(context["privileged"].is_null() && context["capabilities"]["add"].is_null(), "{context}");
        let limits = &container["resources"];
        assert_eq!(
            (&limits["requests"]["memory"], &limits["limits"]["memory"]),
            (&json!("256Mi"), &json!("1Gi"))
        );
        assert_ne!(container["image"], "cooper", "the placeholder is replaced");
    }
}

#[test]
fn each_is_what_its_namespace_admits() {
    for (name, level) in OVERLAYS {
        let objects = rendered(name);
        let labels = &one(&objects, "Namespace")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], level, "{name}");
        let context = &pod(&objects)["containers"][0]["securityContext"];
        // See "Pod Security Standards".
        let profile = if level == "privileged" { "Unconfined" } else { "RuntimeDefault" };
        assert_eq!(context["seccompProfile"]["type"], profile, "{name}");
        match level {
            "restricted" => {
                assert_eq!(context["runAsNonRoot"], true);
                assert_eq!(context["allowPrivilegeEscalation"], false);
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
            }
            _ => assert_eq!(context["runAsUser"], 0, "{name}"),
        }
        let kept = objects.iter().any(|object| object["kind"] == "PersistentVolumeClaim");
        assert_eq!(kept, level != "privileged", "{name}");
    }
}

#[test]
fn rights_are_few() {
    let objects = rendered(OVERLAYS[0].0);
    for rule in one(&objects, "Role")["rules"].as_array().unwrap() {
        let text = rule.to_string();
        assert!(!text.contains('*') && !text.contains("secrets"), "{text}");
    }
    let binding = one(&objects, "RoleBinding");
    assert_eq!(binding["subjects"][0]["name"], "cooper-submit", "builds have no rights at all");
    assert_eq!(binding["roleRef"]["name"], one(&objects, "Role")["metadata"]["name"]);
    // The policy is about the pods of builds.
    let policy = one(&objects, "NetworkPolicy");
    let labels = &one(&objects, "Job")["spec"]["template"]["metadata"]["labels"];
    for (name, value) in policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[name], *value, "{name}");
    }
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
}

#[test]
fn cooper_understands_the_arguments() {
    for name in OVERLAYS.map(|(name, _)| name).into_iter().chain([""]) {
        let objects = rendered(name);
        let container = &pod(&objects)["containers"][0];
        let words = |field: &str| -> Vec<String> {
            container[field]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(words("command"), ["/kaniko/cooper", "build"]);
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(COOPER);
        command.arg("build").args(words("args")).env("COOPER_STORE", directory.path()).stdin(Stdio::null());
        // A command line that makes no sense ends with 2.
        Outcome::of(command.output().unwrap()).failure(1, &["/workspace"]);
    }
}

#[test]
fn maintenance_is_done_by_cooper() {
    let objects = rendered("maintenance");
    let claims = rendered(OVERLAYS[0].0);
    let claim = &one(&claims, "PersistentVolumeClaim")["metadata"]["name"];
    assert_eq!(objects.len(), 2);
    for object in &objects {
        let pod = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        for volume in pod["volumes"].as_array().unwrap() {
            let claimed = &volume["persistentVolumeClaim"]["claimName"];
            assert!(claimed.is_null() || claimed == claim, "{volume}");
        }
        let container = &pod["containers"][0];
        let words = ["command", "args"].map(|field| container[field].as_array().unwrap().clone()).concat();
        let mut words = words.iter().map(|word| word.as_str().unwrap());
        assert_eq!(words.next(), Some("/kaniko/cooper"));
        // The registry is not asked: nothing listens at port 1 of this machine.
        let words = words.map(|word| word.replace("registry.example.com", "127.0.0.1:1"));
        let mut command = Command::new(COOPER);
        command.args(words).env("COOPER_STORE", "/nonexistent").stdin(Stdio::null());
        Outcome::of(command.output().unwrap()).failure(1, &[]);
    }
}
