//! The kustomizations of `cooper serve`, and objects of kinds that a cluster may not have.

use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{directory, objects, one, script};
use crate::support::COOPER;

/// Kinds that are not Kubernetes' own, and of which there is no schema here: their fields are below.
const FOREIGN: [&str; 2] = ["monitoring.coreos.com/", "kueue.x-k8s.io/"];

/// All objects of a directory; those of Kubernetes as its schemas say, others as the types below.
#[track_caller]
fn rendered(name: &str) -> Vec<Value> {
    let path = directory("service").join(name).display().to_string();
    let (is_rendered, text) = script(&["kustomize", &path], "");
    assert!(is_rendered, "{name}: {text}");
    split(&text)
}

#[track_caller]
fn split(manifests: &str) -> Vec<Value> {
    let is_foreign = |document: &&str| {
        let version = document.lines().find_map(|line| line.strip_prefix("apiVersion: "));
        FOREIGN.iter().any(|group| version.unwrap_or_default().starts_with(group))
    };
    let (foreign, own): (Vec<&str>, Vec<&str>) = manifests.split("\n---\n").partition(is_foreign);
    let mut found = if own.is_empty() { Vec::new() } else { objects(&own.join("\n---\n")) };
    let (is_read, json) = script(&["json"], &foreign.join("\n---\n"));
    assert!(is_read, "{json}");
    let foreign: Vec<Value> = serde_json::from_str(&json).unwrap();
    for object in &foreign {
        if let Err(error) = Foreign::deserialize(object) {
            panic!("{error}: {object:#}");
        }
    }
    found.extend(foreign);
    found
}

