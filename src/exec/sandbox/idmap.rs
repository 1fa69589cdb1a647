//! Which users and groups of the pod are which in a helper's user namespace.

mod subordinate;

use std::fs;
use std::io::{self, Write as _};

use rustix::process::Pid;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::rootfs::owner::Ownership;

/// Where ranges for containers begin by custom: as in `/etc/subuid`.
const FIRST: u32 = 100_000;

/// How many ids a range has besides root.
const COUNT: u32 = 65_535;

/// An id map that the kernel accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdMap {
    /// Every id is itself.
    Whole,
    /// Root inside is id 1 outside, and so on. For a root without `CAP_SETFCAP`, as CRI-O's: mapping id 0 of the
    /// parent namespace needs that capability since Linux 5.12, mapping any other does not.
    Shifted,
    /// Root inside is the builder's user outside; the others are a range that the builder may map because its program
    /// has the capabilities SETUID and SETGID (`setcap cap_setuid,cap_setgid+p`).
    Granted,
    /// The same, with the ranges that `/etc/subuid` and `/etc/subgid` give to the user (first id, how many), mapped by
    /// `newuidmap` and `newgidmap`.
    Subordinate { users: (u32, u32), groups: (u32, u32) },
    /// Root inside is the builder's user outside; there is nobody else.
    Single,
    /// There is no inside: the helper enters no user namespace and has the builder's own ids.
    Own,
}

/// Consecutive ids: `inside outside count`, as in `/proc/PID/uid_map`.
type Extent = (u32, u32, u32);

impl IdMap {
    /// All that a user namespace can have here, best first.
    pub(super) fn candidates() -> Vec<Self> {
        let mut maps = vec![Self::Whole, Self::Shifted];
        if !rustix::process::geteuid().is_root() && granted().is_some() {
            maps.push(Self::Granted);
        }
        maps.extend(subordinate::find());
        maps.push(Self::Single);
        maps
    }

    /// A name that distinguishes directories whose files have different owners.
    pub(super) fn name(self) -> String {
        let user = rustix::process::geteuid().as_raw();
        match self {
            Self::Whole => "whole".to_owned(),
            Self::Shifted => "shifted".to_owned(),
            // Which range it is depends on the ids that the pod has.
            Self::Granted => {
                let first =
                    own_map("uid_map").map_or(0, |own| range(&own, user).map_or(0, |(first, _)| first));
                format!("granted-{user}-{first}")
            }
            Self::Subordinate { users, groups } => format!("subordinate-{user}-{}-{}", users.0, groups.0),
            Self::Single => format!("single-{user}"),
            Self::Own => "own".to_owned(),
        }
    }

    /// In words.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Whole => "all ids mapped to themselves",
            Self::Shifted => "ids shifted by one",
            Self::Granted => "a range of ids that the program's file capabilities grant",
            Self::Subordinate { .. } => "the range of ids in `/etc/subuid`",
            Self::Single => "a single id, owners of files are recorded",
            Self::Own => "the pod's own ids",
        }
    }

    /// Whether root of the namespace can set supplementary groups, and has some to drop.
    pub(super) fn has_groups(self) -> bool {
        !matches!(self, Self::Single | Self::Own)
    }

    /// Where it is written whose files are: with one id, all files have the same owner.
    pub(super) fn ownership(self) -> Ownership {
        if self == Self::Single { Ownership::Recorded } else { Ownership::Real }
    }

    /// What root inside is outside.
    pub(super) fn root(self) -> (u32, u32) {
        match self {
            Self::Whole | Self::Own => (0, 0),
            Self::Shifted => (1, 1),
            Self::Granted | Self::Subordinate { .. } | Self::Single => {
                (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
            }
        }
    }

    /// What a user and a group inside are outside, for a builder that is root; `None` if they are nobody there, or if
    /// the builder cannot give anything to them.
    pub(super) fn outside(self, (user, group): (u32, u32)) -> Option<(u32, u32)> {
        match self {
            Self::Whole | Self::Own => Some((user, group)),
            Self::Shifted => Some((user.checked_add(1)?, group.checked_add(1)?)),
            Self::Granted | Self::Subordinate { .. } | Self::Single => None,
        }
    }

    /// Writes the maps of a process that has just entered a user namespace.
    pub(super) fn write(self, process: Pid) -> io::Result<()> {
        if let Self::Subordinate { users, groups } = self {
            return subordinate::write(process, users, groups);
        }
        let users = self.extents(&own_map("uid_map")?, self.root().0)?;
        let groups = self.extents(&own_map("gid_map")?, self.root().1)?;
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
            // One write: the kernel takes the whole map at once.
            fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
        };
        let write_both = || {
            // The users come first: theirs is the map that may be refused.
            if self == Self::Single {
                write("setgroups", "deny")?;
            }
            write("uid_map", &text(&users))?;
            write("gid_map", &text(&groups))
        };
        match self {
            Self::Granted => with_granted(write_both),
            _ => write_both(),
        }
    }

    fn extents(self, own: &[Extent], root: u32) -> io::Result<Vec<Extent>> {
        let own = own.iter().copied();
        Ok(match self {
            Self::Whole | Self::Own => own.map(|(inside, _, count)| (inside, inside, count)).collect(),
            Self::Shifted => own
                .map(|(inside, _, count)| match inside {
                    0 => (0, 1, count - 1),
                    _ => (inside - 1, inside, count),
                })
                .filter(|(_, _, count)| *count > 0)
                .collect(),
            Self::Granted => {
                let (first, count) = range(&own.collect::<Vec<_>>(), root).ok_or(io::ErrorKind::NotFound)?;
                let mut extents = vec![(0, root, 1)];
                // Its own id is root's inside, and can be nobody else's.
                if (first..first + count).contains(&root) {
                    extents.push((1, first, root - first));
                    extents.push((1 + root - first, root + 1, count - 1 - (root - first)));
                } else {
                    extents.push((1, first, count));
                }
                extents.retain(|(_, _, count)| *count > 0);
                extents
            }
            Self::Single | Self::Subordinate { .. } => vec![(0, root, 1)],
        })
    }
}

