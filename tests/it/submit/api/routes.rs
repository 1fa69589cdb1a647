//! From a request to an answer.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fault::Effect;
use super::http::{Answer, Connection, Request};
use super::stream::{self, Selector};
use super::{NAMESPACE, Shared, TOKEN, schema};

/// A kind of object that is served.
pub(super) struct Kind {
    group: &'static str,
    version: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
}

const KINDS: [Kind; 8] = [
    Kind { group: "", version: "v1", plural: "configmaps", singular: "ConfigMap" },
    Kind { group: "", version: "v1", plural: "secrets", singular: "Secret" },
    Kind { group: "", version: "v1", plural: "pods", singular: "Pod" },
    Kind { group: "", version: "v1", plural: "events", singular: "Event" },
    Kind { group: "batch", version: "v1", plural: "jobs", singular: "Job" },
    Kind { group: "apps", version: "v1", plural: "deployments", singular: "Deployment" },
    Kind { group: "apps", version: "v1", plural: "statefulsets", singular: "StatefulSet" },
    Kind { group: "apps", version: "v1", plural: "daemonsets", singular: "DaemonSet" },
];

/// What is asked for.
struct Asked {
    kind: &'static Kind,
    name: Option<String>,
    subresource: Option<String>,
}

pub(super) fn serve(shared: &Arc<Shared>, connection: &mut Connection) -> io::Result<()> {
    let Some(request) = connection.read()? else { return Ok(()) };
    let effect = {
        let mut state = shared.state();
        state.faults.iter_mut().find_map(|fault| fault.strikes(&request))
    };
    let note = |status: u16| {
        shared.state().requests.push(format!("{} {} {status}", request.method, request.target));
    };
    match &effect {
        Some(Effect::Drop) => {
            note(0);
            return Ok(());
        }
        Some(effect) if effect.answer().is_some() => {
            let answer = effect.answer().unwrap();
            note(answer.status);
            return connection.answer(&answer);
        }
        _ => {}
    }
    let answer = match answer(shared, &request) {
        Ok(Reply::Answer(answer)) | Err(answer) => answer,
        Ok(Reply::Watch(kind, selector)) => {
            note(200);
            return stream::watch(shared, connection, &request, kind, &selector, effect.as_ref());
        }
        Ok(Reply::Log(pod)) => {
            note(200);
            return stream::log(shared, connection, &request, &pod, effect.as_ref());
        }
    };
    note(answer.status);
    if effect == Some(Effect::DropAnswer) {
        return Ok(());
    }
    connection.answer(&answer)
}

enum Reply {
    Answer(Answer),
    Watch(&'static Kind, Selector),
    Log(String),
}

fn answer(shared: &Shared, request: &Request) -> Result<Reply, Answer> {
    if request.headers.get("authorization").map(String::as_str) != Some(&format!("Bearer {TOKEN}")) {
        return Err(Answer::failure(401, "Unauthorized", "Unauthorized"));
    }
    if request.path() == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
        return review(shared, request).map(Reply::Answer);
    }
    if request.path() == format!("/api/v1/namespaces/{NAMESPACE}") {
        require(shared, "get namespaces")?;
        let level = shared.state().pod_security.clone();
        let labels = level.map(|level| json!({"pod-security.kubernetes.io/enforce": level}));
        return Ok(Reply::Answer(Answer::ok(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels},
        }))));
    }
    let asked = asked(request.path()).ok_or_else(|| {
        Answer::failure(404, "NotFound", "the server could not find the requested resource")
    })?;
    let is_watch = request.is_set("watch");
    let verb = match (request.method.as_str(), &asked.name) {
        ("GET", Some(_)) => "get",
        ("GET", None) if is_watch => "watch",
        ("GET", None) => "list",
        ("POST", None) => "create",
        ("DELETE", Some(_)) => "delete",
        ("PATCH", Some(_)) => "patch",
        _ => return Err(Answer::failure(405, "MethodNotAllowed", "the server does not allow this method")),
    };
    require(shared, &asked.permission(verb))?;
    let name = asked.name.clone().unwrap_or_default();
    match (verb, asked.subresource.as_deref()) {
        ("get", Some("log")) => Ok(Reply::Log(name)),
        (_, Some(_)) => Err(Answer::failure(404, "NotFound", "no such subresource")),
        ("watch", _) => Ok(Reply::Watch(asked.kind, Selector::of(request)?)),
        ("list", _) => list(shared, request, asked.kind).map(Reply::Answer),
        ("get", _) => find(shared, asked.kind, &name).map(|object| Reply::Answer(Answer::ok(object))),
        ("create", _) => create(shared, request, asked.kind).map(Reply::Answer),
        ("delete", _) => delete(shared, request, asked.kind, &name).map(Reply::Answer),
        _ => patch(shared, request, asked.kind, &name).map(Reply::Answer),
    }
}

