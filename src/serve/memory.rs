//! How much memory there is, and how a worker is kept from taking more than its share.
//!
//! With cgroup v2, if the service's own group is handed down to it: a group for each build, so that the limit is the
//! whole build's, with everything its RUNs start. Elsewhere the worker limits its own data segment, and that of every
//! process it starts, one by one. In both cases it asks the kernel to be killed before the service.

use std::io;
use std::path::{Path, PathBuf};

/// Where version 2 of control groups is.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A group whose children can have limits.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    parent: PathBuf,
}

/// A group for one build; it goes away when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

impl Groups {
    /// The service's own group, if children can be made in it.
    pub(super) fn delegated() -> Result<Self, String> {
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let parent = Path::new(CGROUPS).join(path.trim_start_matches('/'));
        Self::in_group(parent).map_err(|error| error.to_string())
    }

    /// Processes and limited children exclude each other, so the service moves into a child of its own.
    fn in_group(parent: PathBuf) -> io::Result<Self> {
        let controllers = std::fs::read_to_string(parent.join("cgroup.controllers"))?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return Err(io::Error::other("the group has no memory controller"));
        }
        let service = parent.join("cooper-service");
        match std::fs::create_dir(&service) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        std::fs::write(service.join("cgroup.procs"), std::process::id().to_string())?;
        std::fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        Ok(Self { parent })
    }

    /// A group with at most so many bytes.
    pub(super) fn make(&self, name: &str, memory: u64) -> io::Result<Group> {
        let path = self.parent.join(format!("cooper-{name}"));
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let group = Group { path };
        std::fs::write(group.path.join("memory.max"), memory.to_string())?;
        // Where one process is killed, the build is lost; better all of it at once.
        let _ = std::fs::write(group.path.join("memory.oom.group"), "1");
        Ok(group)
    }
}

impl Group {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something in it was killed because it wanted more than the limit.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let events = std::fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is still in it is killed; a group that cannot be removed yet is used again by its name.
        let _ = std::fs::write(self.path.join("cgroup.kill"), "1");
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Limits the process itself, and all that it will start.
pub(super) fn limit_self(group: Option<&Path>, memory: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Only ever granted in this direction; where it is not, the kernel chooses by size.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    if let Some(path) = group {
        return std::fs::write(path.join("cgroup.procs"), std::process::id().to_string());
    }
    // It may be limited further already.
    let most = getrlimit(Resource::Data).maximum.map_or(memory, |most| most.min(memory));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Data, limit).map_err(Into::into)
}

/// Bytes of memory that this process and its children may use: the machine's, or what its group has.
pub(crate) fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    machine.into_iter().chain(group).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in place of the kernel's; that the kernel does as they say is not shown by this.
    #[test]
    fn makes_groups() {
        let root = tempfile::tempdir().unwrap();
        assert!(Groups::in_group(root.path().to_owned()).is_err());
        std::fs::write(root.path().join("cgroup.controllers"), "cpu io").unwrap();
        assert!(Groups::in_group(root.path().to_owned()).is_err());
        std::fs::write(root.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let groups = Groups::in_group(root.path().to_owned()).unwrap();
        let read = |path: &str| std::fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("cooper-service/cgroup.procs"), std::process::id().to_string());
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        let group = groups.make("a", 1000).unwrap();
        assert_eq!(read("cooper-a/memory.max"), "1000");
        assert!(!group.was_out_of_memory());
        std::fs::write(group.path().join("memory.events"), "max 3\noom_kill 1\n").unwrap();
        assert!(group.was_out_of_memory());
    }

    #[test]
    fn finds_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
