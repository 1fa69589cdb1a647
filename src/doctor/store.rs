//! Where builds keep what they need.

use std::path::Path;

use indicatif::HumanBytes;

use super::finding::{Code, Finding, Level};

const SUBJECT: &str = "store";

/// Less is not enough for most bases: `node:20-alpine` unpacked, its blobs and one layer of packages are this much.
const FULL: u64 = 512 << 20;
/// Less is used up by a few builds.
const LOW: u64 = 4 << 30;

/// Makes the store's directory if it is missing.
pub(super) fn examine(store: &Path) -> Vec<Finding> {
    let unusable = |error: &dyn std::fmt::Display| {
        let found = format!("`{}` cannot be used: {error}", store.display());
        let advice = "name a directory that can be written to with `--store DIR` or COOPER_STORE; in a pod, mount an \
                      emptyDir or a PersistentVolumeClaim there";
        vec![Finding::new(Level::Error, Code::StoreUnusable, SUBJECT, found).advise(advice)]
    };
    let written = std::fs::create_dir_all(store).and_then(|()| tempfile::tempfile_in(store));
    if let Err(error) = written {
        return unusable(&error);
    }
    match rustix::fs::statvfs(store) {
        Err(error) => unusable(&error),
        Ok(found) => {
            let usable = format!("`{}` can be written to", store.display());
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            vec![Finding::new(Level::Ok, Code::StoreUsable, SUBJECT, usable), room(free)]
        }
    }
}

/// What is to be said of so many free bytes.
fn room(free: u64) -> Finding {
    let (level, code) = match free {
        0..FULL => (Level::Error, Code::DiskFull),
        FULL..LOW => (Level::Warning, Code::DiskLow),
        _ => (Level::Ok, Code::DiskFree),
    };
    let finding = Finding::new(level, code, SUBJECT, format!("{} are free", HumanBytes(free)));
    if level == Level::Ok {
        return finding;
    }
    finding.advise(
        "remove what is not used any more with `cooper store prune --max-size SIZE`, raise the emptyDir's `sizeLimit` \
         or the claim's `storage`, or name another place with `--store DIR`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged() {
        for (free, level, code) in [
            (0, Level::Error, Code::DiskFull),
            (FULL, Level::Warning, Code::DiskLow),
            (LOW, Level::Ok, Code::DiskFree),
        ] {
            let finding = room(free);
            assert_eq!((finding.level, finding.code), (level, code));
            let advice = finding.advice.unwrap_or_default();
            assert_eq!(advice.contains("cooper store prune"), level != Level::Ok, "{advice}");
        }
    }
}
