//! Manifests as text.

use k8s_openapi::api::batch::v1::Job;
use serde::Serialize;
use serde_json::Value;

use super::error::KubeError;
use super::manifest::Objects;

/// How manifests are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML documents.
    Yaml,
    /// A JSON list.
    Json,
    /// YAML documents, the Job's pod in the place of the Job: for `podman kube play`, which knows no Jobs before its
    /// version 5.
    Pod,
}

/// The objects as `kubectl apply --filename -` takes them, without the logins for registries.
pub fn print(objects: &Objects, format: Format) -> Result<String, KubeError> {
    let Objects { job, config_map, secret, logins: _ } = objects;
    let mut items = Vec::new();
    items.extend(config_map.iter().map(value));
    items.extend(secret.iter().map(value));
    items.push(if format == Format::Pod { value(&objects.pod()) } else { value::<Job>(job) });
    let items = items.into_iter().collect::<Result<Vec<Value>, _>>()?;
    if format == Format::Json {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
        return serde_json::to_string_pretty(&list).map(|text| text + "\n").map_err(KubeError::Json);
    }
    let mut text = String::new();
    for item in items {
        text.push_str("---\n");
        let document =
            serde_saphyr::to_string(&item).map_err(|error| KubeError::Yaml { reason: error.to_string() })?;
        text.push_str(document.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn value<T: Serialize>(object: &T) -> Result<Value, KubeError> {
    serde_json::to_value(object).map_err(KubeError::Json)
}
