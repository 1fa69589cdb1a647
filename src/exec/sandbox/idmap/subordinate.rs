//! Ranges of ids that an administrator has given to a user: see subuid(5) and newuidmap(1).

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::Pid;

use super::IdMap;

/// The ranges of this user, if there are any and the programs that map them are on the path.
pub(super) fn find() -> Option<IdMap> {
    let on_path = |program: &str| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|directory| directory.join(program).is_file())
    };
    on_path("newuidmap")?;
    on_path("newgidmap")?;
    let uid = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let read = |path: &Path| range(&fs::read_to_string(path).ok()?, &passwd, uid);
    let (users, groups) = (read(Path::new("/etc/subuid"))?, read(Path::new("/etc/subgid"))?);
    Some(IdMap::Subordinate { users, groups })
}

/// The first range (first id, how many) of a user, who is named or numbered in the file.
fn range(file: &str, passwd: &str, uid: u32) -> Option<(u32, u32)> {
    let names: Vec<&str> = passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(uid)).then_some(*fields.first()?)
        })
        .collect();
    file.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let is_own = names.contains(&user) || user.parse() == Ok(uid);
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (is_own && count > 0).then_some((first, count))
    })
}

/// Has the programs map the user itself and the ranges.
pub(super) fn write(process: Pid, users: (u32, u32), groups: (u32, u32)) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for (program, own, (first, count)) in [("newuidmap", user, users), ("newgidmap", group, groups)] {
        let numbers = [0, own, 1, 1, first, count].map(|number| number.to_string());
        let output =
            Command::new(program).arg(process.as_raw_nonzero().to_string()).args(&numbers).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("`{program}`: {}", said.trim())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found() {
        let passwd = "root:x:0:0::/:/bin/sh\nbuilder:x:1000:1000::/:/bin/sh\n";
        let file = "other:1:5\nbuilder:200000:0\nbuilder:100000:65536\n1001:300000:7\n";
        assert_eq!(range(file, passwd, 1000), Some((100_000, 65_536)));
        assert_eq!(range(file, passwd, 1001), Some((300_000, 7)));
        assert_eq!(range(file, passwd, 0), None);
        assert_eq!(range("builder:x:1\nbuilder:5:6", passwd, 1000), Some((5, 6)));
    }
}
