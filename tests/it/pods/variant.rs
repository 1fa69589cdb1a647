//! The pods that clusters make, as far as a RUN is concerned.

/// The capabilities of root, by default, under CRI-O.
pub(crate) const CRIO: &[&str] =
    &["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "KILL"];

/// The same under containerd and Docker.
pub(super) const CONTAINERD: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "KILL",
    "MKNOD",
    "NET_RAW",
    "SETFCAP",
    "SYS_CHROOT",
    "AUDIT_WRITE",
];

/// What `newuidmap` needs to be able to have, though no process has it at first.
pub(super) const WITH_ADMIN: &[&str] =
    &["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETFCAP", "SYS_ADMIN"];

/// Which system calls a profile refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seccomp {
    /// None.
    Unconfined,
    /// Those for namespaces and mounts.
    RuntimeDefault,
    /// Those for mounts, as `AppArmor`'s default profiles do.
    NoMount,
}

/// What grants a user who is not root a range of ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// Nothing.
    None,
    /// File capabilities of the program.
    FileCapabilities,
    /// `newuidmap`, with `/etc/subuid`.
    Subordinate,
}

/// A pod.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) uid: u32,
    pub(super) capabilities: &'static [&'static str],
    pub(super) seccomp: Seccomp,
    pub(super) no_new_privileges: bool,
    /// `readOnlyRootFilesystem`.
    pub(super) read_only: bool,
    /// With `hostUsers: false`, the id on the node that is the pod's root.
    pub(super) first_id: Option<u32>,
    /// Whether the store is on a volume.
    pub(super) volume: bool,
    /// Whether the builder's image has more than the one directory, as one for debugging has.
    pub(super) has_more: bool,
    /// How the program may map further ids than its own.
    pub(super) range: Range,
    /// Further arguments of the build.
    pub(super) arguments: Vec<&'static str>,
}

impl Variant {
    /// A root pod.
    pub(super) fn root(name: &'static str, capabilities: &'static [&'static str], seccomp: Seccomp) -> Self {
        Self {
            name,
            uid: 0,
            capabilities,
            seccomp,
            no_new_privileges: false,
            read_only: false,
            first_id: None,
            volume: false,
            has_more: false,
            range: Range::None,
            arguments: Vec::new(),
        }
    }

    /// With these further arguments of the build.
    pub(super) fn with_arguments(self, arguments: &[&'static str]) -> Self {
        Self { arguments: arguments.to_vec(), ..self }
    }

    /// With the store on a volume.
    pub(super) fn with_volume(self) -> Self {
        Self { volume: true, ..self }
    }
}
