use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;
use crate::layer::{Device, Metadata, TarWriter};

fn sample() -> LayerIndex {
    let mut capable = Metadata { uid: 5, gid: u32::MAX, mtime: -7, ..Metadata::with_mode(0o7755) };
    capable.xattrs.insert("security.capability".into(), vec![0, 0xff, b'\\', b'\n', 1]);
    let entry = |path: &str, kind| Entry { path: path.into(), metadata: Metadata::default(), kind };
    let strange = PathBuf::from(OsString::from_vec(b"back\\slash \xff \"quoted\" \xc3\xa9".to_vec()));
    let entries = vec![
        Entry::directory("", Metadata::with_mode(0o755)),
        Entry { kind: EntryKind::File { size: 12, offset: 1024 }, ..entry("bin/ping", EntryKind::Fifo) },
        Entry { metadata: capable, ..Entry::directory("bin", Metadata::default()) },
        Entry::directory(&strange, Metadata::default()),
        entry("link", EntryKind::Symlink(strange.clone())),
        entry("absolute", EntryKind::Symlink("/usr//bin/".into())),
        entry("hard", EntryKind::Hardlink(strange)),
        entry("tty", EntryKind::CharDevice(Device { major: 5, minor: 0 })),
        entry("sda", EntryKind::BlockDevice(Device { major: 8, minor: 1 })),
        entry("pipe", EntryKind::Fifo),
        Entry::whiteout("gone"),
        entry("", EntryKind::OpaqueWhiteout),
    ];
    let texts = [("etc/passwd", &b"root:x:0:0\n"[..]), ("etc/group", b"\xff\n")];
    let texts = texts.map(|(path, text)| (path.into(), text.to_vec())).into();
    let digests = BTreeMap::from([(1024, Digest::of("ping"))]);
    LayerIndex { entries, texts, digests }
}

