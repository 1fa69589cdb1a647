//! Builds without any network, and everything an image can be written to.

use std::path::Path;
use std::process::Command;

use crate::registry::Registry;
use crate::support::{Build, Image, Served, base_layout, tool};

/// A registry host where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_store_remembers_the_base() {
    let registry = Registry::start();
    Served::base().put(&registry, "library/kept", "1");
    let first =
        Build::new("FROM kept:1\nRUN echo one > /one\n").args(["--registry-mirror", &registry.host()]);
    first.run().success();
    let asked = registry.requests().len();
    let second = Build::new("FROM kept:1\nCOPY two /two\n")
        .file("two", "2")
        .store(first.store_path())
        .args(["--registry-mirror", NOBODY, "--offline"]);
    let image = second.image();
    assert_eq!(image.text("two"), "2");
    assert_eq!(registry.requests().len(), asked);
}

#[test]
fn what_the_store_does_not_have_is_told() {
    Build::new("FROM unheard-of\n").arg("--offline").run().failure(
        1,
        &["cannot use the image docker.io/library/unheard-of:latest", "`--offline` forbids to fetch it"],
    );
}

#[test]
fn layouts_are_bases() {
    let layout = base_layout().display();
    for (from, arguments) in [
        (format!("FROM oci-layout://{layout}:latest\n"), vec![]),
        (format!("ARG BASE=oci-layout://{layout}\nFROM $BASE\n"), vec![]),
        ("ARG BASE\nFROM $BASE\n".to_owned(), vec![format!("--build-arg=BASE=oci-layout://{layout}:latest")]),
        ("FROM any:1\n".to_owned(), vec![format!("--build-context=any:1=oci-layout://{layout}")]),
    ] {
        let build = Build::new(&format!("{from}COPY a /a\n"))
            .file("a", "text")
            .args(["--offline", "--registry-mirror", NOBODY])
            .args(arguments);
        let layout = build.beside("image");
        let build = build.arg(format!("--output=type=oci,dest={}", layout.display()));
        let said = build.run().success().stderr;
        // As with BuildKit, the only doubt is about an ARG without a default.
        assert_eq!(said.contains("warning"), from.starts_with("ARG BASE\n"), "{said}");
        let image = Image::read(&layout, tempfile::tempdir().unwrap());
        assert_eq!((image.text("a").as_str(), image.at("bin/busybox").kind), ("text", "file"), "{from}");
    }
}

#[test]
fn without_run_nothing_is_unpacked_and_no_namespace_is_needed() {
    let dockerfile =
        "FROM base AS one\nWORKDIR /work\nCOPY --chown=app a /work/\nFROM base\nCOPY --from=one /work /\n";
    let build = Build::new(dockerfile).file("a", "text").arg("--output=type=oci,dest=-");
    // Where user namespaces are counted down to none, nothing else needs them either.
    let command = build.command();
    let mut limited = Command::new("unshare");
    limited.args(["--user", "--map-root-user", "sh", "-c"]);
    limited.arg("echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_mnt_namespaces; exec \"$@\"");
    limited.arg("sh").arg(command.get_program()).args(command.get_args());
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!build.store_path().join("layers").exists());
    let rootfs = build.store_path().join("rootfs");
    assert!(!rootfs.exists() || entries(&rootfs).is_empty());
}

#[test]
fn every_output_holds_the_image() {
    let build = Build::new("FROM base\nCOPY --chown=1:2 --chmod=640 a /dir/a\nLABEL x=y\n").file("a", "text");
    let at = |name: &str| build.beside(name).display().to_string();
    let (layout, layout_tar, docker, tar, local) =
        (at("l"), at("l.tar"), at("d.tar"), at("t.tar"), at("local"));
    let outputs = [
        format!("type=oci,dest={layout}"),
        format!("type=oci,dest={layout_tar}"),
        format!("type=docker,dest={docker}"),
        format!("type=tar,dest={tar}"),
        format!("type=local,dest={local}"),
    ];
    let arguments = outputs.iter().flat_map(|output| ["--output".to_owned(), output.clone()]);
    let all = build.args(["--tag", "team/app:1", "--tag", "other:2"]).args(arguments);
    let digest = all.run().success().stdout;

    // Independent tools read the same image out of each, under its names.
    let inspect = |source: &str| tool("skopeo", ["inspect", "--config", "--raw", source]);
    let config = inspect(&format!("oci:{layout}:1"));
    assert!(config.contains(r#""x":"y""#), "{config}");
    assert_eq!(inspect(&format!("oci-archive:{layout_tar}:2")), config);
    for name in ["team/app:1", "other:2"] {
        assert_eq!(inspect(&format!("docker-archive:{docker}:{name}")), config);
    }
    let copy = all.beside("copy");
    tool(
        "skopeo",
        ["copy", "-q", &format!("docker-archive:{docker}:other:2"), &format!("oci:{}:1", copy.display())],
    );
    let directory = tempfile::tempdir().unwrap();
    let raw = tool("skopeo", ["inspect", "--raw", &format!("oci:{layout}:2")]);
    assert_eq!(cooper::layer::Digest::of(raw).to_string(), digest.trim());
    let image = Image::read(&copy, directory);
    assert_eq!((image.at("dir/a").owner, image.at("dir/a").mode), ((1, 2), 0o640));

    // The files alone.
    let listed = tool("tar", ["--numeric-owner", "-tvf", &tar]);
    assert!(
        listed.lines().any(|line| line.starts_with("-rw-r----- 1/2 ") && line.ends_with(" dir/a")),
        "{listed}"
    );
    assert!(!listed.contains("etc/removed"), "{listed}");
    assert_eq!(std::fs::read_to_string(Path::new(&local).join("dir/a")).unwrap(), "text");
    assert!(Path::new(&local).join("lib").is_symlink());
}

#[test]
fn standard_output_is_an_output() {
    for (kind, source) in [("docker", "docker-archive"), ("oci", "oci-archive")] {
        let build = Build::new("FROM base\nLABEL to=stdout\n").arg(format!("--output=type={kind},dest=-"));
        let output = build.command().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let archive = build.beside("archive.tar");
        std::fs::write(&archive, output.stdout).unwrap();
        let source = format!("{source}:{}", archive.display());
        assert!(tool("skopeo", ["inspect", "--config", &source]).contains("stdout"));
    }
    let build = Build::new("FROM base\nCOPY a /\n").file("a", "text").arg("--output=-");
    let output = build.command().output().unwrap();
    let archive = build.beside("files.tar");
    std::fs::write(&archive, output.stdout).unwrap();
    assert_eq!(tool("tar", ["-xOf".as_ref(), archive.as_os_str(), "a".as_ref()]), "text");
}

#[test]
fn an_image_of_nothing_but_metadata() {
    let build = Build::new("FROM scratch\nENV A=1\nCMD [\"/a\"]\n").arg("--output=type=docker,dest=-");
    let output = build.command().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
