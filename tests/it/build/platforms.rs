//! Several platforms: one image for each, and an index over them.

use std::path::Path;

use cooper::image::Platform;
use serde_json::Value;

use crate::support::{Build, DebianRegistry, Image, tool};

/// The platform that is not the machine's. Nothing for it can be executed here, but by way of a trick: its base has the
/// machine's own busybox.
const OTHER: &str = "linux/s390x";

/// The two platforms, as `--platform` takes them.
fn both() -> String {
    format!("{},{OTHER}", Platform::host())
}

/// A registry with `base:1`, for both platforms; each has its architecture in `/arch`.
fn registry() -> DebianRegistry {
    let registry = DebianRegistry::start();
    let build = Build::new("FROM base\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n");
    let layout = build.beside("layout");
    let build = build.args(["--platform", &both(), "--tag", "base:1"]);
    let build = build.arg("--output").arg(format!("type=oci,dest={}", layout.display()));
    build.run().success();
    registry.load(&layout, "1", "base:1");
    registry
}

/// What skopeo finds under a name.
fn inspect(registry: &DebianRegistry, name: &str, arguments: &[&str]) -> Value {
    let authfile = registry.docker_config().join("config.json").display().to_string();
    let image = format!("docker://{}/{name}", registry.host());
    let fixed = ["inspect", "--raw", "--tls-verify=false", "--authfile", &authfile, &image];
    serde_json::from_str(&tool("skopeo", arguments.iter().chain(&fixed))).unwrap()
}

/// The image for an architecture, by way of skopeo and umoci.
fn image(registry: &DebianRegistry, name: &str, architecture: &str) -> Image {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    save(registry, name, architecture, &layout);
    Image::read(&layout, directory)
}

fn save(registry: &DebianRegistry, name: &str, architecture: &str, layout: &Path) {
    let authfile = registry.docker_config().join("config.json").display().to_string();
    let source = format!("docker://{}/{name}", registry.host());
    let target = format!("oci:{}:image", layout.display());
    tool(
        "skopeo",
        [
            "--override-arch",
            architecture,
            "copy",
            "-q",
            "--src-tls-verify=false",
            "--authfile",
            &authfile,
            &source,
            &target,
        ],
    );
}

#[test]
fn each_has_its_own_arguments_and_bases_and_one_index_holds_them() {
    let registry = registry();
    let (host, machine) = (registry.host(), Platform::host());
    let text = format!(
        "FROM --platform=$BUILDPLATFORM {host}/base:1 AS build\n\
         ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE BUILDPLATFORM BUILDOS BUILDARCH\n\
         RUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH \"<$TARGETVARIANT>\" $TARGETSTAGE $BUILDPLATFORM $BUILDOS $BUILDARCH > /arguments\n\
         FROM {host}/base:1\n\
         COPY --from=build /arguments /\n\
         COPY --from=build /arch /built-on\n\
         COPY --from={host}/base:1 /arch /copied\n\
         RUN cp /arch /seen-by-run\n"
    );
    let build = Build::new(&text).env("DOCKER_CONFIG", registry.docker_config().display().to_string());
    let name = format!("{host}/app:1");
    let build = build.args(["--platform", &both(), "--push", "--tag", &name]);
    let metadata = build.beside("metadata.json");
    let build = build.arg("--metadata-file").arg(metadata.display().to_string());
    let outcome = build.run().success();

    let index = inspect(&registry, "app:1", &[]);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json", "{index}");
    let entries = index["manifests"].as_array().unwrap();
    let platforms: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!("{}/{}", entry["platform"]["os"], entry["platform"]["architecture"]).replace('"', "")
        })
        .collect();
    assert_eq!(platforms, [machine.to_string(), OTHER.to_owned()]);
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], outcome.stdout.trim());
    assert_eq!(metadata["containerimage.descriptor"]["mediaType"], index["mediaType"]);

    for platform in [machine.clone(), OTHER.parse().unwrap()] {
        let architecture = platform.architecture();
        let image = image(&registry, "app:1", architecture);
        assert_eq!(image.config["architecture"], architecture);
        let expected = format!(
            "{platform} linux {architecture} <> default {machine} linux {}\n",
            machine.architecture()
        );
        assert_eq!(image.text("arguments"), expected);
        assert_eq!(image.text("built-on"), format!("{}\n", machine.architecture()));
        for file in ["arch", "copied", "seen-by-run"] {
            assert_eq!(image.text(file), format!("{architecture}\n"), "{file}");
        }
        assert!(!image.history().iter().any(|line| line.contains("TARGETPLATFORM")), "{:?}", image.history());
    }
}

#[test]
fn a_platform_that_the_base_lacks_is_an_error_that_lists_what_there_is() {
    let registry = registry();
    let build = Build::new(&format!("FROM {}/base:1\nCOPY a /\n", registry.host())).file("a", "");
    let build = build.env("DOCKER_CONFIG", registry.docker_config().display().to_string());
    build.args(["--platform", "linux/riscv64"]).run().failure(1, &["linux/riscv64", OTHER]);
}

#[test]
fn what_is_asked_for_is_what_the_image_is_said_to_be_for() {
    // A stage for the machine that builds yields files for every machine.
    let build = Build::new("FROM --platform=$BUILDPLATFORM base\nCOPY a /\n").file("a", "");
    let image = build.args(["--platform", "linux/arm/v6"]).image();
    assert_eq!((&image.config["architecture"], &image.config["variant"]), (&"arm".into(), &"v6".into()));
}

#[test]
fn an_index_can_be_asked_for_with_one_platform_too() {
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "");
    let layout = build.beside("layout");
    let build = build.args(["--build-arg", "BUILDKIT_MULTI_PLATFORM=1", "--tag", "app:1"]);
    let build = build.arg("--output").arg(format!("type=oci,dest={}", layout.display()));
    build.run().success();
    let source = format!("oci:{}", layout.display());
    let index: Value = serde_json::from_str(&tool("skopeo", ["inspect", "--raw", &source])).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    assert_eq!(index["manifests"][0]["platform"]["architecture"], Platform::host().architecture());
}
