//! What RUNs may ask for: `--secret`, `--ssh`, `--add-host`, with the forms of `docker buildx build`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::dockerfile::value::parse_size;
use crate::exec::sandbox::{RunSettings, Ulimit};
use crate::exec::{AgentSource, SecretSource};

#[derive(Debug, Args)]
pub(super) struct MountArguments {
    /// Secret that RUN can mount: id=ID[,src=FILE|,env=VARIABLE]
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<NamedSecret>,
    /// SSH agent that RUN can mount; `default` is the one at $SSH_AUTH_SOCK
    #[arg(long = "ssh", value_name = "default|ID[=SOCKET]")]
    agents: Vec<NamedAgent>,
    /// Name that RUN finds in /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host)]
    hosts: Vec<(String, IpAddr)>,
    /// Most bytes in /dev/shm of RUN, with a unit if need be: 64m
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shm_size: Option<u64>,
    /// Limit of RUN's processes, as in `nofile=1024:2048`; repeatable
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    ulimits: Vec<Ulimit>,
    /// Static program that executes RUNs for another architecture; else qemu-ARCH-static is looked for on the path
    #[arg(long, value_name = "PATH")]
    emulator: Option<PathBuf>,
}

impl MountArguments {
    /// The secrets by id; of two with one id the last counts.
    pub(super) fn secrets(&self) -> BTreeMap<String, SecretSource> {
        self.secrets.iter().map(|NamedSecret { id, source }| (id.clone(), source.clone())).collect()
    }

    /// The agents by id.
    pub(super) fn agents(&self) -> Result<BTreeMap<String, AgentSource>, String> {
        let find = |NamedAgent { id, socket }: &NamedAgent| {
            let socket = socket.clone().or_else(|| {
                std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
            });
            let socket = socket.ok_or_else(|| {
                format!(
                    "there is no SSH agent to forward: SSH_AUTH_SOCK is not set; start `ssh-agent`, or write \
                     `--ssh {id}=SOCKET`"
                )
            })?;
            Ok((id.clone(), AgentSource(socket)))
        };
        self.agents.iter().map(find).collect()
    }

    /// What all RUNs have in common.
    pub(super) fn run_settings(&self) -> RunSettings {
        RunSettings {
            shm_size: self.shm_size,
            ulimits: self.ulimits.clone(),
            emulator: self.emulator.clone(),
        }
    }

    /// The names of hosts.
    pub(super) fn hosts(&self) -> Vec<(String, IpAddr)> {
        self.hosts.clone()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedSecret {
    id: String,
    source: SecretSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedAgent {
    id: String,
    /// The environment says where, if this does not.
    socket: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum SecretProblem {
    #[error("`{0}` is not of the form key=value; write id=ID,src=FILE or id=ID,env=VARIABLE")]
    NoValue(String),
    #[error("`{0}` is not known; there are id, src, env and type")]
    Key(String),
    #[error("there is no type `{0}`; there are file and env")]
    Type(String),
    #[error("it has no id; write id=ID,src=FILE or id=ID,env=VARIABLE")]
    NoId,
    #[error("it can be in a file or in a variable, not in both")]
    Both,
}

impl FromStr for NamedSecret {
    type Err = SecretProblem;

    fn from_str(text: &str) -> Result<Self, SecretProblem> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in text.split(',') {
            let (key, value) =
                field.split_once('=').ok_or_else(|| SecretProblem::NoValue(field.to_owned()))?;
            let place = match key.to_ascii_lowercase().as_str() {
                "id" => &mut id,
                "src" | "source" => &mut file,
                "env" => &mut variable,
                "type" => &mut kind,
                _ => return Err(SecretProblem::Key(key.to_owned())),
            };
            *place = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        let id = id.ok_or(SecretProblem::NoId)?;
        let in_file = |path: String| SecretSource::File(path.into());
        #[expect(clippy::match_same_arms, reason = "one row for each way to write it")]
        let source = match (kind.as_deref(), file, variable) {
            (_, Some(_), Some(_)) => return Err(SecretProblem::Both),
            (None | Some("env"), None, Some(variable)) => SecretSource::Environment(variable),
            (Some("file"), None, Some(_)) => return Err(SecretProblem::Both),
            // As in buildx, where `src` of the type `env` is a variable.
            (Some("env"), Some(variable), None) => SecretSource::Environment(variable),
            (Some("env"), None, None) => SecretSource::Environment(id.clone()),
            (None | Some("file"), Some(file), None) => in_file(file),
            (Some("file"), None, None) => in_file(id.clone()),
            (None, None, None) if std::env::var_os(&id).is_some() => SecretSource::Environment(id.clone()),
            (None, None, None) => in_file(id.clone()),
            (Some(kind), _, _) => return Err(SecretProblem::Type(kind.to_owned())),
        };
        Ok(Self { id, source })
    }
}

impl FromStr for NamedAgent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(socket)),
            None => (text, None),
        };
        if id.is_empty() || socket == Some("") {
            return Err("write `default`, or ID=SOCKET");
        }
        if socket.is_some_and(|socket| socket.contains(',')) {
            return Err("key files are not read; give the socket of one SSH agent");
        }
        Ok(Self { id: id.to_owned(), socket: socket.map(PathBuf::from) })
    }
}

