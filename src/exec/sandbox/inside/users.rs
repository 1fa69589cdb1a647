//! Who a command runs as: the text of `USER`, read with the rootfs's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use serde::{Deserialize, Serialize};

use crate::exec::sandbox::wire::{During as _, Failure};
use crate::rootfs::beneath;
use crate::rootfs::remove::file_type;

/// Longest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Numeric identity, and a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups, the primary one among them.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Finds out who `user` is in the rootfs below `root`.
pub(super) fn identify(root: impl AsFd, user: &str) -> Result<Identity, Failure> {
    let passwd = read(&root, "etc/passwd").during(|| "read `/etc/passwd` of the rootfs")?;
    let group = read(&root, "etc/group").during(|| "read `/etc/group` of the rootfs")?;
    resolve(user, &passwd, &group)
}

/// The text of a file, empty if there is none. Other than regular files are not read: a pipe would wait for ever.
fn read(root: impl AsFd, path: &str) -> io::Result<String> {
    let Ok(place) = beneath::open_place(&root, Path::new(path)) else { return Ok(String::new()) };
    if file_type(rustix::fs::fstat(&place)?.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let fd = rustix::fs::openat2(
        &root,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
        rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS,
    )?;
    let mut bytes = Vec::new();
    File::from(fd).take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `/etc/passwd`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        let home = fields.get(5).copied().unwrap_or("");
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, gid, ..] = fields[..] else { return None };
        let members = fields.get(3).copied().unwrap_or("").split(',').filter(|member| !member.is_empty());
        Some(Group { name, gid: gid.parse().ok()?, members: members.collect() })
    })
}

/// `user` is as in a Dockerfile: `""`, `name`, `uid`, `name:group`, `uid:gid` and so on.
fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, Failure> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    // A name that looks like a number is a number only if nobody is called so.
    let found = users(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| users(passwd).find(|entry| Some(entry.uid) == number));
    let uid = match (&found, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(number)) => number,
        (None, None) => return Err(Failure::UnknownUser(user.to_owned())),
    };
    let home = found.as_ref().map_or("", |entry| entry.home);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    if let Some(wanted) = wanted_group {
        let number: Option<u32> = wanted.parse().ok();
        let gid = groups(group)
            .find(|entry| entry.name == wanted)
            .map(|entry| entry.gid)
            .or(number)
            .ok_or_else(|| Failure::UnknownGroup(wanted.to_owned()))?;
        return Ok(Identity { uid, gid, groups: vec![gid], home });
    }
    let gid = found.as_ref().map_or(0, |entry| entry.gid);
    let mut supplementary = vec![gid];
    if let Some(entry) = &found {
        supplementary
            .extend(groups(group).filter(|group| group.members.contains(&entry.name)).map(|group| group.gid));
    }
    supplementary.sort_unstable();
    supplementary.dedup();
    Ok(Identity { uid, gid, groups: supplementary, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                          # comment\n\
                          app:x:1000:1001:App:/home/app:/bin/sh\n\
                          4242:x:7:7::/seven:\n\
                          short:x:9:9\n";
    const GROUP: &str = "root:x:0:\nbin:x:1:root,bin\nwheel:x:10:root,app\napp:x:1001:\nstaff:x:50:app\n";

    #[test]
    fn forms_of_user() {
        let identity = |uid, gid, groups: &[u32], home: &str| Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        for (user, expected) in [
            ("", identity(0, 0, &[0, 1, 10], "/root")),
            ("root", identity(0, 0, &[0, 1, 10], "/root")),
            ("app", identity(1000, 1001, &[10, 50, 1001], "/home/app")),
            ("1000", identity(1000, 1001, &[10, 50, 1001], "/home/app")),
            ("app:staff", identity(1000, 50, &[50], "/home/app")),
            ("app:77", identity(1000, 77, &[77], "/home/app")),
            ("app:", identity(1000, 1001, &[10, 50, 1001], "/home/app")),
            ("4242", identity(7, 7, &[7], "/seven")),
            ("90", identity(90, 0, &[0], "/")),
            ("90:91", identity(90, 91, &[91], "/")),
            ("short", identity(9, 9, &[9], "/")),
            (":staff", identity(0, 50, &[50], "/root")),
        ] {
            assert_eq!(resolve(user, PASSWD, GROUP).unwrap(), expected, "{user}");
        }
        assert!(matches!(resolve("nobody", PASSWD, GROUP), Err(Failure::UnknownUser(_))));
        assert!(matches!(resolve("app:nobody", PASSWD, GROUP), Err(Failure::UnknownGroup(_))));
        assert!(matches!(resolve("-1", PASSWD, GROUP), Err(Failure::UnknownUser(_))));
        assert_eq!(resolve("", "", "").unwrap(), identity(0, 0, &[0], "/"));
    }
}
