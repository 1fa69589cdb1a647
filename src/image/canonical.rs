//! The one way JSON is written, so that equal values have equal digests.

use serde::Serialize;
use serde_json::{Map, Value};

/// Compact JSON with sorted keys: for configs, and wherever bytes are compared or hashed.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&sorted(serde_json::to_value(value)?))
}

/// JSON with an indent of two blanks and the keys in the order of the type: for manifests and indexes, which
/// people read.
pub fn to_vec_pretty(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec_pretty(value)
}

/// Sorts keys explicitly: whether maps of `serde_json` are sorted depends on what other crates ask of it.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut members: Vec<(String, Value)> = map.into_iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":{"é":"<&>","B":2}}"#).unwrap();
        assert_eq!(
            String::from_utf8(to_vec(&value).unwrap()).unwrap(),
            r#"{"a":{"B":2,"é":"<&>"},"b":[{"a":null,"z":1}]}"#
        );
    }
}
