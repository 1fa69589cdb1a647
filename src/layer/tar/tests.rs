//! Whole streams: what is written is read again, hostile streams are refused, GNU tar agrees.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Cursor, Read, empty};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::layer::{Device, Digest, Entry, EntryKind, Hashing, Metadata};

fn write(members: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, contents) in members {
        writer.append(entry, contents.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

fn read_with<R: Read>(mut reader: TarReader<R>) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut members = Vec::new();
    while let Some((entry, mut contents)) = reader.next_entry()? {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes).map_err(TarError::from_contents)?;
        members.push((entry, bytes));
    }
    Ok(members)
}

fn read(stream: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    read_with(TarReader::new(stream))
}

/// A header block with fields set raw, to say what our writer would not.
fn raw_header(kind: u8, path: &str, edit: impl FnOnce(&mut ::tar::Header)) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkflag = [kind];
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    edit(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn with_contents(kind: u8, path: &str, contents: &[u8]) -> Vec<u8> {
    let mut stream = raw_header(kind, path, |header| header.set_size(contents.len() as u64));
    stream.extend_from_slice(contents);
    stream.resize(stream.len().next_multiple_of(BLOCK), 0);
    stream
}

fn pax_header(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        pax::push(&mut bytes, key.as_bytes(), value.as_bytes());
    }
    with_contents(kind, "pax", &bytes)
}

fn sample() -> Vec<(Entry, Vec<u8>)> {
    let deep = "directory/".repeat(30);
    let entry = |path: &str, kind| Entry { path: path.into(), metadata: Metadata::with_mode(0o644), kind };
    let mut capable = Entry::file("bin/ping", Metadata::with_mode(0o4755), 3);
    capable.metadata.xattrs.insert("security.capability".into(), vec![1, 0, 0, 2, b'\n', 0xff]);
    let old = Metadata { mode: 0o600, uid: 3_000_000, gid: u32::MAX, mtime: -5, xattrs: BTreeMap::new() };
    vec![
        (Entry::directory("", Metadata::with_mode(0o755)), vec![]),
        (Entry::directory("bin", Metadata { mtime: 1_700_000_000, ..Metadata::with_mode(0o1777) }), vec![]),
        (capable, b"abc".to_vec()),
        (entry("bin/link", EntryKind::Symlink("../usr/bin/./x".into())), vec![]),
        (entry("bin/hard", EntryKind::Hardlink("bin/ping".into())), vec![]),
        (entry("dev/null", EntryKind::CharDevice(Device { major: 1, minor: 3 })), vec![]),
        (entry("dev/sda", EntryKind::BlockDevice(Device { major: 8, minor: 1_048_575 })), vec![]),
        (entry("pipe", EntryKind::Fifo), vec![]),
        (Entry::whiteout("gone/now"), vec![]),
        (Entry { kind: EntryKind::OpaqueWhiteout, ..Entry::whiteout("opaque") }, vec![]),
        (Entry { kind: EntryKind::OpaqueWhiteout, ..Entry::whiteout("") }, vec![]),
        (Entry::file(format!("{deep}file"), old, 513), vec![7; 513]),
        (Entry::directory(&deep[..deep.len() - 1], Metadata::with_mode(0o755)), vec![]),
        (entry("long", EntryKind::Symlink(format!("/{deep}target").into())), vec![]),
        (Entry::file("empty", Metadata::with_mode(0), 0), vec![]),
        (
            Entry::file(PathBuf::from(OsString::from_vec(b"caf\xe9".to_vec())), Metadata::default(), 512),
            vec![1; 512],
        ),
    ]
}

/// Entries as read, without the offsets.
fn without_offsets(mut members: Vec<(Entry, Vec<u8>)>) -> Vec<(Entry, Vec<u8>)> {
    for (entry, _) in &mut members {
        if let EntryKind::File { offset, .. } = &mut entry.kind {
            *offset = 0;
        }
    }
    members
}

#[test]
fn reads_what_it_writes() {
    let stream = write(&sample());
    let members = read(&stream).unwrap();
    for (entry, contents) in &members {
        if let EntryKind::File { size, offset } = entry.kind {
            let range = usize::try_from(offset).unwrap()..usize::try_from(offset + size).unwrap();
            assert_eq!(&stream[range], contents);
        }
    }
    assert_eq!(without_offsets(members), sample());
}

