use std::os::fd::AsFd as _;

use tempfile::TempDir;

use super::*;
use crate::layer::{EntryKind, TarReader};
use crate::rootfs::owner::Ownership;

/// What a tar says, by path.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar);
    let mut lines = Vec::new();
    while let Some((entry, _)) = reader.next_entry().unwrap() {
        let path = entry.path.display();
        lines.push(match &entry.kind {
            EntryKind::Whiteout => format!("gone {path}"),
            EntryKind::Hardlink(target) => format!("{path} = {}", target.display()),
            _ => format!("{path} at {}", entry.metadata.mtime),
        });
    }
    lines
}

/// A root and the note of it, with `before` done in it before and `after` done after.
fn changes(before: impl Fn(&Path), after: impl Fn(&Path)) -> Result<Vec<String>, DiffError> {
    changes_by(&DiffSettings { latest_mtime: Some(7), ..DiffSettings::default() }, before, after)
}

fn changes_by(
    settings: &DiffSettings,
    before: impl Fn(&Path),
    after: impl Fn(&Path),
) -> Result<Vec<String>, DiffError> {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    before(&root);
    let fd = std::fs::File::open(&root).unwrap();
    let (prints, note) = (directory.path().join("prints"), directory.path().join("note"));
    write_baseline(fd.as_fd(), &prints, &note, Ownership::Real).unwrap();
    wait_until_later(&note).unwrap();
    after(&root);
    let mut tar = Vec::new();
    write_plain(fd.as_fd(), &note, Ownership::Real, settings, &mut tar)?;
    let mut rest = Vec::new();
    write_plain(fd.as_fd(), &note, Ownership::Real, &DiffSettings::default(), &mut rest)?;
    assert_eq!(listing(&rest), [""; 0], "the second time nothing is left");
    Ok(listing(&tar))
}

#[test]
fn names_of_one_file_and_parents_are_kept_together() {
    let before = |root: &Path| {
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/x"), "x").unwrap();
        std::fs::write(root.join("a.b"), "y").unwrap();
        std::fs::hard_link(root.join("a/b/x"), root.join("z")).unwrap();
    };
    let found = changes(before, |root| std::fs::write(root.join("z"), "other").unwrap()).unwrap();
    assert_eq!(found, ["a at 7", "a/b at 7", "a/b/x at 7", "z = a/b/x"]);
}

#[test]
fn swapped_directories_are_seen() {
    // Neither change times nor modification times of the files differ afterwards.
    let before = |root: &Path| {
        for name in ["a", "b"] {
            std::fs::create_dir(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("x"), name).unwrap();
        }
    };
    let found = changes(before, |root| {
        for (from, to) in [("a", "c"), ("b", "a"), ("c", "b")] {
            std::fs::rename(root.join(from), root.join(to)).unwrap();
        }
    });
    assert_eq!(
        found.unwrap().iter().filter(|line| line.ends_with("/x at 7")).count(),
        2,
        "both files have other contents now"
    );
}

#[test]
fn what_is_gone_is_said_once() {
    let before = |root: &Path| {
        for path in ["a/b/c", "d/e", "f/g", "h"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::write(root.join(path).join("x"), path).unwrap();
        }
    };
    let found = changes(before, |root| {
        std::fs::remove_dir_all(root.join("a/b")).unwrap();
        std::fs::remove_dir_all(root.join("d")).unwrap();
        std::fs::remove_dir_all(root.join("f")).unwrap();
        std::fs::write(root.join("f"), "now a file").unwrap();
        std::fs::remove_dir_all(root.join("h")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("h")).unwrap();
        drop(socket);
    });
    assert_eq!(found.unwrap(), ["a at 7", "gone a/b", "gone d", "f at 7", "gone h"]);
}

#[test]
fn paths_that_no_image_can_hold_are_refused() {
    let name = "n".repeat(250);
    let error = changes(
        |_| {},
        |root| {
            let mut here = std::fs::File::open(root).unwrap();
            for _ in 0..18 {
                rustix::fs::mkdirat(&here, &*name, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
                here = rustix::fs::openat(&here, &*name, flags, rustix::fs::Mode::empty()).unwrap().into();
            }
        },
    )
    .unwrap_err();
    assert!(error.to_string().ends_with("is longer than 4096 bytes, which no image can hold"), "{error}");
}

#[test]
fn a_path_is_ignored_with_all_below_it() {
    let ignored = [PathBuf::from("/var/cache"), PathBuf::from("tmp/")];
    for (path, expected) in [
        ("var/cache", true),
        ("var/cache/x/y", true),
        ("var/cached", false),
        ("var", false),
        ("tmp", true),
        ("a/tmp", false),
    ] {
        assert_eq!(is_ignored(Path::new(path), &ignored), expected, "{path}");
    }
    assert!(is_ignored(Path::new("anything"), &[PathBuf::from("/")]));
}

#[test]
fn what_is_ignored_is_left_out_and_its_other_names_are_not() {
    let before = |root: &Path| {
        std::fs::create_dir_all(root.join("cache/old")).unwrap();
        std::fs::write(root.join("cache/gone"), "x").unwrap();
    };
    let after = |root: &Path| {
        std::fs::remove_file(root.join("cache/gone")).unwrap();
        std::fs::remove_dir(root.join("cache/old")).unwrap();
        std::fs::write(root.join("cache/new"), "new").unwrap();
        std::fs::hard_link(root.join("cache/new"), root.join("first")).unwrap();
        std::fs::hard_link(root.join("cache/new"), root.join("second")).unwrap();
    };
    for (ignored, expected) in [
        ("/cache", &["first at 7", "second = first"][..]),
        (
            "cache/old",
            &["cache at 7", "gone cache/gone", "cache/new at 7", "first = cache/new", "second = cache/new"],
        ),
        ("/", &[]),
    ] {
        let settings = DiffSettings { latest_mtime: Some(7), ignored: vec![ignored.into()] };
        assert_eq!(changes_by(&settings, before, after).unwrap(), expected, "{ignored}");
    }
}
