//! What this pod permits, found out by trying.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::DumpableBehavior;

use super::container;
use super::directory::Directory;
use super::idmap::IdMap;
use super::pod::Pod;
use super::process::Helpers;
use super::wire::Operation;
use super::{Isolation, IsolationChoice, Refusal, Sandbox, SandboxError};

/// Set to `1`, it lets `in-place` be used where nothing says that this is a container.
const FORCE: &str = "COOPER_FORCE_IN_PLACE";

/// Where rootfs are kept when the store is on another file system than `/`.
const PARKING: &str = "/.cooper";

/// What the builder uses by its path while `/` shows an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// The store.
    pub(super) store: PathBuf,
    /// All: absolute, without links.
    pub(super) paths: Vec<PathBuf>,
}

impl Sandbox {
    /// Finds out, by trying in child processes (some milliseconds), what this machine permits, and takes the best
    /// of it or the one asked for. Unpacked layers will live below `store`; `helper` is the program to re-execute,
    /// usually `/proc/self/exe`: it must call [`super::helper_main`] when [`super::is_helper`] says so.
    ///
    /// Also removes what earlier builds that were killed have left below `store`.
    pub fn choose(choice: IsolationChoice, store: &Path, helper: &Path) -> Result<Self, SandboxError> {
        match choice {
            IsolationChoice::Auto => {
                let first = match with_namespaces(None, store, helper) {
                    Err(SandboxError::Refused { refusal, refused }) => (refusal, refused),
                    result => return result,
                };
                match without_namespaces(Isolation::InPlace, store, helper) {
                    Err(SandboxError::Refused { refusal, refused }) => Err(SandboxError::NothingWorks {
                        reasons: Pod::read().reasons(&first, &(refusal, refused)),
                    }),
                    Ok(sandbox) => Ok(Self { reason: format!("{}; {}", first.1, sandbox.reason), ..sandbox }),
                    result => result,
                }
            }
            IsolationChoice::Only(isolation @ (Isolation::Overlay | Isolation::Userns)) => {
                with_namespaces(Some(isolation), store, helper)
            }
            IsolationChoice::Only(isolation @ (Isolation::InPlace | Isolation::Chroot)) => {
                without_namespaces(isolation, store, helper)
            }
        }
    }
}

/// The text of `/etc/resolv.conf`. Without one there is nothing that names could be asked of.
fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

fn with_namespaces(wanted: Option<Isolation>, store: &Path, helper: &Path) -> Result<Sandbox, SandboxError> {
    let map = Helpers::find_map(helper)?;
    let directory = Directory::open(store, map)?;
    let helpers = Helpers { program: helper.to_owned(), map, directory: directory.path().to_owned() };
    let overlay = wanted != Some(Isolation::Userns);
    let build = directory.begin()?;
    let probed = helpers.perform(Operation::Probe { scratch: build.join(""), overlay });
    build.end(&helpers)?;
    directory.sweep(&helpers)?;
    let (isolation, reason) = match (probed, wanted) {
        (Ok(_), Some(isolation)) => (isolation, "as asked for".to_owned()),
        (Ok(_), None) => (Isolation::Overlay, "overlays can be mounted in the store".to_owned()),
        (Err(SandboxError::Refused { refusal: Refusal::Overlay, refused }), None) => {
            (Isolation::Userns, refused)
        }
        (Err(error), _) => return Err(error),
    };
    let reason = format!("{reason}; user namespace with {}", map.description());
    Ok(Sandbox { isolation, reason, helpers, directory, resolv_conf: resolv_conf(), kept: Kept::default() })
}

fn without_namespaces(isolation: Isolation, store: &Path, helper: &Path) -> Result<Sandbox, SandboxError> {
    let in_place = isolation == Isolation::InPlace;
    if !rustix::process::geteuid().is_root() {
        let refused = "only root can act as the image's users".to_owned();
        return Err(SandboxError::Refused { refused, refusal: Refusal::Root });
    }
    if in_place && !std::env::var(FORCE).is_ok_and(|value| value == "1") {
        container::check(helper)?;
    }
    // A command may have all that the builder may: it must not get at its memory and its environment.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| {
        SandboxError::Step { step: "hide the builder from commands".to_owned(), source: error.into() }
    })?;
    let attempt = |place: &Path| {
        let directory = Directory::open(place, IdMap::Own)?;
        let path = directory.path().to_owned();
        let helpers = Helpers { program: helper.to_owned(), map: IdMap::Own, directory: path };
        let build = directory.begin()?;
        let operation = Operation::ProbeInPlace { scratch: build.join(""), isolation };
        let probed = helpers.perform(operation);
        build.end(&helpers)?;
        probed?;
        directory.sweep(&helpers)?;
        Ok((directory, helpers))
    };
    let (directory, helpers) = match attempt(store) {
        Err(SandboxError::Refused { refusal: Refusal::OtherFileSystem, .. }) => {
            attempt(Path::new(PARKING)).map_err(read_only)?
        }
        result => result.map_err(read_only)?,
    };
    let kept = Kept::new(store, &directory, helper)?;
    let reason = match isolation {
        Isolation::InPlace => "commands run in the pod's own root",
        _ => "as asked for; commands find no `/proc`",
    };
    let reason = reason.to_owned();
    Ok(Sandbox { isolation, reason, helpers, directory, resolv_conf: resolv_conf(), kept })
}

/// Where nothing can be written, nothing can be renamed.
fn read_only(error: SandboxError) -> SandboxError {
    match error {
        SandboxError::Store { path, source } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            let refused = format!("making `{}` is refused: {source}", path.display());
            SandboxError::Refused { refused, refusal: Refusal::ReadOnlyRoot }
        }
        error => error,
    }
}

impl Kept {
    fn new(store: &Path, directory: &Directory, helper: &Path) -> Result<Self, SandboxError> {
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|source| SandboxError::Store { path: path.to_owned(), source })
        };
        let store = real(store)?;
        let program = real(helper)?;
        // A directory of its own stays as a whole; from another, as `/usr/bin`, only the program.
        let own = match program.parent() {
            Some(parent) if parent.components().count() == 2 && parent.ends_with("bin") => program,
            Some(parent) if parent.components().count() == 2 => parent.to_owned(),
            _ => program,
        };
        let mut paths = vec![store.clone(), real(directory.path())?, own];
        if directory.path().starts_with(PARKING) {
            paths.push(PARKING.into());
        }
        Ok(Self { store, paths })
    }
}
