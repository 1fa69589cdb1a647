//! Cooper's own image: what is in it, and that it works where clusters put it.

#![expect(clippy::print_stderr, reason = "what is skipped is said")]

mod emulated;
mod made;
mod names;
mod network;
mod play;
mod pod;
mod seed;
#[cfg(feature = "kubernetes")]
mod submitted;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Image, tool};

/// Whether containers can be made here.
fn has_containers() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: containers are made by root");
    }
    is_root
}

/// The image for one platform, unpacked.
#[track_caller]
fn unpacked(layout: &Path, architecture: &str) -> Image {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = directory.path().join("one");
    let source = format!("oci:{}", layout.display());
    let target = format!("oci:{}", copy.display());
    tool("skopeo", ["copy", "-q", "--override-arch", architecture, &source, &target]);
    Image::read(&copy, directory)
}

#[test]
fn has_what_kaniko_users_expect() {
    let layouts = made::layouts();
    let index = tool("skopeo", ["inspect", "--raw", &format!("oci:{}", layouts.join("executor").display())]);
    let index: Value = serde_json::from_str(&index).unwrap();
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]).collect();
    assert_eq!(
        platforms,
        [&json!({"architecture": "amd64", "os": "linux"}), &json!({"architecture": "arm64", "os": "linux"})]
    );
    for (architecture, machine) in [("amd64", 62), ("arm64", 183)] {
        let image = unpacked(&layouts.join("executor"), architecture);
        assert_eq!(image.config["architecture"], architecture);
        let settings = image.run_config();
        assert_eq!(settings["Entrypoint"], json!(["/kaniko/executor"]));
        assert_eq!(settings["WorkingDir"], "/workspace");
        let variables = settings["Env"].as_array().unwrap();
        for variable in [
            "PATH=/usr/local/bin:/kaniko",
            "HOME=/root",
            "USER=root",
            "SSL_CERT_DIR=/kaniko/ssl/certs",
            "DOCKER_CONFIG=/kaniko/.docker/",
            "DOCKER_CREDENTIAL_GCR_CONFIG=/kaniko/.config/gcloud/docker_credential_gcr_config.json",
        ] {
            assert!(variables.contains(&variable.into()), "{variable}: {variables:?}");
        }

        let paths: Vec<&str> = image.files.keys().map(String::as_str).collect();
        let expected = [
            "",
            "kaniko",
            "kaniko/.docker",
            "kaniko/cooper",
            "kaniko/executor",
            "kaniko/ssl",
            "kaniko/ssl/certs",
            "kaniko/ssl/certs/ca-certificates.crt",
            "kaniko/warmer",
            "workspace",
        ];
        assert_eq!(paths, expected);
        let program = image.at("kaniko/executor");
        assert_eq!((program.mode, program.owner), (0o755, (0, 0)));
        if has_containers() {
            // Version 2; permitted: setgid and setuid; nothing inheritable, nothing effective.
            assert_eq!(program.capability.as_deref(), Some("00000002c0000000000000000000000000000000"));
        }
        for link in ["kaniko/cooper", "kaniko/warmer"] {
            assert_eq!((image.at(link).kind, image.at(link).content.as_str()), ("link", "executor"));
        }
        let elf = image.bytes("kaniko/executor");
        assert_eq!(elf[18], machine, "the machine of an ELF header");
        let certificates = image.text("kaniko/ssl/certs/ca-certificates.crt");
        assert!(certificates.matches("BEGIN CERTIFICATE").count() > 100);

        let debug = unpacked(&layouts.join("debug"), architecture);
        assert_eq!(debug.at("busybox/sh").content, "busybox");
        assert_eq!(debug.at("bin/sh").content, "/busybox/sh");
        assert_eq!(debug.bytes("busybox/busybox")[18], machine);
        let variables = debug.run_config()["Env"].as_array().unwrap();
        assert!(variables.contains(&"PATH=/usr/local/bin:/kaniko:/busybox".into()));
        assert_eq!(debug.run_config()["Entrypoint"], settings["Entrypoint"]);
    }
}
