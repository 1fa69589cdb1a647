//! What a build in a cluster is to be: plain data, from the command line.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::str::FromStr;
use std::time::Duration;

use super::security::PodSecurity;
use crate::exec::SecretValue;
use crate::image::{Platform, RepoName};

/// The directory of the ConfigMap's files in the pod. It is in the builder's own directory, so that it hides nothing
/// that an image has from a RUN that is executed in place.
pub const FILES: &str = "/kaniko/job/files";

/// The directory of the build's secrets in the pod.
pub const SECRETS: &str = "/kaniko/job/secrets";

/// A build that becomes a Job.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Name of the Job.
    pub name: String,
    /// What tells it from other submissions, see [`random_suffix`].
    pub token: String,
    /// Namespace of all of it; none leaves it to who applies the manifests.
    pub namespace: Option<String>,
    /// Cooper's image.
    pub builder: String,
    /// Arguments of `cooper build`.
    pub arguments: Vec<String>,
    /// The name that the image is pushed under first.
    pub image: String,
    /// Small files that the build reads, below [`FILES`].
    pub files: Vec<ContextFile>,
    /// Secrets of the build, by file name below [`SECRETS`].
    pub secrets: BTreeMap<String, SecretValue>,
    /// An artifact in a registry, as `repository@digest`, that is of no use when the Job has ended.
    pub pushed_context: Option<String>,
    /// Name of the Secret of the type `kubernetes.io/dockerconfigjson` for the registries.
    pub registry_secret: Option<String>,
    /// Logins for the registries that go with the Job.
    pub logins: Logins,
    /// Names of the Secrets for pulling Cooper's image.
    pub pull_secrets: Vec<String>,
    /// What the pod gets, and what it may take.
    pub requests: Limits,
    /// What the pod may take.
    pub limits: Limits,
    /// Where the store is.
    pub store: Store,
    /// How often a pod that failed is replaced.
    pub backoff_limit: u32,
    /// How long the Job may take.
    pub deadline: Duration,
    /// How long the Job is kept when it has ended.
    pub keep: Duration,
    /// Labels of the nodes that will do.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are put up with.
    pub tolerations: Vec<Toleration>,
    /// Service account of the pod; its token is not mounted.
    pub service_account: Option<String>,
    /// Kueue's local queue.
    pub queue: Option<String>,
    /// What the namespace admits.
    pub security: PodSecurity,
    /// Labels of the Job besides Cooper's own.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Job besides Cooper's own.
    pub annotations: BTreeMap<String, String>,
}

/// What all Jobs of somebody have in common.
#[derive(Debug, Clone)]
pub struct JobTemplate {
    /// Cooper's image.
    pub builder: String,
    /// Name of the Secret of the type `kubernetes.io/dockerconfigjson` for the registries.
    pub registry_secret: Option<String>,
    /// Names of the Secrets for pulling Cooper's image.
    pub pull_secrets: Vec<String>,
    /// Repository that contexts go through; else the image's.
    pub context_repository: Option<RepoName>,
    /// What the pod gets, where it is not the usual.
    pub requests: Limits,
    /// Where the store is.
    pub store: Store,
    /// How often a pod that failed is replaced.
    pub backoff_limit: u32,
    /// How long the Job is kept when it has ended.
    pub keep: Duration,
    /// Labels of the nodes that will do.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are put up with.
    pub tolerations: Vec<Toleration>,
    /// Service account of the pod; its token is not mounted.
    pub service_account: Option<String>,
    /// Kueue's local queue.
    pub queue: Option<String>,
    /// What the namespace admits; else what its label says.
    pub security: Option<PodSecurity>,
}

/// Where nodes say their architecture, also as a taint. See "Well-Known Labels" of the Kubernetes reference.
const ARCHITECTURE: &str = "kubernetes.io/arch";

