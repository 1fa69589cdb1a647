//! Names of users and groups, as an image's own `/etc/passwd` and `/etc/group` define them.

use std::path::Path;

use super::tree::{Last, Tree, TreeError};

/// A numeric user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Why a name has no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// The name is not in the file.
    #[error(
        "{kind} `{name}` is not in the image's {file}; use a number, or create the {kind} in an earlier RUN"
    )]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file that was looked in.
        file: &'static str,
    },
    /// There is nothing before or after the colon.
    #[error("`{0}` is not an owner: write `user`, `user:group`, or numbers")]
    Malformed(String),
    /// The file's path cannot be followed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

impl Owner {
    /// The meaning of `user[:group]` in an image: names, numbers, or one of each.
    ///
    /// A lone number is also the group; a lone name brings the group of its passwd entry. As in BuildKit, except
    /// that there an unknown name silently means 0.
    pub fn parse(text: &str, tree: &Tree) -> Result<Self, OwnerError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group == Some("") {
            return Err(OwnerError::Malformed(text.to_owned()));
        }
        let owner = match user.parse() {
            Ok(uid) => Self { uid, gid: uid },
            Err(_) => find_user(user, tree)?,
        };
        match group {
            None => Ok(owner),
            Some(group) => match group.parse() {
                Ok(gid) => Ok(Self { gid, ..owner }),
                Err(_) => Ok(Self { gid: find_group(group, tree)?, ..owner }),
            },
        }
    }
}

fn find_user(name: &str, tree: &Tree) -> Result<Owner, OwnerError> {
    let text = text(tree, PASSWD)?;
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [found, _, uid, gid, ..] if *found == name => {
                Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        }
    });
    found.ok_or_else(|| OwnerError::Unknown { kind: "user", name: name.to_owned(), file: PASSWD })
}

fn find_group(name: &str, tree: &Tree) -> Result<u32, OwnerError> {
    let text = text(tree, GROUP)?;
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [found, _, gid, ..] if *found == name => gid.parse().ok(),
            _ => None,
        }
    });
    found.ok_or_else(|| OwnerError::Unknown { kind: "group", name: name.to_owned(), file: GROUP })
}

fn text(tree: &Tree, path: &str) -> Result<String, OwnerError> {
    let resolved = tree.resolve(Path::new(path), Last::Follow)?;
    let content = resolved.node.as_ref().and_then(|node| node.as_file()).and_then(|file| file.text.clone());
    Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{DiffId, Digest, Entry, Metadata};

    fn tree() -> Tree {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000::/home/app:/bin/sh\nbroken:x\n";
        let group = "root:x:0:\nstaff:x:50:app\n";
        let entries =
            ["etc/passwd", "etc/group"].map(|path| Entry::file(path, Metadata::with_mode(0o644), 1));
        let mut tree = Tree::empty();
        tree.apply(DiffId(Digest::of("")), &entries, |path| {
            let text = if path.ends_with("passwd") { passwd } else { group };
            Some(Arc::from(text.as_bytes()))
        })
        .unwrap();
        tree
    }

    #[test]
    fn follows_buildkit() {
        for (text, uid, gid) in [
            ("0", 0, 0),
            ("7", 7, 7),
            ("7:8", 7, 8),
            ("app", 1000, 2000),
            ("app:staff", 1000, 50),
            ("app:9", 1000, 9),
            ("9:staff", 9, 50),
        ] {
            assert_eq!(Owner::parse(text, &tree()), Ok(Owner { uid, gid }), "{text}");
        }
    }

    #[test]
    fn unknown_names_are_errors_that_name_the_file() {
        for (text, file) in [("nobody", PASSWD), ("broken", PASSWD), ("app:wheel", GROUP)] {
            let error = Owner::parse(text, &tree()).unwrap_err();
            assert!(matches!(&error, OwnerError::Unknown { file: found, .. } if *found == file), "{error}");
        }
        for text in ["", ":", "app:", ":staff"] {
            assert_eq!(Owner::parse(text, &tree()), Err(OwnerError::Malformed(text.to_owned())));
        }
    }
}
