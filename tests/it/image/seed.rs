//! The build that Cooper was made for: a small app in a ConfigMap, credentials in a Secret, Kaniko's arguments.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::network::Network;
use super::pod::Pod;
use super::{has_containers, made};
use crate::support::node_layout;

/// The registry of the arguments.
pub(super) const REGISTRY: &str = "registry.local:5000";

/// What the arguments name.
pub(super) const IMAGE: &str = "test-webapp:1.0.0";

/// A ConfigMap has no directories.
const DOCKERFILE: &str = r#"FROM registry.local:5000/library/node:20-alpine
WORKDIR /app
COPY package.json ./
COPY server.js page.js healthcheck.js ./src/
RUN addgroup -g 1001 -S nodejs && adduser -S nodejs -u 1001 -G nodejs && chown -R nodejs:nodejs /app
USER nodejs
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 CMD ["node", "src/healthcheck.js"]
CMD ["node", "src/server.js"]
"#;

/// The files of the ConfigMap.
pub(super) fn files() -> BTreeMap<&'static str, String> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/test-webapp");
    let text = |path: &str| std::fs::read_to_string(fixture.join(path)).unwrap();
    BTreeMap::from([
        ("Dockerfile", DOCKERFILE.to_owned()),
        ("package.json", text("package.json")),
        ("server.js", text("src/server.js")),
        ("page.js", text("src/page.js")),
        ("healthcheck.js", text("src/healthcheck.js")),
    ])
}

/// The arguments of the pod in `k8s/`, read from there.
fn arguments() -> Vec<String> {
    let pod = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/kaniko-pod.yaml");
    let text = std::fs::read_to_string(pod).unwrap();
    let arguments: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .map(|rest| format!("--{rest}"))
        .collect();
    assert_eq!(arguments.len(), 7, "{arguments:?}");
    arguments
}

/// A directory as the kubelet mounts a ConfigMap or Secret: `name → ..data/name`, `..data → ..2026_…`.
pub(super) fn mounted(directory: &Path, made_at: &str, files: &BTreeMap<&str, String>) {
    let data = format!("..{made_at}");
    std::fs::create_dir_all(directory.join(&data)).unwrap();
    symlink(&data, directory.join("..data")).unwrap();
    for (name, text) in files {
        std::fs::write(directory.join(&data).join(name), text).unwrap();
        symlink(format!("..data/{name}"), directory.join(name)).unwrap();
    }
}

/// A network with the registry, which has the base.
pub(super) fn network() -> Network {
    let mut network = Network::new();
    network.serve_registry(5000, None);
    network.load(node_layout(), "20-alpine", 5000, "library/node:20-alpine");
    network
}

/// Looks at what was pushed.
#[track_caller]
pub(super) fn check(network: &Network) {
    let config: Value = serde_json::from_str(&network.inspect(&["--config", "--raw"], 5000, IMAGE)).unwrap();
    let settings = &config["config"];
    assert_eq!(settings["User"], "nodejs");
    assert_eq!(settings["WorkingDir"], "/app");
    assert_eq!(settings["Cmd"], json!(["node", "src/server.js"]));
    assert_eq!(settings["Healthcheck"]["Test"], json!(["CMD", "node", "src/healthcheck.js"]));
    let copy = network.path("copy");
    let source = format!("docker://localhost:5000/{IMAGE}");
    let target = format!("oci:{}:image", copy.display());
    network.tool(
        "skopeo",
        &["copy", "-q", "--src-tls-verify=false", "--src-creds=user:secret", &source, &target],
    );
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = crate::support::Image::read(&copy, directory);
    let files = files();
    for (path, name) in [
        ("app/package.json", "package.json"),
        ("app/src/server.js", "server.js"),
        ("app/src/page.js", "page.js"),
        ("app/src/healthcheck.js", "healthcheck.js"),
    ] {
        assert_eq!((image.at(path).kind, image.at(path).owner), ("file", (1001, 1001)), "{path}");
        assert_eq!(image.text(path), files[name]);
    }
    assert!(image.text("etc/passwd").contains("nodejs:x:1001:1001"));
    for path in image.files.keys() {
        let of_the_pod = path.contains("..") || path.starts_with("kaniko") || path.starts_with("workspace");
        assert!(!of_the_pod, "{path}");
    }
}

#[test]
fn the_pod_of_kaniko_runs_with_another_image() {
    if !has_containers() {
        return;
    }
    let network = network();
    let config = network.log_in(REGISTRY);
    let credentials = network.path("credentials");
    mounted(&credentials, "2026_01_01_00_00_00.1", &BTreeMap::from([("config.json", config)]));
    let mut digests = Vec::new();
    for made_at in ["2026_01_01_00_00_00.2", "2026_02_02_00_00_00.3"] {
        let context = network.path(made_at);
        mounted(&context, made_at, &files());
        let pod = Pod::new(&network, made::layouts(), &arguments(), &context, &credentials);
        let output = pod.run();
        let log = output.stderr;
        assert_eq!(output.code, Some(0), "{}\n{log}", output.stdout);
        // What scripts look for, in Kaniko's words.
        for words in ["Retrieving image manifest", "Pushed registry.local:5000/test-webapp@sha256:"] {
            assert!(log.contains(words), "{words} is not in:\n{log}");
        }
        check(&network);
        digests.push(network.inspect(&["--raw"], 5000, IMAGE));
        let _ = std::fs::remove_dir_all(network.path("copy"));
    }
    // The second build has found everything in the cache, whatever the kubelet called its directory.
    assert_eq!(digests[0], digests[1]);
}
