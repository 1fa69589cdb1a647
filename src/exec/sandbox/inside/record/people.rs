//! Who processes believe to be: with one id, all of them are root, and those that became somebody else are told so.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::caller::Status;
use crate::exec::sandbox::inside::users::Identity;

/// So many processes that became somebody else are remembered; then those that have ended are forgotten.
const MANY: usize = 1024;

/// How many generations are gone back to find who a process is.
const GENERATIONS: usize = 64;

/// "Leave it as it is", in the calls that set several ids.
pub(super) const SAME: u32 = u32::MAX;

/// Real, effective and saved id.
pub(super) type Ids = [u32; 3];

/// The ids that a process believes to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) users: Ids,
    pub(super) groups: Ids,
    pub(super) further_groups: Vec<u32>,
}

impl Who {
    /// The user of a command.
    pub(super) fn of(identity: &Identity) -> Self {
        Self { users: [identity.uid; 3], groups: [identity.gid; 3], further_groups: identity.groups.clone() }
    }

    /// Whether it may do what root may.
    pub(super) fn is_root(&self) -> bool {
        self.users[1] == 0
    }

    /// Whether it is in a group.
    pub(super) fn is_in(&self, group: u32) -> bool {
        self.groups[1] == group || self.further_groups.contains(&group)
    }

    /// Whether it may make something in a directory with this mode and owner.
    pub(super) fn may_write(&self, mode: u32, owner: u32, group: u32) -> bool {
        // Writing, and passing through.
        let wanted = match () {
            () if self.is_root() => return true,
            () if self.users[1] == owner => 0o300,
            () if self.is_in(group) => 0o030,
            () => 0o003,
        };
        mode & wanted == wanted
    }
}

/// `setuid` or `setgid`: the new ids.
pub(super) fn set(old: Ids, new: u32, is_root: bool) -> Result<Ids, Errno> {
    match old {
        _ if is_root => Ok([new; 3]),
        [real, _, saved] if new == real || new == saved => Ok([real, new, saved]),
        _ => Err(Errno::PERM),
    }
}

/// `setreuid` or `setregid`.
pub(super) fn set_two(old: Ids, real: u32, effective: u32, is_root: bool) -> Result<Ids, Errno> {
    let [old_real, old_effective, old_saved] = old;
    let real_is_fine = is_root || [SAME, old_real, old_effective].contains(&real);
    if !real_is_fine || !(is_root || effective == SAME || old.contains(&effective)) {
        return Err(Errno::PERM);
    }
    let or = |new: u32, old: u32| if new == SAME { old } else { new };
    let new = [or(real, old_real), or(effective, old_effective)];
    let keeps = real == SAME && (effective == SAME || effective == old_real);
    Ok([new[0], new[1], if keeps { old_saved } else { new[1] }])
}

/// `setresuid` or `setresgid`.
pub(super) fn set_three(old: Ids, new: Ids, is_root: bool) -> Result<Ids, Errno> {
    if !is_root && new.iter().any(|id| *id != SAME && !old.contains(id)) {
        return Err(Errno::PERM);
    }
    let mut ids = new;
    for (id, old) in ids.iter_mut().zip(old) {
        if *id == SAME {
            *id = old;
        }
    }
    Ok(ids)
}

/// All processes of a command.
#[derive(Debug)]
pub(super) struct People {
    /// Who the command is, and whoever descends from it without having become somebody else.
    first: Who,
    others: BTreeMap<u32, Other>,
}

#[derive(Debug)]
struct Other {
    who: Who,
    /// The process's directory in `/proc`: nothing can be found in it any more when the process has ended.
    directory: OwnedFd,
}

impl Other {
    fn is_alive(&self) -> bool {
        rustix::fs::openat(&self.directory, "comm", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).is_ok()
    }
}

impl People {
    pub(super) fn new(first: Who) -> Self {
        Self { first, others: BTreeMap::new() }
    }

    /// Who the process of a thread is.
    pub(super) fn who(&self, proc: impl AsFd, thread: u32) -> Who {
        if self.others.is_empty() {
            return self.first.clone();
        }
        let mut process = thread;
        for _ in 0..GENERATIONS {
            let Ok(status) = Status::read(&proc, process) else { break };
            if let Some(other) = self.others.get(&status.process)
                && other.is_alive()
            {
                return other.who.clone();
            }
            process = status.parent;
        }
        self.first.clone()
    }

    /// The process of a thread has become somebody.
    pub(super) fn becomes(&mut self, proc: impl AsFd, thread: u32, who: Who) -> io::Result<()> {
        if who == self.first && self.others.is_empty() {
            return Ok(());
        }
        let process = Status::read(&proc, thread)?.process;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(proc, process.to_string(), flags, Mode::empty())?;
        if self.others.len() >= MANY {
            self.others.retain(|_, other| other.is_alive());
        }
        self.others.insert(process, Other { who, directory });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_set_as_the_kernel_does() {
        assert_eq!(set([0, 0, 0], 7, true), Ok([7, 7, 7]));
        assert_eq!(set([5, 7, 6], 6, false), Ok([5, 6, 6]));
        assert_eq!(set([5, 7, 6], 7, false), Err(Errno::PERM));
        assert_eq!(set_two([0, 0, 0], SAME, 7, true), Ok([0, 7, 7]));
        assert_eq!(set_two([5, 7, 6], SAME, 5, false), Ok([5, 5, 6]));
        assert_eq!(set_two([5, 7, 6], 7, 5, false), Ok([7, 5, 5]));
        assert_eq!(set_two([5, 7, 6], 6, SAME, false), Err(Errno::PERM));
        assert_eq!(set_three([5, 7, 6], [6, SAME, 5], false), Ok([6, 7, 5]));
        assert_eq!(set_three([5, 7, 6], [SAME, 0, SAME], false), Err(Errno::PERM));
    }

    #[test]
    fn directories_are_for_those_whom_their_mode_names() {
        let who = Who { users: [7; 3], groups: [8; 3], further_groups: vec![9] };
        for (mode, owner, group, may) in [
            (0o700, 7, 0, true),
            (0o077, 7, 8, false),
            (0o730, 1, 9, true),
            (0o720, 1, 8, false),
            (0o703, 1, 1, true),
            (0o755, 0, 0, false),
        ] {
            assert_eq!(who.may_write(mode, owner, group), may, "{mode:o} {owner} {group}");
        }
        assert!(Who { users: [7, 0, 0], ..who }.may_write(0, 1, 1));
    }
}
