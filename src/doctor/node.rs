//! What the nodes of a cluster need so that they can pull what was pushed. Pods cannot see how nodes are configured; what a
//! node does by default is known.

use super::finding::{Code, Finding, Level, NodeFile};

/// What a registry is for those who know nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// TLS with a certificate that everybody believes.
    Tls,
    /// TLS with a certificate of an authority of one's own.
    OwnAuthority,
    /// No TLS.
    Plain,
}

/// Whether nodes will be able to pull from `host`.
pub(super) fn examine(host: &str, speech: Speech, is_loopback: bool) -> Vec<Finding> {
    let mut findings = vec![match speech {
        Speech::Tls => {
            let found = "its certificate is of an authority that nodes know: they pull without further ado";
            Finding::new(Level::Ok, Code::NodePull, host, found)
        }
        Speech::Plain => {
            let found =
                "nodes expect TLS: pulling will fail with `http: server gave HTTP response to HTTPS client`";
            let advice = "tell every node that this registry speaks plain HTTP, with the file for its runtime; or \
                          give the registry a certificate (cert-manager makes one; docker-registry takes it as \
                          `http.tls.certificate` and `http.tls.key`), which needs no node to be told if the authority \
                          is a public one";
            Finding::new(Level::Warning, Code::NodePullPlainHttp, host, found)
                .advise(advice)
                .with_files(plain_http(host))
        }
        Speech::OwnAuthority => {
            let found = "nodes do not know the authority of its certificate: pulling will fail with `x509: certificate \
                         signed by unknown authority`";
            let advice = "give every node the authority's certificate as ca.crt, with the files for its runtime; or use \
                          a certificate of a public authority";
            Finding::new(Level::Warning, Code::NodePullUnknownAuthority, host, found)
                .advise(advice)
                .with_files(own_authority(host))
        }
    }];
    if is_loopback {
        let found = "for a node this name means the node itself";
        let advice = "name images by an address that is the same in pods and on nodes: a NodePort, an Ingress, or a \
                      LoadBalancer's name that the nodes' own resolver knows (they do not ask the cluster's DNS)";
        findings.push(Finding::new(Level::Note, Code::NodePullLoopback, host, found).advise(advice));
    }
    findings
}

/// The part of a file's name that stands for a registry.
fn file_name(host: &str) -> String {
    host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

const RELOAD_CRIO: &str = "systemctl reload crio";
const RESTART_CRIO: &str = "systemctl restart crio";
/// See containerd, `docs/hosts.md`.
const CONTAINERD: &str = "nothing to restart, if /etc/containerd/config.toml has config_path = \"/etc/containerd/certs.d\" \
                          in [plugins.\"io.containerd.cri.v1.images\".registry] (containerd 2) or \
                          [plugins.\"io.containerd.grpc.v1.cri\".registry] (1.x); else add it, and systemctl restart \
                          containerd";
const K3S: &str = "systemctl restart k3s (on agents: k3s-agent)";

fn plain_http(host: &str) -> Vec<NodeFile> {
    let name = file_name(host);
    vec![
        // See containers-registries.conf(5).
        NodeFile {
            runtime: "CRI-O",
            path: format!("/etc/containers/registries.conf.d/50-{name}.conf"),
            text: format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"),
            then: RELOAD_CRIO,
        },
        // See crio.conf(5): the same by CRI-O's own configuration.
        NodeFile {
            runtime: "CRI-O, instead",
            path: format!("/etc/crio/crio.conf.d/50-{name}.conf"),
            text: format!("[crio.image]\ninsecure_registries = [\"{host}\"]\n"),
            then: RESTART_CRIO,
        },
        NodeFile {
            runtime: "containerd",
            path: format!("/etc/containerd/certs.d/{host}/hosts.toml"),
            text: format!(
                "server = \"http://{host}\"\n\n[host.\"http://{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
            ),
            then: CONTAINERD,
        },
        // See k3s' "Private registry configuration".
        NodeFile {
            runtime: "k3s",
            path: "/etc/rancher/k3s/registries.yaml".to_owned(),
            text: format!("mirrors:\n  \"{host}\":\n    endpoint:\n      - \"http://{host}\"\n"),
            then: K3S,
        },
    ]
}

fn own_authority(host: &str) -> Vec<NodeFile> {
    const CERTIFICATE: &str =
        "-----BEGIN CERTIFICATE-----\n(the authority's certificate)\n-----END CERTIFICATE-----\n";
    vec![
        // See containers-certs.d(5).
        NodeFile {
            runtime: "CRI-O",
            path: format!("/etc/containers/certs.d/{host}/ca.crt"),
            text: CERTIFICATE.to_owned(),
            then: "nothing to restart",
        },
        NodeFile {
            runtime: "containerd",
            path: format!("/etc/containerd/certs.d/{host}/hosts.toml"),
            text: format!(
                "server = \"https://{host}\"\n\n[host.\"https://{host}\"]\n  capabilities = [\"pull\", \
                 \"resolve\"]\n  ca = \"/etc/containerd/certs.d/{host}/ca.crt\"\n"
            ),
            then: CONTAINERD,
        },
        NodeFile {
            runtime: "containerd",
            path: format!("/etc/containerd/certs.d/{host}/ca.crt"),
            text: CERTIFICATE.to_owned(),
            then: "nothing to restart",
        },
        NodeFile {
            runtime: "k3s",
            path: "/etc/rancher/k3s/registries.yaml".to_owned(),
            text: format!("configs:\n  \"{host}\":\n    tls:\n      ca_file: /etc/rancher/k3s/{host}.crt\n"),
            then: K3S,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_registry() {
        let finding = examine("registry.local:5000", Speech::Plain, false).remove(0);
        let paths: Vec<&str> = finding.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/etc/containers/registries.conf.d/50-registry.local-5000.conf",
                "/etc/crio/crio.conf.d/50-registry.local-5000.conf",
                "/etc/containerd/certs.d/registry.local:5000/hosts.toml",
                "/etc/rancher/k3s/registries.yaml",
            ]
        );
        assert_eq!(
            finding.files[0].text,
            "[[registry]]\nlocation = \"registry.local:5000\"\ninsecure = true\n"
        );
        assert_eq!(finding.files[1].text, "[crio.image]\ninsecure_registries = [\"registry.local:5000\"]\n");
        let finding = examine("r:5000", Speech::OwnAuthority, false).remove(0);
        assert!(finding.files.iter().any(|file| file.path == "/etc/containers/certs.d/r:5000/ca.crt"));
    }
}
