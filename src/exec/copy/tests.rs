//! COPY on trees: tables of trees, sources and what comes out.

use super::*;
use crate::dockerfile::parse_chmod;
use crate::layer::EntryKind;
use crate::rootfs::{Content, ContentSource, Directory, Leaf, LeafKind};
use std::sync::Arc;

/// A tree from lines: `d/` a directory, `d!/` one of mode 0700 and owner 5:6, `f` a file, `f*` an executable one of
/// owner 5:6, `l -> target` a link, `b = a` another name of `a`.
fn tree(lines: &[&str]) -> Tree {
    let mut tree = Tree::empty();
    for line in lines {
        let own = Metadata { uid: 5, gid: 6, ..Metadata::with_mode(0o700) };
        if let Some((path, target)) = line.split_once(" -> ") {
            let kind = LeafKind::Symlink(target.into());
            let leaf = Leaf { metadata: Metadata::with_mode(0o777), kind };
            tree.insert(Path::new(path), Node::Leaf(Arc::new(leaf)));
        } else if let Some((path, first)) = line.split_once(" = ") {
            let first = tree.get(Path::new(first)).expect("the first name comes first");
            tree.insert(Path::new(path), first);
        } else if let Some(path) = line.strip_suffix('/') {
            let (path, metadata) = match path.strip_suffix('!') {
                Some(path) => (path, own),
                None => (path, Metadata::with_mode(0o755)),
            };
            tree.insert(Path::new(path), Node::Directory(Arc::new(Directory::new(metadata))));
        } else {
            let (path, metadata) = match line.strip_suffix('*') {
                Some(path) => (path, own),
                None => (*line, Metadata::with_mode(0o644)),
            };
            let source = ContentSource::Context(path.into());
            let kind = LeafKind::File(Content { size: 1, source, text: None });
            tree.insert(Path::new(path), Node::Leaf(Arc::new(Leaf { metadata, kind })));
        }
    }
    tree
}

fn rules(destination: &str) -> CopyRules {
    CopyRules {
        destination: PathBuf::from(destination),
        into_directory: destination.ends_with('/'),
        owner: None,
        mode: None,
        parents: false,
        exclude: Ignore::default(),
        now: 0,
    }
}

/// The layer's entries: `path mode [uid:gid] [-> target | = first name]`.
fn shown(placed: &[Placed]) -> Vec<String> {
    let line = |Placed { entry, content }: &Placed| {
        let Metadata { mode, uid, gid, .. } = entry.metadata;
        let owner = if (uid, gid) == (0, 0) { String::new() } else { format!(" {uid}:{gid}") };
        let path = entry.path.display();
        match &entry.kind {
            EntryKind::Directory => format!("{path}/ {mode:o}{owner}"),
            EntryKind::Symlink(target) => format!("{path} -> {}{owner}", target.display()),
            EntryKind::Hardlink(first) => format!("{path} = {}", first.display()),
            EntryKind::File { .. } => {
                assert!(content.is_some(), "{path}");
                format!("{path} {mode:o}{owner}")
            }
            other => format!("{path} {other:?}"),
        }
    };
    placed.iter().map(line).collect()
}

fn copy(base: &[&str], context: &[&str], source: &str, rules: &CopyRules) -> Result<Vec<String>, CopyError> {
    let (base, context) = (tree(base), tree(context));
    let selected = select(&context, source, rules.parents)?;
    let mut arrangement = Arrangement::new(&base);
    arrange(&mut arrangement, &selected, rules)?;
    Ok(shown(&arrangement.finish()))
}

