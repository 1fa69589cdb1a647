//! The main job: the sample app, from its Dockerfile to a registry, judged by Buildah and skopeo.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Build, DebianRegistry, FileState, Image, node_layout, sample_app, tool};

/// A registry that has the base, and a build that pushes to it.
fn pushing(registry: &DebianRegistry, name: &str) -> Build {
    sample_app()
        .env("DOCKER_CONFIG", registry.docker_config().display().to_string())
        .args(["--push", "--registry-mirror", registry.host()])
        .args(["--tag".to_owned(), format!("{}/{name}", registry.host())])
}

fn registry_with_base() -> DebianRegistry {
    let registry = DebianRegistry::start();
    registry.load(node_layout(), "20-alpine", "library/node:20-alpine");
    registry
}

/// What Buildah makes of the same Dockerfile: its files, and its config in Docker's form.
fn by_buildah(build: &Build) -> (Image, Value) {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = |name: &str| work.path().join(name).display().to_string();
    let (root, runroot) = (place("root"), place("runroot"));
    let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    let buildah = |arguments: &[&str]| tool("buildah", storage.iter().chain(arguments));
    let source = format!("oci:{}:20-alpine", node_layout().display());
    let target = format!("containers-storage:[vfs@{root}+{runroot}]docker.io/library/node:20-alpine");
    tool("skopeo", ["copy", "-q", &source, &target]);
    let context = build.context().display().to_string();
    buildah(&[
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--pull=never",
        "--tag",
        "app",
        &context,
    ]);
    let (directory, layout) = (format!("dir:{}", place("dir")), place("layout"));
    buildah(&["push", "--quiet", "--format", "v2s2", "app", &directory]);
    let config = tool("skopeo", ["inspect", "--config", "--raw", &directory]);
    tool("skopeo", ["copy", "-q", &directory, &format!("oci:{layout}:image")]);
    (Image::read(Path::new(&layout), work), serde_json::from_str(&config).unwrap())
}

/// Everything about the files but their times, without what Buildah itself leaves in an image.
fn comparable(image: &Image) -> BTreeMap<&str, FileState> {
    let files = image.files.iter().filter(|(path, _)| path.as_str() != "etc/resolv.conf");
    files.map(|(path, state)| (path.as_str(), FileState { mtime: 0, ..state.clone() })).collect()
}

/// The settings of a container, each absent where it is empty.
fn settings(config: &Value) -> Value {
    let names = [
        "User",
        "Env",
        "Entrypoint",
        "Cmd",
        "WorkingDir",
        "ExposedPorts",
        "Healthcheck",
        "Volumes",
        "Labels",
    ];
    let settings = names.map(|name| {
        let value = match config["config"][name].clone() {
            Value::Object(mut map) => {
                map.remove("io.buildah.version");
                if map.is_empty() { Value::Null } else { Value::Object(map) }
            }
            value => value,
        };
        (name.to_owned(), value)
    });
    json!([config["architecture"], config["os"], Value::Object(settings.into_iter().collect())])
}

#[test]
fn is_what_buildah_makes_of_it_and_is_sent_once() {
    let registry = registry_with_base();
    let build = pushing(&registry, "team/app:1");
    let outcome = build.run().success();
    assert!(outcome.stderr.contains(&format!(
        "pushed {}/team/app:1@{}",
        registry.host(),
        outcome.stdout.trim()
    )));

    let work = tempfile::tempdir().unwrap();
    let layout = work.path().join("pulled");
    registry.save("team/app:1", &layout);
    let image = Image::read(&layout, work);
    let (expected, expected_config) = by_buildah(&build);
    assert_eq!(comparable(&image), comparable(&expected));
    assert_eq!(settings(&image.config), settings(&expected_config));
    assert_eq!(image.at("app/src/server.js").owner, (1001, 1001));

    // Everything is there by now: another build of the same sends nothing but the name.
    let before = registry.log().len();
    pushing(&registry, "team/app:2").store(build.store_path()).run().success();
    assert!(registry.log()[before..].contains("PUT /v2/team/app/manifests/2"));
    let log = registry.log();
    let uploads = uploads(&log[before..]);
    assert!(uploads.iter().all(|request| request.contains("mount=")), "{uploads:#?}");
}

/// The requests of a registry's log that begin or carry out an upload.
fn uploads(log: &str) -> Vec<&str> {
    // The access log proper; the registry writes down other things about a request too.
    let requests = log.lines().filter_map(|line| line.split('"').nth(1).filter(|_| line.starts_with("127.")));
    requests.filter(|request| request.contains("/blobs/uploads/")).collect()
}

#[test]
fn layers_go_from_repository_to_repository_without_being_sent() {
    let registry = registry_with_base();
    let before = registry.log().len();
    let other = format!("{}/team/one:1", registry.host());
    let pushed = pushing(&registry, "team/two:1").args(["--tag", &other]).run().success();
    assert_eq!(pushed.stderr.matches("\npushed ").count(), 2, "{}", pushed.stderr);
    let log = registry.log();
    let uploads = uploads(&log[before..]);
    let count = |start: &str, part: &str| {
        uploads.iter().filter(|line| line.starts_with(start) && line.contains(part)).count()
    };
    // What the base has comes from where the base was pulled, though it was asked for by another name.
    assert_eq!(count("POST /v2/team/", "from=library%2Fnode"), 4, "{uploads:#?}");
    // New layers and the config are sent to one of the repositories, and the other has them mounted from there.
    assert_eq!(count("PUT /v2/team/", "digest="), 4 + 1, "{uploads:#?}");
    assert_eq!(count("POST /v2/team/", "from=team%2F"), 4 + 4 + 1, "{uploads:#?}");
}
