//! The command itself: its environment, its rights, its start.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Gid, Pid, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::record;
use super::users::Identity;
use crate::exec::sandbox::sys::{self, Fork};
use crate::exec::sandbox::wire::{self, Answer, During as _, Failure};
use crate::exec::sandbox::{RunSpec, Ulimit};

/// Where programs are looked for when the image does not say; Docker's value.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most a command may do, as root of its namespace: what Docker gives.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// A command that is ready to be started in the current root.
#[derive(Debug)]
pub(super) struct Command {
    program: String,
    /// Paths to try, in order.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: PathBuf,
    identity: Identity,
    groups: bool,
    capabilities: CapabilitySet,
    ulimits: Vec<Ulimit>,
}

impl Command {
    /// Everything that needs memory or can be wrong is done here, before the fork.
    pub(super) fn new(
        spec: &RunSpec,
        identity: Identity,
        groups: bool,
        cwd: PathBuf,
    ) -> Result<Self, Failure> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let failed =
            |errno: Errno| Failure::Program { program: program.clone(), errno: errno.raw_os_error() };
        let env = environment(spec, &identity);
        let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
        let c_string = |text: String| CString::new(text).map_err(|_| failed(Errno::INVAL));
        let candidates = if program.is_empty() {
            return Err(failed(Errno::NOENT));
        } else if program.contains('/') {
            vec![c_string(program.clone())?]
        } else {
            let paths = path.split(':').map(|directory| match directory {
                "" => format!("./{program}"),
                directory => format!("{directory}/{program}"),
            });
            paths.map(c_string).collect::<Result<_, _>>()?
        };
        let argv = spec.argv.iter().cloned().map(c_string).collect::<Result<_, _>>()?;
        let env =
            env.iter().map(|(name, value)| c_string(format!("{name}={value}"))).collect::<Result<_, _>>()?;
        let (capabilities, ulimits) = (CAPABILITIES, spec.ulimits.clone());
        Ok(Self { program, candidates, argv, env, cwd, identity, groups, capabilities, ulimits })
    }

    /// The same without a capability.
    pub(super) fn without(self, capability: CapabilitySet) -> Self {
        Self { capabilities: self.capabilities.difference(capability), ..self }
    }

    /// Starts it; `null` is its standard input. An error of the start itself is reported, not left to its exit code.
    ///
    /// With a `submitter`, its calls that concern owners are answered by whoever is at the other end.
    pub(super) fn spawn(&self, null: &File, submitter: Option<&UnixStream>) -> Result<Pid, Failure> {
        let (report, reporter) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "make a pipe")?;
        let child = match sys::fork().during(|| "start the command")? {
            Fork::Child => {
                let Err(failure) = self.become_it(null, submitter);
                // If the report fails, the exit code has to do.
                let _ = wire::send(File::from(reporter), &Answer::Failed(failure));
                sys::exit(127)
            }
            Fork::Parent(child) => child,
        };
        drop(reporter);
        match wire::receive(File::from(report)) {
            Ok(Answer::Failed(failure)) => Err(failure),
            // Closed by the exec.
            _ => Ok(child),
        }
    }

    fn become_it(&self, null: &File, submitter: Option<&UnixStream>) -> Result<Infallible, Failure> {
        rustix::process::setsid().during(|| "begin a session")?;
        rustix::stdio::dup2_stdin(null).during(|| "close the standard input")?;
        sys::close_on_exec().during(|| "close descriptors")?;
        sys::reset_signals();
        rustix::process::chdir(&self.cwd).during(|| format!("enter `{}`", self.cwd.display()))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for ulimit in &self.ulimits {
            let Some((resource, current, maximum)) = ulimit.parts() else { continue };
            rustix::process::setrlimit(resource, Rlimit { current, maximum })
                .during(|| format!("set the limit `{ulimit}` (a hard limit can only be lowered)"))?;
        }
        if let Some(submitter) = submitter {
            record::submit(submitter, &self.identity).during(|| "have system calls answered")?;
        }
        self.become_user(submitter.is_some()).during(|| format!("become user {}", self.identity.uid))?;
        let mut failed = Errno::NOENT;
        for candidate in &self.candidates {
            let Err(error) = sys::exec(candidate, &self.argv, &self.env);
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) => {}
                Some(Errno::ACCESS) => failed = Errno::ACCESS,
                other => {
                    failed = other.unwrap_or(Errno::IO);
                    break;
                }
            }
        }
        Err(Failure::Program { program: self.program.clone(), errno: failed.raw_os_error() })
    }

    /// `remains_root` says that all users are root in truth.
    fn become_user(&self, remains_root: bool) -> io::Result<()> {
        for bit in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            // The kernel knows no further ones.
            let Ok(bounded) = rustix::thread::capability_is_in_bounding_set(capability) else { break };
            if bounded && !self.capabilities.contains(capability) {
                rustix::thread::remove_capability_from_bounding_set(capability)?;
            }
        }
        let identity = &self.identity;
        if self.groups {
            let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
            rustix::thread::set_thread_groups(&groups)?;
        }
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        // Without a user namespace, the builder may have less.
        let own = rustix::thread::capabilities(None)?.permitted;
        let permitted = if remains_root || uid.is_root() {
            self.capabilities.intersection(own)
        } else {
            CapabilitySet::empty()
        };
        let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
        Ok(rustix::thread::set_capabilities(None, sets)?)
    }
}

/// The environment as given, the last of each name, and what a command may expect besides.
fn environment(spec: &RunSpec, identity: &Identity) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in &spec.env {
        match env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => env.push((name.clone(), value.clone())),
        }
    }
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOSTNAME", &spec.hostname), ("HOME", &identity.home)] {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_given_values_stay() {
        let spec = RunSpec {
            argv: vec![],
            env: [("A", "1"), ("HOME", "/x"), ("A", "2")].map(|(n, v)| (n.into(), v.into())).into(),
            cwd: "/".into(),
            user: String::new(),
            hostname: "h".into(),
            network: crate::exec::sandbox::Network::Host,
            mounts: vec![],
            extra_hosts: vec![],
            shm_size: None,
            ulimits: vec![],
            emulator: None,
        };
        let identity = Identity { uid: 0, gid: 0, groups: vec![], home: "/root".into() };
        let env = environment(&spec, &identity);
        let env: Vec<(&str, &str)> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(env, [("A", "2"), ("HOME", "/x"), ("PATH", DEFAULT_PATH), ("HOSTNAME", "h")]);
    }
}