impl Asked {
    fn permission(&self, verb: &str) -> String {
        let group = if self.kind.group.is_empty() { String::new() } else { format!(".{}", self.kind.group) };
        match &self.subresource {
            Some(subresource) => format!("{verb} {}/{subresource}{group}", self.kind.plural),
            None => format!("{verb} {}{group}", self.kind.plural),
        }
    }
}

fn asked(path: &str) -> Option<Asked> {
    KINDS.iter().find_map(|kind| {
        let root = match kind.group {
            "" => format!("/api/{}/namespaces/{NAMESPACE}/{}", kind.version, kind.plural),
            group => format!("/apis/{group}/{}/namespaces/{NAMESPACE}/{}", kind.version, kind.plural),
        };
        let rest = path.strip_prefix(&root)?;
        if rest.is_empty() {
            return Some(Asked { kind, name: None, subresource: None });
        }
        let mut parts = rest.strip_prefix('/')?.splitn(2, '/');
        let (name, subresource) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
        Some(Asked { kind, name, subresource })
    })
}

fn require(shared: &Shared, permission: &str) -> Result<(), Answer> {
    if shared.state().denied.contains(permission) {
        let message = format!("{permission} is forbidden: User \"test\" cannot do this");
        return Err(Answer::failure(403, "Forbidden", &message));
    }
    Ok(())
}

fn review(shared: &Shared, request: &Request) -> Result<Answer, Answer> {
    require(shared, "create selfsubjectaccessreviews.authorization.k8s.io")?;
    let mut review = schema::check("selfsubjectaccessreviews", &request.body)?;
    let attributes = &review["spec"]["resourceAttributes"];
    let text = |name: &str| attributes[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("namespace"), NAMESPACE);
    let mut permission = format!("{} {}", text("verb"), text("resource"));
    if !text("subresource").is_empty() {
        permission = format!("{permission}/{}", text("subresource"));
    }
    if !text("group").is_empty() {
        permission = format!("{permission}.{}", text("group"));
    }
    let is_allowed = !shared.state().denied.contains(&permission);
    review["status"] = json!({ "allowed": is_allowed });
    Ok(Answer { status: 201, ..Answer::ok(review) })
}

fn list(shared: &Shared, request: &Request, kind: &Kind) -> Result<Answer, Answer> {
    let selector = Selector::of(request)?;
    let state = shared.state();
    let mut items = state.list(kind.plural);
    items.retain(|object| selector.takes(object));
    Ok(Answer::ok(json!({
        "apiVersion": if kind.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", kind.group) },
        "kind": format!("{}List", kind.singular),
        "metadata": {"resourceVersion": state.version().to_string()},
        "items": items,
    })))
}

fn find(shared: &Shared, kind: &Kind, name: &str) -> Result<Value, Answer> {
    let not_found = || Answer::failure(404, "NotFound", &format!("{} \"{name}\" not found", kind.plural));
    shared.state().get(kind.plural, name).cloned().ok_or_else(not_found)
}

