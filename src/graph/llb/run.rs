//! RUN as an exec operation.

use std::sync::Arc;

use bollard_buildkit_proto::pb;

use super::definition::Output;
use super::mounts::Mounts;
use super::{EMPTY, SKIP_OUTPUT, Writer};
use crate::dockerfile::{Mount, Network};
use crate::graph::{RunStep, Step};

/// Where the variable of an SSH agent's socket is.
const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";

impl Writer<'_> {
    pub(super) fn run(&mut self, run: &RunStep, step: &Step) -> Output {
        let mut mounts = Mounts::default();
        let root = self.output(run.parent);
        mounts.add("/", root, pb::Mount { output: 0, ..pb::Mount::default() });
        if let Some(script) = &run.script {
            let text: Arc<[u8]> = Arc::from(script.text.as_bytes());
            let file = self.inline(&script.name, &text, 0o755);
            let mount = pb::Mount { readonly: true, output: SKIP_OUTPUT, ..pb::Mount::default() };
            mounts.add("/dev/pipes/", Some(file), mount);
        }
        for mount in &run.mounts {
            self.mount(mount, &mut mounts);
        }
        let secretenv = run.mounts.iter().filter_map(|mount| match &mount.mount {
            Mount::Secret(secret) => secret.env.as_ref().map(|name| pb::SecretEnv {
                id: secret.id.clone(),
                name: name.clone(),
                optional: !secret.required,
            }),
            _ => None,
        });
        let network = match run.network {
            Network::Default => pb::NetMode::Unset,
            Network::None => pb::NetMode::None,
            Network::Host => pb::NetMode::Host,
        };
        let (inputs, mounts) = mounts.finish();
        let exec = pb::ExecOp {
            meta: Some(self.meta(run)),
            mounts,
            network: network.into(),
            security: pb::SecurityMode::Sandbox.into(),
            secretenv: secretenv.collect(),
            cdi_devices: Vec::new(),
        };
        self.definition.vertex(&inputs, pb::op::Op::Exec(exec), &step.name, Some(&step.place))
    }

    fn meta(&self, run: &RunStep) -> pb::Meta {
        let mut env: Vec<String> = run.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let agent = run.mounts.iter().find_map(|mount| match &mount.mount {
            Mount::Ssh(agent) => agent.target.as_deref(),
            _ => None,
        });
        if let Some(socket) = agent.filter(|_| run.env.iter().all(|(name, _)| name != SSH_AUTH_SOCK)) {
            env.push(format!("{SSH_AUTH_SOCK}={socket}"));
        }
        let hosts = self.options.extra_hosts.iter();
        pb::Meta {
            args: run.argv.clone(),
            env,
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            proxy_env: proxies(&run.proxies),
            extra_hosts: hosts
                .map(|(host, ip)| pb::HostIp { host: host.clone(), ip: ip.to_string() })
                .collect(),
            hostname: run.hostname.clone(),
            remove_mount_stubs_recursive: true,
            ..pb::Meta::default()
        }
    }
}

/// The proxies: given to the command, but no part of what BuildKit finds its result by.
fn proxies(given: &[(String, String)]) -> Option<pb::ProxyEnv> {
    let value = |wanted: &str| {
        given.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    (!given.is_empty()).then(|| pb::ProxyEnv {
        http_proxy: value("http_proxy"),
        https_proxy: value("https_proxy"),
        ftp_proxy: value("ftp_proxy"),
        no_proxy: value("no_proxy"),
        all_proxy: value("all_proxy"),
    })
}

/// A mount without files of its own.
pub(super) fn special(kind: pb::MountType) -> pb::Mount {
    pb::Mount { input: EMPTY, output: SKIP_OUTPUT, mount_type: kind.into(), ..pb::Mount::default() }
}