#[test]
fn destinations() {
    let context = ["a", "d!/", "d/b*", "d/e/", "d/e/c", "d/l -> b"];
    let base = [
        "bin/",
        "etc!/",
        "etc/f",
        "sub/",
        "sub/e!/",
        "lib -> bin",
        "abs -> /etc",
        "up -> ../../bin",
        "file",
        "to-file -> etc/f",
        "dangling -> new/place",
    ];
    for (source, destination, expected) in [
        // 1.8: dest ending `/` is a directory; an existing directory is too
        ("a", "x/", vec!["x/ 755", "x/a 644"]),
        ("a", "x", vec!["x 644"]),
        ("a", "x/y", vec!["x/ 755", "x/y 644"]),
        ("a", "bin", vec!["bin/ 755", "bin/a 644"]),
        ("a", "", vec!["a 644"]),
        // An existing directory's metadata is not altered
        ("a", "etc/", vec!["etc/ 700 5:6", "etc/a 644"]),
        // Dir source copies CONTENTS only; newly made dest dir: 0:0 0755
        ("d", "x", vec!["x/ 755", "x/b 700 5:6", "x/e/ 755", "x/e/c 644", "x/l -> b"]),
        // Nested dirs that exist get src metadata
        ("d", "sub", vec!["sub/ 755", "sub/b 700 5:6", "sub/e/ 755", "sub/e/c 644", "sub/l -> b"]),
        // Dest path symlinks followed inside rootfs
        ("a", "lib/", vec!["bin/ 755", "bin/a 644"]),
        ("a", "lib/x/y", vec!["bin/ 755", "bin/x/ 755", "bin/x/y 644"]),
        ("a", "abs", vec!["etc/ 700 5:6", "etc/a 644"]),
        ("a", "up", vec!["bin/ 755", "bin/a 644"]),
        ("d/e", "dangling", vec!["new/ 755", "new/place/ 755", "new/place/c 644"]),
        // 1.14: COPY of a regular file onto a symlink writes through the link, also a dangling one
        ("a", "to-file", vec!["etc/ 700 5:6", "etc/f 644"]),
        ("a", "dangling", vec!["new/ 755", "new/place 644"]),
        // A file replaces a file
        ("a", "file", vec!["file 644"]),
    ] {
        assert_eq!(
            copy(&base, &context, source, &rules(destination)),
            Ok(expected.into_iter().map(str::to_owned).collect()),
            "{source} {destination}"
        );
    }
}

#[test]
fn conflicts() {
    let context = ["a", "d/", "d/bin", "e/", "e/file/", "g/", "g/lib/"];
    let base = ["bin/", "file", "lib -> bin", "loop -> loop"];
    for (source, destination, expected) in [
        ("d", "", "cannot replace the directory `/bin` with the file `d/bin`"),
        ("e", "", "cannot copy the directory `e/file` to `/file`, which is not a directory"),
        ("d", "file", "cannot copy the directory `d` to `/file`, which is not a directory"),
        // 1.14: a copied directory that meets a link to a directory at its place inside the destination
        ("g", "", "cannot copy the directory `g/lib` to `/lib`, which is not a directory"),
        ("a", "file/x", "`file` is not a directory, so `file/x` cannot be in it"),
        ("a", "loop/x", "too many levels of symbolic links in `loop/x`"),
        ("b", "x", "`b` was not found; did you mean `a`?"),
        ("e/fil", "x", "`e/fil` was not found; did you mean `e/file`?"),
        ("nothing-like-it", "x", "`nothing-like-it` was not found"),
        ("a/b", "x", "`a` is not a directory, so `a/b` cannot be in it"),
        (
            "[",
            "x",
            "`[` is not a pattern: syntax error in pattern `[`: a `[` without its `]`, an empty `[]`, or a `\\` at the end",
        ),
    ] {
        let error = copy(&base, &context, source, &rules(destination)).unwrap_err();
        assert_eq!(error.to_string(), expected, "{source} {destination}");
    }
}

#[test]
fn several_need_a_directory() {
    let base = tree(&["bin/", "file", "lib -> bin"]);
    let arrangement = Arrangement::new(&base);
    for (destination, is_directory) in [("bin", true), ("lib", true), ("file", false), ("none", false)] {
        assert_eq!(
            arrangement.require_directory(Path::new(destination)).is_ok(),
            is_directory,
            "{destination}"
        );
    }
}

