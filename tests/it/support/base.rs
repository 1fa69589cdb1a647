//! The image that most tests begin with: Debian's busybox, a few users, a few odd files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cooper::image::{
    Bundle, Descriptor, History, ImageConfig, ImageFormat, ImageRef, Layout, Manifest, MediaType, Platform,
    Time,
};
use cooper::layer::{Encoding, Entry, EntryKind, LayerWriter, Metadata, TarWriter};

/// An OCI layout with the image `docker.io/library/base:latest`, made once per run of the tests. Two layers:
///
/// - `/bin/busybox` (static) with an applet link for every command, `/bin/sh` among them, `/etc/passwd` and
///   `/etc/group` with root, `app` (1000:1000, also in `staff`) and `nobody`, `/tmp`, `/root`, `/home/app`;
/// - `/usr/lib`, the link `/lib -> usr/lib`, a hard link pair `/usr/lib/one`, `/usr/lib/two`, and a removal of
///   `/etc/removed`, which the first layer has.
///
/// The config has `PATH`, `BASE=yes`, and `Cmd ["sh"]`.
pub(crate) fn base_layout() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let applets = super::tool("/bin/busybox", ["--list"]);
        layout("base-5", &applets.lines().collect::<Vec<_>>())
    })
}

/// The same with few applets, for those who unpack it often.
pub(crate) fn small_base_layout() -> &'static Path {
    const APPLETS: [&str; 29] = [
        "cat", "chmod", "chown", "cp", "echo", "false", "grep", "id", "ln", "ls", "mkdir", "mkfifo", "mv",
        "printf", "pwd", "readlink", "rm", "rmdir", "sed", "sh", "sleep", "sort", "stat", "test", "touch",
        "tr", "true", "umask", "wc",
    ];
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| layout("small-base-1", &APPLETS))
}

fn layout(name: &str, applets: &[&str]) -> PathBuf {
    // One per process: nextest runs each test in its own, and they must not get in each other's way.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !path.join("index.json").exists() {
        let making = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        make(making.path(), applets);
        // Another process may have been faster.
        if std::fs::rename(making.path(), &path).is_ok() {
            std::mem::forget(making);
        }
    }
    path
}

fn make(path: &Path, applets: &[&str]) {
    let mut config = ImageConfig::for_platform(&Platform::host());
    config.config.set_env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    config.config.set_env("BASE", "yes");
    config.config.cmd = vec!["sh".to_owned()];
    config.created = Some(Time::EPOCH);
    let blobs = path.join("layers");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut layers = Vec::new();
    for (name, tar) in [("first", first_layer(applets)), ("second", second_layer())] {
        let mut writer = LayerWriter::new(Vec::new(), Encoding::default()).unwrap();
        std::io::copy(&mut tar.as_slice(), &mut writer).unwrap();
        let (finished, blob) = writer.finish().unwrap();
        std::fs::write(blobs.join(finished.digest.hex()), blob).unwrap();
        config.rootfs.diff_ids.push(finished.diff_id);
        let created_by = format!("{name} layer of the tests' base");
        config.history.push(History { created: Some(Time::EPOCH), created_by, ..History::default() });
        layers.push(Descriptor::new(MediaType::ImageLayerGzip, finished.digest, finished.size));
    }
    let bytes = config.to_bytes().unwrap();
    let descriptor =
        Descriptor::new(MediaType::ImageConfig, cooper::layer::Digest::of(&bytes), bytes.len() as u64);
    let manifest = Manifest::build(ImageFormat::Oci, descriptor, layers, BTreeMap::new()).unwrap();
    let bundle =
        Bundle::of_image(manifest, bytes, Some(Platform::host()), |digest| blobs.join(digest.hex())).unwrap();
    let name: ImageRef = "base:latest".parse().unwrap();
    Layout::create(path).unwrap().write(&bundle, &[name]).unwrap();
}

fn metadata(mode: u32) -> Metadata {
    Metadata { mtime: 1_000_000_000, ..Metadata::with_mode(mode) }
}

/// A tar in the making.
struct Tar(TarWriter<Vec<u8>>);

impl Tar {
    fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(&Entry::directory(path, metadata(mode)), &[])
    }

    fn owned_directory(self, path: &str, mode: u32, id: u32) -> Self {
        self.entry(&Entry::directory(path, Metadata { uid: id, gid: id, ..metadata(mode) }), &[])
    }

    fn file(self, path: &str, mode: u32, contents: &[u8]) -> Self {
        self.entry(&Entry::file(path, metadata(mode), contents.len() as u64), contents)
    }

    fn link(self, path: &str, kind: EntryKind) -> Self {
        // A hard link's mode is that of the file, and some tools set it.
        let mode = if matches!(kind, EntryKind::Hardlink(_)) { 0o644 } else { 0o777 };
        self.entry(&Entry { path: path.into(), metadata: metadata(mode), kind }, &[])
    }

    fn entry(mut self, entry: &Entry, contents: &[u8]) -> Self {
        self.0.append(entry, contents).unwrap();
        self
    }
}

fn first_layer(applets: &[&str]) -> Vec<u8> {
    let busybox =
        std::fs::read("/bin/busybox").expect("busybox-static is installed: run tests/tools/packages.sh");
    let mut tar =
        Tar(TarWriter::new(Vec::new())).directory("bin", 0o755).file("bin/busybox", 0o755, &busybox);
    for applet in applets.iter().filter(|applet| **applet != "busybox") {
        tar = tar.link(&format!("bin/{applet}"), EntryKind::Symlink("busybox".into()));
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n\
                  app:x:1000:1000:app:/home/app:/bin/sh\n";
    let group = "root:x:0:\nstaff:x:50:app\napp:x:1000:\nnogroup:x:65534:\n";
    tar.directory("etc", 0o755)
        .file("etc/group", 0o644, group.as_bytes())
        .file("etc/passwd", 0o644, passwd.as_bytes())
        .file("etc/removed", 0o644, b"gone\n")
        .directory("home", 0o755)
        .owned_directory("home/app", 0o750, 1000)
        .directory("root", 0o700)
        .directory("tmp", 0o1777)
        .0
        .finish()
        .unwrap()
}

fn second_layer() -> Vec<u8> {
    Tar(TarWriter::new(Vec::new()))
        .directory("etc", 0o755)
        .entry(&Entry::whiteout("etc/removed"), &[])
        .link("lib", EntryKind::Symlink("usr/lib".into()))
        .directory("usr", 0o755)
        .directory("usr/lib", 0o755)
        .file("usr/lib/one", 0o644, b"linked\n")
        .link("usr/lib/two", EntryKind::Hardlink("usr/lib/one".into()))
        .0
        .finish()
        .unwrap()
}
