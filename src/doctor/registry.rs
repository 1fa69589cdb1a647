//! A registry, asked for all that a build will ask of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::finding::{Code, Finding, Level};
use super::node::{self, Speech};
use super::tls;
use crate::image::{ManifestOrIndex, RepoName};
use crate::layer::Digest;
use crate::pipeline::describe;
use crate::registry::{
    Credentials, CredentialsError, Greeting, Hosts, Problem, Registries, RegistryError, RegistrySettings,
    Repository, RetryPolicy, SettingsError, registry_alone,
};

/// Clocks that differ by more make tokens that are not yet valid, or not any more.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// What is to be examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// A registry; pushing is not tried.
    Registry(String),
    /// A repository, and its registry.
    Repository(RepoName),
}

impl Examined {
    fn host(&self) -> &str {
        match self {
            Self::Registry(host) => host,
            Self::Repository(name) => name.registry(),
        }
    }
}

/// Asks the registry; takes ten seconds if nobody answers.
pub async fn examine(
    examined: &Examined,
    settings: &RegistrySettings,
    credentials: &Credentials,
) -> Vec<Finding> {
    match Visit::begin(examined, settings, credentials).await {
        Ok(findings) => findings,
        Err(error) => {
            let found = describe(&error);
            vec![
                Finding::new(Level::Error, Code::RegistryStrange, examined.host(), found).advise(
                    "name it as HOST, HOST:PORT or HOST/REPOSITORY, and check the files given for it",
                ),
            ]
        }
    }
}