#[test]
fn writes_the_same_bytes_for_ever() {
    // A change of this digest is a change of every layer made: it empties all caches.
    let digest = Digest::of(write(&sample())).to_string();
    assert_eq!(digest, "sha256:d63ad7a6a7c017c921763b17fa4ba6211b550f2255c192ae350e0ed81e66d582");
}

#[test]
fn drains_its_source_and_skips_unread_contents() {
    let mut stream = write(&sample());
    stream.extend_from_slice(&[0; 9 * BLOCK]);
    let mut reader = TarReader::new(Hashing::new(stream.as_slice()));
    while reader.next_entry().unwrap().is_some() {}
    assert!(reader.next_entry().unwrap().is_none());
    assert_eq!(reader.offset(), stream.len() as u64);
    assert_eq!(reader.finish().unwrap().finish().1, Digest::of(&stream));
    assert_eq!(
        TarReader::new(Hashing::new(stream.as_slice())).finish().unwrap().length(),
        stream.len() as u64
    );
}

#[test]
fn ends_where_others_end() {
    let file = with_contents(b'0', "a", b"x");
    for padding in [0, 1, 2, 20] {
        let stream = [file.clone(), vec![0; padding * BLOCK]].concat();
        assert_eq!(read(&stream).unwrap().len(), 1, "{padding}");
    }
    assert!(read(&[]).unwrap().is_empty());
    assert!(matches!(read(&[vec![0; BLOCK], file.clone()].concat()), Err(TarError::Checksum { offset: 0 })));
    for end in [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1] {
        assert!(matches!(read(&file[..end]), Err(TarError::Truncated { .. })), "{end}");
    }
}

#[test]
fn applies_extensions() {
    let long = "x".repeat(300);
    let gnu = |kind| with_contents(kind, "././@LongLink", format!("{long}\0").as_bytes());
    let stream = [
        gnu(b'L'),
        gnu(b'K'),
        raw_header(b'2', "short", |_| {}),
        pax_header(b'g', &[("gid", "7"), ("comment", "ignored"), ("mtime", "5")]),
        pax_header(
            b'x',
            &[("path", &long), ("size", "1"), ("uid", "4000000000"), ("mtime", "-1.5"), ("gid", "")],
        ),
        with_contents(b'0', "a", b"y"),
        raw_header(b'0', "plain", |_| {}),
        raw_header(0, "v7/", |header| header.as_mut_bytes()[257..].fill(0)),
        raw_header(b'0', "big", |header| header.set_uid(4_000_000_000)),
    ]
    .concat();
    let members = read(&stream).unwrap();
    let entries: Vec<&Entry> = members.iter().map(|(entry, _)| entry).collect();
    assert_eq!(
        (&entries[0].path, &entries[0].kind),
        (&PathBuf::from(&long), &EntryKind::Symlink(long.clone().into()))
    );
    assert_eq!(entries[1].path, Path::new(&long));
    assert_eq!(entries[1].metadata, Metadata { uid: 4_000_000_000, mtime: -2, ..Metadata::with_mode(0o644) });
    assert_eq!(members[1].1, b"y");
    assert_eq!(entries[2].metadata, Metadata { gid: 7, mtime: 5, ..Metadata::with_mode(0o644) });
    assert_eq!((entries[3].path.to_str(), &entries[3].kind), (Some("v7"), &EntryKind::Directory));
    assert_eq!(entries[4].metadata.uid, 4_000_000_000);
}

