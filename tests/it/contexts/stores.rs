//! Object stores as contexts: S3 and Azure from server processes that are not ours. Checklist: kaniko.md 2.1 and 2.4.

use std::net::TcpListener;

use crate::support::{Build, ObjectStore, Reply, WebServer, curl, tool};

/// A compressed archive of a small project.
fn archive() -> tempfile::NamedTempFile {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
    std::fs::write(tree.path().join("file"), "from a store\n").unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let (target, root) = (archive.path().display().to_string(), tree.path().display().to_string());
    tool("tar", ["-czf", &target, "-C", &root, "."]);
    archive
}

#[test]
fn s3() {
    let store = ObjectStore::start("s3");
    let archive = archive();
    store.put_s3("contexts", &["team/app.tar.gz", "context.tar.gz"], archive.path());
    let build = |source: &str| {
        let build = Build::new("").source(source).env("S3_ENDPOINT", store.url());
        let build = build.env("S3_FORCE_PATH_STYLE", "true").env("AWS_REGION", "us-east-1");
        build.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "s3cret")
    };
    for source in ["s3://contexts/team/app.tar.gz", "s3://contexts"] {
        assert_eq!(build(source).image().text("file"), "from a store\n");
    }
    let outcome = build("s3://contexts/none.tar.gz").run().failure(1, &["there is no such object"]);
    assert!(!outcome.stderr.contains("s3cret"));
    build("s3://none/none").run().failure(1, &["there is no such object"]);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = build("s3://contexts").env("S3_ENDPOINT", format!("http://{unused}"));
    nobody.run().failure(1, &["the store does not give it"]);
}

/// Google's protocol as recorded from its documentation ("Cloud Storage XML API", "GET Object"): of the emulators in the
/// registries of packages none answers with all the headers that the real store has.
#[test]
fn google() {
    let archive = std::fs::read(archive().path()).unwrap();
    let store = WebServer::start(None, move |request| {
        match request.path.replace("%2F", "/").replace("%2E", ".").as_str() {
            "/contexts/team/app.tar.gz" => Reply::new(200, archive.clone())
                .header("Last-Modified", "Sun, 22 Nov 2026 10:00:00 GMT")
                .header("ETag", "\"8b1a9953c4611296a827abf8c47804d7\"")
                .header("x-goog-generation", "1795351520751333"),
            _ => {
                Reply::new(404, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>")
                    .header("Content-Type", "application/xml")
            }
        }
    });
    let build = |source: &str| Build::new("").source(source).env("STORAGE_EMULATOR_HOST", store.url());
    assert_eq!(build("gs://contexts/team/app.tar.gz").image().text("file"), "from a store\n");
    assert!(store.requests().iter().all(|request| request.method == "GET"));
    build("gs://contexts/none").run().failure(1, &["there is no such object"]);
}

/// The account that every azurite has; its key is in its documentation.
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[test]
fn azure() {
    let store = ObjectStore::start("azure");
    let archive = archive();
    // A shared access signature for everything, signed by the library that Cooper itself uses would prove less: this one is
    // made by openssl.
    let account = format!("{}/devstoreaccount1", store.url());
    let put = |path: &str, query: &str, headers: &[&str], data: Option<&str>| {
        let signature = azure_signature();
        let separator = if query.is_empty() { "" } else { "&" };
        let url = format!("{account}/{path}?{query}{separator}{signature}");
        let mut arguments = vec!["-X", "PUT", "-H", "x-ms-version: 2021-08-06"];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        match data {
            Some(data) => arguments.extend(["--data-binary", data]),
            None => arguments.extend(["-d", ""]),
        }
        arguments.push(&url);
        curl(&arguments);
    };
    put("contexts", "restype=container", &[], None);
    let data = format!("@{}", archive.path().display());
    put("contexts/team/app.tar.gz", "", &["x-ms-blob-type: BlockBlob"], Some(&data));
    let build = |path: &str, key: &str| {
        let source = format!("https://devstoreaccount1.blob.core.windows.net/{path}");
        let build = Build::new("").source(source).env("AZURE_STORAGE_ACCESS_KEY", key);
        build.env("AZURE_STORAGE_ENDPOINT", &account)
    };
    assert_eq!(build("contexts/team/app.tar.gz", AZURE_KEY).image().text("file"), "from a store\n");
    build("contexts/none", AZURE_KEY).run().failure(1, &["there is no such object"]);
    let wrong = AZURE_KEY.replace('E', "F");
    let outcome = build("contexts/team/app.tar.gz", &wrong).run().failure(1, &["refuses access"]);
    assert!(!outcome.stderr.contains(&wrong));
}

/// An account's shared access signature. See "Create an account SAS" of Azure's documentation.
fn azure_signature() -> String {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.decode(AZURE_KEY).unwrap();
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let (permissions, services, types, expiry, version) =
        ("rwc", "b", "co", "2099-01-01T00:00:00Z", "2019-12-12");
    let text = format!(
        "devstoreaccount1\n{permissions}\n{services}\n{types}\n\n{expiry}\n\nhttps,http\n{version}\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().display().to_string();
    let key = format!("hexkey:{key}");
    let printed = tool("openssl", ["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-hex", &path]);
    let hex = printed.trim().rsplit(' ').next().unwrap();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let signature = base64::engine::general_purpose::STANDARD.encode(bytes);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!(
        "sv={version}&ss={services}&srt={types}&sp={permissions}&se={expiry}&spr=https,http&sig={signature}"
    )
}
