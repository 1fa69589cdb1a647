//! `cooper doctor` in each pod: the isolation that a build has there, and what would give a better one.

use serde_json::Value;

use super::bundle::Pod;
use super::matrix::{Expected, variants};
use super::project::Project;
use super::{DOCKER_CONFIG, has_pods, in_place};

/// What the doctor says about RUN in a pod.
fn finding(pod: &Pod) -> Value {
    let output = pod.run();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["subject"] == "RUN");
    let code = if report["worst"] == "error" { 1 } else { i32::from(report["worst"] == "warning") * 3 };
    assert_eq!(output.status.code(), Some(code), "{report:#}");
    found.unwrap_or_else(|| panic!("{report:#}")).clone()
}

#[test]
fn the_doctor_knows_each_pod() {
    if !has_pods() {
        return;
    }
    // Those with an isolation of their own choice say nothing about what is best.
    let variants = variants().into_iter().filter(|(variant, _)| variant.arguments.is_empty());
    for (variant, expected) in variants {
        let pod = Pod::of(&variant, &Project::small("FROM base\n")).doctor();
        let finding = finding(&pod);
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let about = format!("{}: {finding:#}", variant.name);
        match expected {
            Expected::Isolation(name) | Expected::Lacking(name, _) => {
                assert_eq!(text("code"), format!("isolation-{name}"), "{about}");
                let advice = text("advice");
                match name {
                    "overlay" => assert_eq!((text("level").as_str(), advice.as_str()), ("ok", ""), "{about}"),
                    "userns" => assert!(advice.contains("volumes: [{name: store, emptyDir: {}}]"), "{about}"),
                    _ => assert!(advice.contains("Unconfined}"), "{about}"),
                }
            }
            Expected::Refusal(said) => {
                assert_eq!(
                    (text("level"), text("code")),
                    ("error".into(), "isolation-none".into()),
                    "{about}"
                );
                let all = format!("{}\n{}", text("found"), text("advice"));
                for part in said {
                    assert!(all.contains(part), "{part:?} is not in {about}");
                }
                assert!(text("advice").contains("securityContext:"), "{about}");
            }
        }
    }
}

#[test]
fn the_doctor_says_which_logins_a_command_can_read() {
    if !has_pods() {
        return;
    }
    let pod = || Pod::of(&in_place(), &Project::small("FROM base\n")).doctor();
    for (pod, expected) in [
        (
            pod().with_docker_config(DOCKER_CONFIG),
            &["a RUN can read the logins in `/docker/config.json`"][..],
        ),
        (pod().with_variable("DOCKER_AUTH_CONFIG", DOCKER_CONFIG), &[]),
    ] {
        let output = pod.run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let readable = findings.iter().filter(|finding| finding["code"] == "credentials-readable");
        let readable: Vec<&Value> = readable.collect();
        let found: Vec<&str> = readable.iter().map(|finding| finding["found"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{report:#}");
        for finding in readable {
            let advice = finding["advice"].as_str().unwrap();
            assert!(advice.contains("DOCKER_AUTH_CONFIG") && advice.contains("secretKeyRef"), "{finding:#}");
            assert_eq!(finding["level"], "note");
        }
    }
}