#[test]
fn refuses_hostile_streams() {
    let pax = |records: &[(&str, &str)]| [pax_header(b'x', records), raw_header(b'0', "a", |_| {})].concat();
    let file = |path: &str| raw_header(b'0', path, |_| {});
    let mut damaged = file("a");
    damaged[3] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "noise",
            vec![b'x'; BLOCK],
            "the tar header at byte 0 has a bad checksum: this is no tar stream, or it is damaged",
        ),
        (
            "damage",
            damaged,
            "the tar header at byte 0 has a bad checksum: this is no tar stream, or it is damaged",
        ),
        ("parent", file("../a"), "`../a`: a path with `..` could leave the image"),
        ("inner parent", file("a/../../b"), "`a/../../b`: a path with `..` could leave the image"),
        ("root file", file("./"), "`./`: only a directory can be at the root of the image"),
        ("zero", pax(&[("path", "a\0b")]), "`a\\u{0}b`: a path cannot hold a zero byte"),
        ("whiteout", file("a/.wh..."), "`a/.wh...`: `.wh.` must be followed by the name of what is removed"),
        (
            "hard link",
            raw_header(b'1', "a", |h| h.as_old_mut().linkname[..5].copy_from_slice(b"../..")),
            "`a`: a path with `..` could leave the image",
        ),
        ("link to nothing", raw_header(b'2', "a", |_| {}), "`a`: a link needs a target"),
        (
            "sparse",
            raw_header(b'S', "a", |_| {}),
            "`a` is stored as a sparse file, which layers cannot hold: make the archive without --sparse",
        ),
        (
            "pax sparse",
            pax(&[("GNU.sparse.major", "1")]),
            "`a` is stored as a sparse file, which layers cannot hold: make the archive without --sparse",
        ),
        ("kind", raw_header(b'V', "a", |_| {}), "`a` has the unknown tar member type `V`"),
        ("uid", pax(&[("uid", "4294967296")]), "the tar header at byte 1024 has an invalid uid"),
        ("negative uid", pax(&[("uid", "-1")]), "the tar header at byte 1024 has an invalid uid"),
        (
            "binary gid",
            raw_header(b'0', "a", |h| h.set_gid(1 << 40)),
            "the tar header at byte 0 has an invalid gid",
        ),
        ("size", pax(&[("size", "-1")]), "the tar header at byte 1024 has an invalid size"),
        (
            "huge size",
            pax(&[("size", "18446744073709551615")]),
            "the tar header at byte 1024 has an invalid size",
        ),
        (
            "negative size",
            raw_header(b'0', "a", |h| h.as_old_mut().size = [0xff; 12]),
            "the tar header at byte 0 has an invalid size",
        ),
        (
            "mode",
            raw_header(b'0', "a", |h| h.as_old_mut().mode = *b"rwxr-xr-"),
            "the tar header at byte 0 has an invalid mode",
        ),
        ("time", pax(&[("mtime", "now")]), "the tar header at byte 1024 has an invalid modification time"),
        (
            "device",
            raw_header(b'3', "a", |h| h.as_ustar_mut().unwrap().dev_major = *b"9\0\0\0\0\0\0\0"),
            "the tar header at byte 0 has an invalid device number",
        ),
        ("attribute", pax(&[("SCHILY.xattr.", "1")]), "`a`: the name of an extended attribute is invalid"),
        ("records", with_contents(b'x', "p", b"99 a=b\n"), "the PAX records at byte 0 are malformed"),
        (
            "long records",
            raw_header(b'x', "p", |h| h.set_size(1 << 40)),
            "the extended header at byte 0 has 1099511627776 bytes: more than 1048576 are not accepted",
        ),
        (
            "long name",
            with_contents(b'L', "p", &[b'n'; 1 << 14]),
            "the tar stream breaks off at byte 16896: the file is incomplete",
        ),
        (
            "cut records",
            raw_header(b'x', "p", |h| h.set_size(9)),
            "the tar stream breaks off at byte 512: the file is incomplete",
        ),
    ];
    for (name, stream, message) in cases {
        assert_eq!(read(&stream).unwrap_err().to_string(), message, "{name}");
    }
    let long = [with_contents(b'L', "p", &[b'n'; MAX_PATH + 1]), file("a")].concat();
    assert!(matches!(read(&long), Err(TarError::Path { problem: PathProblem::TooLong, .. })));
}

#[test]
fn limits_members_and_names() {
    let stream: Vec<u8> = (0..20).flat_map(|_| raw_header(b'0', "name", |_| {})).collect();
    let limited = |entries, metadata| {
        read_with(TarReader::new(stream.as_slice()).with_limits(TarLimits { entries, metadata }))
    };
    assert!(limited(10, 80).is_ok());
    assert!(matches!(limited(9, 80), Err(TarError::TooManyEntries { limit: 9 })));
    assert!(matches!(limited(10, 79), Err(TarError::TooMuchMetadata { limit: 79 })));
}

#[test]
fn leaves_out_the_book_keeping_of_aufs() {
    let stream = [
        raw_header(b'5', ".wh..wh.plnk", |_| {}),
        with_contents(b'0', ".wh..wh.plnk/1.2", b"x"),
        raw_header(b'0', ".wh..wh.aufs", |_| {}),
        with_contents(b'0', "dir/.wh.gone", b"contents of a whiteout"),
        raw_header(b'0', "last", |_| {}),
    ]
    .concat();
    let members = read(&stream).unwrap();
    assert_eq!(members[0], (Entry::whiteout("dir/gone"), vec![]));
    assert_eq!((members.len(), members[1].0.path.to_str()), (2, Some("last")));
    let plain = read_with(TarReader::of_archive(stream.as_slice())).unwrap();
    assert_eq!((plain.len(), plain[3].0.path.to_str()), (5, Some("dir/.wh.gone")));
}