/// What is used of these kinds, by their API references: `ServiceMonitor` of the Prometheus operator, and Kueue's
/// `v1beta1`. An unknown field is an error.
#[derive(Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
enum Foreign {
    ServiceMonitor {
        #[serde(rename = "apiVersion")]
        version: String,
        metadata: Value,
        spec: MonitorSpec,
    },
    ResourceFlavor {
        #[serde(rename = "apiVersion")]
        version: String,
        metadata: Value,
        spec: FlavorSpec,
    },
    ClusterQueue {
        #[serde(rename = "apiVersion")]
        version: String,
        metadata: Value,
        spec: ClusterQueueSpec,
    },
    LocalQueue {
        #[serde(rename = "apiVersion")]
        version: String,
        metadata: Value,
        spec: LocalQueueSpec,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct Selector {
    match_labels: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct MonitorSpec {
    selector: Selector,
    endpoints: Vec<MonitorEndpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct MonitorEndpoint {
    /// The name of a Service's port, not its number.
    port: String,
    path: String,
    interval: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct FlavorSpec {
    node_labels: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct ClusterQueueSpec {
    namespace_selector: Selector,
    queueing_strategy: QueueingStrategy,
    resource_groups: Vec<ResourceGroup>,
}

#[derive(Deserialize)]
enum QueueingStrategy {
    StrictFIFO,
    BestEffortFIFO,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceGroup {
    covered_resources: Vec<String>,
    flavors: Vec<FlavorQuotas>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlavorQuotas {
    name: String,
    resources: Vec<ResourceQuota>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct ResourceQuota {
    name: String,
    nominal_quota: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that it can be read is what is wanted")]
struct LocalQueueSpec {
    cluster_queue: String,
}

fn deployment(objects: &[Value]) -> &Value {
    one(objects, "Deployment")
}

fn container(objects: &[Value]) -> &Value {
    &deployment(objects)["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn all_hold_together() {
    for name in ["base", "example", "fleet"] {
        let objects = rendered(name);
        let deployment = deployment(&objects);
        let template = &deployment["spec"]["template"];
        let pod = &template["spec"];
        let labels = template["metadata"]["labels"].as_object().unwrap();
        let selects = |selector: &Value| {
            let wanted = selector.as_object().unwrap();
            wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let service = one(&objects, "Service");
        assert!(
            selects(&deployment["spec"]["selector"]["matchLabels"]) && selects(&service["spec"]["selector"])
        );
        // A Service that took the pods of builds would send them requests.
        assert!(labels["app.kubernetes.io/component"] != "build", "{labels:?}");
        let port = &service["spec"]["ports"][0];
        let container = container(&objects);
        assert_eq!(port["targetPort"], container["ports"][0]["name"]);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{name}: {probe}");
        }
        for monitor in objects.iter().filter(|object| object["kind"] == "ServiceMonitor") {
            assert_eq!(monitor["spec"]["endpoints"][0]["port"], port["name"]);
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value));
        }
        for policy in objects.iter().filter(|object| object["kind"] == "NetworkPolicy") {
            let is_of_builds = policy["metadata"]["name"] == "cooper-build";
            assert_ne!(selects(&policy["spec"]["podSelector"]["matchLabels"]), is_of_builds, "{policy}");
        }
        let has = |kind: &str, named: &Value| {
            objects.iter().any(|object| object["kind"] == kind && object["metadata"]["name"] == *named)
        };
        let examples = std::fs::read_to_string(directory("service/base/secrets.yaml")).unwrap();
        let examples = super::objects(&examples);
        for volume in pod["volumes"].as_array().unwrap() {
            let (claim, secret) =
                (&volume["persistentVolumeClaim"]["claimName"], &volume["secret"]["secretName"]);
            assert!(claim.is_null() || has("PersistentVolumeClaim", claim), "{name}: {volume}");
            let is_known = examples.iter().any(|object| object["metadata"]["name"] == *secret);
            assert!(secret.is_null() || is_known, "{name}: {volume}");
        }
        assert!(has("ServiceAccount", &pod["serviceAccountName"]), "{name}");
        // `--grace` and 20 more, as docs/service.md says.
        assert!(words(container).contains(&"--grace=20s".to_owned()), "{name}");
        assert_eq!(pod["terminationGracePeriodSeconds"], 40, "{name}");
        assert_ne!(container["image"], "cooper", "the placeholder is replaced");
    }
}

#[test]
fn rights_are_few() {
    for (name, has_token) in [("base", false), ("example", true), ("fleet", true)] {
        let objects = rendered(name);
        let pod = &deployment(&objects)["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], has_token, "{name}");
        let roles: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Role").collect();
        assert_eq!(roles.is_empty(), !has_token, "{name}");
        for role in roles {
            let text = role["rules"].to_string();
            assert!(!text.contains('*') && !text.contains("secrets"), "{text}");
        }
        assert!(!objects.iter().any(|object| object["kind"].as_str().unwrap().starts_with("ClusterRole")));
        let security = &container(&objects)["securityContext"];
        assert!(security["privileged"].is_null() && security["capabilities"]["add"].is_null(), "{security}");
    }
    let fleet = rendered("fleet");
    let security = &container(&fleet)["securityContext"];
    assert_eq!(
        (&security["runAsNonRoot"], &security["readOnlyRootFilesystem"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(deployment(&fleet)["spec"]["replicas"], 2);
    assert!(!fleet.iter().any(|object| object["kind"] == "PersistentVolumeClaim"), "replicas share no disk");
    // Jobs run what the service runs.
    let variables = container(&fleet)["env"].as_array().unwrap();
    let builder = variables.iter().find(|variable| variable["name"] == "COOPER_BUILDER_IMAGE").unwrap();
    assert_eq!(builder["value"], container(&fleet)["image"]);
}

#[test]
fn budgets_fit() {
    let objects = rendered("base");
    let words = words(container(&objects));
    let gibibytes = |option: &str| -> u64 {
        let word = words.iter().find_map(|word| word.strip_prefix(option)).unwrap();
        word.strip_suffix("GiB").unwrap().parse().unwrap()
    };
    let limit = container(&objects)["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: u64 = limit.strip_suffix("Gi").unwrap().parse().unwrap();
    let disk = one(&objects, "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"].as_str();
    let disk: u64 = disk.unwrap().strip_suffix("Gi").unwrap().parse().unwrap();
    // A Pi 5 has 8 GB; the system, kubelet and runtime take 1.5.
    assert!(gibibytes("--memory=") < limit && limit <= 6, "{limit}");
    assert_eq!(gibibytes("--memory=") / gibibytes("--build-memory="), 2, "builds at once");
    assert!(gibibytes("--store-max-size=") * 3 <= disk * 2, "two thirds of the volume, for {disk}");
}

fn words(container: &Value) -> Vec<String> {
    let words = container["args"].as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The service takes its arguments: it gets as far as its tokens.
#[test]
fn cooper_understands_the_arguments() {
    for name in ["base", "example", "fleet"] {
        let objects = rendered(name);
        let container = container(&objects);
        assert_eq!(container["command"], json!(["/kaniko/cooper", "serve"]));
        let directory = tempfile::tempdir().unwrap();
        let words = words(container).into_iter().map(|word| match word.as_str() {
            "--data=/data" => format!("--data={}", directory.path().join("data").display()),
            "--listen=0.0.0.0:8080" => "--listen=127.0.0.1:0".to_owned(),
            "--tokens=/etc/cooper/tokens.json" => {
                format!("--tokens={}", directory.path().join("none.json").display())
            }
            _ => word,
        });
        let output = Command::new(COOPER)
            .arg("serve")
            .args(words)
            .env("COOPER_BUILDER_IMAGE", container["image"].as_str().unwrap())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("cannot read the tokens in"), "{name}: {said}");
    }
}

/// The example of tokens is one.
#[test]
fn the_example_of_tokens_is_read() {
    let text = std::fs::read_to_string(directory("service/base/secrets.yaml")).unwrap();
    let objects = super::objects(&text);
    let secret = objects.iter().find(|object| object["metadata"]["name"] == "cooper-tokens").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    std::fs::write(&path, secret["stringData"]["tokens.json"].as_str().unwrap()).unwrap();
    // It gets past its tokens, to an address that is not its own.
    let output = Command::new(COOPER)
        .args(["serve", "--listen=192.0.2.1:1", "--data"])
        .arg(directory.path().join("data"))
        .arg("--tokens")
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot listen at 192.0.2.1:1"), "{said}");
}

/// The manifests in docs/operations.md: Kubernetes' own as its schemas say, Kueue's as above.
#[test]
fn manifests_in_the_documentation_are_valid() {
    let path = directory("../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    let manifests = blocks.filter_map(|block| match block.strip_prefix("yaml\n") {
        Some(yaml) => yaml.starts_with("apiVersion:").then_some(yaml),
        // What a shell is given as a file.
        None => {
            block.split_once("<<'END'\n").and_then(|(_, rest)| rest.split_once("\nEND")).map(|(yaml, _)| yaml)
        }
    });
    let objects: Vec<Value> = manifests.flat_map(|yaml| split(yaml.trim_end())).collect();
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    for kind in ["Deployment", "ResourceQuota", "ResourceFlavor", "ClusterQueue", "LocalQueue"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let queue = Foreign::deserialize(one(&objects, "ClusterQueue")).unwrap_or_else(|error| panic!("{error}"));
    let Foreign::ClusterQueue { spec, .. } = queue else { unreachable!() };
    // A group's flavors have a quota for each of its resources, in its order, or Kueue refuses them.
    for group in &spec.resource_groups {
        for flavor in &group.flavors {
            let named: Vec<&str> = flavor.resources.iter().map(|resource| resource.name.as_str()).collect();
            assert_eq!(named, group.covered_resources, "{}", flavor.name);
        }
    }
    let local = one(&objects, "LocalQueue");
    assert_eq!(local["spec"]["clusterQueue"], one(&objects, "ClusterQueue")["metadata"]["name"]);
}

/// The types find what is wrong.
#[test]
fn unknown_fields_of_foreign_kinds_are_found() {
    let monitor = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {},
        "spec": {"selector": {"matchLabels": {}}, "endpoints": [{"port": "http", "path": "/", "interval": "1s"}]}});
    assert!(Foreign::deserialize(&monitor).is_ok());
    for (pointer, value) in [("/spec/endpoints/0/port", json!(8080)), ("/spec/targets", json!([]))] {
        let mut bad = monitor.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        assert!(Foreign::deserialize(&bad).is_err(), "{pointer}");
    }
}
