//! How a RUN would be confined here, and what would give a better way.

use std::path::Path;

use super::finding::{Code, Finding, Level};
use crate::exec::sandbox::{Isolation, IsolationChoice, Sandbox, SandboxError};
use crate::pipeline::describe;
use crate::registry::Credentials;

const SUBJECT: &str = "RUN";

/// What a RUN can read of the credentials, given what was found here.
pub fn readable_credentials(findings: &[Finding], credentials: &Credentials) -> Vec<Finding> {
    if findings.iter().all(|finding| finding.code != Code::IsolationInPlace) {
        return Vec::new();
    }
    let advice = "do not mount them: give them as the variable DOCKER_AUTH_CONFIG, with `valueFrom: {secretKeyRef: {name: \
                  registry-credentials, key: .dockerconfigjson}}`, which no RUN can read (docs/isolation.md)";
    let of_file = |file: &str| {
        let found = format!("a RUN can read the logins in `{file}`");
        Finding::new(Level::Note, Code::CredentialsReadable, SUBJECT, found).advise(advice)
    };
    credentials.files_with_logins().map(of_file).collect()
}

/// Tries; takes some milliseconds.
pub(super) fn examine(store: &Path, helper: &Path) -> Vec<Finding> {
    // What stands in the way of the best is asked first: trying `in-place` makes this process unreadable for others.
    let best = Sandbox::choose(IsolationChoice::Only(Isolation::Overlay), store, helper);
    let better = match &best {
        Ok(_) => None,
        Err(SandboxError::Refused { refused, refusal }) => {
            Some(format!("`overlay` is quicker and confines better; {refused}. {}", refusal.advice()))
        }
        Err(error) => Some(format!("`overlay` cannot be tried: {}", describe(error))),
    };
    match Sandbox::choose(IsolationChoice::Auto, store, helper) {
        Ok(sandbox) => {
            let (level, code) = match sandbox.isolation() {
                Isolation::Overlay => (Level::Ok, Code::IsolationOverlay),
                Isolation::Userns => (Level::Note, Code::IsolationUserns),
                // `auto` never chooses `chroot`.
                Isolation::InPlace | Isolation::Chroot => (Level::Note, Code::IsolationInPlace),
            };
            let found = format!("confined by `{}`: {}", sandbox.isolation(), sandbox.reason());
            let finding = Finding::new(level, code, SUBJECT, found);
            vec![match better {
                Some(better) if code != Code::IsolationOverlay => finding.advise(better),
                _ => finding,
            }]
        }
        Err(SandboxError::NothingWorks { reasons }) => {
            let (tried, help) = reasons.split_once("\nhelp: ").unwrap_or((&reasons, ""));
            let found = format!("no isolation is possible {tried}");
            let advice =
                format!("builds without RUN work all the same. For RUN, change the pod's manifest: {help}");
            vec![Finding::new(Level::Error, Code::IsolationNone, SUBJECT, found).advise(advice)]
        }
        Err(error) => {
            let found = format!("no isolation can be tried: {}", describe(&error));
            let advice =
                "name a store that can be written to with `--store DIR`, best on a volume of its own";
            vec![Finding::new(Level::Error, Code::IsolationNone, SUBJECT, found).advise(advice)]
        }
    }
}
