//! Names and TLS in an image with nothing in it.

use std::fs;
use std::path::Path;

use super::network::Network;
use super::{has_containers, made, unpacked};
use crate::support::{node_layout, tool};

const HOST: &str = "registry.example";

/// A certificate for [`HOST`] that signs itself, and its key.
fn certificate(directory: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let certified = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let paths = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&paths.0, certified.cert.pem()).unwrap();
    fs::write(&paths.1, certified.signing_key.serialize_pem()).unwrap();
    paths
}

/// A library as the C library would load for names, which tells that it was loaded.
fn name_module(directory: &Path) -> std::path::PathBuf {
    let source = directory.join("module.c");
    let text = "#include <fcntl.h>\n__attribute__((constructor)) static void loaded(void) \
                { open(\"/loaded\", O_CREAT | O_WRONLY, 0644); }\n";
    fs::write(&source, text).unwrap();
    let library = directory.join("libnss_other.so.2");
    let arguments = [Path::new("-shared"), Path::new("-fPIC"), Path::new("-o"), &library, &source];
    tool("cc", arguments);
    library
}

#[test]
fn are_found_by_dns_and_hosts_and_by_nothing_of_an_image() {
    if !has_containers() {
        return;
    }
    let mut network = Network::new();
    let (certificate, key) = certificate(&network.path(""));
    network.serve_name(HOST);
    network.serve_registry(443, Some((&certificate, &key)));
    network.load(node_layout(), "20-alpine", 443, "node:20-alpine");
    let config = network.log_in(HOST);

    let image = unpacked(&made::layouts().join("executor"), made::native());
    let root = image.rootfs();
    fs::write(root.join("kaniko/.docker/config.json"), config).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost by-hosts.example\n").unwrap();
    fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let variables: Vec<(String, String)> = image.run_config()["Env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable.as_str().unwrap().split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let cooper = |arguments: &[&str]| {
        let mut command = network.command("chroot");
        command.env_clear().envs(variables.iter().cloned());
        // For nsenter and chroot themselves.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = command.arg(root).arg("/kaniko/cooper").args(arguments).output().unwrap();
        crate::support::Outcome::of(output)
    };

    // Found by DNS, refused by TLS: nobody knows who signed it.
    let tags = ["registry", "tags", "registry.example/node"];
    cooper(&tags).failure(1, &["the TLS certificate of registry.example is signed by an unknown authority"]);
    // Kaniko's place for further authorities.
    fs::copy(&certificate, root.join("kaniko/ssl/certs/additional-ca-cert-bundle.crt")).unwrap();
    assert_eq!(cooper(&tags).success().stdout, "20-alpine\n");
    cooper(&["registry", "tags", "by-hosts.example/node"])
        .failure(1, &["the TLS certificate of by-hosts.example"]);

    // What an image has at these places is nothing to us, while a RUN has them in `/`.
    let libraries = root.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    fs::create_dir_all(&libraries).unwrap();
    fs::copy(name_module(&network.path("")), libraries.join("libnss_other.so.2")).unwrap();
    for library in tool("ldd", ["/bin/true"]).split_whitespace().filter(|word| word.starts_with('/')) {
        fs::copy(library, libraries.join(Path::new(library).file_name().unwrap())).unwrap();
    }
    for line in tool("ldd", ["/bin/true"]).lines().filter_map(|line| line.split_once("=> ")) {
        let library = line.1.split_whitespace().next().unwrap();
        fs::copy(library, libraries.join(Path::new(library).file_name().unwrap())).unwrap();
    }
    fs::write(root.join("etc/nsswitch.conf"), "hosts: other files dns\npasswd: other\ngroup: other\n")
        .unwrap();
    assert_eq!(cooper(&tags).success().stdout, "20-alpine\n");
    assert!(!root.join("loaded").exists(), "the image's library was loaded");
    // The module is good, and would have been: a program without our precautions loads it.
    let program = network.path("look.c");
    let text =
        "#include <netdb.h>\nint main(void) { struct addrinfo *a; getaddrinfo(\"x.example\", 0, 0, &a); }\n";
    fs::write(&program, text).unwrap();
    let careless = root.join("careless");
    tool("cc", [Path::new("-static"), Path::new("-w"), Path::new("-o"), &careless, &program]);
    network.command("chroot").arg(root).arg("/careless").output().unwrap();
    assert!(root.join("loaded").exists(), "the library of this test is no module");
}