#[test]
fn refuses_to_write_what_it_could_not_read() {
    let file = |path: &str| Entry::file(path, Metadata::default(), 0);
    let link = |kind| Entry { kind, ..file("a") };
    let huge = Device { major: 1 << 22, minor: 0 };
    let mut attribute = file("a");
    attribute.metadata.xattrs.insert("user.a=b".into(), vec![]);
    for (entry, problem) in [
        (file("../a"), PathProblem::Parent),
        (file("/a"), PathProblem::NotNormal),
        (file("a//b"), PathProblem::NotNormal),
        (file("./a"), PathProblem::NotNormal),
        (file(""), PathProblem::Root),
        (file(".wh.a"), PathProblem::Reserved),
        (file(".wh.a/b"), PathProblem::Reserved),
        (Entry::whiteout(""), PathProblem::Root),
        (Entry::whiteout("a/.wh.b"), PathProblem::Reserved),
        (link(EntryKind::Symlink("".into())), PathProblem::NoTarget),
        (link(EntryKind::Hardlink("a/".into())), PathProblem::NotNormal),
        (link(EntryKind::CharDevice(huge)), PathProblem::Device),
        (attribute, PathProblem::Attribute),
    ] {
        match TarWriter::new(Vec::new()).append(&entry, empty()) {
            Err(TarError::Path { problem: found, .. }) => assert_eq!(found, problem, "{entry:?}"),
            other => panic!("{entry:?}: {other:?}"),
        }
    }
}

#[test]
fn notices_files_that_change() {
    let append = |size, contents: &[u8]| {
        let entry = Entry::file("log", Metadata::default(), size);
        TarWriter::new(Vec::new()).append(&entry, contents).unwrap_err().to_string()
    };
    assert_eq!(
        append(5, b"1234"),
        "`log` changed while it was read: 5 bytes were expected, only 4 were found"
    );
    assert_eq!(append(3, b"1234"), "`log` changed while it was read: 3 bytes were expected, more were found");
    assert_eq!(append(0, b"1"), "`log` changed while it was read: 0 bytes were expected, more were found");
}

#[test]
fn splits_long_paths_without_pax_where_it_can() {
    for (directory, name, blocks) in [(154, 99, 1), (155, 100, 1), (156, 100, 3), (155, 101, 3), (10, 101, 3)]
    {
        let path = format!("{}/{}", "d".repeat(directory), "n".repeat(name));
        let member = (Entry::file(&path, Metadata::default(), 0), vec![]);
        let stream = write(std::slice::from_ref(&member));
        assert_eq!(stream.len(), (blocks + 2) * BLOCK, "{directory}/{name}");
        assert_eq!(without_offsets(read(&stream).unwrap()), [member]);
    }
}

#[test]
fn announces_sizes_beyond_ustar() {
    let entry = Entry::file("big", Metadata::default(), 9 << 30);
    let mut writer = TarWriter::new(Vec::new());
    // The contents are not there: only the headers matter.
    assert!(writer.append(&entry, empty()).is_err());
    let stream = writer.finish().unwrap();
    let mut reader = TarReader::new(stream.as_slice());
    let (found, _) = reader.next_entry().unwrap().unwrap();
    assert!(matches!(found.kind, EntryKind::File { size, .. } if size == 9 << 30));
}

#[test]
fn gnu_tar_reads_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.tar");
    std::fs::write(&file, write(&sample())).unwrap();
    let output = Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&file).output().unwrap();
    let (listing, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let lines: Vec<&str> = listing.lines().collect();
    assert_eq!(lines.len(), sample().len(), "{listing}");
    assert!(lines[1].starts_with("drwxrwxrwt 0/0") && lines[1].ends_with(" bin/"), "{}", lines[1]);
    assert!(lines[2].starts_with("-rwsr-xr-x 0/0") && lines[2].contains(" 3 "), "{}", lines[2]);
    assert!(lines[4].ends_with("bin/hard link to bin/ping"), "{}", lines[4]);
    assert!(lines[6].contains("8,1048575"), "{}", lines[6]);
    assert!(lines[11].contains("3000000/4294967295") && lines[11].contains("1969-12-31"), "{}", lines[11]);
}

