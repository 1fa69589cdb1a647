//! An image as the comparison sees it: one line per file, and the part of the config that says how it is run.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{FileState, list, small_base_layout, tool};

/// Fields of the config's `config` that a Dockerfile decides.
const FIELDS: [&str; 11] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
];

/// What Buildah's chroot isolation leaves in an image in which something was run.
const MOUNT_POINTS: [&str; 7] = ["dev", "proc", "sys", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// An image: its files, and how it is run.
#[derive(Clone)]
pub(super) struct View {
    files: BTreeMap<String, String>,
    config: Value,
}

impl View {
    /// Reads an image that skopeo knows under `source`, with skopeo and umoci, in a directory for its own.
    #[track_caller]
    pub(super) fn of(source: &str, directory: &Path) -> Self {
        let config = tool("skopeo", ["inspect", "--config", "--raw", source]);
        std::fs::create_dir_all(directory).unwrap();
        let (copy, rootfs) = (directory.join("copy"), directory.join("rootfs"));
        tool("skopeo", ["copy", "-q", source, &format!("oci:{}:image", copy.display())]);
        let image = format!("{}:image", copy.display());
        tool("umoci", ["raw", "unpack", "--image", &image, &rootfs.display().to_string()]);
        let mut files: BTreeMap<String, String> = list(&rootfs)
            .into_iter()
            .map(|(path, state)| {
                let line = line(&rootfs, &path, &state);
                (path, line)
            })
            .collect();
        // The root itself is not recorded in layers.
        files.remove("");
        Self { files, config: serde_json::from_str(&config).unwrap() }
    }

    /// The tests' base.
    pub(super) fn base() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::of(&format!("oci:{}:latest", small_base_layout().display()), directory.path())
    }

    /// A line per path:
    ///
    /// | | |
    /// |---|---|
    /// | `d/ 0755` | a directory |
    /// | `d/f 0644 1000:50 text\n` | a file; the owner where it is not root |
    /// | `l -> target` | a link |
    /// | `b = a` | another name of `a` |
    /// | `c 0644 {capability}` | … with file capabilities |
    /// | `- gone` | after [`subtract`](Self::subtract): not there any more |
    pub(super) fn lines(&self) -> Vec<String> {
        self.files.values().cloned().collect()
    }

    /// Whether it begins with the tests' base.
    pub(super) fn is_based_on_base(&self) -> bool {
        self.files.contains_key("bin/busybox")
    }

    /// Forgets what the base has as well, and notes what it has alone.
    pub(super) fn subtract(&mut self, base: &Self) {
        for (path, line) in &base.files {
            match self.files.get(path) {
                Some(found) if found == line => {
                    self.files.remove(path);
                }
                Some(_) => {}
                None => {
                    self.files.insert(path.clone(), format!("- {path}"));
                }
            }
        }
    }

    /// Forgets a path and what is below it.
    pub(super) fn forget(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|found, _| found != path && !found.starts_with(&below));
    }

    /// Forgets what Buildah has left there to mount something on, unless `other` has it too.
    pub(super) fn forget_mount_points(&mut self, other: &Self) {
        for path in MOUNT_POINTS {
            if !other.files.contains_key(path) {
                self.forget(path);
            }
        }
    }

    /// What is here and not there, and the other way round.
    pub(super) fn difference(&self, other: &Self) -> Vec<String> {
        let mut difference = Vec::new();
        for (path, line) in &self.files {
            if other.files.get(path) != Some(line) {
                difference.push(format!("+ {line}"));
            }
        }
        for (path, line) in &other.files {
            if self.files.get(path) != Some(line) {
                difference.push(format!("- {line}"));
            }
        }
        for field in FIELDS.into_iter().chain(["Shell", "/author", "/architecture", "/os"]) {
            let (mut mine, mut its) = (self.config_value(field), other.config_value(field));
            if field == "Env" {
                // Buildah appends what it sets again.
                sort(&mut mine);
                sort(&mut its);
            }
            if mine != its {
                difference.push(format!("+ {field}: {mine}"));
                difference.push(format!("- {field}: {its}"));
            }
        }
        difference
    }

    /// A field of the config's `config`, or what a JSON pointer leads to; null for what is empty.
    pub(super) fn config_value(&self, field: &str) -> Value {
        let found = if field.starts_with('/') {
            self.config.pointer(field)
        } else {
            self.config["config"].get(field)
        };
        let mut value = found.cloned().unwrap_or_default();
        if let (true, Some(labels)) = (field == "Labels", value.as_object_mut()) {
            labels.remove("io.buildah.version");
        }
        let is_empty = [json!([]), json!({}), json!("")].contains(&value);
        // A process starts in `/` if nothing is said.
        if is_empty || (field == "WorkingDir" && value == "/") { Value::Null } else { value }
    }

    /// `created_by` of what is not the base's, with `* ` in front where there is no layer.
    pub(super) fn history(&self) -> Vec<String> {
        let entries = self.config["history"].as_array().cloned().unwrap_or_default();
        let own = entries.iter().filter(|entry| {
            !entry["created_by"].as_str().is_some_and(|text| text.ends_with("layer of the tests' base"))
        });
        own.map(|entry| {
            let mark = if entry["empty_layer"] == true { "* " } else { "" };
            format!("{mark}{}", entry["created_by"].as_str().unwrap_or_default())
        })
        .collect()
    }
}

fn sort(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
}

fn line(rootfs: &Path, path: &str, state: &FileState) -> String {
    if let Some(first) = state.same_as.as_ref().filter(|first| *first != path) {
        return format!("{path} = {first}");
    }
    let (uid, gid) = state.owner;
    let owner = if state.owner == (0, 0) { String::new() } else { format!("{uid}:{gid}") };
    let mode = format!("{:04o}", state.mode);
    let capability = state.capability.as_ref().map(|data| format!("{{{data}}}")).unwrap_or_default();
    let words = match state.kind {
        "link" => vec![format!("{path} -> {}", state.content), owner],
        "directory" => vec![format!("{path}/"), mode, owner],
        "file" => {
            let content = match std::fs::read(rootfs.join(path)) {
                Ok(bytes) if bytes.len() < 400 => String::from_utf8_lossy(&bytes).escape_debug().to_string(),
                _ => format!("sha256:{}", state.content),
            };
            vec![path.to_owned(), mode, owner, content, capability]
        }
        kind => vec![path.to_owned(), mode, owner, kind.to_owned(), state.content.clone()],
    };
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