impl JobTemplate {
    /// The nodes that will do: those of the one platform that is wanted, unless something else was said.
    pub fn placement(&self, platforms: &[Platform]) -> (BTreeMap<String, String>, Vec<Toleration>) {
        let mut selector = self.node_selector.clone();
        let mut tolerations = self.tolerations.clone();
        if let [platform] = platforms {
            let architecture = platform.architecture();
            let wanted = selector.entry(ARCHITECTURE.to_owned()).or_insert_with(|| architecture.to_owned());
            let toleration = Toleration {
                key: ARCHITECTURE.to_owned(),
                value: Some(wanted.clone()),
                effect: Some("NoSchedule".to_owned()),
            };
            // Mixed clusters keep pods off such nodes that do not say they are meant for them.
            if wanted != "amd64" && !tolerations.contains(&toleration) {
                tolerations.push(toleration);
            }
        }
        (selector, tolerations)
    }

    /// What the pod gets.
    pub fn requests(&self) -> Limits {
        Limits::of([("cpu", "500m"), ("memory", "256Mi")]).overridden(&self.requests)
    }
}

impl Submission {
    /// The name of the ConfigMap and of the Secret. It is not used twice: what belonged to an earlier Job of the same
    /// name may still be there.
    pub fn belongings(&self) -> String {
        let end = format!("-{}", self.token);
        if self.name.ends_with(&end) { self.name.clone() } else { format!("{}{end}", self.name) }
    }

    /// The name of the Secret with the logins, if there are any.
    pub fn logins_secret(&self) -> Option<String> {
        (self.logins != Logins::None).then(|| format!("{}-logins", self.belongings()))
    }
}

/// Logins for registries in a Secret of the Job's own. The builder gets them as a variable: under `in-place` a RUN can
/// read whatever is mounted in the pod, but not the builder's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Logins {
    /// There are none.
    #[default]
    None,
    /// The Secret is only named, for who makes it.
    Named,
    /// docker's `config.json` with them.
    Carried(SecretValue),
}

/// A file in the Job's ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// Its key, and its name below [`FILES`].
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Where the build keeps blobs and layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In a directory that goes with the pod, of at most this size.
    Empty {
        /// A quantity of Kubernetes, like `4Gi`.
        size: String,
    },
    /// In a volume that stays.
    Claim(String),
}

/// Quantities by resource, like `cpu` and `memory`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits(pub BTreeMap<String, String>);

/// A taint that is put up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// Its key.
    pub key: String,
    /// Its value; any if there is none.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; all of them if there is none.
    pub effect: Option<String>,
}

/// Why a text on the command line makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSubmissionError {
    /// Not `NAME=QUANTITY`.
    #[error("`{0}` is no limit: write cpu=2,memory=1Gi")]
    Limit(String),
    /// No quantity of Kubernetes.
    #[error("`{0}` is no quantity: write a number, with m, k, M, G, Ki, Mi or Gi behind it if need be")]
    Quantity(String),
    /// Not a toleration.
    #[error(
        "`{0}` is no toleration: write KEY[=VALUE][:EFFECT] with NoSchedule, PreferNoSchedule or NoExecute"
    )]
    Toleration(String),
}

impl Limits {
    /// These quantities.
    pub fn of<const N: usize>(quantities: [(&str, &str); N]) -> Self {
        Self(quantities.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    /// These, where `other` has nothing else.
    #[must_use]
    pub fn overridden(mut self, other: &Self) -> Self {
        self.0.extend(other.0.clone());
        self
    }
}

impl Limits {
    /// These, but none more than in `limits`: the API refuses requests above them.
    #[must_use]
    pub fn at_most(mut self, limits: &Self) -> Self {
        for (name, value) in &mut self.0 {
            if let Some(limit) = limits.0.get(name).filter(|limit| amount(value) > amount(limit)) {
                value.clone_from(limit);
            }
        }
        self
    }
}

/// How much a quantity is.
fn amount(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        _ => 1.0,
    };
    digits.parse::<f64>().unwrap_or_default() * unit
}

impl FromStr for Limits {
    type Err = ParseSubmissionError;

