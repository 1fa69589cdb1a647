//! What the API server checks of an object: that nothing in it is unknown, and what `kubectl create` would be told.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::http::Answer;

/// The object in a request, if it can be.
pub(super) fn check(plural: &str, body: &[u8]) -> Result<Value, Answer> {
    let object: Value = serde_json::from_slice(body).map_err(|error| refuse(&format!("no JSON: {error}")))?;
    let problems = problems(plural, &object);
    if problems.is_empty() { Ok(object) } else { Err(refuse(&problems.join("; "))) }
}

fn refuse(message: &str) -> Answer {
    Answer::failure(422, "Invalid", message)
}

/// All that is wrong with an object that is to be created.
pub(crate) fn problems(plural: &str, object: &Value) -> Vec<String> {
    let typed = match plural {
        "jobs" => round_trip::<Job>(object),
        "configmaps" => round_trip::<ConfigMap>(object),
        "secrets" => round_trip::<Secret>(object),
        "selfsubjectaccessreviews" => {
            return unknown_fields(object, &round_trip::<SelfSubjectAccessReview>(object).unwrap());
        }
        _ => return vec![format!("{plural} are not created by this program")],
    };
    let typed = match typed {
        Ok(typed) => typed,
        Err(error) => return vec![error],
    };
    let mut problems = unknown_fields(object, &typed);
    metadata(&object["metadata"], &mut problems);
    match plural {
        "jobs" => job(&object["spec"], &mut problems),
        _ => data(object, &mut problems),
    }
    problems
}

fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(&typed).unwrap())
}

/// The fields that the types of the API do not have: they are not in what comes out again.
fn unknown_fields(given: &Value, typed: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    compare("", given, typed, &mut unknown);
    unknown
}

fn compare(path: &str, given: &Value, typed: &Value, unknown: &mut Vec<String>) {
    match (given, typed) {
        (Value::Object(given), Value::Object(typed)) => {
            for (key, value) in given {
                let path = format!("{path}.{key}");
                match typed.get(key) {
                    Some(typed) => compare(&path, value, typed, unknown),
                    None if value.is_null() => {}
                    None => unknown.push(format!("unknown field {path}")),
                }
            }
        }
        (Value::Array(given), Value::Array(typed)) => {
            for (index, (given, typed)) in given.iter().zip(typed).enumerate() {
                compare(&format!("{path}[{index}]"), given, typed, unknown);
            }
        }
        (given, typed) if given != typed => unknown.push(format!("{path}: {given} is {typed}")),
        _ => {}
    }
}

fn is_dns_label(text: &str, limit: usize) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=limit).contains(&text.len())
        && text.bytes().all(|byte| is_usual(byte) || byte == b'-')
        && is_usual(text.as_bytes()[0])
        && is_usual(text.as_bytes()[text.len() - 1])
}

fn is_label_value(text: &str) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_alphanumeric();
    text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.as_bytes().first().is_none_or(is_end)
        && text.as_bytes().last().is_none_or(is_end)
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("a", key));
    prefix.split('.').all(|part| is_dns_label(part, 63)) && !name.is_empty() && is_label_value(name)
}

fn entries(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn metadata(metadata: &Value, problems: &mut Vec<String>) {
    // A Job's pods take its name as a label.
    if !metadata["name"].as_str().is_some_and(|name| is_dns_label(name, 63)) {
        problems.push(format!("metadata.name: {}", metadata["name"]));
    }
    for (key, value) in entries(&metadata["labels"]) {
        if !is_qualified(&key) || !value.as_str().is_some_and(is_label_value) {
            problems.push(format!("metadata.labels: {key}={value}"));
        }
    }
    problems.extend(
        entries(&metadata["annotations"])
            .keys()
            .filter(|key| !is_qualified(key))
            .map(|key| format!("annotation {key}")),
    );
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                problems.push(format!("metadata.ownerReferences: no {field}"));
            }
        }
    }
}

