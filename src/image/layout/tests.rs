use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::*;
use crate::image::sample::{bundle, run};
use crate::image::{
    Blob, BlobSource, Bundle, Descriptor, ImageFormat, ImageRef, Index, IndexEntry, MediaType,
};

fn names(names: &[&str]) -> Vec<ImageRef> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn index_json(layout: &Layout) -> Value {
    serde_json::from_slice(&fs::read(layout.index_path()).unwrap()).unwrap()
}

#[test]
fn reads_what_it_writes() {
    let store = tempfile::tempdir().unwrap();
    let image = bundle(store.path(), ImageFormat::Oci, "linux/arm/v7", "one");
    let layout = Layout::create(store.path().join("layout")).unwrap();
    layout.write(&image, &names(&["app:1.0", "app:latest"])).unwrap();

    let layout = Layout::open(layout.root()).unwrap();
    for name in [None, Some("1.0"), Some("app:1.0"), Some("docker.io/library/app:1.0")] {
        assert_eq!(&layout.resolve(name).unwrap().digest, &image.root().digest, "{name:?}");
    }
    let found = layout.resolve(None).unwrap();
    let (descriptor, manifest) = layout.image(&found, &"linux/arm/v7".parse().unwrap()).unwrap();
    assert_eq!((&descriptor.digest, Some(&manifest)), (&image.root().digest, image.manifest()));
    let mut blob = Vec::new();
    layout.open_blob(&manifest.layers[0]).unwrap().read_to_end(&mut blob).unwrap();
    assert_eq!(Digest::of(&blob), manifest.layers[0].digest);
    assert_eq!(
        index_json(&layout)["manifests"][0]["platform"],
        json!({"architecture": "arm", "os": "linux", "variant": "v7"})
    );
    // The layer is the same file, not a copy, and nothing temporary is left.
    let links = fs::metadata(layout.blob_path(&manifest.layers[0].digest)).unwrap().nlink();
    assert_eq!(links, 2);
    assert_eq!(fs::read_dir(layout.root()).unwrap().count(), 3);
}

#[test]
fn merges_by_name() {
    let store = tempfile::tempdir().unwrap();
    let image = |text| bundle(store.path(), ImageFormat::Oci, "linux/amd64", text);
    let layout = Layout::create(store.path().join("layout")).unwrap();
    let foreign = json!({
        "schemaVersion": 2, "annotations": {"kept": "yes"},
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of("x").to_string(), "size": 1,
            "annotations": {REF_NAME: "foreign"}, "artifactType": "kept/too",
        }],
    });
    fs::write(layout.index_path(), foreign.to_string()).unwrap();
    for (text, given) in [
        ("1", &["app:1", "app:latest"][..]),
        ("2", &["app:2", "app:latest"]),
        ("3", &["other:latest"]),
        ("4", &[]),
        ("4", &[]),
    ] {
        layout.write(&image(text), &names(given)).unwrap();
    }
    let document = index_json(&layout);
    let listed: Vec<(Option<&str>, &str)> = document["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["annotations"][IMAGE_NAME].as_str(), entry["digest"].as_str().unwrap()))
        .collect();
    let digest = |text| image(text).root().digest.to_string();
    let (one, two, three, four) = (digest("1"), digest("2"), digest("3"), digest("4"));
    assert_eq!(
        listed,
        [
            (None, Digest::of("x").to_string().as_str()),
            (Some("docker.io/library/app:1"), &one),
            (Some("docker.io/library/app:2"), &two),
            (Some("docker.io/library/app:latest"), &two),
            (Some("docker.io/library/other:latest"), &three),
            (None, &four),
        ]
    );
    assert_eq!(document["annotations"]["kept"], "yes");
    assert_eq!(document["manifests"][0]["artifactType"], "kept/too");
    assert_eq!(
        layout.resolve(None).unwrap_err().to_string(),
        format!(
            "`{}` holds 6 images: say which one, there is foreign, docker.io/library/app:1, docker.io/library/app:2, \
             docker.io/library/app:latest, docker.io/library/other:latest",
            layout.root().display()
        )
    );
    assert!(matches!(layout.resolve(Some("gone")), Err(LayoutError::NoSuchImage { .. })));
}

#[test]
fn two_writers_lose_no_name() {
    let store = tempfile::tempdir().unwrap();
    let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "one");
    let layout = Layout::create(store.path().join("layout")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (layout, image) = (&layout, &image);
            scope.spawn(move || {
                for number in 0..10 {
                    layout.write(image, &names(&[&format!("app:{writer}-{number}")])).unwrap();
                }
            });
        }
    });
    assert_eq!(layout.index().unwrap().manifests.len(), 40);
}

