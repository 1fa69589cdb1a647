//! The same against a real registry: Debian's `docker-registry`, which is the reference implementation.
//! Where it is not installed, these tests say so and pass.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cooper::image::{MediaType, RepoName};
use cooper::layer::Digest;
use cooper::registry::{Credentials, Registries, RegistrySettings, RemoteBlob, Repository, Uploaded};

use super::{chain, descriptor, fetch, noise, settings};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running registry with the user `user` and the password `secret`.
struct Debian {
    process: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Drop for Debian {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Debian {
    #[expect(clippy::print_stdout, reason = "who runs the tests should know what they did not test")]
    fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            println!("skipped: {PROGRAM} is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let passwords = directory.path().join("htpasswd");
        let hash = Command::new("htpasswd").args(["-Bbn", "user", "secret"]).output().unwrap();
        std::fs::File::create(&passwords).unwrap().write_all(&hash.stdout).unwrap();
        // The port is free again for a moment; nothing else here binds ports it was not given.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\nhttp: {{addr: '{host}'}}\n",
            root = directory.path().join("data").display(),
            passwords = passwords.display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let registry = Self { process, host, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn repository(&self, path: &str) -> Repository {
        let settings = RegistrySettings { chunk_size: 1 << 20, ..settings() };
        let credentials = Credentials::single(&self.host, "user", "secret");
        Registries::new(settings, credentials).unwrap().repository(&RepoName::new(&self.host, path)).unwrap()
    }
}

#[tokio::test]
async fn an_image_goes_and_comes_back() {
    let Some(registry) = Debian::start() else { return };
    let repository = registry.repository("group/app");
    // One blob in one piece, one in chunks, the last of them not full.
    let (config, layer) = (noise(2000), noise((3 << 20) + 17));
    for bytes in [&config, &layer] {
        let blob = descriptor(bytes);
        assert_eq!(repository.upload(&blob, bytes.clone(), &[]).await.unwrap(), Uploaded::Sent);
        assert_eq!(repository.upload(&blob, bytes.clone(), &[]).await.unwrap(), Uploaded::AlreadyThere);
        assert_eq!(fetch(&repository, &blob).await.unwrap(), *bytes);
    }
    let of = |bytes: &Bytes, media_type: &str| serde_json::json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest.to_string(),
        "config": of(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": [of(&layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    let bytes = Bytes::from(manifest.to_string());
    let digest = repository.put_manifest("1", &MediaType::ImageManifest, bytes.clone()).await.unwrap();
    for selector in ["1".to_owned(), digest.to_string()] {
        let found = repository.manifest_digest(&selector).await.unwrap().unwrap();
        let fetched = repository.manifest(&selector).await.unwrap();
        assert_eq!((&fetched.bytes, fetched.digest), (&bytes, digest));
        assert_eq!(fetched.descriptor(), found);
    }
    assert_eq!(repository.manifest_digest("2").await.unwrap(), None);
    assert!(repository.manifest("2").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn blobs_are_mounted_and_piped() {
    let Some(registry) = Debian::start() else { return };
    let (base, app) = (registry.repository("base"), registry.repository("app"));
    let bytes = noise(100_000);
    let blob = descriptor(&bytes);
    base.upload(&blob, bytes.clone(), &[]).await.unwrap();
    assert!(!app.has_blob(blob.digest).await.unwrap());
    let candidates = [base.name().clone()];
    assert_eq!(app.upload(&blob, bytes.clone(), &candidates).await.unwrap(), Uploaded::Mounted);
    assert!(!app.mount(Digest::of("nowhere"), base.name()).await.unwrap());

    let Some(other) = Debian::start() else { return };
    let copy = other.repository("copy");
    let large = noise((2 << 20) + 1);
    let blob = descriptor(&large);
    base.upload(&blob, large.clone(), &[]).await.unwrap();
    copy.upload(&blob, RemoteBlob::new(base.clone(), blob.clone()), &[]).await.unwrap();
    assert_eq!(fetch(&copy, &blob).await.unwrap(), large);
}

#[tokio::test]
async fn wrong_content_and_wrong_passwords_are_refused() {
    let Some(registry) = Debian::start() else { return };
    let wrong = registry.repository("app").upload(&descriptor(b"right"), Bytes::from("wrong"), &[]).await;
    assert!(chain(&wrong.unwrap_err()).contains("DIGEST_INVALID"));

    let name = RepoName::new(&registry.host, "app");
    let credentials = Credentials::single(&registry.host, "user", "mistaken");
    let stranger = Registries::new(settings(), credentials).unwrap().repository(&name).unwrap();
    let error = stranger.manifest("1").await.unwrap_err();
    assert!(chain(&error).contains("refused the credentials from the command line"), "{error}");
}
