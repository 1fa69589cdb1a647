//! `verify`: every blob is read.

use super::{Stage, for_two_platforms};

#[test]
fn finds_a_damaged_blob() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:1");
    let report = stage.json(&["verify", &stage.name("app:1")]);
    // An index, two manifests, two configs, one common layer and two of their own.
    assert_eq!(report["blobs"], 8, "{report}");
    let layer = stage.json(&["inspect", &stage.name("app:1")])["images"][1]["layers"][1]["digest"].clone();
    let hex = layer.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let file =
        stage.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let outcome = stage.run(&["verify", &stage.name("app:1")]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(&format!("damaged  sha256:{hex}")), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("1 fault"), "{}", outcome.stdout);

    std::fs::remove_file(&file).unwrap();
    let outcome = stage.run(&["verify", &stage.name("app:1")]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(&format!("damaged  sha256:{hex}")), "{}", outcome.stdout);
}

#[test]
fn finds_damage_in_a_layout() {
    let stage = Stage::new();
    stage.push("FROM base\nCOPY Dockerfile /\n", "app:1");
    let path = stage.path("layout");
    let layout = format!("oci-layout://{}", path.display());
    stage.run(&["copy", &stage.name("app:1"), &layout]).success();
    stage.run(&["verify", &layout]).success();
    let layer = stage.json(&["inspect", &layout])["images"][0]["layers"][2]["digest"].clone();
    let hex = layer.as_str().unwrap().strip_prefix("sha256:").unwrap();
    std::fs::write(path.join("blobs/sha256").join(hex), "other").unwrap();
    let outcome = stage.run(&["verify", &layout]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(&format!("damaged  sha256:{hex}")), "{}", outcome.stdout);
}