fn written(index: &LayerIndex) -> String {
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn reads_what_it_writes() {
    let text = written(&sample());
    assert_eq!(text.lines().count(), 1 + 12 + 2);
    assert_eq!(text.lines().nth(1), Some(r#"{"p":"","k":"d","m":493}"#));
    assert_eq!(
        text.lines().nth(2),
        Some(&*format!(r#"{{"p":"bin/ping","k":{{"f":[12,1024]}},"s":"{}"}}"#, Digest::of("ping")))
    );
    assert_eq!(LayerIndex::read_from(text.as_bytes()).unwrap(), sample());
    let empty = LayerIndex::default();
    assert_eq!(LayerIndex::read_from(written(&empty).as_bytes()).unwrap(), empty);
}

#[test]
fn refuses_what_it_would_not_write() {
    let head = |entries, texts| {
        format!(r#"{{"format":"cooper.layer-index","version":2,"entries":{entries},"texts":{texts}}}"#) + "\n"
    };
    let one = |line: &str| head(1, 0) + line + "\n";
    let read = |text: &str| LayerIndex::read_from(text.as_bytes()).unwrap_err();
    let versions =
        ["", "\n", "{}", "noise\n", &head(0, 0).replace(":2,", ":1,"), &head(0, 0).replace("cooper", "x")];
    for text in versions {
        assert!(matches!(read(text), IndexError::Version { expected: 2 }), "{text:?}");
    }
    for line in [
        r#"{"p":"../a","k":"d"}"#,
        r#"{"p":"/a","k":"d"}"#,
        r#"{"p":"a/","k":"d"}"#,
        r#"{"p":"a\u0000","k":"d"}"#,
        r#"{"p":"","k":"p"}"#,
        r#"{"p":"a","k":{"h":""}}"#,
        r#"{"p":"a","k":{"h":"../b"}}"#,
        r#"{"p":"a","k":{"l":""}}"#,
        r#"{"p":"a","k":"d","m":4096}"#,
        r#"{"p":"a","k":"d","x":{"":"v"}}"#,
        r#"{"p":"a","k":"d","x":{"user.a=b":"v"}}"#,
    ] {
        assert!(matches!(read(&one(line)), IndexError::Unacceptable { line: 2 }), "{line}");
    }
    for line in [
        "",
        "{}",
        r#"{"p":"a"}"#,
        r#"{"p":"a","k":"z"}"#,
        r#"{"p":"a","k":"d","z":1}"#,
        r#"{"p":"\\x","k":"d"}"#,
    ] {
        assert!(matches!(read(&one(line)), IndexError::Malformed { line: 2, .. }), "{line}");
    }
    assert!(matches!(read(&head(1, 0)), IndexError::Truncated { lines: 1 }));
    assert!(matches!(
        read(&(head(2, 0) + r#"{"p":"a","k":"d"}"# + "\n")),
        IndexError::Truncated { lines: 2 }
    ));
    assert!(matches!(read(&(head(0, 0) + "x")), IndexError::TooLarge { line: 2 }));
    assert!(matches!(read(&head(u64::MAX, 0)), IndexError::TooLarge { line: 1 }));
    assert!(matches!(read(&head(0, 3)), IndexError::TooLarge { line: 1 }));
}

#[test]
fn keeps_the_texts_it_needs() {
    let large = vec![b'x'; (1 << 20) + 1];
    let mut tar = TarWriter::new(Vec::new());
    for (path, text) in [
        ("etc/passwd", &b"old"[..]),
        ("etc/passwd", b"new"),
        ("etc/shadow", b"secret"),
        ("etc/group", b"group"),
        ("etc/group", &large),
    ] {
        tar.append(&Entry::file(path, Metadata::default(), text.len() as u64), text).unwrap();
    }
    let index = LayerIndex::read(tar.finish().unwrap().as_slice()).unwrap();
    assert_eq!(index.entries.len(), 5);
    assert_eq!(index.texts, BTreeMap::from([("etc/passwd".into(), b"new".to_vec())]));
}

proptest! {
    #[test]
    fn paths_and_attributes_survive(
        path in prop::collection::vec(prop::collection::vec(1..=255_u8, 1..30), 1..5),
        target in prop::collection::vec(1..=255_u8, 1..100),
        xattrs in prop::collection::btree_map("[^=\\x00]{1,50}", prop::collection::vec(any::<u8>(), 0..50), 0..3),
        numbers in (any::<u32>(), any::<u32>(), any::<i64>(), 0..1_u64 << 62, 0..1_u64 << 62),
    ) {
        // An x before each name keeps it from being `.` or `..`.
        let names = path.into_iter().map(|name| [b"x", name.as_slice()].concat()).collect::<Vec<_>>();
        let path = names.join(&b'/').split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"." | b".."))
            .collect::<Vec<_>>().join(&b'/');
        let path = PathBuf::from(OsString::from_vec(path));
        let (uid, gid, mtime, size, offset) = numbers;
        let metadata = Metadata { mode: 0o644, uid, gid, mtime, xattrs };
        let entries = vec![
            Entry { path: path.clone(), metadata, kind: EntryKind::File { size, offset } },
            Entry { path, metadata: Metadata::default(), kind: EntryKind::Symlink(OsString::from_vec(target).into()) },
        ];
        let index = LayerIndex { entries, ..LayerIndex::default() };
        prop_assert_eq!(LayerIndex::read_from(written(&index).as_bytes()).unwrap(), index);
    }

    #[test]
    fn noise_is_no_index(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(LayerIndex::read_from(noise.as_slice()).is_err());
    }
}

#[test]
fn thousands_of_entries_are_read_at_once() {
    let entries = (0..7000)
        .map(|number| Entry::file(format!("usr/lib/directory/{number}"), Metadata::with_mode(0o644), number))
        .collect();
    let index = LayerIndex { entries, ..LayerIndex::default() };
    assert_eq!(LayerIndex::read_from(written(&index).as_bytes()).unwrap(), index);
}