#[test]
fn reads_what_gnu_tar_writes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    std::fs::create_dir_all(root.join(&deep)).unwrap();
    let name = format!("{deep}/{}", "f".repeat(60));
    std::fs::write(root.join(&name), "contents").unwrap();
    std::os::unix::fs::symlink("t".repeat(99), root.join("link")).unwrap();
    std::fs::hard_link(root.join(&name), root.join("zz-hard")).unwrap();
    for format in ["ustar", "gnu", "pax", "oldgnu", "v7"] {
        let file = directory.path().join(format);
        // What the older formats cannot hold is left to the newer ones.
        let members: &[&str] = if matches!(format, "ustar" | "v7") { &["link"] } else { &["."] };
        let output = Command::new("tar")
            .args(["--sort=name", "--format", format, "-C"])
            .args([&root, Path::new("-cf"), &file])
            .args(members)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found = read(&std::fs::read(&file).unwrap()).unwrap();
        let get = |path: &str| found.iter().find(|(entry, _)| entry.path == Path::new(path)).unwrap();
        assert_eq!(get("link").0.kind, EntryKind::Symlink("t".repeat(99).into()));
        if members == ["."] {
            assert_eq!(get("").0.kind, EntryKind::Directory);
            assert_eq!(get(&name).1, b"contents", "{format}");
            assert_eq!(get("zz-hard").0.kind, EntryKind::Hardlink(name.clone().into()));
        }
    }
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    let component =
        prop::collection::vec(prop_oneof![8 => b'a'..=b'z', 1 => 1..=255_u8], 1..40).prop_map(|mut name| {
            name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
            if name.iter().all(|byte| *byte == b'.') || name.starts_with(b".wh.") {
                name.insert(0, b'x');
            }
            name
        });
    prop::collection::vec(component, 1..9).prop_map(|parts| OsString::from_vec(parts.join(&b'/')).into())
}

fn any_member() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let contents = prop::collection::vec(any::<u8>(), 0..1200);
    let kind = prop_oneof![
        4 => contents.prop_map(|bytes| (EntryKind::File { size: bytes.len() as u64, offset: 0 }, bytes)),
        2 => Just((EntryKind::Directory, vec![])),
        1 => any_path().prop_map(|target| (EntryKind::Symlink(Path::new("/").join(target)), vec![])),
        1 => any_path().prop_map(|target| (EntryKind::Hardlink(target), vec![])),
        1 => (0..1_u32 << 20, 0..1_u32 << 20)
            .prop_map(|(major, minor)| (EntryKind::CharDevice(Device { major, minor }), vec![])),
        1 => Just((EntryKind::Fifo, vec![])),
        1 => Just((EntryKind::Whiteout, vec![])),
        1 => Just((EntryKind::OpaqueWhiteout, vec![])),
    ];
    let xattrs = prop::collection::btree_map(
        "[a-z]{1,8}\\.[a-zA-Zé]{1,20}",
        prop::collection::vec(any::<u8>(), 0..100),
        0..3,
    );
    let metadata = (0..0o10000_u32, any::<u32>(), any::<u32>(), any::<i64>(), xattrs)
        .prop_map(|(mode, uid, gid, mtime, xattrs)| Metadata { mode, uid, gid, mtime, xattrs });
    (any_path(), metadata, kind).prop_map(|(path, metadata, (kind, contents))| {
        let is_whiteout = matches!(kind, EntryKind::Whiteout | EntryKind::OpaqueWhiteout);
        let metadata = if is_whiteout { Metadata::default() } else { metadata };
        (Entry { path, metadata, kind }, contents)
    })
}

proptest! {
    #[test]
    fn round_trips(members in prop::collection::vec(any_member(), 0..12)) {
        let stream = write(&members);
        prop_assert_eq!(stream.len() % BLOCK, 0);
        prop_assert_eq!(without_offsets(read(&stream).unwrap()), members);
    }

    #[test]
    fn survives_damage(
        members in prop::collection::vec(any_member(), 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        fix in any::<bool>(),
    ) {
        let mut stream = write(&members);
        for (index, byte) in edits {
            let index = index.index(stream.len());
            stream[index] = byte;
            // A right checksum lets the damage in.
            if fix {
                let start = index / BLOCK * BLOCK;
                let mut header = ::tar::Header::new_old();
                header.as_mut_bytes().copy_from_slice(&stream[start..start + BLOCK]);
                header.set_cksum();
                stream[start..start + BLOCK].copy_from_slice(header.as_bytes());
            }
        }
        for (entry, _) in read_with(TarReader::new(Cursor::new(stream))).unwrap_or_default() {
            prop_assert!(path::check_normal(&entry.path).is_ok());
        }
    }
}