struct Visit<'a> {
    host: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Visit<'a> {
    async fn begin(
        examined: &'a Examined,
        settings: &RegistrySettings,
        credentials: &Credentials,
    ) -> Result<Vec<Finding>, SettingsError> {
        let host = examined.host();
        let mut visit = Self { host, findings: Vec::new() };
        // Who waits for an answer does not want to wait for five.
        let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let settings = RegistrySettings { retry, stall_seconds: 15, ..settings.clone() };
        let registries = Registries::new(settings.clone(), Credentials::anonymous())?;
        let asked = Timestamp::now();
        let greeting = registries.greet(host).await?;
        let answered = Timestamp::now();
        let Some(speech) = visit.speech(&greeting, &settings).await? else { return Ok(visit.findings) };
        let settings = match speech {
            Speech::Plain => settings.with_plain(host),
            Speech::Tls | Speech::OwnAuthority => settings.with_tls(host),
        };
        visit.clock(&greeting, asked, answered);
        visit.enter(examined, settings, credentials, &greeting).await?;
        visit.findings.extend(node::examine(host, speech, is_loopback(host)));
        Ok(visit.findings)
    }

    fn add(&mut self, level: Level, code: Code, found: impl Into<String>) {
        self.findings.push(Finding::new(level, code, self.host, found));
    }

    fn add_advice(&mut self, level: Level, code: Code, found: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding::new(level, code, self.host, found).advise(advice));
    }

    /// What is spoken there; nothing if nobody can be spoken to.
    async fn speech(
        &mut self,
        greeting: &Greeting,
        settings: &RegistrySettings,
    ) -> Result<Option<Speech>, SettingsError> {
        let host = self.host;
        let speaks = |reply: &Result<crate::registry::Reply, Problem>| {
            reply.as_ref().is_ok_and(|reply| reply.is_of_registry())
        };
        if speaks(&greeting.tls) {
            // A certificate that is believed because of what was said here is not believed by nodes.
            let plainly =
                RegistrySettings { skip_tls_verify: Hosts::default(), ..settings.without_certificates() };
            let usual = Registries::new(plainly, Credentials::anonymous())?.greet(host).await?;
            let speech = if usual.tls.is_ok() { Speech::Tls } else { Speech::OwnAuthority };
            let how = match speech {
                Speech::OwnAuthority if settings.skip_tls_verify.contains(host) => "which is not checked",
                Speech::OwnAuthority => "of the authority that was named",
                _ => "of a known authority",
            };
            self.add(Level::Ok, Code::RegistryTls, format!("speaks TLS, with a certificate {how}"));
            return Ok(Some(speech));
        }
        match &greeting.tls {
            Err(Problem::UntrustedCertificate { .. }) => {
                self.add_advice(
                    Level::Error,
                    Code::RegistryUntrusted,
                    "its TLS certificate is signed by an unknown authority, or by itself",
                    format!(
                        "name the authority's certificate with `--registry-certificate {host}=FILE.pem` (mounted from \
                         a ConfigMap, say), or do without the check with `--skip-tls-verify-registry {host}`"
                    ),
                );
                self.findings.extend(node::examine(host, Speech::OwnAuthority, is_loopback(host)));
                return Ok(None);
            }
            Err(Problem::ClientCertificateWanted { .. }) => {
                self.add_advice(
                    Level::Error,
                    Code::RegistryTlsBroken,
                    "it wants a TLS client certificate",
                    format!("name it: `executor --registry-client-cert {host}=CERTIFICATE.pem,KEY.pem`"),
                );
                return Ok(None);
            }
            Err(error @ (Problem::InvalidCertificate { source, .. } | Problem::Tls { source, .. }))
                if !speaks(&greeting.plain) =>
            {
                let advice = tls::advice(host, source);
                self.add_advice(Level::Error, Code::RegistryTlsBroken, describe(error), advice);
                return Ok(None);
            }
            _ => {}
        }
        if speaks(&greeting.plain) {
            let found = "speaks plain HTTP";
            if is_loopback(host) || settings.insecure.contains(host) {
                self.add(Level::Note, Code::RegistryPlainHttp, found);
            } else {
                let advice = format!(
                    "builds need `--insecure-registry {host}`; names and passwords go over the network as they are"
                );
                self.add_advice(Level::Note, Code::RegistryPlainHttp, found, advice);
            }
            return Ok(Some(Speech::Plain));
        }
        self.nobody(greeting);
        Ok(None)
    }

    /// Nobody speaks as a registry does.
    fn nobody(&mut self, greeting: &Greeting) {
        let host = self.host;
        if let (Ok(reply), _) | (_, Ok(reply)) = (&greeting.tls, &greeting.plain) {
            let found = format!("answers {} where a registry answers 200 or 401", reply.status);
            let advice = "check host and port: this is a web server, a proxy, or a registry below a path";
            return self.add_advice(Level::Error, Code::RegistryStrange, found, advice);
        }
        // A port that is closed is so in both ways; the other reasons are told by TLS.
        match greeting.tls.as_ref().err() {
            Some(Problem::HostNotFound { .. }) => self.add_advice(
                Level::Error,
                Code::RegistryNotFound,
                "no such host",
                format!(
                    "check the name `{host}`, and that this pod's DNS knows it; a Service of another namespace is \
                     called NAME.NAMESPACE.svc"
                ),
            ),
            Some(Problem::ConnectionRefused { .. }) => self.add_advice(
                Level::Error,
                Code::RegistryDown,
                "refuses the connection",
                "check the port, and that the registry is running: `kubectl get pods,endpoints`",
            ),
            Some(Problem::Silent { seconds, .. }) => self.add_advice(
                Level::Error,
                Code::RegistryDown,
                format!("did not answer within {seconds} s"),
                "check that a firewall or a NetworkPolicy lets this pod reach it (k8s/base/network-policy.yaml)",
            ),
            Some(problem) => self.add_advice(
                Level::Error,
                Code::RegistryDown,
                describe(problem),
                "check that a registry runs there, and what its log says",
            ),
            None => {}
        }
    }

    fn clock(&mut self, greeting: &Greeting, asked: Timestamp, answered: Timestamp) {
        let replies = [greeting.tls.as_ref().ok(), greeting.plain.as_ref().ok()];
        let Some(date) = replies.into_iter().flatten().find_map(|reply| reply.date) else {
            return self.add(Level::Note, Code::ClockUnknown, "does not say what time it is there");
        };
        // The answer was given somewhere between the two, and says whole seconds.
        let ahead = date.duration_since(answered);
        let behind = asked.duration_since(date);
        let skew = ahead.max(behind);
        if skew <= TOLERANCE {
            return self.add(Level::Ok, Code::ClockAgrees, "its clock and ours agree");
        }
        let skew = Duration::try_from(skew).unwrap_or_default().as_secs();
        let direction = if ahead > behind { "ahead of" } else { "behind" };
        let found = format!("its clock is {skew} s {direction} ours");
        let advice = "set the clocks by the network on all nodes (chrony, systemd-timesyncd; `timedatectl` tells): \
                      certificates and tokens are refused by who believes it is another time";
        self.add_advice(Level::Warning, Code::ClockSkew, found, advice);
    }

    /// Logs in, and tries what builds do.
    async fn enter(
        &mut self,
        examined: &Examined,
        settings: RegistrySettings,
        credentials: &Credentials,
        greeting: &Greeting,
    ) -> Result<(), SettingsError> {
        let registries = Registries::new(settings, credentials.clone())?;
        let name = match examined {
            Examined::Registry(host) => registry_alone(host),
            Examined::Repository(name) => name.clone(),
        };
        let repository = registries.repository(&name)?;
        let replies = [&greeting.tls, &greeting.plain];
        let is_open = replies.into_iter().flatten().any(|reply| reply.status == 200);
        if let Err(error) = repository.check_login().await {
            self.refused(&error);
            return Ok(());
        }
        match credentials.find(&name).await {
            _ if is_open => self.add(Level::Ok, Code::CredentialsUnneeded, "wants no login"),
            Ok(Some(credential)) => {
                let found = format!("takes the credentials from {}", credential.origin);
                self.add(Level::Ok, Code::CredentialsAccepted, found);
            }
            _ => self.add(Level::Ok, Code::CredentialsUnneeded, "lets in anybody, with a token"),
        }
        if *examined == Examined::Registry(name.registry().to_owned()) {
            let advice = format!("name a repository: `cooper doctor --registry {}/REPOSITORY`", self.host);
            self.add_advice(
                Level::Note,
                Code::PushUnknown,
                "whether pushing is allowed was not tried",
                advice,
            );
            return Ok(());
        }
        match repository.check_push().await {
            Ok(()) => {
                self.add(Level::Ok, Code::PushAllowed, format!("lets us push to `{}`", name.path()));
                self.mount(&repository).await;
            }
            Err(error) => self.refused(&error),
        }
        Ok(())
    }

    async fn mount(&mut self, repository: &Repository) {
        let digest = match a_blob(repository).await {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                let found = "whether blobs are mounted from other repositories can be told when there is an image in \
                             this one";
                return self.add(Level::Note, Code::MountUnknown, found);
            }
            Err(error) => {
                let found =
                    format!("whether blobs are mounted from other repositories: {}", describe(&error));
                return self.add(Level::Note, Code::MountUnknown, found);
            }
        };
        match repository.check_mount(digest).await {
            Ok(true) => {
                let found =
                    "mounts blobs from one repository into another: a base that is here is not sent again";
                self.add(Level::Ok, Code::MountSupported, found);
            }
            Ok(false) => self.add_advice(
                Level::Note,
                Code::MountUnsupported,
                "does not mount blobs from one repository into another",
                "nothing needs to be done: layers of a base are sent once per repository",
            ),
            Err(error) => {
                let found =
                    format!("whether blobs are mounted from other repositories: {}", describe(&error));
                self.add(Level::Note, Code::MountUnknown, found);
            }
        }
    }

    /// What an error says about logging in and pushing.
    fn refused(&mut self, error: &RegistryError) {
        let host = self.host;
        match &*error.problem {
            Problem::NoCredentials { looked_in, .. } => self.add_advice(
                Level::Error,
                Code::CredentialsMissing,
                format!("wants a login, and there are no credentials for `{host}` (looked in {looked_in})"),
                format!(
                    "make a Secret with `kubectl create secret docker-registry registry-credentials \
                     --docker-server={host} --docker-username=USER --docker-password=PASSWORD`, and mount its key \
                     .dockerconfigjson as config.json where DOCKER_CONFIG points (k8s/README.md). The server must be \
                     written as in image names, with its port"
                ),
            ),
            Problem::CredentialsRefused { origin, .. } => self.add_advice(
                Level::Error,
                Code::CredentialsRefused,
                format!("does not take the credentials from {origin}"),
                "check user name and password; after a change of the Secret, start a new pod: where a Secret is mounted \
                 by `subPath` it stays as it was",
            ),
            Problem::Denied { whom, repository, .. } => {
                self.add(Level::Ok, Code::CredentialsAccepted, format!("knows {whom}"));
                self.add_advice(
                    Level::Error,
                    Code::PushDenied,
                    format!("does not let {whom} push to `{}`", repository.path()),
                    "give this user the right to push (Harbor: a robot account with `push`; GitLab: a deploy token with \
                     `write_registry`; ECR: `ecr:InitiateLayerUpload` and its kin), and make the repository first where \
                     the registry does not do that by itself (ECR, Harbor's projects)",
                );
            }
            Problem::Rejected { status: 405, .. } => self.add_advice(
                Level::Error,
                Code::PushReadOnly,
                "takes no pushes: it is read-only",
                "docker-registry is so with `storage.maintenance.readonly.enabled: true`, which is set while garbage is \
                 collected: wait, or set it back. A registry that is a mirror (`proxy.remoteurl`) never takes pushes",
            ),
            _ => self.add_advice(
                Level::Error,
                Code::CredentialsFailed,
                describe(error),
                "see the registry's log for the reason",
            ),
        }
    }
}

