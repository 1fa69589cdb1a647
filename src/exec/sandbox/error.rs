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
    /// No isolation is possible in this pod.
    #[error("no isolation for RUN is possible in this pod {reasons}")]
    NothingWorks {
        /// What was found and tried, and what to change.
        reasons: String,
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
    /// `--network=none` where there are no namespaces.
    #[error(
        "`--network=none` needs the isolation `overlay` or `userns`: without namespaces, a RUN has the pod's network"
    )]
    NoNetworkNamespace,
    /// An earlier builder was killed while a RUN had the pod's `/`.
    #[error(
        "a builder was killed in this container while `/` showed an image: the container's own files are out of the \
         way; start a new one"
    )]
    Interrupted,
    /// The builder's image has too much besides its own directory.
    #[error(
        "`{}` of the builder's image holds too much to be moved out of the way for a RUN: use an image that has \
         nothing but Cooper's own directory, or another isolation",
        path.display()
    )]
    Crowded {
        /// The directory.
        path: PathBuf,
    },
    /// Something that has to stay is where the image has no directory.
    #[error(
        "`{}` is a directory of the pod that has to stay, but a link or a file in the image: keep the store elsewhere \
         with `--store`, or mount the volume elsewhere",
        path.display()
    )]
    InTheWay {
        /// Where.
        path: PathBuf,
    },
    /// There is no file system in memory that a file could be shown from.
    #[error(
        "a secret cannot be a file at `{}` here: without namespaces it would have to be on a disk; give it to the \
         command as a variable (`--mount=type=secret,id=…,env=NAME`), or use another isolation than `chroot`",
        target.display()
    )]
    SecretFile {
        /// Where the file was to be.
        target: PathBuf,
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
    /// Being root.
    Root,
    /// A capability that runtimes give to root by default.
    Capability,
    /// Writing to `/`.
    ReadOnlyRoot,
    /// A place for images on the file system of `/`.
    OtherFileSystem,
    /// A container of its own.
    Container,
    /// A program that needs no shared libraries.
    Libraries,
    /// `chroot(2)`.
    Chroot,
    /// Recording owners of files, where there is one id only.
    Ownership,
}

impl Refusal {
    /// What to change so that it works: the lines of a pod's manifest.
    pub fn advice(self) -> &'static str {
        let text = advice(self);
        text.strip_prefix("help: ").unwrap_or(text)
    }
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
        Refusal::Root => {
            "help: without namespaces only root can act as the image's users. Add to the container:\n  \
             securityContext:\n    runAsUser: 0\n    runAsNonRoot: false"
        }
        Refusal::Capability => {
            "help: RUN needs capabilities that runtimes give by default. Add to the container:\n  \
             securityContext:\n    \
             capabilities: {add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, KILL]}"
        }
        Refusal::ReadOnlyRoot => {
            "help: the isolation `in-place` puts images into `/`. Change in the container:\n  \
             securityContext:\n    readOnlyRootFilesystem: false"
        }
        Refusal::OtherFileSystem => "help: images must be unpacked on the file system of `/`",
        Refusal::Container => {
            "help: use `--isolation=overlay` or `userns`. If this is a container after all, in which nothing else \
             runs, set `COOPER_FORCE_IN_PLACE=1`"
        }
        Refusal::Libraries => "help: use Cooper's own image, or a static build",
        Refusal::Ownership => {
            "help: with a single id, owners of files are recorded in extended attributes. Keep the store on a volume \
             whose file system has them (`--store=/store`), or run the container as root:\n  \
             securityContext:\n    runAsUser: 0"
        }
        Refusal::Chroot => {
            "help: containerd gives root the capability for it, CRI-O does not. Use `--isolation=in-place`, or add to \
             the container:\n  securityContext:\n    capabilities: {add: [SYS_CHROOT, MKNOD]}"
        }
    }
}
