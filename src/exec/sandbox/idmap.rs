//! Which users and groups of the pod are which in a helper's user namespace.

use std::fs;
use std::io::{self, Write as _};

use rustix::process::Pid;

/// An id map that the kernel accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdMap {
    /// Every id is itself.
    Whole,
    /// Root inside is id 1 outside, and so on. For a root without `CAP_SETFCAP`, as CRI-O's: mapping id 0 of the
    /// parent namespace needs that capability since Linux 5.12, mapping any other does not.
    Shifted,
    /// Root inside is the builder's user outside; there is nobody else.
    Single,
    /// There is no inside: the helper enters no user namespace and has the builder's own ids.
    Own,
}

/// Consecutive ids: `inside outside count`, as in `/proc/PID/uid_map`.
type Extent = (u32, u32, u32);

impl IdMap {
    /// All that a user namespace can have, best first.
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::Shifted, Self::Single];

    /// A name that distinguishes directories whose files have different owners.
    pub(super) fn name(self) -> String {
        match self {
            Self::Whole => "whole".to_owned(),
            Self::Shifted => "shifted".to_owned(),
            Self::Single => format!("single-{}", rustix::process::geteuid().as_raw()),
            Self::Own => "own".to_owned(),
        }
    }

    /// In words.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Whole => "all ids mapped to themselves",
            Self::Shifted => "ids shifted by one",
            Self::Single => "a single id",
            Self::Own => "the pod's own ids",
        }
    }

    /// Whether root of the namespace can set supplementary groups, and has some to drop.
    pub(super) fn has_groups(self) -> bool {
        !matches!(self, Self::Single | Self::Own)
    }

    /// What root inside is outside.
    pub(super) fn root(self) -> (u32, u32) {
        match self {
            Self::Whole | Self::Own => (0, 0),
            Self::Shifted => (1, 1),
            Self::Single => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        }
    }

    /// What a user and a group inside are outside; `None` if they are nobody there.
    pub(super) fn outside(self, (user, group): (u32, u32)) -> Option<(u32, u32)> {
        match self {
            Self::Whole | Self::Own => Some((user, group)),
            Self::Shifted => Some((user.checked_add(1)?, group.checked_add(1)?)),
            Self::Single => ((user, group) == (0, 0)).then(|| self.root()),
        }
    }

    /// Writes the maps of a process that has just entered a user namespace. A map that is refused can be followed
    /// by another attempt.
    pub(super) fn write(self, process: Pid) -> io::Result<()> {
        let users = self.extents(&fs::read_to_string("/proc/self/uid_map")?, self.root().0)?;
        let groups = self.extents(&fs::read_to_string("/proc/self/gid_map")?, self.root().1)?;
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
            // One write: the kernel takes the whole map at once.
            fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
        };
        // The users come first: theirs is the map that may be refused, and a group map can be written only once.
        if self == Self::Single {
            write("setgroups", "deny")?;
        }
        write("uid_map", &text(&users))?;
        write("gid_map", &text(&groups))
    }

    fn extents(self, own: &str, root: u32) -> io::Result<Vec<Extent>> {
        let own = parse(own).ok_or(io::ErrorKind::InvalidData)?;
        Ok(match self {
            Self::Whole | Self::Own => {
                own.into_iter().map(|(inside, _, count)| (inside, inside, count)).collect()
            }
            Self::Shifted => own
                .into_iter()
                .map(|(inside, _, count)| match inside {
                    0 => (0, 1, count - 1),
                    _ => (inside - 1, inside, count),
                })
                .filter(|(_, _, count)| *count > 0)
                .collect(),
            Self::Single => vec![(0, root, 1)],
        })
    }
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
            (IdMap::Single, full, "0 1000 1\n"),
        ] {
            assert_eq!(text(&map.extents(own, 1000).unwrap()).replace(" \n", "\n"), expected, "{map:?}");
        }
        assert!(IdMap::Whole.extents("0 0", 0).is_err());
    }

    #[test]
    fn owners_outside() {
        let last = u32::MAX;
        for (map, inside, expected) in [
            (IdMap::Whole, (0, 5), Some((0, 5))),
            (IdMap::Own, (0, 5), Some((0, 5))),
            (IdMap::Shifted, (0, 5), Some((1, 6))),
            (IdMap::Shifted, (last, 0), None),
            (IdMap::Single, (0, 0), Some(IdMap::Single.root())),
            (IdMap::Single, (0, 1), None),
        ] {
            assert_eq!(map.outside(inside), expected, "{map:?} {inside:?}");
        }
    }
}
