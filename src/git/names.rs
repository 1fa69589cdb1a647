//! From what was written to a reference of a server.

use gix::ObjectId;
use gix::protocol::handshake::Ref;

/// What a name stands for at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The full name, like `refs/heads/main`.
    pub(super) name: String,
    /// What it points to: a commit, or a tag object.
    pub(super) object: ObjectId,
    /// The commit that it stands for.
    pub(super) commit: ObjectId,
}

/// The reference that is called `name`; what the server's `HEAD` stands for if there is no name. Of a tag and a branch of
/// one name the tag is meant, as with git.
pub(super) fn find(refs: &[Ref], name: Option<&str>) -> Option<Found> {
    let Some(name) = name else { return named(refs, "HEAD").or_else(|| main_branch(refs)) };
    candidates(name).iter().find_map(|candidate| named(refs, candidate))
}

/// The full names that `name` can stand for, the likeliest first. See gitrevisions(7).
fn candidates(name: &str) -> [String; 4] {
    [name.to_owned(), format!("refs/{name}"), format!("refs/tags/{name}"), format!("refs/heads/{name}")]
}

/// Branches and tags that are spelled almost like `name`.
pub(super) fn guess(refs: &[Ref], name: &str) -> String {
    let short: Vec<String> = refs
        .iter()
        .filter_map(|found| {
            let name = found.unpack().0.to_string();
            name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).map(str::to_owned)
        })
        .collect();
    let short: Vec<&str> = short.iter().map(String::as_str).collect();
    crate::dockerfile::did_you_mean(name, &short)
}

fn named(refs: &[Ref], name: &str) -> Option<Found> {
    refs.iter().find_map(|found| {
        let (full, object, peeled) = found.unpack();
        let object = object?.to_owned();
        let commit = peeled.map_or(object, ToOwned::to_owned);
        // A branch that `HEAD` stands for is better known by its own name.
        let own = match found {
            Ref::Symbolic { target, .. } => target.to_string(),
            _ => full.to_string(),
        };
        (full == name).then_some(Found { name: own, object, commit })
    })
}

/// The branch that old servers mean by `HEAD`, which they do not list if it is detached or missing.
fn main_branch(refs: &[Ref]) -> Option<Found> {
    named(refs, "refs/heads/main").or_else(|| named(refs, "refs/heads/master"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).unwrap()
    }

    fn refs() -> Vec<Ref> {
        let direct = |name: &str, digit| Ref::Direct { full_ref_name: name.into(), object: id(digit) };
        vec![
            Ref::Symbolic {
                full_ref_name: "HEAD".into(),
                target: "refs/heads/main".into(),
                tag: None,
                object: id('1'),
            },
            direct("refs/heads/main", '1'),
            direct("refs/heads/both", '2'),
            Ref::Peeled { full_ref_name: "refs/tags/both".into(), tag: id('3'), object: id('4') },
            direct("refs/pull/7/head", '5'),
        ]
    }

    #[test]
    fn names_as_git_understands_them() {
        for (name, full, object, commit) in [
            (None, "refs/heads/main", '1', '1'),
            (Some("main"), "refs/heads/main", '1', '1'),
            (Some("both"), "refs/tags/both", '3', '4'),
            (Some("heads/both"), "refs/heads/both", '2', '2'),
            (Some("refs/pull/7/head"), "refs/pull/7/head", '5', '5'),
            (Some("pull/7/head"), "refs/pull/7/head", '5', '5'),
        ] {
            let expected = Found { name: full.to_owned(), object: id(object), commit: id(commit) };
            assert_eq!(find(&refs(), name), Some(expected), "{name:?}");
        }
        assert_eq!(find(&refs(), Some("mian")), None);
        assert!(guess(&refs(), "mian").contains("main"));
        let unborn = [Ref::Unborn { full_ref_name: "HEAD".into(), target: "refs/heads/main".into() }];
        assert_eq!(find(&unborn, None), None);
    }
}
