use super::*;

fn blob(text: &str, media_type: &str) -> Descriptor {
    Descriptor::new(media_type.into(), Digest::of(text), text.len() as u64)
}

const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn manifest(format: ImageFormat) -> Manifest {
    let layers = vec![blob("1", OCI_GZIP), blob("2", DOCKER_GZIP)];
    Manifest::build(format, blob("c", "text/plain"), layers, BTreeMap::new()).unwrap()
}

#[test]
fn writes_the_bytes_that_others_write() {
    let bytes = manifest(ImageFormat::Docker).to_bytes().unwrap();
    let expected = r#"{
  "schemaVersion": 2,
  "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
  "config": {
    "mediaType": "application/vnd.docker.container.image.v1+json",
    "digest": "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",
    "size": 1
  },
  "layers": [
    {
      "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "digest": "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
      "size": 1
    },
    {
      "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "digest": "sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35",
      "size": 1
    }
  ]
}"#;
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn reads_what_it_writes() {
    for format in [ImageFormat::Oci, ImageFormat::Docker] {
        let manifest = manifest(format);
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        assert!(matches!(Index::parse(&bytes), Err(ManifestError::Type { .. })));
        let platform = Platform::new("windows", "amd64", None).with_os_version(Some("10.0.1".into()));
        let entries = vec![
            IndexEntry { descriptor: manifest.descriptor(&bytes), platform: Some(platform) },
            IndexEntry { descriptor: manifest.descriptor(&bytes), platform: None },
        ];
        let index = Index::build(format, entries).unwrap();
        let bytes = index.to_bytes().unwrap();
        assert_eq!(Index::parse(&bytes).unwrap(), index);
        assert!(String::from_utf8(bytes).unwrap().contains(r#""os.version": "10.0.1""#));
    }
    let notes = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let annotated = Manifest { annotations: notes, ..manifest(ImageFormat::Oci) };
    assert_eq!(Manifest::parse(&annotated.to_bytes().unwrap()).unwrap(), annotated);
}

#[test]
fn keeps_to_the_limits_of_a_format() {
    let build = |format, layer: Descriptor, notes: &[(&str, &str)]| {
        let notes = notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Manifest::build(format, blob("c", "x"), vec![layer], notes)
    };
    let zstd = blob("z", "application/vnd.oci.image.layer.v1.tar+zstd");
    assert!(build(ImageFormat::Oci, zstd.clone(), &[("a", "b")]).is_ok());
    assert!(matches!(build(ImageFormat::Docker, zstd, &[]), Err(ManifestError::ZstdInDocker)));
    assert!(matches!(
        build(ImageFormat::Docker, blob("1", OCI_GZIP), &[("a", "b")]),
        Err(ManifestError::Annotations)
    ));
    let foreign = blob("f", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    assert!(matches!(build(ImageFormat::Oci, foreign, &[]), Err(ManifestError::Layer(_))));
    let many = vec![blob("1", OCI_GZIP); MAX_ITEMS + 1];
    let result = Manifest::build(ImageFormat::Oci, blob("c", "x"), many, BTreeMap::new());
    assert!(matches!(result, Err(ManifestError::TooMany { count }) if count == MAX_ITEMS + 1));
}

#[test]
fn refuses_doubtful_documents() {
    let oci_index = MediaType::ImageIndex;
    let digest = Digest::of("x");
    let one = format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
    for (text, announced, message) in [
        ("{", None, "the manifest is malformed"),
        ("{}", None, "the manifest is malformed"),
        (r#"{"schemaVersion":2}"#, None, "the manifest is malformed"),
        (
            r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#,
            None,
            "the image is in Docker's schema 1 format, which was given up in 2017: push it again with a current tool",
        ),
        (r#"{"schemaVersion":3}"#, None, "manifests of schema version 3 are not known"),
        (
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            None,
            "the manifest is ambiguous: it says to be `` but has the parts of a manifest and of an index",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#,
            None,
            "the manifest is ambiguous: it says to be `application/vnd.oci.image.manifest.v1+json` but has the parts of another",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
            Some(&oci_index),
            "the manifest is ambiguous: it says to be `application/vnd.oci.image.manifest.v1+json` but was announced as `application/vnd.oci.image.index.v1+json`",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"text/plain"}"#,
            None,
            "`text/plain` is not the type of an image manifest or index",
        ),
        (
            &format!(
                r#"{{"schemaVersion":2,"config":{one},"layers":[{}]}}"#,
                one.replace("sha256", "sha512")
            ),
            None,
            "the manifest is malformed",
        ),
        (
            &format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{}]}}"#, one.replace(":1", ":-1")),
            None,
            "the manifest is malformed",
        ),
    ] {
        let error = ManifestOrIndex::parse(text.as_bytes(), announced).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
    let large = vec![b' '; MAX_MANIFEST + 1];
    assert!(matches!(Manifest::parse(&large), Err(ManifestError::TooLarge { .. })));
    let layers = vec![one.as_str(); MAX_ITEMS + 1].join(",");
    let text = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{layers}]}}"#);
    assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::TooMany { .. })));
    // Without any type the parts decide; a careless server's type announces nothing.
    let text = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[],"annotations":null}}"#);
    let parsed = ManifestOrIndex::parse(text.as_bytes(), Some(&"application/json".into())).unwrap();
    assert!(
        matches!(parsed, ManifestOrIndex::Manifest(manifest) if manifest.media_type == MediaType::ImageManifest)
    );
}

#[test]
fn selects_by_platform() {
    let index = |platforms: &[&str]| {
        let entries = platforms.iter().map(|platform| IndexEntry {
            descriptor: blob(platform, "application/vnd.oci.image.manifest.v1+json"),
            platform: platform.parse().ok(),
        });
        Index::build(ImageFormat::Oci, entries.collect()).unwrap()
    };
    let several =
        ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "unknown/unknown", "windows/amd64"];
    for (platforms, wanted, chosen) in [
        (&several[..], "linux/amd64", "linux/amd64"),
        (&several, "linux/amd64/v3", "linux/amd64"),
        (&several, "linux/arm/v7", "linux/arm/v7"),
        (&several, "linux/arm/v8", "linux/arm/v7"),
        (&several, "linux/arm/v6", "linux/arm/v6"),
        (&several, "linux/arm64", "linux/arm64"),
        (&several, "linux/arm64/v9", "linux/arm64"),
        (&["linux/amd64/v2", "linux/amd64"], "linux/amd64/v4", "linux/amd64/v2"),
        (&["-"], "linux/amd64", "-"),
    ] {
        let index = index(platforms);
        assert_eq!(index.select(&wanted.parse().unwrap()).unwrap().digest, Digest::of(chosen), "{wanted}");
    }
    for (platforms, wanted, message) in [
        (
            &several[..],
            "linux/arm/v5",
            "there is no image for linux/arm/v5: there is linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64, windows/amd64",
        ),
        (&["linux/amd64/v3"], "linux/amd64", "there is no image for linux/amd64: there is linux/amd64/v3"),
        (&["-", "-"], "linux/s390x", "there is no image for linux/s390x: there is none with a platform"),
    ] {
        let index = index(platforms);
        assert_eq!(index.select(&wanted.parse().unwrap()).unwrap_err().to_string(), message);
    }
}