/// The ids to be had besides one's own (first, how many): those by custom, else whatever there are. Ids from 65536 on do
/// not exist in a pod with users of its own.
fn range(own: &[Extent], id: u32) -> Option<(u32, u32)> {
    let holds = |first: u32| {
        own.iter().any(|(inside, _, count)| *inside <= first && first - inside + COUNT <= *count)
    };
    if holds(FIRST) && !(FIRST..FIRST + COUNT).contains(&id) {
        return Some((FIRST, COUNT));
    }
    // Id 0 of the pod is left out: mapping it needs a further capability.
    let usable = own.iter().map(|(inside, _, count)| match inside {
        0 => (1, count - 1),
        _ => (*inside, *count),
    });
    usable.max_by_key(|(_, count)| *count).map(|(first, count)| (first, count.min(COUNT)))
}

const GRANTING: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// The capabilities of this thread, if those that grant a range are permitted.
fn granted() -> Option<CapabilitySets> {
    let own = rustix::thread::capabilities(None).ok()?;
    own.permitted.contains(GRANTING).then_some(own)
}

/// Does something with the capabilities that the program's file grants in effect, in this thread.
fn with_granted<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = granted().ok_or(io::ErrorKind::PermissionDenied)?;
    let raised = CapabilitySets { effective: own.effective | GRANTING, ..own };
    rustix::thread::set_capabilities(None, raised)?;
    let outcome = act();
    rustix::thread::set_capabilities(None, own)?;
    outcome
}

fn own_map(name: &str) -> io::Result<Vec<Extent>> {
    Ok(parse(&fs::read_to_string(format!("/proc/self/{name}"))?).ok_or(io::ErrorKind::InvalidData)?)
}

fn parse(map: &str) -> Option<Vec<Extent>> {
    map.lines()
        .map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??, numbers.next()??))
        })
        .collect()
}

fn text(extents: &[Extent]) -> String {
    let mut text = String::new();
    for (inside, outside, count) in extents {
        for number in [inside, outside, count] {
            text.push_str(&number.to_string());
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_follow_the_builders_own() {
        let full = "         0          0 4294967295\n";
        let pod = "0 100000 65536\n70000 170000 10\n";
        for (map, own, expected) in [
            (IdMap::Whole, full, "0 0 4294967295\n"),
            (IdMap::Shifted, full, "0 1 4294967294\n"),
            (IdMap::Whole, pod, "0 0 65536\n70000 70000 10\n"),
            (IdMap::Shifted, pod, "0 1 65535\n69999 70000 10\n"),
            (IdMap::Shifted, "0 5 1\n", ""),
            (IdMap::Granted, full, "0 1000 1\n1 100000 65535\n"),
            (IdMap::Granted, pod, "0 1000 1\n1 1 999\n1000 1001 64535\n"),
            (IdMap::Single, full, "0 1000 1\n"),
        ] {
            let own = parse(own).unwrap();
            assert_eq!(text(&map.extents(&own, 1000).unwrap()).replace(" \n", "\n"), expected, "{map:?}");
        }
        assert!(parse("0 0").is_none());
    }

    #[test]
    fn owners_outside() {
        let last = u32::MAX;
        for (map, inside, expected) in [
            (IdMap::Whole, (0, 5), Some((0, 5))),
            (IdMap::Own, (0, 5), Some((0, 5))),
            (IdMap::Shifted, (0, 5), Some((1, 6))),
            (IdMap::Shifted, (last, 0), None),
            (IdMap::Single, (0, 0), None),
        ] {
            assert_eq!(map.outside(inside), expected, "{map:?} {inside:?}");
        }
    }
}