    /// `cpu=2,memory=1Gi`, as `kubectl` writes it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = |part: &str| {
            let (name, value) =
                part.split_once('=').ok_or_else(|| ParseSubmissionError::Limit(part.to_owned()))?;
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
            if !is_name {
                return Err(ParseSubmissionError::Limit(part.to_owned()));
            }
            Ok((name.to_owned(), quantity(value)?))
        };
        text.split(',').map(pair).collect::<Result<_, _>>().map(Self)
    }
}

/// A quantity as the API takes it. See the Kubernetes API's `Quantity`.
pub(crate) fn quantity(text: &str) -> Result<String, ParseSubmissionError> {
    const UNITS: [&str; 13] = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(whole) && is_number(part) && UNITS.contains(&&text[digits.len()..]) {
        return Ok(text.to_owned());
    }
    Err(ParseSubmissionError::Quantity(text.to_owned()))
}

impl FromStr for Toleration {
    type Err = ParseSubmissionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSubmissionError::Toleration(text.to_owned());
        let (rest, effect) = match text.rsplit_once(':') {
            Some((rest, effect @ ("NoSchedule" | "PreferNoSchedule" | "NoExecute"))) => {
                (rest, Some(effect.to_owned()))
            }
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let (key, value) = match rest.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (rest, None),
        };
        if key.is_empty() {
            return Err(wrong());
        }
        Ok(Self { key: key.to_owned(), value, effect })
    }
}

/// Five letters and digits that make a name unlikely to be taken.
pub fn random_suffix() -> String {
    // No vowels, and nothing that looks like one, as in the names that Kubernetes makes.
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // Seeded by the system for every state.
    let mut number = std::hash::RandomState::new().build_hasher().finish();
    let mut suffix = String::new();
    for _ in 0..5 {
        let index = usize::try_from(number % 27).unwrap_or_default();
        suffix.extend(LETTERS.get(index).map(|letter| char::from(*letter)));
        number /= 27;
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_quantities_by_name() {
        let limits: Limits = "cpu=500m,memory=1.5Gi".parse().unwrap();
        assert_eq!(limits.0["memory"], "1.5Gi");
        let other = "cpu=2".parse().unwrap();
        assert_eq!(limits.clone().overridden(&other).0["cpu"], "2");
        let smaller = Limits::of([("cpu", "2000m"), ("memory", "1073741824")]);
        assert_eq!(limits.at_most(&smaller), Limits::of([("cpu", "500m"), ("memory", "1073741824")]));
        for text in
            ["", "cpu", "cpu=", "=1", "cpu=1x", "cpu=-1", "memory=1.", "memory=1GiB", "c u=1", "cpu=1,"]
        {
            assert!(text.parse::<Limits>().is_err(), "{text}");
        }
    }

    #[test]
    fn tolerations() {
        let toleration = |key: &str, value: Option<&str>, effect: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Ok(Toleration { key: key.to_owned(), value: owned(value), effect: owned(effect) })
        };
        assert_eq!("pi".parse(), toleration("pi", None, None));
        assert_eq!("arch=arm64:NoSchedule".parse(), toleration("arch", Some("arm64"), Some("NoSchedule")));
        assert_eq!("pi:NoExecute".parse(), toleration("pi", None, Some("NoExecute")));
        for text in ["", "=a", "a:Never", ":NoExecute"] {
            assert!(text.parse::<Toleration>().is_err(), "{text}");
        }
    }

    #[test]
    fn suffixes_differ() {
        let suffixes: std::collections::BTreeSet<String> = (0..50).map(|_| random_suffix()).collect();
        assert!(suffixes.len() > 45 && suffixes.iter().all(|suffix| suffix.len() == 5), "{suffixes:?}");
    }
}
