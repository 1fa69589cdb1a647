//! `copy`: the same image, wherever it goes.

use serde_json::Value;

use super::{Stage, for_two_platforms};
use crate::support::{Build, tool};

#[test]
fn keeps_the_digest_through_registry_layout_and_archive() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:1");
    let digest = stage.digest("app:1");
    let layout = format!("oci-layout://{}:one", stage.path("layout").display());
    let archive = format!("oci-archive://{}", stage.path("image.tar").display());
    let (app, back, again) = (stage.name("app:1"), stage.name("back:1"), stage.name("again:1"));
    let mut from = app.as_str();
    for to in [&layout, &back, &archive, &again] {
        let report = stage.json(&["copy", from, to]);
        assert_eq!(report["digest"], digest, "{from} to {to}");
        from = to;
    }
    for name in ["back:1", "again:1"] {
        assert_eq!(stage.digest(name), digest);
        assert_eq!(stage.skopeo(&["--raw"], name), stage.skopeo(&["--raw"], "app:1"));
    }
    // Both images behind the index came along.
    stage.run(&["verify", &stage.name("again:1")]).success();
    let skopeo =
        tool("skopeo", ["inspect", "--raw", &format!("oci-archive:{}", stage.path("image.tar").display())]);
    assert_eq!(skopeo, stage.skopeo(&["--raw"], "app:1"));
}

#[test]
fn within_a_registry_nothing_is_sent() {
    let stage = Stage::new();
    stage.push("FROM base\nCOPY Dockerfile /\n", "app:1");
    let report = stage.json(&["copy", &stage.name("app:1"), &stage.name("other/app:2")]);
    assert_eq!(report["mounted"], 3, "{report}");
    // The config is at hand, and smaller than the question.
    assert_eq!(report["copied"], 1, "{report}");
    assert_eq!(stage.digest("app:1"), stage.digest("other/app:2"));
    let report = stage.json(&["copy", &stage.name("app:1"), &stage.name("other/app:3")]);
    // A mount is asked for without a look: it costs one request whether the blob is there or not.
    assert_eq!((&report["copied"], &report["copiedSize"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn takes_one_platform_of_several() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:1");
    stage.run(&["copy", "--platform", "linux/arm64", &stage.name("app:1"), &stage.name("arm:1")]).success();
    let config: Value = serde_json::from_str(&stage.skopeo(&["--config", "--raw"], "arm:1")).unwrap();
    assert_eq!(config["architecture"], "arm64");
    let index: Value = serde_json::from_str(&stage.skopeo(&["--raw"], "app:1")).unwrap();
    assert_eq!(index["manifests"][1]["digest"], stage.digest("arm:1"));
}

#[test]
fn docker_archives_are_written_and_read() {
    let stage = Stage::new();
    stage.push("FROM base\nCOPY Dockerfile /\n", "app:1");
    let path = stage.path("image.tar");
    let archive = format!("docker-archive://{}", path.display());
    stage.run(&["copy", &stage.name("app:1"), &archive]).success();
    let listed = tool("skopeo", ["list-tags", &format!("docker-archive:{}", path.display())]);
    assert!(listed.contains(&stage.name("app:1")), "{listed}");
    stage.run(&["copy", &archive, &stage.name("back:1")]).success();
    assert_eq!(stage.digest("back:1"), stage.digest("app:1"));

    // The older form, with uncompressed layers, as skopeo writes it; packed, as many keep it.
    let old = stage.path("old.tar");
    let authfile = stage.registry.docker_config().join("config.json").display().to_string();
    let source = format!("docker://{}", stage.name("app:1"));
    let target = format!("docker-archive:{}:example.com/app:1", old.display());
    tool("skopeo", ["copy", "-q", "--src-tls-verify=false", "--authfile", &authfile, &source, &target]);
    assert!(!tool("tar", ["-tf", &old.display().to_string()]).contains("index.json"));
    tool("gzip", [&old]);
    let old = format!("docker-archive://{}.gz", old.display());
    stage.run(&["copy", &old, &stage.name("old:1")]).success();
    let configs = ["app:1", "old:1"].map(|name| stage.skopeo(&["--config", "--raw"], name));
    assert_eq!(configs[0], configs[1]);
    stage.run(&["verify", &stage.name("old:1")]).success();
    stage.run(&["diff", &stage.name("app:1"), &stage.name("old:1")]).success();
}

#[test]
fn bad_archives_and_layouts_are_errors() {
    let stage = Stage::new();
    let target = stage.name("app:1");
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(stage.path(name), bytes).unwrap();
        format!("docker-archive://{}", stage.path(name).display())
    };
    let empty_tar = file("empty.tar", &[0; 1024]);
    stage.run(&["copy", &empty_tar, &target]).failure(1, &["empty.tar", "`manifest.json` is missing"]);
    let text = file(
        "text.tar",
        b"this is no archive at all, and longer than a header would be".repeat(20).as_slice(),
    );
    stage.run(&["copy", &text, &target]).failure(1, &["text.tar", "is not a usable archive"]);
    let missing = format!("oci-archive://{}", stage.path("missing.tar").display());
    stage.run(&["copy", &missing, &target]).failure(1, &["cannot read", "missing.tar"]);
    let nowhere = format!("oci-layout://{}", stage.path("nowhere").display());
    stage.run(&["copy", &nowhere, &target]).failure(1, &["nowhere"]);

    // An archive whose layer is not the one of its config.
    let build = Build::new("FROM base\nCOPY Dockerfile /\n");
    let tree = stage.path("tree");
    let archive = build.beside("image.tar");
    let output = format!("type=docker,dest={}", archive.display());
    let build = build.arg("--output").arg(output);
    build.run().success();
    std::fs::create_dir(&tree).unwrap();
    let place = tree.display().to_string();
    let old = stage.path("old.tar");
    tool(
        "skopeo",
        [
            "copy",
            "-q",
            &format!("docker-archive:{}", archive.display()),
            &format!("docker-archive:{}", old.display()),
        ],
    );
    tool("tar", ["-xf", &old.display().to_string(), "-C", &place]);
    let list: Value = serde_json::from_slice(&std::fs::read(tree.join("manifest.json")).unwrap()).unwrap();
    let layer = tree.join(list[0]["Layers"][2].as_str().unwrap());
    std::fs::write(&layer, [0; 1024]).unwrap();
    tool("tar", ["-cf", &old.display().to_string(), "-C", &place, "."]);
    let old = format!("docker-archive://{}", old.display());
    stage.run(&["copy", &old, &target]).failure(1, &["old.tar", "is not the layer sha256:"]);
    assert_eq!(stage.tags("app"), Vec::<String>::new());
}
