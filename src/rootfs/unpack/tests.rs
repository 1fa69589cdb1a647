use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::layer::TarWriter;

const LAYER: Form = Form::Layer { bottom: false };

fn metadata(mode: u32) -> Metadata {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Metadata { uid, gid, mtime: 1_000_000_000, ..Metadata::with_mode(mode) }
}

fn directory(path: &str) -> Entry {
    Entry::directory(path, metadata(0o755))
}

fn file(path: &str) -> Entry {
    Entry::file(path, metadata(0o644), path.len() as u64)
}

fn other(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), metadata: metadata(0o777), kind }
}

fn link(path: &str, target: &str) -> Entry {
    other(path, EntryKind::Symlink(target.into()))
}

fn hard(path: &str, target: &str) -> Entry {
    other(path, EntryKind::Hardlink(target.into()))
}

fn gone(path: &str) -> Entry {
    Entry::whiteout(path)
}

fn opaque(path: &str) -> Entry {
    other(path, EntryKind::OpaqueWhiteout)
}

/// A tar in which each file holds its own path.
fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for entry in entries {
        let contents = match entry.kind {
            EntryKind::File { .. } => entry.path.as_os_str().as_bytes(),
            _ => b"",
        };
        writer.append(entry, contents).unwrap();
    }
    writer.finish().unwrap()
}

fn unpack_into(root: &TempDir, entries: &[Entry], form: Form) -> Result<Unpacked, UnpackError> {
    let root = File::open(root.path()).unwrap();
    unpack(Cursor::new(tar(entries)), root.as_fd(), form, Ownership::Real, None)
}

/// One word per path: `d`irectory, `o`paque directory, `w`hiteout, `l`ink, `p`ipe, else the contents.
fn found(root: &Path) -> Vec<String> {
    fn walk(directory: &Path, prefix: &Path, found: &mut Vec<String>) {
        let mut names: Vec<OsString> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let (path, name) = (directory.join(&name), prefix.join(&name));
            let status = std::fs::symlink_metadata(&path).unwrap();
            let what = match file_type(status.mode()) {
                FileType::Directory if is_opaque(File::open(&path).unwrap().as_fd()).unwrap() => {
                    "o".to_owned()
                }
                FileType::Directory => "d".to_owned(),
                FileType::Symlink => format!("l {}", std::fs::read_link(&path).unwrap().display()),
                FileType::CharacterDevice => "w".to_owned(),
                FileType::Fifo => "p".to_owned(),
                _ => std::fs::read_to_string(&path).unwrap(),
            };
            found.push(format!("{}: {what}", name.display()));
            if status.is_dir() {
                walk(&path, &name, found);
            }
        }
    }
    let mut list = Vec::new();
    walk(root, Path::new(""), &mut list);
    list
}

#[test]
fn a_layer_directory_notes_removals_as_overlays_do() {
    for (entries, expected) in [
        (vec![directory("a"), file("a/x")], vec!["a: d", "a/x: a/x"]),
        (vec![gone("a"), gone("b/c")], vec!["a: w", "b: d", "b/c: w"]),
        (vec![opaque("a"), file("a/x")], vec!["a: o", "a/x: a/x"]),
        (vec![directory("a"), file("a/x"), opaque("a")], vec!["a: o", "a/x: a/x"]),
        // What a layer removes and makes anew hides what is below it, in either order.
        (vec![gone("a"), directory("a"), file("a/x")], vec!["a: o", "a/x: a/x"]),
        (vec![directory("a"), gone("a")], vec!["a: o"]),
        (vec![file("a/x"), gone("a")], vec!["a: o", "a/x: a/x"]),
        (vec![gone("a"), file("a/x")], vec!["a: o", "a/x: a/x"]),
        (vec![gone("a"), file("a")], vec!["a: a"]),
        (vec![file("a"), gone("a")], vec!["a: a"]),
        // The last of a name counts.
        (vec![file("a"), directory("a")], vec!["a: o"]),
        (vec![directory("a"), file("a/x"), file("a")], vec!["a: a"]),
        (vec![file("a"), file("a/x")], vec!["a: o", "a/x: a/x"]),
        (vec![link("a", "b"), file("a")], vec!["a: a"]),
        // Links on the way are followed, inside.
        (vec![directory("b"), link("a", "/b"), file("a/x")], vec!["a: l /b", "b: d", "b/x: b/x"]),
        (vec![link("a", "../../b/c"), file("a/x")], vec!["a: l ../../b/c", "b: d", "b/c: d", "b/c/x: a/x"]),
        (vec![file("x"), hard("y", "x"), hard("x", "x")], vec!["x: x", "y: x"]),
        (vec![other("p", EntryKind::Fifo)], vec!["p: p"]),
    ] {
        let root = TempDir::new().unwrap();
        unpack_into(&root, &entries, LAYER).unwrap();
        let expected: Vec<String> =
            expected.into_iter().map(|line| line.replace("b/x: b/x", "b/x: a/x")).collect();
        assert_eq!(found(root.path()), expected, "{entries:?}");
    }
}

#[test]
fn the_lowest_layer_has_nothing_to_remove() {
    let root = TempDir::new().unwrap();
    let entries = [gone("a"), opaque("b"), directory("b"), file("c"), directory("c")];
    unpack_into(&root, &entries, Form::Layer { bottom: true }).unwrap();
    assert_eq!(found(root.path()), ["b: d", "c: d"]);
}

