//! The workflow for n8n: its nodes hold together, and what its code makes is valid.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{directory, objects, one};

fn workflow() -> Value {
    serde_json::from_slice(&std::fs::read(directory("n8n/workflow.json")).unwrap()).unwrap()
}

fn node<'a>(workflow: &'a Value, name: &str) -> &'a Value {
    let mut nodes = workflow["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["name"] == name).unwrap_or_else(|| panic!("no node {name}"))
}

/// Executes a node of code with the item before it and those of other nodes, as n8n does.
fn execute(name: &str, input: &Value, others: &Value) -> Value {
    const HARNESS: &str = "const [code, input, others] = process.argv.slice(1).map(text => JSON.parse(text));\
        const item = json => ({ first: () => ({ json }) });\
        const result = new Function('$input', '$', code)(item(input), name => item(others[name]));\
        console.log(JSON.stringify(result[0].json));";
    let workflow = workflow();
    let code = &node(&workflow, name)["parameters"]["jsCode"];
    let output = Command::new("node")
        .args(["-e", HARNESS])
        .args([code, input, others].map(Value::to_string))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("node: {error}; run tests/tools/packages.sh"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The settings of the workflow, and the objects made from them.
fn made() -> Value {
    let workflow = workflow();
    let settings = node(&workflow, "What to build")["parameters"]["jsonOutput"].as_str().unwrap();
    execute("Make the objects", &serde_json::from_str(settings).unwrap(), &json!({}))
}

#[test]
fn nodes_are_connected() {
    let workflow = workflow();
    let nodes = workflow["nodes"].as_array().unwrap();
    let names: BTreeSet<&str> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
    let ids: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!((names.len(), ids.len()), (nodes.len(), nodes.len()), "names and ids are unique");
    let mut reached = BTreeSet::from(["Start"]);
    let mut open = vec!["Start"];
    let connections = workflow["connections"].as_object().unwrap();
    while let Some(name) = open.pop() {
        for output in connections.get(name).map_or(&[][..], |found| found["main"].as_array().unwrap()) {
            for target in output.as_array().unwrap() {
                let target = target["node"].as_str().unwrap();
                assert!(names.contains(target), "{name} leads to {target}, which is not there");
                if reached.insert(target) {
                    open.push(target);
                }
            }
        }
    }
    assert_eq!(reached, names, "every node is reached");
    assert!(connections.keys().all(|name| names.contains(name.as_str())));
    for node in nodes {
        assert!(node["typeVersion"].is_number() && node["position"].as_array().unwrap().len() == 2, "{node}");
        // What expressions and code refer to.
        let text = node["parameters"].to_string();
        for reference in text.split("$('").skip(1) {
            let name = reference.split('\'').next().unwrap();
            assert!(names.contains(name), "{} refers to {name}, which is not there", node["name"]);
        }
    }
    for (name, good, bad) in
        [("Is it over?", "Get the pod", "Wait"), ("Did it succeed?", "Image is built", "Build failed")]
    {
        let outputs = &connections[name]["main"];
        assert_eq!((&outputs[0][0]["node"], &outputs[1][0]["node"]), (&json!(good), &json!(bad)));
    }
}

#[test]
fn its_objects_are_valid() {
    let made = made();
    let (job, map) = (&made["job"], &made["configMap"]);
    let api =
        json!({"metadata": {"name": job["metadata"]["name"], "uid": "00000000-0000-4000-8000-000000000000"}});
    let owned = execute("Own the ConfigMap", &api, &json!({"Make the objects": made}));
    let objects = objects(&format!("{job}\n---\n{}\n", owned["configMap"]));
    let (job, owned) = (one(&objects, "Job"), one(&objects, "ConfigMap"));
    assert_eq!(owned["data"], map["data"]);
    assert_eq!(owned["metadata"]["ownerReferences"][0]["kind"], "Job");
    let name = job["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("cooper-hello-") && name.len() <= 63, "{name}");
    assert_eq!(owned["metadata"]["name"], name);
    // Each key has its path back.
    let pod = &job["spec"]["template"]["spec"];
    let items = pod["volumes"][0]["configMap"]["items"].as_array().unwrap();
    let paths: Vec<&str> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["Dockerfile", "src/index.html"]);
    for item in items {
        assert!(owned["data"][item["key"].as_str().unwrap()].is_string());
    }
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--tag=registry.example.com/team/hello:1.0.0")), "{arguments:?}");
}

#[test]
fn it_reacts_to_what_came_of_it() {
    let made = made();
    let read = |terminated: Value| {
        let pod = json!({"metadata": {"creationTimestamp": "2026-11-22T15:00:00Z"},
            "status": {"containerStatuses": [{"state": {"terminated": terminated}}]}});
        execute("Read what came of it", &json!({"items": [pod]}), &json!({"Make the objects": made}))
    };
    let message = |error: Option<&str>| {
        cooper::outcome::BuildOutcome {
            image: Some("registry.example.com/team/hello:1.0.0".to_owned()),
            digest: error.is_none().then(|| cooper::layer::Digest::of("")),
            duration: 2.5,
            cache: cooper::outcome::CacheUse { hits: 1, steps: 2 },
            error: error.map(str::to_owned),
        }
        .termination_message()
    };
    let good = read(json!({"exitCode": 0, "message": message(None)}));
    assert_eq!((&good["succeeded"], &good["cache"]["steps"]), (&json!(true), &json!(2)));
    let digest = cooper::layer::Digest::of("");
    assert_eq!(good["pinned"], format!("registry.example.com/team/hello@{digest}"));
    let bad = read(json!({"exitCode": 1, "message": message(Some("Dockerfile:2: no"))}));
    assert_eq!(
        (&bad["succeeded"], &bad["error"], &bad["pinned"]),
        (&json!(false), &json!("Dockerfile:2: no"), &Value::Null)
    );
    let killed = read(json!({"exitCode": 137, "reason": "OOMKilled"}));
    let error = killed["error"].as_str().unwrap();
    assert!(error.contains("OOMKilled") && error.contains("137") && killed["succeeded"] == false, "{killed}");
    let none = execute("Read what came of it", &json!({"items": []}), &json!({"Make the objects": made}));
    assert!(none["error"].as_str().unwrap().contains("without a pod"), "{none}");
}