#[test]
fn sources() {
    let files = tree(&[
        "a.c",
        "b.c",
        "b.h",
        ".hidden",
        "d/",
        "d/a.c",
        "d/e/",
        "d/e/f",
        "l -> d",
        "m -> /d/e/f",
        "up -> ../../a.c",
        "dangling -> none",
        "f[x]",
    ]);
    for (pattern, expected) in [
        // 1.8: cleaned against the context root; empty, `.`, `/` = everything
        ("a.c", vec!["a.c"]),
        ("../a.c", vec!["a.c"]),
        ("/d/../a.c", vec!["a.c"]),
        (".", vec![""]),
        ("/", vec![""]),
        // Go filepath.Match wildcards, per path element, no `**`
        ("*.c", vec!["a.c", "b.c"]),
        ("[!a-b].c", vec!["a.c", "b.c"]),
        ("[^a].c", vec!["b.c"]),
        ("b.?", vec!["b.c", "b.h"]),
        (".h*", vec![".hidden"]),
        ("*/a.c", vec!["d/a.c"]),
        ("d/*/f", vec!["d/e/f"]),
        ("*/*/f", vec!["d/e/f"]),
        ("l/?/f", vec!["l/e/f"]),
        ("f[[]x]", vec!["f[x]"]),
        // Wildcard w/o match: OK
        ("*.none", vec![]),
        ("none/*", vec![]),
        ("a.c/*", vec![]),
        // A source path is followed inside the root, never outside
        ("l/a.c", vec!["l/a.c"]),
        ("m", vec!["m"]),
        ("up", vec!["up"]),
    ] {
        let found = select(&files, pattern, false).unwrap();
        let paths: Vec<&str> = found.iter().map(|selected| selected.path.to_str().unwrap()).collect();
        assert_eq!(paths, expected, "{pattern}");
        assert!(found.iter().all(|selected| selected.node.as_symlink().is_none()), "{pattern}");
    }
    // 1.14: a wildcard whose match is a dangling link fails
    for pattern in ["dangling", "dang*", "none", "d/none"] {
        assert!(matches!(select(&files, pattern, false), Err(CopyError::NotFound { .. })), "{pattern}");
    }
}

#[test]
fn owners_and_modes() {
    let context = ["a", "s/", "s/x*", "s/e!/", "s/l -> x"];
    let owner = Some(Owner { uid: 7, gid: 8 });
    let mode = |text: &str| Some(parse_chmod(text).unwrap());
    for (owner, mode, expected) in [
        (owner, None, vec!["n/ 755 7:8", "n/e/ 700 7:8", "n/l -> x 7:8", "n/x 700 7:8"]),
        (None, mode("640"), vec!["n/ 640", "n/e/ 640 5:6", "n/l -> x", "n/x 640 5:6"]),
        // 1.14: without setuid, setgid and sticky bits on directories made for the destination
        (None, mode("6711"), vec!["n/ 711", "n/e/ 6711 5:6", "n/l -> x", "n/x 6711 5:6"]),
        // 1.14: symbolic modes do not apply to those
        (owner, mode("go=rX"), vec!["n/ 755 7:8", "n/e/ 755 7:8", "n/l -> x 7:8", "n/x 755 7:8"]),
        (None, mode("a-x"), vec!["n/ 755", "n/e/ 600 5:6", "n/l -> x", "n/x 600 5:6"]),
    ] {
        let rules = CopyRules { owner, mode, ..rules("n") };
        assert_eq!(copy(&[], &context, "s", &rules).unwrap(), expected);
    }
    // An existing directory is not altered.
    let rules = CopyRules { owner, mode: mode("600"), ..rules("etc/") };
    assert_eq!(copy(&["etc!/"], &context, "a", &rules).unwrap(), ["etc/ 700 5:6", "etc/a 600 7:8"]);
}

#[test]
fn hard_links() {
    // 1.8: hard links preserved within one copy
    let context = ["d/", "d/one", "d/two = d/one", "three = d/one"];
    assert_eq!(copy(&[], &context, "d", &rules("x")).unwrap(), ["x/ 755", "x/one 644", "x/two = x/one"]);
    assert_eq!(copy(&[], &context, "d/two", &rules("x")).unwrap(), ["x 644"]);
}