#[test]
fn layers_are_applied_one_over_another() {
    let base = [
        directory("a"),
        file("a/x"),
        file("a/y"),
        directory("a/d"),
        file("a/d/z"),
        file("f"),
        hard("g", "f"),
    ];
    for (entries, expected) in [
        (vec![gone("a/x")], vec!["a: d", "a/d: d", "a/d/z: a/d/z", "a/y: a/y", "f: f", "g: f"]),
        (vec![gone("a")], vec!["f: f", "g: f"]),
        (vec![file("a/new"), opaque("a")], vec!["a: d", "a/new: a/new", "f: f", "g: f"]),
        (vec![opaque("a"), file("a/new")], vec!["a: d", "a/new: a/new", "f: f", "g: f"]),
        (
            vec![directory("a"), file("a/d/new"), gone("a")],
            vec!["a: d", "a/d: d", "a/d/new: a/d/new", "f: f", "g: f"],
        ),
        (vec![file("a/x"), gone("a/x"), gone("a/d"), gone("a/y")], vec!["a: d", "a/x: a/x", "f: f", "g: f"]),
        // A new file is a new file: the other name keeps the old.
        (vec![gone("a"), gone("f"), other("f", EntryKind::Fifo)], vec!["f: p", "g: f"]),
        (vec![gone("a"), link("f", "g")], vec!["f: l g", "g: f"]),
        (vec![opaque(""), file("h")], vec!["h: h"]),
    ] {
        let root = TempDir::new().unwrap();
        unpack_into(&root, &base, Form::Applied).unwrap();
        unpack_into(&root, &entries, Form::Applied).unwrap();
        assert_eq!(found(root.path()), expected, "{entries:?}");
    }
}

#[test]
fn what_only_lower_layers_know_is_reported() {
    let root = TempDir::new().unwrap();
    let entries =
        [file("a/b/x"), directory("a/b"), file("a/c/x"), hard("h", "elsewhere"), hard("i", "a/b/x")];
    let unpacked = unpack_into(&root, &entries, LAYER).unwrap();
    let implied: Vec<&Path> = unpacked.implied.iter().map(BytePath::as_path).collect();
    assert_eq!(implied, [Path::new("a"), Path::new("a/c")]);
    assert_eq!(unpacked.borrowed, [(Path::new("h").into(), Path::new("elsewhere").into())]);
    for form in [Form::Applied, Form::Layer { bottom: true }] {
        let root = TempDir::new().unwrap();
        let error = unpack_into(&root, &entries, form).unwrap_err();
        assert_eq!(error.to_string(), "hard link `h` to `elsewhere`, which does not exist");
    }
}

#[test]
fn metadata_is_as_the_layer_says() {
    let root = TempDir::new().unwrap();
    let mut entries = vec![directory("d"), file("d/f"), directory("sticky"), file("suid"), file("none")];
    entries[0].metadata.mode = 0o2711;
    entries[2].metadata.mode = 0o1777;
    entries[3].metadata.mode = 0o6755;
    entries[4].metadata.mode = 0;
    entries[1].metadata.mtime = -5;
    unpack_into(&root, &entries, LAYER).unwrap();
    for (path, mode, mtime) in [
        ("d", 0o2711, 1_000_000_000),
        ("d/f", 0o644, -5),
        ("sticky", 0o1777, 1_000_000_000),
        ("suid", 0o6755, 1_000_000_000),
        ("none", 0, 1_000_000_000),
    ] {
        let status = std::fs::metadata(root.path().join(path)).unwrap();
        // The test's own umask takes bits from files; a helper has none.
        assert_eq!(status.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!((status.mtime(), status.mtime_nsec()), (mtime, 0), "{path}");
    }
}

#[test]
fn layers_cannot_forge_the_notes_of_overlays() {
    let root = TempDir::new().unwrap();
    let mut forged = directory("d");
    forged.metadata.xattrs =
        [(OPAQUE.to_owned(), b"y".to_vec()), ("user.note".to_owned(), b"x".to_vec())].into();
    let whiteout = other("w", EntryKind::CharDevice(Device { major: 0, minor: 0 }));
    let unpacked = unpack_into(&root, &[forged, whiteout], LAYER).unwrap();
    assert_eq!(found(root.path()), ["d: d"]);
    let warnings: Vec<String> = unpacked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["device nodes of the base cannot be made here, RUN will not see them (first: `w`)"]
    );
}

#[test]
fn settling_follows_the_lower_layers() {
    let (lower, layer) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut usr = directory("usr/bin");
    usr.metadata.mode = 0o711;
    let below = [directory("usr"), usr, file("usr/bin/old"), link("bin", "usr/bin"), file("bin/kept")];
    unpack_into(&lower, &below, Form::Layer { bottom: true }).unwrap();
    let above = [file("bin/tool"), gone("bin/old"), hard("bin/held", "bin/kept"), file("usr/lib/x")];
    let unpacked = unpack_into(&layer, &above, LAYER).unwrap();
    let (lower, layer_fd) = (File::open(lower.path()).unwrap(), File::open(layer.path()).unwrap());
    amend(layer_fd.as_fd(), lower.as_fd(), &unpacked, Ownership::Real).unwrap();
    assert_eq!(
        found(layer.path()),
        [
            "usr: d",
            "usr/bin: d",
            "usr/bin/held: bin/kept",
            "usr/bin/kept: bin/kept",
            "usr/bin/old: w",
            "usr/bin/tool: bin/tool",
            "usr/lib: d",
            "usr/lib/x: usr/lib/x"
        ]
    );
    let status = std::fs::metadata(layer.path().join("usr/bin")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime()), (0o711, 1_000_000_000));
}
