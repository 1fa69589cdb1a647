//! What was found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works; something else would be better, or could not be found out.
    Note,
    /// Something that comes later will fail, or may.
    Warning,
    /// Builds fail.
    Error,
}

/// What a finding is about. `docs/doctor.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// RUN has the best isolation.
    IsolationOverlay,
    /// RUN has namespaces, on a plain directory.
    IsolationUserns,
    /// RUN is executed in the pod's own root.
    IsolationInPlace,
    /// RUN cannot be executed.
    IsolationNone,
    /// The store can be written to.
    StoreUsable,
    /// The store cannot be made or written to.
    StoreUnusable,
    /// There is enough room.
    DiskFree,
    /// There is little room.
    DiskLow,
    /// There is next to no room.
    DiskFull,
    /// The registry speaks TLS, and its certificate is believed.
    RegistryTls,
    /// The registry speaks plain HTTP.
    RegistryPlainHttp,
    /// The registry's certificate is of an unknown authority.
    RegistryUntrusted,
    /// The registry's certificate is wrong in another way, or TLS fails.
    RegistryTlsBroken,
    /// No address for the registry.
    RegistryNotFound,
    /// Nobody answers there.
    RegistryDown,
    /// Somebody answers who is no registry.
    RegistryStrange,
    /// The registry took the credentials.
    CredentialsAccepted,
    /// The registry wants none.
    CredentialsUnneeded,
    /// The registry wants credentials, and there are none.
    CredentialsMissing,
    /// The registry does not take them.
    CredentialsRefused,
    /// They cannot be read, or sent safely, or the registry fails at them.
    CredentialsFailed,
    /// They are in a file that a RUN can read.
    CredentialsReadable,
    /// Pushing is allowed.
    PushAllowed,
    /// Pushing is not allowed to this user.
    PushDenied,
    /// The registry takes no pushes from anybody.
    PushReadOnly,
    /// It could not be found out.
    PushUnknown,
    /// Blobs are mounted from one repository into another.
    MountSupported,
    /// They are not.
    MountUnsupported,
    /// It could not be found out.
    MountUnknown,
    /// The registry's clock and ours agree.
    ClockAgrees,
    /// They do not.
    ClockSkew,
    /// The registry does not tell the time.
    ClockUnknown,
    /// Nodes pull from there without further ado.
    NodePull,
    /// Nodes refuse plain HTTP.
    NodePullPlainHttp,
    /// Nodes do not know the authority.
    NodePullUnknownAuthority,
    /// For nodes the name means themselves.
    NodePullLoopback,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub code: Code,
    /// Whom: `RUN`, `store`, or a registry's host.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What to do; nothing if it is as it should be.
    pub advice: Option<String>,
    /// Files that do it, to be copied as they are. Those for one kind of node belong together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<NodeFile>,
}

/// A file on the nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeFile {
    /// For which nodes: `CRI-O`, `containerd`, `k3s`.
    pub runtime: &'static str,
    /// Where.
    pub path: String,
    /// Its text.
    pub text: String,
    /// What makes it count.
    pub then: &'static str,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this form; raised when a field changes its meaning or goes away.
    pub schema: u32,
    /// The worst level.
    pub worst: Level,
    /// In the order in which it was looked for.
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn new(level: Level, code: Code, subject: &str, found: impl Into<String>) -> Self {
        let (subject, found) = (subject.to_owned(), found.into());
        Self { level, code, subject, found, advice: None, files: Vec::new() }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    pub(super) fn with_files(self, files: Vec<NodeFile>) -> Self {
        Self { files, ..self }
    }
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 36] = [
        Self::IsolationOverlay,
        Self::IsolationUserns,
        Self::IsolationInPlace,
        Self::IsolationNone,
        Self::StoreUsable,
        Self::StoreUnusable,
        Self::DiskFree,
        Self::DiskLow,
        Self::DiskFull,
        Self::RegistryTls,
        Self::RegistryPlainHttp,
        Self::RegistryUntrusted,
        Self::RegistryTlsBroken,
        Self::RegistryNotFound,
        Self::RegistryDown,
        Self::RegistryStrange,
        Self::CredentialsAccepted,
        Self::CredentialsUnneeded,
        Self::CredentialsMissing,
        Self::CredentialsRefused,
        Self::CredentialsFailed,
        Self::CredentialsReadable,
        Self::PushAllowed,
        Self::PushDenied,
        Self::PushReadOnly,
        Self::PushUnknown,
        Self::MountSupported,
        Self::MountUnsupported,
        Self::MountUnknown,
        Self::ClockAgrees,
        Self::ClockSkew,
        Self::ClockUnknown,
        Self::NodePull,
        Self::NodePullPlainHttp,
        Self::NodePullUnknownAuthority,
        Self::NodePullLoopback,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

impl Report {
    /// Of these findings.
    pub fn new(findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { schema: 1, worst, findings }
    }

    /// The exit code that goes with the worst finding: 1 for an error, 3 for a warning, else 0.
    pub fn exit_code(&self) -> u8 {
        match self.worst {
            Level::Ok | Level::Note => 0,
            Level::Warning => 3,
            Level::Error => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_counts() {
        let finding = |level| Finding::new(level, Code::NodePull, "x", "y");
        for (levels, worst, code) in [
            (&[][..], Level::Ok, 0),
            (&[Level::Note, Level::Ok], Level::Note, 0),
            (&[Level::Warning, Level::Note], Level::Warning, 3),
            (&[Level::Warning, Level::Error, Level::Ok], Level::Error, 1),
        ] {
            let report = Report::new(levels.iter().copied().map(finding).collect());
            assert_eq!((report.worst, report.exit_code()), (worst, code));
        }
    }

    #[test]
    fn codes_have_the_names_of_the_documentation() {
        assert_eq!(Code::NodePullPlainHttp.name(), "node-pull-plain-http");
        assert_eq!(serde_json::to_value(finding_of_all()).unwrap()["files"][0]["runtime"], "CRI-O");
    }

    fn finding_of_all() -> Finding {
        let file = NodeFile { runtime: "CRI-O", path: "/x".to_owned(), text: String::new(), then: "" };
        Finding::new(Level::Note, Code::NodePull, "x", "y").advise("z").with_files(vec![file])
    }
}