fn data(object: &Value, problems: &mut Vec<String>) {
    let (data, binary) = (entries(&object["data"]), entries(&object["binaryData"]));
    let is_key = |key: &str| {
        key.len() <= 253 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    for key in data.keys().chain(binary.keys()) {
        if !is_key(key) || (data.contains_key(key) && binary.contains_key(key)) {
            problems.push(format!("data: {key}"));
        }
    }
    let size: usize = data.values().chain(binary.values()).map(|value| value.as_str().unwrap().len()).sum();
    // In base64, as it comes: 4 bytes for 3.
    if size > (1 << 20) * 4 / 3 {
        problems.push(format!("data: {size} bytes: Too long: must have at most 1048576 bytes"));
    }
}

fn job(spec: &Value, problems: &mut Vec<String>) {
    let template = &spec["template"];
    let pod = &template["spec"];
    if !matches!(pod["restartPolicy"].as_str(), Some("Never" | "OnFailure")) {
        problems.push("restartPolicy: Required value".to_owned());
    }
    for field in ["backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        if spec[field].as_i64().is_some_and(|number| number < 0) {
            problems.push(format!("{field}: must be greater than or equal to 0"));
        }
    }
    for rule in spec["podFailurePolicy"]["rules"].as_array().into_iter().flatten() {
        let has_one = rule["onExitCodes"].is_object() != rule["onPodConditions"].is_array();
        let is_action = matches!(rule["action"].as_str(), Some("Ignore" | "FailJob" | "Count" | "FailIndex"));
        if !has_one || !is_action || pod["restartPolicy"] != "Never" {
            problems.push(format!("podFailurePolicy: {rule}"));
        }
    }
    let empty = Vec::new();
    let array = |value: &Value| value.as_array().unwrap_or(&empty).clone();
    let volumes: BTreeSet<String> =
        array(&pod["volumes"]).iter().map(|volume| volume["name"].as_str().unwrap().to_owned()).collect();
    for volume in array(&pod["volumes"]) {
        if entries(&volume).len() != 2 {
            problems.push(format!("volume: must specify one type: {volume}"));
        }
    }
    if array(&pod["containers"]).is_empty() {
        problems.push("containers: Required value".to_owned());
    }
    for container in array(&pod["containers"]) {
        if !container["name"].as_str().is_some_and(|name| is_dns_label(name, 63))
            || container["image"].as_str().is_none_or(str::is_empty)
        {
            problems.push("containers: name and image are required".to_owned());
        }
        let mounts = array(&container["volumeMounts"]);
        let paths: BTreeSet<&str> = mounts.iter().filter_map(|mount| mount["mountPath"].as_str()).collect();
        if paths.len() != mounts.len() {
            problems.push("volumeMounts: must be unique".to_owned());
        }
        for mount in &mounts {
            if !volumes.contains(mount["name"].as_str().unwrap()) {
                problems.push(format!("volumeMounts: Not found: {mount}"));
            }
        }
        let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
        for (name, request) in entries(requests) {
            let limit = limits.get(&name).map(|limit| quantity(limit.as_str().unwrap()));
            if limit.is_some_and(|limit| quantity(request.as_str().unwrap()) > limit) {
                problems
                    .push(format!("resources.requests: {name}: must be less than or equal to {name} limit"));
            }
        }
        let security = &container["securityContext"];
        for profile in ["seccompProfile", "appArmorProfile"] {
            let kind = &security[profile]["type"];
            if !kind.is_null()
                && !matches!(kind.as_str(), Some("Unconfined" | "RuntimeDefault" | "Localhost"))
            {
                problems.push(format!("securityContext.{profile}"));
            }
        }
    }
    for toleration in array(&pod["tolerations"]) {
        if toleration["operator"] == "Exists" && !toleration["value"].is_null() {
            problems.push("tolerations: value must be empty when `operator` is 'Exists'".to_owned());
        }
    }
    for (key, value) in entries(&pod["nodeSelector"]) {
        if !is_qualified(&key) || !value.as_str().is_some_and(is_label_value) {
            problems.push(format!("nodeSelector: {key}={value}"));
        }
    }
}

/// In thousandths.
fn quantity(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        other => panic!("no unit: {other}"),
    };
    digits.parse::<f64>().unwrap_or_else(|_| panic!("no quantity: {text}")) * unit
}

/// The checks find what is wrong: else the tests that rely on them would show nothing.
#[test]
fn what_cannot_be_is_refused() {
    let good = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "build", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }}},
    });
    assert_eq!(problems("jobs", &good), Vec::<String>::new());
    for (pointer, value) in [
        ("/metadata/name", serde_json::json!("A_b")),
        ("/metadata/labels", serde_json::json!({"a": "b c"})),
        (
            "/metadata/ownerReferences",
            serde_json::json!([{"apiVersion": "v1", "kind": "Job", "name": "x", "uid": ""}]),
        ),
        ("/spec/activeDeadline", serde_json::json!(1)),
        ("/spec/backoffLimit", serde_json::json!("1")),
        ("/spec/template/spec/restartPolicy", serde_json::json!("Always")),
        ("/spec/template/spec/volumes", serde_json::json!([])),
        ("/spec/template/spec/containers/0/image", Value::Null),
        (
            "/spec/template/spec/containers/0/resources",
            serde_json::json!({"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}),
        ),
        (
            "/spec/template/spec/containers/0/securityContext",
            serde_json::json!({"seccompProfile": {"type": "None"}}),
        ),
    ] {
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        assert!(!problems("jobs", &bad).is_empty(), "{pointer}");
    }
}