fn create(shared: &Shared, request: &Request, kind: &Kind) -> Result<Answer, Answer> {
    let mut object = schema::check(kind.plural, &request.body)?;
    let namespace = &object["metadata"]["namespace"];
    if !namespace.is_null() && namespace != NAMESPACE {
        return Err(Answer::failure(
            400,
            "BadRequest",
            "the namespace of the object does not match the request",
        ));
    }
    // A Job's pods are what its controller makes; their labels are those that it gives them.
    object["status"] = json!({});
    let created = shared.state().insert(kind.plural, object)?;
    shared.changed.notify_all();
    Ok(Answer { status: 201, ..Answer::ok(created) })
}

fn delete(shared: &Shared, request: &Request, kind: &Kind, name: &str) -> Result<Answer, Answer> {
    let object = find(shared, kind, name)?;
    let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let wanted = &options["preconditions"]["uid"];
    if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
        return Err(Answer::failure(409, "Conflict", "the UID in the precondition does not match"));
    }
    // Without it the pods of a Job would be left behind: `orphan` is the default of the API for Jobs.
    if options["propagationPolicy"] != "Background" {
        return Err(Answer::failure(400, "BadRequest", "this test wants propagationPolicy: Background"));
    }
    shared.state().remove(kind.plural, name);
    shared.changed.notify_all();
    Ok(Answer::ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
}

/// A merge patch (RFC 7386), which holds for the version that it names.
fn merge_patch(shared: &Shared, request: &Request, kind: &Kind, name: &str) -> Result<Answer, Answer> {
    let patch: Value = serde_json::from_slice(&request.body).unwrap();
    let mut state = shared.state();
    let Some(found) = state.get(kind.plural, name) else {
        return Err(Answer::failure(404, "NotFound", &format!("{} \"{name}\" not found", kind.plural)));
    };
    for field in ["uid", "resourceVersion"] {
        let wanted = &patch["metadata"][field];
        if !wanted.is_null() && *wanted != found["metadata"][field] {
            return Err(Answer::failure(409, "Conflict", "the object has been modified"));
        }
    }
    let mut wanted = found.clone();
    merge(&mut wanted, &patch);
    let problems = schema::problems(kind.plural, &wanted);
    if !problems.is_empty() {
        return Err(Answer::failure(422, "Invalid", &problems.join("; ")));
    }
    let (old, new) = (&found["spec"], &wanted["spec"]);
    // See `ValidateJobSpecUpdate` of Kubernetes: the template may not be changed, and the deadline may.
    if old["template"] != new["template"] || old["podFailurePolicy"] != new["podFailurePolicy"] {
        return Err(Answer::failure(422, "Invalid", "field is immutable"));
    }
    let patched = state.change(kind.plural, name, |object| *object = wanted);
    drop(state);
    shared.changed.notify_all();
    Ok(Answer::ok(patched))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let object = target.as_object_mut().unwrap();
    for (key, value) in fields {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A strategic merge of the containers of a Deployment and its like.
fn patch(shared: &Shared, request: &Request, kind: &Kind, name: &str) -> Result<Answer, Answer> {
    find(shared, kind, name)?;
    let content_type = request.headers.get("content-type").map(String::as_str);
    if content_type == Some("application/merge-patch+json") && kind.plural == "jobs" {
        return merge_patch(shared, request, kind, name);
    }
    if content_type != Some("application/strategic-merge-patch+json") || kind.group != "apps" {
        return Err(Answer::failure(415, "UnsupportedMediaType", "only strategic merges of workloads"));
    }
    let patch: Value = serde_json::from_slice(&request.body).unwrap();
    let mut is_new = false;
    let patched = shared.state().change(kind.plural, name, |object| {
        for container in patch["spec"]["template"]["spec"]["containers"].as_array().unwrap() {
            let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
            let mine = containers.iter_mut().find(|mine| mine["name"] == container["name"]).unwrap();
            is_new |= mine["image"] != container["image"];
            mine["image"] = container["image"].clone();
        }
        if !is_new {
            return;
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
    });
    shared.changed.notify_all();
    Ok(Answer::ok(patched))
}