#[test]
fn exclusions() {
    let context = ["d/", "d/a.c", "d/a.h", "d/e!/", "d/e/b.h", "d/e/f/", "d/e/f/b.c", "d/g/", "d/g/h/"];
    for (patterns, expected) in [
        (
            "*.h",
            vec![
                "x/ 755",
                "x/a.c 644",
                "x/e/ 700 5:6",
                "x/e/b.h 644",
                "x/e/f/ 755",
                "x/e/f/b.c 644",
                "x/g/ 755",
                "x/g/h/ 755",
            ],
        ),
        ("**/*.h\ng", vec!["x/ 755", "x/a.c 644", "x/e/ 700 5:6", "x/e/f/ 755", "x/e/f/b.c 644"]),
        // Directories that something is taken back in keep their own metadata.
        ("*\n!e/f", vec!["x/ 755", "x/e/ 700 5:6", "x/e/f/ 755", "x/e/f/b.c 644"]),
        ("*\n!g/h", vec!["x/ 755", "x/g/ 755", "x/g/h/ 755"]),
        ("**", vec!["x/ 755"]),
    ] {
        let rules = CopyRules { exclude: Ignore::parse(patterns).unwrap(), ..rules("x") };
        assert_eq!(copy(&[], &context, "d", &rules).unwrap(), expected, "{patterns}");
    }
}

#[test]
fn parents() {
    let context = ["a", "d!/", "d/e/", "d/e/b", "d/l -> e", "l -> d", "d/e/m -> b"];
    for (source, expected) in [
        ("a", vec!["x/ 755", "x/a 644"]),
        ("d/e/b", vec!["x/ 755", "x/d/ 700 5:6", "x/d/e/ 755", "x/d/e/b 644"]),
        ("d/e", vec!["x/ 755", "x/d/ 700 5:6", "x/d/e/ 755", "x/d/e/b 644", "x/d/e/m -> b"]),
        // `/./` pivot: only what is after is kept
        ("d/./e/b", vec!["x/ 755", "x/e/ 755", "x/e/b 644"]),
        ("d/e/./b", vec!["x/ 755", "x/b 644"]),
        ("d/e/.", vec!["x/ 755", "x/d/ 700 5:6", "x/d/e/ 755", "x/d/e/b 644", "x/d/e/m -> b"]),
        // `**` wildcards allowed; a wildcard may be empty
        ("**/b", vec!["x/ 755", "x/d/ 700 5:6", "x/d/e/ 755", "x/d/e/b 644"]),
        ("d/**/b", vec!["x/ 755", "x/d/ 700 5:6", "x/d/e/ 755", "x/d/e/b 644"]),
        ("none*/b", vec![]),
        // 1.14: a link as the source stays a link
        ("d/l", vec!["x/ 755", "x/d/ 700 5:6", "x/d/l -> e"]),
    ] {
        let rules = CopyRules { parents: true, ..rules("x/") };
        assert_eq!(copy(&[], &context, source, &rules).unwrap(), expected, "{source}");
    }
    for (source, expected) in [
        ("d/none", "`d/none` was not found"),
        // 1.14: the source path may not pass through a link
        ("l/e", "`--parents` cannot go through the symbolic link `l`"),
    ] {
        let rules = CopyRules { parents: true, ..rules("x/") };
        assert_eq!(copy(&[], &context, source, &rules).unwrap_err().to_string(), expected);
    }
}

#[test]
fn working_directories() {
    let base = tree(&["etc!/", "lib -> usr/lib", "usr/", "usr/lib/", "file"]);
    let owner = Owner { uid: 7, gid: 8 };
    for (path, expected) in [
        ("/w/x", vec!["w/ 755 7:8", "w/x/ 755 7:8"]),
        ("/etc/x", vec!["etc/ 700 5:6", "etc/x/ 755 7:8"]),
        ("/lib/x", vec!["usr/ 755", "usr/lib/ 755", "usr/lib/x/ 755 7:8"]),
        // 1.9: existing dir untouched
        ("/etc", vec![]),
        ("/lib", vec![]),
    ] {
        let placed = make_working_directory(&base, Path::new(path), owner, 0).unwrap();
        assert_eq!(shown(&placed), expected, "{path}");
    }
    for path in ["/file", "/file/x"] {
        assert!(make_working_directory(&base, Path::new(path), owner, 0).is_err(), "{path}");
    }
}
