//! What can go wrong with a sandbox.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::layer::Digest;

/// Why a sandbox cannot be had, or something in it failed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The system does not let an unprivileged process make what the isolation needs.
    #[error("{refused}\n{}", advice(*refusal))]
    Refused {
        /// What was tried and what the kernel said to it.
        refused: String,
        /// Which of the needs it is, and so what to change.
        refusal: Refusal,
    },
    /// The helper program cannot be started.
    #[error("cannot start the sandbox helper `{}`", helper.display())]
    Spawn {
        /// The program that was to be re-executed.
        helper: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The helper ended without an answer: killed from outside, out of memory, or a bug.
    #[error("the sandbox helper ended unexpectedly ({status})")]
    Died {
        /// How it ended.
        status: ExitStatus,
    },
    /// The command's supervisor was killed, as when the pod is out of memory.
    #[error(
        "the command was killed together with its supervisor (signal {signal}): is the pod out of memory?"
    )]
    Killed {
        /// By which signal.
        signal: i32,
    },
    /// The helper said something unexpected.
    #[error("the sandbox helper is not understood")]
    Protocol(#[source] io::Error),
    /// A system call inside the sandbox failed.
    #[error("cannot {step}")]
    Step {
        /// What was being done, with the path concerned.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The directory for unpacked layers cannot be used.
    #[error("cannot use `{}` for unpacked layers: name another place with `--store`", path.display())]
    Store {
        /// The directory or file concerned.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The uncompressed tar of a layer cannot be had.
    #[error("cannot read layer {chain}")]
    ReadLayer {
        /// The chain id that ends with the layer.
        chain: Digest,
        /// What its source said.
        #[source]
        source: io::Error,
    },
    /// A layer is not a valid tar, or says what cannot be made.
    #[error("cannot unpack a layer: {reason}")]
    BadLayer {
        /// What is wrong with it, and where.
        reason: String,
    },
    /// What a command left behind cannot be put into a layer.
    #[error("cannot record what changed: {reason}")]
    Diff {
        /// What is in the way, and where.
        reason: String,
    },
    /// `USER` names somebody whom the rootfs does not know.
    #[error("unable to find user {user}: no matching entries in passwd file")]
    UnknownUser {
        /// The name.
        user: String,
    },
    /// `USER` names a group that the rootfs does not know.
    #[error("unable to find group {group}: no matching entries in group file")]
    UnknownGroup {
        /// The name.
        group: String,
    },
    /// The command's program cannot be executed.
    #[error("cannot execute `{program}`")]
    Program {
        /// `argv[0]`.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What changed cannot be written down.
    #[error("cannot write the layer")]
    WriteLayer(#[source] io::Error),
    /// The build was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A need of the isolations that was not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// New user, mount, PID namespaces: seccomp, or a sysctl of the node.
    Namespaces,
    /// Any id map.
    IdMap,
    /// Mounting: `AppArmor` or another security module.
    Mount,
    /// An overlay in the place where the store is.
    Overlay,
}

/// What to change so that it works: the lines of a pod's manifest.
fn advice(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Namespaces => {
            "help: RUN needs user namespaces, which the pod's seccomp profile (or the node's \
             `user.max_user_namespaces`) forbids. Add to the container:\n  \
             securityContext:\n    seccompProfile: {type: Unconfined}\n    appArmorProfile: {type: Unconfined}\n\
             and a volume for the store:\n  \
             volumeMounts: [{name: store, mountPath: /store}]    # with `--store=/store`\n  \
             volumes: [{name: store, emptyDir: {}}]"
        }
        Refusal::IdMap => {
            "help: a user namespace can be made, but no user can be mapped into it. Run the container as root with \
             the runtime's default capabilities, or as a user with none dropped:\n  \
             securityContext:\n    runAsUser: 0\n    capabilities: {add: [SETUID, SETGID, CHOWN, DAC_OVERRIDE, FOWNER]}"
        }
        Refusal::Mount => {
            "help: RUN needs to mount in its own namespace, which a security module of the node forbids. Add to the \
             container:\n  \
             securityContext:\n    appArmorProfile: {type: Unconfined}"
        }
        Refusal::Overlay => {
            "help: an overlay cannot have its upper directory on this file system. Keep the store on a volume:\n  \
             volumeMounts: [{name: store, mountPath: /store}]    # with `--store=/store`\n  \
             volumes: [{name: store, emptyDir: {}}]\n\
             or use `--isolation=userns`"
        }
    }
}
