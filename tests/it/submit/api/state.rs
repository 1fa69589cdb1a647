//! The objects, their versions, and what has happened to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::NAMESPACE;
use super::fault::Fault;
use super::http::Answer;

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) plural: String,
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

/// The lines of a pod, with their times.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<String>,
    pub(super) has_ended: bool,
}

pub(super) struct State {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    pub(super) changes: Vec<Change>,
    pub(super) logs: BTreeMap<String, Log>,
    pub(super) denied: BTreeSet<String>,
    pub(super) pod_security: Option<String>,
    pub(super) faults: Vec<Fault>,
    pub(super) requests: Vec<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            version: 100,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            logs: BTreeMap::new(),
            denied: BTreeSet::new(),
            pod_security: None,
            faults: Vec::new(),
            requests: Vec::new(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, plural: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(plural.to_owned(), name.to_owned()))
    }

    pub(super) fn list(&self, plural: &str) -> Vec<Value> {
        let objects = self.objects.iter();
        objects.filter(|((kind, _), _)| kind == plural).map(|(_, object)| object.clone()).collect()
    }

    fn note(&mut self, plural: &str, kind: &'static str, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (version, plural) = (self.version, plural.to_owned());
        self.changes.push(Change { version, plural, kind, object: object.clone() });
    }

    pub(super) fn insert(&mut self, plural: &str, mut object: Value) -> Result<Value, Answer> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (plural.to_owned(), name.clone());
        if self.objects.contains_key(&key) {
            let message = format!("{plural} \"{name}\" already exists");
            return Err(Answer::failure(409, "AlreadyExists", &message));
        }
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(NAMESPACE);
        metadata["uid"] = json!(format!("uid-{}", self.version));
        metadata["generation"] = json!(1);
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!("2026-11-22T10:00:00Z");
        }
        self.note(plural, "ADDED", &mut object);
        self.objects.insert(key, object.clone());
        Ok(object)
    }

    pub(super) fn change(&mut self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let key = (plural.to_owned(), name.to_owned());
        let mut object = self.objects.get(&key).unwrap_or_else(|| panic!("no {plural} {name}")).clone();
        change(&mut object);
        self.note(plural, "MODIFIED", &mut object);
        self.objects.insert(key, object.clone());
        object
    }

    /// Removes an object and what it owns, as the garbage collector does.
    pub(super) fn remove(&mut self, plural: &str, name: &str) {
        let Some(mut object) = self.objects.remove(&(plural.to_owned(), name.to_owned())) else { return };
        let uid = object["metadata"]["uid"].clone();
        self.note(plural, "DELETED", &mut object);
        if plural == "pods"
            && let Some(log) = self.logs.get_mut(name)
        {
            log.has_ended = true;
        }
        let is_owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
        };
        let objects = self.objects.iter();
        let owned: Vec<_> =
            objects.filter(|(_, object)| is_owned(object)).map(|(key, _)| key.clone()).collect();
        for (plural, name) in owned {
            self.remove(&plural, &name);
        }
    }
}
