//! Paths of members: their normal form, and what `.wh.` in them means.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{AUFS_PREFIX, OPAQUE_NAME, PathProblem, WHITEOUT_PREFIX};

/// Longest path or link target, in bytes: `PATH_MAX` of Linux.
pub const MAX_PATH: usize = 4096;

/// Brings the path of a tar member to the form layers use: relative, without `.` and empty components. The root
/// is the empty path. Refuses `..`, zero bytes and paths longer than [`MAX_PATH`].
pub fn normalise(raw: &[u8]) -> Result<PathBuf, PathProblem> {
    check_bytes(raw)?;
    let mut path = Vec::with_capacity(raw.len());
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(PathProblem::Parent),
            name => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
        }
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// Refuses what cannot be handed to a system call.
pub(super) fn check_bytes(raw: &[u8]) -> Result<(), PathProblem> {
    if raw.contains(&0) {
        return Err(PathProblem::Zero);
    }
    if raw.len() > MAX_PATH {
        return Err(PathProblem::TooLong);
    }
    Ok(())
}

/// Refuses a path that [`normalise`] would change.
pub(super) fn check_normal(path: &Path) -> Result<(), PathProblem> {
    // Compared by bytes: `Path` itself does not see a doubled slash or a `.`.
    let bytes = path.as_os_str().as_bytes();
    if normalise(bytes)?.as_os_str().as_bytes() == bytes { Ok(()) } else { Err(PathProblem::NotNormal) }
}

/// What the path of a member stands for in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something at this path.
    Member(PathBuf),
    /// `.wh.NAME`, already without the prefix.
    Whiteout(PathBuf),
    /// `.wh..wh..opq` in this directory.
    Opaque(PathBuf),
    /// Book-keeping of aufs.
    Nothing,
}

/// Tells whiteouts from members. `path` is in normal form.
pub(super) fn interpret(path: PathBuf) -> Result<Meaning, PathProblem> {
    let bytes = path.as_os_str().as_bytes();
    // Nearly every path ends here.
    if !bytes.windows(WHITEOUT_PREFIX.len()).any(|window| window == WHITEOUT_PREFIX) {
        return Ok(Meaning::Member(path));
    }
    let (parent, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&b""[..], bytes),
    };
    let as_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    for component in parent.split(|byte| *byte == b'/') {
        if component.starts_with(AUFS_PREFIX) {
            return Ok(Meaning::Nothing);
        }
        if component.starts_with(WHITEOUT_PREFIX) {
            return Err(PathProblem::Whiteout);
        }
    }
    if name == OPAQUE_NAME {
        return Ok(Meaning::Opaque(as_path(parent)));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(Meaning::Nothing);
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        None => Ok(Meaning::Member(path)),
        Some(b"" | b"." | b"..") => Err(PathProblem::Whiteout),
        Some(removed) => Ok(Meaning::Whiteout(as_path(parent).join(OsStr::from_bytes(removed)))),
    }
}

/// Whether a component of `path` has a meaning in layers and so cannot be the name of a file.
pub(super) fn is_reserved(path: &Path) -> bool {
    path.iter().any(|component| component.as_bytes().starts_with(WHITEOUT_PREFIX))
}

/// Longest name of an extended attribute, in bytes: `XATTR_NAME_MAX` of Linux.
const MAX_ATTRIBUTE_NAME: usize = 255;

/// Refuses names of extended attributes that the system or a PAX record cannot hold.
pub(in crate::layer) fn check_attribute(name: &str) -> Result<(), PathProblem> {
    let invalid = name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME || name.contains(['=', '\0']);
    if invalid { Err(PathProblem::Attribute) } else { Ok(()) }
}

/// A path for messages: unprintable bytes are escaped, and it is cut when very long.
pub(super) fn printable(raw: &[u8]) -> String {
    const SHOWN: usize = 200;
    let mut text = raw[..raw.len().min(SHOWN)].utf8_chunks().fold(String::new(), |mut text, chunk| {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        text
    });
    if raw.len() > SHOWN {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (raw, path) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("./etc/passwd", "etc/passwd"),
            ("/etc//passwd", "etc/passwd"),
            ("etc/./passwd/", "etc/passwd"),
            ("...", "..."),
            ("a/..b", "a/..b"),
        ] {
            let normal = normalise(raw.as_bytes()).unwrap();
            assert_eq!(normal.as_os_str(), path, "{raw}");
            assert_eq!(check_normal(&normal), Ok(()), "{raw}");
            assert_eq!(check_normal(Path::new(raw)).is_ok(), raw == path, "{raw}");
        }
    }

    #[test]
    fn refuses() {
        for (raw, problem) in [
            (b"..".to_vec(), PathProblem::Parent),
            (b"a/../b".to_vec(), PathProblem::Parent),
            (b"a\0b".to_vec(), PathProblem::Zero),
            (vec![b'a'; MAX_PATH + 1], PathProblem::TooLong),
        ] {
            assert_eq!(normalise(&raw), Err(problem));
        }
    }

    #[test]
    fn interprets_whiteouts() {
        let member = |path: &str| Ok(Meaning::Member(path.into()));
        for (path, meaning) in [
            ("a/b", member("a/b")),
            ("", member("")),
            ("a.wh.b", member("a.wh.b")),
            ("a/.wh.b", Ok(Meaning::Whiteout("a/b".into()))),
            (".wh.b", Ok(Meaning::Whiteout("b".into()))),
            (".wh...b", Ok(Meaning::Whiteout("..b".into()))),
            (".wh..wh..opq", Ok(Meaning::Opaque("".into()))),
            ("a/.wh..wh..opq", Ok(Meaning::Opaque("a".into()))),
            (".wh..wh.plnk", Ok(Meaning::Nothing)),
            (".wh..wh.plnk/12.34", Ok(Meaning::Nothing)),
            (".wh.", Err(PathProblem::Whiteout)),
            ("a/.wh..", Err(PathProblem::Whiteout)),
            (".wh...", Err(PathProblem::Whiteout)),
            (".wh.a/b", Err(PathProblem::Whiteout)),
        ] {
            assert_eq!(interpret(path.into()), meaning, "{path}");
        }
    }

    #[test]
    fn prints_anything() {
        assert_eq!(printable(b"a\nb\xffc"), "a\\nb\\xffc");
        assert_eq!(printable(&[b'a'; 300]).chars().count(), 201);
    }
}
