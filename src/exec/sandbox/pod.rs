//! The pod as it is found, and what to change in its manifest so that a RUN can be executed.

use std::fmt::Write as _;
use std::fs;

use super::Refusal;

/// What of a pod's manifest shows in its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    uid: u32,
    /// Whether there is a seccomp filter.
    is_filtered: bool,
    /// `allowPrivilegeEscalation: false`.
    no_new_privileges: bool,
    /// The profile in force.
    apparmor: Option<String>,
    /// Whether any capability is left.
    has_capabilities: bool,
}

/// What was refused, and in which words.
pub(super) type Refused = (Refusal, String);

impl Pod {
    /// As the kernel describes this process.
    pub(super) fn read() -> Self {
        // What cannot be read is not known, and not spoken of.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let apparmor = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        Self::parse(&status, &apparmor, rustix::process::geteuid().as_raw())
    }

    fn parse(status: &str, apparmor: &str, uid: u32) -> Self {
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", str::trim)
        };
        let profile = apparmor.trim().trim_end_matches(" (enforce)");
        Self {
            uid,
            is_filtered: field("Seccomp") == "2",
            no_new_privileges: field("NoNewPrivs") == "1",
            apparmor: Some(profile.to_owned())
                .filter(|profile| !profile.is_empty() && profile != "unconfined" && !profile.contains(':')),
            has_capabilities: field("CapBnd").chars().any(|digit| digit != '0'),
        }
    }

    /// Why nothing works, and what to change.
    pub(super) fn reasons(&self, namespaces: &Refused, in_place: &Refused) -> String {
        let mut text = format!("(found: {})\n", self.description());
        let ways = [("overlay, userns", namespaces), ("in-place", in_place)];
        for (name, (_, refused)) in ways {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name}: {refused}");
        }
        text.push_str("help: ");
        text.push_str(&self.help(namespaces.0, in_place.0));
        text
    }

    fn description(&self) -> String {
        let mut facts = vec![match self.uid {
            0 => "root".to_owned(),
            uid => format!("user {uid}"),
        }];
        let mut add = |fact: &str, is_so: bool| {
            if is_so {
                facts.push(fact.to_owned());
            }
        };
        add("all capabilities dropped", !self.has_capabilities);
        add("a seccomp profile", self.is_filtered);
        add("no privilege escalation", self.no_new_privileges);
        if let Some(profile) = &self.apparmor {
            facts.push(format!("AppArmor profile {profile}"));
        }
        facts.join(", ")
    }

    fn help(&self, namespaces: Refusal, in_place: Refusal) -> String {
        let mut in_place_lines = Vec::new();
        match in_place {
            Refusal::ReadOnlyRoot => in_place_lines.push("readOnlyRootFilesystem: false"),
            Refusal::Capability => in_place_lines
                .push("capabilities: {add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, KILL]}"),
            Refusal::Root => {
                in_place_lines.extend(["runAsUser: 0", "runAsNonRoot: false"]);
                if !self.has_capabilities {
                    in_place_lines.push(
                        "capabilities: {add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, KILL]}",
                    );
                }
            }
            _ => {}
        }
        let mut lines = Vec::new();
        match namespaces {
            Refusal::Mount => lines.push("appArmorProfile: {type: Unconfined}"),
            Refusal::IdMap => {
                lines.push("capabilities: {add: [SETUID, SETGID, CHOWN, DAC_OVERRIDE, FOWNER]}");
            }
            _ if self.is_filtered => {
                lines.push("seccompProfile: {type: Unconfined}");
                if self.apparmor.is_some() {
                    lines.push("appArmorProfile: {type: Unconfined}");
                }
            }
            _ => {}
        }
        let block = |lines: &[&str]| {
            let mut text = String::from("  securityContext:");
            for line in lines {
                text.push_str("\n    ");
                text.push_str(line);
            }
            text
        };
        match (lines.is_empty(), in_place_lines.is_empty()) {
            (false, false) => format!(
                "add to the container, for `in-place`:\n{}\nor, for `overlay` and `userns`:\n{}",
                block(&in_place_lines),
                block(&lines)
            ),
            (true, false) => format!("add to the container:\n{}", block(&in_place_lines)),
            (false, true) => format!("add to the container:\n{}", block(&lines)),
            (true, true) => "the node forbids user namespaces (sysctl `user.max_user_namespaces` or \
                             `kernel.unprivileged_userns_clone`); use Cooper's own image, as root, in a pod"
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTRICTED: &str = "Name:\tcooper\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn help_fits_the_pod() {
        let namespaces = (Refusal::Namespaces, "no namespaces".to_owned());
        let restricted = Pod::parse(RESTRICTED, "cri-containerd.apparmor.d (enforce)\n", 1000);
        assert_eq!(
            restricted.reasons(&namespaces, &(Refusal::Root, "no root".to_owned())),
            "(found: user 1000, all capabilities dropped, a seccomp profile, no privilege escalation, AppArmor \
             profile cri-containerd.apparmor.d)\n  overlay, userns: no namespaces\n  in-place: no root\nhelp: add to \
             the container, for `in-place`:\n  securityContext:\n    runAsUser: 0\n    runAsNonRoot: false\n    \
             capabilities: {add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, KILL]}\nor, for `overlay` and \
             `userns`:\n  securityContext:\n    seccompProfile: {type: Unconfined}\n    appArmorProfile: {type: \
             Unconfined}"
        );
        let plain = Pod::parse("CapBnd:\t00000000a80425fb\nSeccomp:\t0\n", "unconfined\n", 0);
        assert_eq!(plain.description(), "root");
        assert_eq!(
            plain.help(Refusal::Mount, Refusal::ReadOnlyRoot),
            "add to the container, for `in-place`:\n  securityContext:\n    readOnlyRootFilesystem: false\nor, for \
             `overlay` and `userns`:\n  securityContext:\n    appArmorProfile: {type: Unconfined}"
        );
    }
}