/// A number of bytes, with or without a unit.
fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
        .ok_or_else(|| "it is no size: write a number, with a unit if need be, like 64m".to_owned())
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may be in brackets.
fn host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || "write NAME:ADDRESS, like registry.local:10.0.0.1".to_owned();
    let split = text.find(['=', ':']).ok_or_else(wrong)?;
    let (name, address) = (&text[..split], &text[split + 1..]);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(wrong());
    }
    if address == "host-gateway" {
        return Err("there is no `host-gateway` in a pod; write an address".to_owned());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| format!("`{address}` is no IP address; {}", wrong()))?;
    Ok((name.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let file = |path: &str| SecretSource::File(path.into());
        let variable = |name: &str| SecretSource::Environment(name.to_owned());
        for (text, expected) in [
            ("id=a,src=b", Ok(file("b"))),
            ("id=a,source=b,type=file", Ok(file("b"))),
            ("ID=a,env=B", Ok(variable("B"))),
            ("id=a,env=B,type=env", Ok(variable("B"))),
            ("id=a,src=B,type=env", Ok(variable("B"))),
            ("id=a,type=env", Ok(variable("a"))),
            ("id=a,type=file", Ok(file("a"))),
            ("id=a", Ok(file("a"))),
            ("id=a,env=B,type=file", Err(SecretProblem::Both)),
            ("id=a,env=B,src=c", Err(SecretProblem::Both)),
            ("id=a,type=vault", Err(SecretProblem::Type("vault".into()))),
            ("src=b", Err(SecretProblem::NoId)),
            ("id=,src=b", Err(SecretProblem::NoId)),
            ("id=a,scr=b", Err(SecretProblem::Key("scr".into()))),
            ("a", Err(SecretProblem::NoValue("a".into()))),
        ] {
            let expected = expected.map(|source| NamedSecret { id: "a".to_owned(), source });
            assert_eq!(text.parse(), expected, "{text}");
        }
        let known: NamedSecret = "id=PATH".parse().unwrap();
        assert_eq!(known.source, variable("PATH"));
    }

    #[test]
    fn agents_and_hosts() {
        let agent = |id: &str, socket: Option<&str>| {
            Ok(NamedAgent { id: id.to_owned(), socket: socket.map(PathBuf::from) })
        };
        assert_eq!("default".parse(), agent("default", None));
        assert_eq!("git=/run/agent".parse(), agent("git", Some("/run/agent")));
        for text in ["", "=a", "a=", "a=key1,key2"] {
            assert!(text.parse::<NamedAgent>().is_err(), "{text}");
        }
        for (text, address) in [
            ("a.b:10.0.0.1", "10.0.0.1"),
            ("a.b=::1", "::1"),
            ("a.b:[::1]", "::1"),
            ("a.b:fe80::2", "fe80::2"),
        ] {
            assert_eq!(host(text), Ok(("a.b".to_owned(), address.parse().unwrap())), "{text}");
        }
        for text in ["a", "a:", ":1.1.1.1", "a b:1.1.1.1", "a:host-gateway", "a:b", "a\n:1.1.1.1"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