#[test]
fn several_platforms_share_a_name() {
    let store = tempfile::tempdir().unwrap();
    let platforms = ["linux/amd64", "linux/arm64"];
    let images: Vec<Bundle> =
        platforms.iter().map(|platform| bundle(store.path(), ImageFormat::Oci, platform, "same")).collect();
    let entries = images
        .iter()
        .map(|image| IndexEntry { descriptor: image.root().clone(), platform: image.platform().cloned() });
    let index = Index::build(ImageFormat::Oci, entries.collect()).unwrap();
    let digests: Vec<Digest> = images.iter().map(|image| image.root().digest).collect();
    let whole = Bundle::of_index(&index, images).unwrap();
    // Two manifests and two configs, one layer, one index.
    assert_eq!(whole.blobs().len(), 6);
    let layout = Layout::create(store.path().join("layout")).unwrap();
    layout.write(&whole, &names(&["app:1"])).unwrap();
    let found = layout.resolve(Some("app:1")).unwrap();
    for (platform, digest) in platforms.iter().zip(digests) {
        assert_eq!(layout.image(&found, &platform.parse().unwrap()).unwrap().0.digest, digest);
    }
    let error = layout.image(&found, &"linux/s390x".parse().unwrap()).unwrap_err();
    assert!(matches!(error, LayoutError::Platform { .. }), "{error}");
    let listing = run("skopeo", &["inspect", "--raw", &format!("oci:{}:1", layout.root().display())]);
    assert!(listing.contains("arm64"), "{listing}");
}

#[test]
fn refuses_hostile_layouts() {
    let store = tempfile::tempdir().unwrap();
    let root = store.path().join("layout");
    assert!(matches!(Layout::open(&root), Err(LayoutError::NotALayout { .. })));
    let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "one");
    let layout = Layout::create(&root).unwrap();
    layout.write(&image, &[]).unwrap();
    let platform = "linux/amd64".parse().unwrap();
    let root_blob = layout.blob_path(&image.root().digest);
    let original = fs::read(&root_blob).unwrap();

    for damage in [&original[1..], b"", &[original.as_slice(), b" "].concat(), &original.to_ascii_uppercase()]
    {
        fs::write(&root_blob, damage).unwrap();
        let error = layout.image(image.root(), &platform).unwrap_err();
        assert!(matches!(error, LayoutError::Read { .. }), "{error}");
    }
    let huge = Descriptor { size: u64::MAX, ..image.root().clone() };
    assert!(matches!(layout.image(&huge, &platform), Err(LayoutError::TooLarge { .. })));
    fs::remove_file(&root_blob).unwrap();
    fs::create_dir(&root_blob).unwrap();
    assert!(matches!(layout.image(image.root(), &platform), Err(LayoutError::Read { .. })));

    // An index in an index, and so on.
    let mut inner = image.root().clone();
    for _ in 0..8 {
        let entry = IndexEntry { descriptor: inner, platform: Some("linux/amd64".parse().unwrap()) };
        let index = Index::build(ImageFormat::Oci, vec![entry]).unwrap();
        let bytes = index.to_bytes().unwrap();
        inner = index.descriptor(&bytes);
        layout.add_blob(&Blob { descriptor: inner.clone(), source: BlobSource::Bytes(bytes) }).unwrap();
    }
    assert!(matches!(layout.image(&inner, &platform), Err(LayoutError::TooDeep { .. })));

    fs::write(layout.index_path(), "{").unwrap();
    assert!(matches!(layout.index(), Err(LayoutError::Manifest { .. })));
    assert!(matches!(
        layout.write(&image, &[]),
        Err(LayoutError::Manifest { .. } | LayoutError::Write { .. })
    ));
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"2.0"}"#).unwrap();
    assert!(matches!(Layout::open(&root), Err(LayoutError::NotALayout { .. })));
}

#[test]
fn skopeo_and_umoci_accept_it() {
    let store = tempfile::tempdir().unwrap();
    let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "one");
    let layout = Layout::create(store.path().join("layout")).unwrap();
    layout.write(&image, &names(&["app:1.0"])).unwrap();
    let source = format!("oci:{}:1.0", layout.root().display());
    let copy = store.path().join("copy");
    run("skopeo", &["copy", &source, &format!("dir:{}", copy.display())]);
    assert_eq!(Digest::of(fs::read(copy.join("manifest.json")).unwrap()), image.root().digest);
    let unpacked = store.path().join("unpacked");
    let image = format!("{}:1.0", layout.root().display());
    run("umoci", &["unpack", "--rootless", "--image", &image, &unpacked.display().to_string()]);
    assert_eq!(fs::read_to_string(unpacked.join("rootfs/hello")).unwrap(), "one");
}

#[test]
fn reads_what_skopeo_writes() {
    let store = tempfile::tempdir().unwrap();
    let image = bundle(store.path(), ImageFormat::Oci, "linux/amd64", "one");
    let layout = Layout::create(store.path().join("layout")).unwrap();
    layout.write(&image, &names(&["app:1.0"])).unwrap();
    let copy = store.path().join("copy");
    let source = format!("oci:{}:1.0", layout.root().display());
    run("skopeo", &["copy", &source, &format!("oci:{}:renamed", copy.display())]);
    let copy = Layout::open(copy).unwrap();
    let found = copy.resolve(Some("renamed")).unwrap();
    assert_eq!((found.digest, found.media_type), (image.root().digest, MediaType::ImageManifest));
}
