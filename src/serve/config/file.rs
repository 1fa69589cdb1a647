//! The form of `cooper.yaml`: what `docs/cooper-yaml.schema.json` describes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Provider;

/// A text and where it is.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) hooks: Vec<Hook>,
    #[serde(default)]
    pub(super) repositories: Vec<Repository>,
    #[serde(default)]
    pub(super) notify: Vec<Notify>,
    pub(super) signing_secret: Option<Spanned<Secret>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) name: Text,
    pub(super) provider: Spanned<Provider>,
    pub(super) secret: Spanned<Secret>,
    pub(super) statuses: Option<Spanned<Statuses>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Statuses {
    pub(super) token: Spanned<Secret>,
    pub(super) api: Option<Text>,
    pub(super) label: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) file: Option<String>,
    pub(super) env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub(super) url: Text,
    pub(super) secret: Option<Spanned<Secret>>,
    pub(super) on: Option<Spanned<Vec<End>>>,
}

/// How builds end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    pub(super) hook: Text,
    pub(super) name: Text,
    pub(super) url: Text,
    pub(super) project: Option<Text>,
    pub(super) statuses: Option<bool>,
    #[serde(default)]
    pub(super) notify: Vec<Notify>,
    pub(super) builds: Spanned<Vec<Spanned<Build>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of the file")]
pub(super) struct Build {
    pub(super) name: Option<Text>,
    #[serde(default)]
    pub(super) branches: Vec<Text>,
    #[serde(default)]
    pub(super) tags: Vec<Text>,
    #[serde(default)]
    pub(super) paths: Vec<Text>,
    #[serde(default)]
    pub(super) ignore_paths: Vec<Text>,
    pub(super) context: Option<Text>,
    pub(super) dockerfile: Option<Text>,
    pub(super) target: Option<Text>,
    #[serde(default)]
    pub(super) build_args: BTreeMap<String, Text>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Text>,
    pub(super) destinations: Vec<Text>,
    #[serde(default)]
    pub(super) platforms: Vec<Text>,
    #[serde(default)]
    pub(super) cache_from: Vec<Text>,
    #[serde(default)]
    pub(super) cache_to: Vec<Text>,
    #[serde(default)]
    pub(super) no_cache: bool,
    pub(super) project: Option<Text>,
    #[serde(default)]
    pub(super) priority: i32,
    pub(super) timeout: Option<Text>,
    pub(super) cpus: Option<Text>,
    pub(super) memory: Option<Text>,
    #[serde(default)]
    pub(super) set_image: Vec<Text>,
}