/// A blob that is in the repository: a config of one of its images.
async fn a_blob(repository: &Repository) -> Result<Option<Digest>, RegistryError> {
    let tags = match repository.list_tags().await {
        Err(error) if error.is_not_found() => return Ok(None),
        result => result?,
    };
    let Some(tag) = tags.last() else { return Ok(None) };
    let mut selector = tag.clone();
    // An index, and one of its manifests.
    for _ in 0..2 {
        let fetched = repository.manifest(&selector).await?;
        match ManifestOrIndex::parse(&fetched.bytes, Some(&fetched.media_type)) {
            Ok(ManifestOrIndex::Manifest(manifest)) => return Ok(Some(manifest.config.digest)),
            Ok(ManifestOrIndex::Index(index)) => match index.manifests.first() {
                Some(entry) => selector = entry.descriptor.digest.to_string(),
                None => return Ok(None),
            },
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Whether the name means the machine that uses it.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl RegistrySettings {
    /// The same for a registry that is known to speak plain HTTP.
    fn with_plain(mut self, host: &str) -> Self {
        match &mut self.insecure {
            Hosts::Every => {}
            Hosts::Only(hosts) => {
                hosts.insert(host.to_owned());
            }
            Hosts::AllBut(hosts) => {
                hosts.remove(host);
            }
        }
        self
    }

    /// The same for a registry that is known to speak TLS: also one on this machine.
    fn with_tls(mut self, host: &str) -> Self {
        if let Hosts::Only(hosts) = &mut self.insecure {
            hosts.remove(host);
        }
        self
    }

    /// The same as for somebody who was told nothing.
    fn without_certificates(&self) -> Self {
        Self { certificates: std::collections::BTreeMap::default(), authorities: Vec::new(), ..self.clone() }
    }
}

/// What is wrong with the credentials themselves.
pub(crate) fn unreadable(error: &CredentialsError) -> Finding {
    Finding::new(Level::Error, Code::CredentialsFailed, "credentials", describe(error))
        .advise("write the file anew with `docker login` or `kubectl create secret docker-registry`")
}
