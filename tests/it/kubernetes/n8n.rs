//! The workflows for n8n: their nodes hold together, and what their code makes is valid.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{directory, objects, one};

fn workflow() -> Value {
    named("workflow.json")
}

fn named(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory("n8n").join(file)).unwrap()).unwrap()
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
    for file in ["workflow.json", "service-workflow.json"] {
        are_connected(&named(file));
    }
    let workflow = workflow();
    let connections = &workflow["connections"];
    for (name, good, bad) in
        [("Is it over?", "Get the pod", "Wait"), ("Did it succeed?", "Image is built", "Build failed")]
    {
        let outputs = &connections[name]["main"];
        assert_eq!((&outputs[0][0]["node"], &outputs[1][0]["node"]), (&json!(good), &json!(bad)));
    }
    // Nobody is asked again and again: the request for the log is answered at its end.
    let next = |name: &str| connections[name]["main"][0][0]["node"].as_str().unwrap().to_owned();
    assert_eq!(
        ["Wait", "Find the pod", "Follow the log"].map(next),
        ["Find the pod", "Follow the log", "Get the Job"]
    );
    let url = node(&workflow, "Follow the log")["parameters"]["url"].as_str().unwrap();
    assert!(url.contains("/log?") && url.contains("follow=true"), "{url}");
}

#[track_caller]
fn are_connected(workflow: &Value) {
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
}

/// What an expression of a node gives: `={{ … }}`.
fn evaluate(expression: &str, json: &Value, others: &Value) -> Value {
    const HARNESS: &str = "const [code, json, others] = process.argv.slice(1).map(text => JSON.parse(text));\
        const $ = name => ({ first: () => ({ json: others[name] }) });\
        const $execution = { resumeUrl: 'https://n8n.example/webhook-waiting/1' };\
        const parts = code.slice(1).split(/\\{\\{|\\}\\}(?!\\s*[).])/).map((part, index) =>\
            index % 2 ? new Function('$json', '$', '$execution', 'return (' + part + ')')(json, $, $execution) : part);\
        const given = parts.filter(part => part !== '');\
        console.log(JSON.stringify(given.length === 1 ? given[0] : given.join('')));";
    let output = Command::new("node")
        .args(["-e", HARNESS])
        .args([&json!(expression), json, others].map(Value::to_string))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("node: {error}; run tests/tools/packages.sh"));
    assert!(output.status.success(), "{expression}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_service_is_asked_once_and_calls_back() {
    let workflow = named("service-workflow.json");
    let parameter =
        |name: &str, field: &str| node(&workflow, name)["parameters"][field].as_str().unwrap().to_owned();
    let settings: Value = serde_json::from_str(&parameter("What to build", "jsonOutput")).unwrap();
    let nothing = json!({});
    let asked = evaluate(&parameter("Ask for the build", "jsonBody"), &settings, &nothing);
    let mut request: Value = serde_json::from_str(asked.as_str().unwrap()).unwrap();
    // The address that goes on with this very execution, and no other.
    assert_eq!(
        request.as_object_mut().unwrap().remove("notify").unwrap(),
        "https://n8n.example/webhook-waiting/1"
    );
    let request: cooper::serve::Request = serde_json::from_value(request).unwrap();
    assert!(request.context.is_some() && !request.tags.is_empty());
    let url = evaluate(&parameter("Ask for the build", "url"), &settings, &nothing);
    assert_eq!(url, "http://cooper.cooper:8080/v1/builds");
    let wait = &node(&workflow, "Wait for its end")["parameters"];
    assert_eq!((&wait["resume"], &wait["httpMethod"]), (&json!("webhook"), &json!("POST")));

    // What the service sends: the record in an envelope.
    let digest = cooper::layer::Digest::of("").to_string();
    let sent = |state: &str, error: Value| {
        json!({"body": {"type": format!("build.{state}"), "data": {"id": "1", "state": state, "error": error,
            "result": {"digest": digest, "images": ["r:5000/team/app:main"]}}}})
    };
    let conditions = &node(&workflow, "Did it succeed?")["parameters"]["conditions"]["conditions"];
    let condition = conditions[0]["leftValue"].as_str().unwrap();
    let (good, bad) = (sent("succeeded", Value::Null), sent("failed", json!("Dockerfile:2: no")));
    let succeeded = |item: &Value| evaluate(condition, item, &nothing);
    // After two hours there is an item without a body.
    assert_eq!([&good, &bad, &nothing].map(succeeded), [json!(true), json!(false), json!(false)]);
    let built = evaluate(&parameter("Image is built", "jsonOutput"), &good, &nothing);
    let built: Value = serde_json::from_str(built.as_str().unwrap()).unwrap();
    assert_eq!(built["pinned"], format!("r:5000/team/app@{digest}"));
    let others = json!({"Ask for the build": {"id": "1"}});
    let message = |item: &Value| evaluate(&parameter("Build failed", "errorMessage"), item, &others);
    assert_eq!(message(&bad), "1 failed: Dockerfile:2: no");
    assert_eq!(message(&nothing), "1 did not end in time: see its log in the service");
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
