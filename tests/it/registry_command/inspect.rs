//! Looking: `ls`, `tags`, `inspect`.

use serde_json::{Value, json};

use super::{Stage, for_two_platforms};

#[test]
fn lists_repositories_and_tags() {
    let stage = Stage::new();
    assert_eq!(stage.json(&["ls", stage.registry.host()])["repositories"], json!([]));
    for name in ["team/app:2", "team/app:10", "base:1"] {
        stage.push("FROM scratch\nCOPY Dockerfile /\n", name);
    }
    assert_eq!(stage.run(&["ls", stage.registry.host()]).success().stdout, "base\nteam/app\n");
    assert_eq!(stage.run(&["tags", &stage.name("team/app")]).success().stdout, "10\n2\n");
    assert_eq!(stage.tags("none"), Vec::<String>::new());
    stage.run(&["ls", &stage.name("team/app")]).failure(1, &["for those of a repository there is `tags`"]);
    stage.run(&["tags", &stage.name("team/app:2")]).failure(2, &["name a repository, without one"]);
    stage.registry.log_in("wrong");
    stage.run(&["ls", stage.registry.host()]).failure(
        1,
        &[
            "cannot list the repositories of localhost",
            "refused the credentials",
            "check user name and password",
        ],
    );
}

#[test]
fn shows_what_skopeo_shows() {
    let stage = Stage::new();
    stage.push("FROM base\nLABEL a=b\nRUN echo x > /x\nEXPOSE 80\nUSER app\n", "app:1");
    let shown = stage.json(&["inspect", &stage.name("app:1")]);
    let manifest: Value = serde_json::from_str(&stage.skopeo(&["--raw"], "app:1")).unwrap();
    let config: Value = serde_json::from_str(&stage.skopeo(&["--config", "--raw"], "app:1")).unwrap();
    assert_eq!(shown["digest"], stage.digest("app:1"));
    assert_eq!(shown["images"][0]["config"], config);
    let layers = shown["images"][0]["layers"].as_array().unwrap();
    let expected = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for (layer, expected) in layers.iter().zip(expected) {
        for field in ["digest", "size", "mediaType"] {
            assert_eq!(layer[field], expected[field]);
        }
    }
    assert_eq!(layers[0]["createdBy"], "first layer of the tests' base");
    assert!(layers[2]["createdBy"].as_str().unwrap().contains("echo x > /x"));

    let text = stage.run(&["inspect", &stage.name("app:1")]).success().stdout;
    for part in
        ["3 layers", "user        app", "ports       80/tcp", "label       a=b", "RUN /bin/sh -c echo x > /x"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn shows_every_platform() {
    let stage = Stage::new();
    stage.push_with(for_two_platforms("x"), "app:1");
    let shown = stage.json(&["inspect", &stage.name("app:1")]);
    let index: Value = serde_json::from_str(&stage.skopeo(&["--raw"], "app:1")).unwrap();
    let images = shown["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for (image, expected) in images.iter().zip(index["manifests"].as_array().unwrap()) {
        assert_eq!(image["digest"], expected["digest"]);
        let architecture = expected["platform"]["architecture"].as_str().unwrap();
        assert_eq!(image["platform"], format!("linux/{architecture}"));
        assert_eq!(image["config"]["architecture"], architecture);
    }
    let one = stage.json(&["inspect", "--platform", "linux/arm64", &stage.name("app:1")]);
    assert_eq!(one["images"].as_array().unwrap().len(), 1);
    assert_eq!(one["images"][0], images[1]);
    stage
        .run(&["inspect", "--platform", "linux/s390x", &stage.name("app:1")])
        .failure(1, &["linux/s390x", "linux/amd64", "linux/arm64"]);
    stage.run(&["inspect", &stage.name("app:2")]).failure(1, &["the image", "app:2 was not found"]);
}
