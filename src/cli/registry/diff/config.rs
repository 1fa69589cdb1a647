//! What differs between two configs, field by field.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// A field with two values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ConfigChange {
    /// Its path: `config.Env.PATH`.
    pub(super) field: String,
    /// Its value in the first image.
    pub(super) a: Option<Value>,
    /// Its value in the second.
    pub(super) b: Option<Value>,
}

/// The fields that differ. Layers are compared elsewhere; times only where they are asked for.
pub(super) fn changes(a: &[u8], b: &[u8], with_times: bool) -> Vec<ConfigChange> {
    let (a, b) = (fields(a, with_times), fields(b, with_times));
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    changed
        .map(|name| ConfigChange { field: name.clone(), a: a.get(name).cloned(), b: b.get(name).cloned() })
        .collect()
}

fn fields(config: &[u8], with_times: bool) -> BTreeMap<String, Value> {
    // It was parsed before; what could not be would have no fields to show.
    let mut config: Map<String, Value> = serde_json::from_slice(config).unwrap_or_default();
    config.remove("rootfs");
    if !with_times {
        config.remove("created");
    }
    if let Some(Value::Array(history)) = config.get_mut("history") {
        for step in history.iter_mut().filter_map(Value::as_object_mut).filter(|_| !with_times) {
            step.remove("created");
        }
    }
    // Variables are found by name, not by position.
    if let Some(Value::Array(variables)) =
        config.get_mut("config").and_then(|config| config.get("Env")).cloned()
    {
        let pairs = variables.iter().filter_map(|variable| variable.as_str()?.split_once('='));
        let by_name: Map<String, Value> =
            pairs.map(|(name, value)| (name.to_owned(), Value::String(value.to_owned()))).collect();
        if let Some(Value::Object(run)) = config.get_mut("config") {
            run.insert("Env".to_owned(), Value::Object(by_name));
        }
    }
    let mut fields = BTreeMap::new();
    flatten("", Value::Object(config), &mut fields);
    fields
}

/// Objects and lists of objects become fields of their own; other lists are values.
fn flatten(path: &str, value: Value, fields: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) if !object.is_empty() || path.is_empty() => {
            for (name, value) in object {
                flatten(&below(&name), value, fields);
            }
        }
        Value::Array(list) if list.first().is_some_and(Value::is_object) => {
            for (position, value) in list.into_iter().enumerate() {
                flatten(&below(&position.to_string()), value, fields);
            }
        }
        value => {
            fields.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_the_fields_that_differ() {
        let a = json!({
            "architecture": "amd64", "created": "2024-01-01T00:00:00Z", "rootfs": {"diff_ids": ["x"]},
            "config": {"Env": ["A=1", "B=2"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "RUN a"}],
        });
        let b = json!({
            "architecture": "amd64", "created": "2025-01-01T00:00:00Z", "rootfs": {"diff_ids": ["y"]},
            "config": {"Env": ["B=2", "A=3"], "Cmd": ["sh", "-c"], "Labels": {"k": "v"}},
            "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "RUN a"}],
        });
        let (a, b) = (a.to_string().into_bytes(), b.to_string().into_bytes());
        let names = |with_times| -> Vec<String> {
            changes(&a, &b, with_times).into_iter().map(|change| change.field).collect()
        };
        let fields = ["config.Cmd", "config.Env.A", "config.ExposedPorts.80/tcp", "config.Labels.k"];
        assert_eq!(names(false), fields);
        assert_eq!(names(true), [&fields[..], &["created", "history.0.created"]].concat());
        assert!(changes(&a, &a, true).is_empty());
    }
}
