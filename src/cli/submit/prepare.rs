//! From a build's options to a submission: what the build reads here is packed, what it cannot have is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::build;
use super::SubmitArguments;
use crate::cache::CachePlace;
use crate::context::Context;
use crate::context::fetch::{ArtifactError, PackedContext};
use crate::context::source::{ContextOrigin, RemoteContext};
use crate::exec::{SecretValue, Supplies, SupplyError};
use crate::graph::NamedContext;
use crate::image::{ImageRef, RepoName};
use crate::kube::{ContextFile, FILES, Limits, Logins, PodSecurity, SECRETS, Submission, random_suffix};
use crate::pipeline::{BuildError, LocalInputs, local_inputs};
use crate::registry::RegistrySettings;
use crate::request::{BuildRequest, ContextSource, DockerfileSource, Output};

/// The most bytes that a Job's ConfigMap holds. The API server takes 1 MiB of data, keys and metadata.
const MAX_FILES: u64 = 900 << 10;

/// Why a build cannot be made a Job of.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// Nobody said where Cooper's image is.
    #[error(
        "which image of Cooper is the Job to run? Name it with `--builder-image IMAGE` or COOPER_BUILDER_IMAGE; `make image PUSH=IMAGE` makes one"
    )]
    NoBuilder,
    /// The image has no name.
    #[error("the image of a Job is pushed: name it with `--tag REGISTRY/NAME:TAG`")]
    NoTag,
    /// An option that counts on this machine only.
    #[error("`{option}` is not for a Job: {reason}")]
    Refused {
        /// The option.
        option: String,
        /// Why.
        reason: &'static str,
    },
    /// A path or value is not text.
    #[error("`{}` is not UTF-8, and a Job's command line must be", .0.display())]
    NotText(PathBuf),
    /// A password in the address of a context.
    #[error(
        "the address of `{0}` has a password, which everybody who may see the Job would see: give it as `--secret id=GIT_AUTH_TOKEN,env=NAME`"
    )]
    Password(String),
    /// A name that no object can have.
    #[error(
        "`{0}` is no name for a Job: it takes up to 50 small letters, digits and `-`, with a letter or digit at both ends"
    )]
    Name(String),
    /// Too many bytes besides the context.
    #[error(
        "the Dockerfile, certificates and secrets of the Job take {size} bytes; a ConfigMap holds {MAX_FILES}"
    )]
    TooLarge {
        /// Their size.
        size: u64,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The context cannot be packed.
    #[error("cannot pack the build context")]
    Pack(#[from] ArtifactError),
    /// A secret cannot be read.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// A temporary directory cannot be had.
    #[error("cannot use a temporary directory")]
    Scratch(#[source] std::io::Error),
    /// The command line makes no sense.
    #[error("{0}")]
    Request(String),
    /// The files make no sense.
    #[error(transparent)]
    Build(Box<BuildError>),
}

/// A submission, and what must be pushed before it is created.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) submission: Submission,
    pub(super) contexts: Vec<PushedContext>,
    /// How the registry of the contexts is reached from here.
    pub(super) registries: RegistrySettings,
    pub(super) tags: Vec<ImageRef>,
    /// The repositories that the Job reads and writes, as far as they are named.
    pub(super) repositories: BTreeSet<RepoName>,
    /// Holds the archives.
    _scratch: tempfile::TempDir,
}

/// A context that goes through a registry.
#[derive(Debug)]
pub(super) struct PushedContext {
    pub(super) packed: PackedContext,
    pub(super) repository: RepoName,
    pub(super) tag: String,
}

impl PushedContext {
    /// `repository@digest`.
    pub(super) fn name(&self) -> String {
        ImageRef::by_digest(self.repository.clone(), self.packed.digest()).to_string()
    }
}

/// What a Job reads of its build's files.
struct Carried {
    files: Vec<ContextFile>,
    words: Vec<String>,
    context: String,
    pushed: Vec<PushedContext>,
}

pub(super) fn prepare(arguments: &SubmitArguments) -> Result<Prepared, PrepareError> {
    let template = arguments.job.template().ok_or(PrepareError::NoBuilder)?;
    if let Some((option, reason)) = arguments.build.refused() {
        return Err(PrepareError::Refused { option: option.to_owned(), reason });
    }
    let mut request = build::request(&arguments.build.arguments).map_err(PrepareError::Request)?;
    request.outputs = vec![Output::Push];
    let Some(first) = request.tags.first().cloned() else { return Err(PrepareError::NoTag) };
    refuse(&request)?;
    let local = local_inputs(&request).map_err(|error| PrepareError::Build(Box::new(error)))?;

    let token = random_suffix();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => format!("cooper-{}-{token}", short_name(&first)),
    };
    if !is_name(&name) {
        return Err(PrepareError::Name(name));
    }
    let scratch = tempfile::tempdir().map_err(PrepareError::Scratch)?;
    let carried = carry(arguments, &request, &local, &first, &format!("{name}-{token}"), scratch.path())?;
    let (secrets, secret_words) = secrets(&request)?;

    let mut words = vec![carried.context, "--push".to_owned(), progress(arguments).to_owned()];
    words.extend(arguments.build.passed().map_err(|text| PrepareError::NotText(text.into()))?);
    words.extend(request.build_args.iter().map(|(name, value)| format!("--build-arg={name}={value}")));
    words.extend(carried.words);
    words.extend(secret_words);

    let pushed: Vec<String> = carried.pushed.iter().map(PushedContext::name).collect();
    let (node_selector, tolerations) = template.placement(&request.platforms);
    let limits = Limits::of([("cpu", "2"), ("memory", "1Gi")]);
    let submission = Submission {
        name,
        token,
        namespace: arguments.place.namespace.clone(),
        requests: template.requests(),
        builder: template.builder,
        arguments: words,
        image: first.to_string(),
        files: carried.files,
        secrets,
        pushed_context: Some(pushed.join(" ")).filter(|names| !names.is_empty()),
        limits: limits.overridden(arguments.limits.as_ref().unwrap_or(&Limits::default())),
        registry_secret: template.registry_secret,
        pull_secrets: template.pull_secrets,
        store: template.store,
        backoff_limit: template.backoff_limit,
        logins: if arguments.with_logins { Logins::Named } else { Logins::None },
        deadline: arguments.deadline,
        keep: template.keep,
        node_selector,
        tolerations,
        service_account: template.service_account,
        queue: template.queue,
        security: template.security.unwrap_or(PodSecurity::Privileged),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    Ok(Prepared {
        submission,
        repositories: repositories(&request, &local, &carried.pushed),
        contexts: carried.pushed,
        registries: request.registries,
        tags: request.tags,
        _scratch: scratch,
    })
}

/// The repositories that the Job will ask for something.
fn repositories(request: &BuildRequest, local: &LocalInputs, pushed: &[PushedContext]) -> BTreeSet<RepoName> {
    let artifact = |context: &RemoteContext| match &context.origin {
        ContextOrigin::Artifact(image) => Some(image.clone()),
        _ => None,
    };
    let context = match &request.context {
        ContextSource::Remote(context) => artifact(context),
        ContextSource::Directory(_) | ContextSource::Empty => None,
    };
    let named = request.contexts.values().filter_map(|context| match context {
        NamedContext::Image(image) => Some(image.clone()),
        NamedContext::Remote(context) => artifact(context),
        NamedContext::Directory(_) | NamedContext::Layout(_) => None,
    });
    let images = request.tags.iter().chain(&local.images).cloned().chain(context).chain(named);
    let from = request.cache_from.iter().map(|source| &source.place);
    let caches = from.chain(request.cache_to.iter().map(|target| &target.place));
    let caches = caches.filter_map(|place| match place {
        CachePlace::Registry(name) => Some(name.clone()),
        CachePlace::Layout(_) => None,
    });
    let pushed = pushed.iter().map(|context| context.repository.clone());
    images.map(|image| image.repository().clone()).chain(caches).chain(pushed).collect()
}

/// What is in values rather than options.
fn refuse(request: &BuildRequest) -> Result<(), PrepareError> {
    let refused = |option: &str, reason| PrepareError::Refused { option: option.to_owned(), reason };
    let is_layout = |place: &CachePlace| matches!(place, CachePlace::Layout(_));
    let reason = "a cache in a directory is not in the Job's pod; name a repository";
    if request.cache_from.iter().any(|source| is_layout(&source.place)) {
        return Err(refused("--cache-from", reason));
    }
    if request.cache_to.iter().any(|target| is_layout(&target.place)) {
        return Err(refused("--cache-to", reason));
    }
    if request.contexts.values().any(|context| matches!(context, NamedContext::Layout(_))) {
        let reason = "a layout is not in the Job's pod; push the image and name it with docker-image://";
        return Err(refused("--build-context", reason));
    }
    Ok(())
}

/// Packs the contexts that are directories, and adds what else the build reads here.
fn carry(
    arguments: &SubmitArguments,
    request: &BuildRequest,
    local: &LocalInputs,
    first: &ImageRef,
    job: &str,
    scratch: &Path,
) -> Result<Carried, PrepareError> {
    let (mut files, mut words) = (Vec::new(), Vec::new());
    dockerfile(request, local, &mut files, &mut words)?;
    for (index, (host, path)) in request.registries.certificates.iter().enumerate() {
        let file = read(format!("certificate-{index}.pem"), path)?;
        words.push(format!("--registry-certificate={host}={FILES}/{}", file.name));
        files.push(file);
    }
    let size: u64 = files.iter().map(|file| file.content.len() as u64).sum();
    if size > MAX_FILES {
        return Err(PrepareError::TooLarge { size });
    }

    let repository = arguments.job.context_repo.clone().unwrap_or_else(|| first.repository().clone());
    let mut packed = Vec::new();
    for (index, (name, context)) in local.contexts.iter().enumerate() {
        // Each Job has an artifact of its own, so that removing it takes nothing from others.
        let annotations = BTreeMap::from([("cooper/submission".to_owned(), format!("{job}-{index}"))]);
        packed.push((name, PackedContext::pack(context, annotations, scratch)?));
    }
    let all: u64 = packed.iter().map(|(_, packed)| packed.size()).sum();
    let is_small = size + all <= MAX_FILES;
    let (mut context, mut pushed) = (elsewhere(arguments, request)?, Vec::new());
    for (index, (name, packed)) in packed.into_iter().enumerate() {
        let address = if is_small {
            let file =
                if index == 0 { "context.tar.gz".to_owned() } else { format!("context-{index}.tar.gz") };
            let content = packed.archive().map_err(ArtifactError::from)?;
            files.push(ContextFile { name: file.clone(), content });
            format!("tar://{FILES}/{file}")
        } else {
            let tag = format!("context-{job}-{index}");
            let context = PushedContext { packed, repository: repository.clone(), tag };
            let address = format!("oci://{}", context.name());
            pushed.push(context);
            address
        };
        match name {
            None => context = Some(address),
            Some(name) => words.push(format!("--build-context={name}={address}")),
        }
    }
    for (name, named) in &request.contexts {
        words.extend(match named {
            NamedContext::Image(image) => Some(format!("--build-context={name}=docker-image://{image}")),
            NamedContext::Remote(_) => Some(format!("--build-context={}", typed_context(arguments, name)?)),
            NamedContext::Directory(_) | NamedContext::Layout(_) => None,
        });
    }
    let context = context.ok_or(PrepareError::Refused {
        option: "-".to_owned(),
        reason: "standard input is not in the Job's pod; unpack the context and name its directory",
    })?;
    Ok(Carried { files, words, context, pushed })
}

/// The address of a context that is not on this machine, as it was typed.
fn elsewhere(arguments: &SubmitArguments, request: &BuildRequest) -> Result<Option<String>, PrepareError> {
    let ContextSource::Remote(context) = &request.context else { return Ok(None) };
    match context.origin {
        ContextOrigin::Stdin => Ok(None),
        ContextOrigin::Archive(_) => Err(PrepareError::Refused {
            option: "tar://".to_owned(),
            reason: "the archive is not in the Job's pod; unpack it and name its directory",
        }),
        _ => {
            let typed = arguments.build.typed("context").into_iter().next().unwrap_or_default();
            let text = typed.into_string().map_err(|text| PrepareError::NotText(text.into()))?;
            without_password(&text).map(Some)
        }
    }
}

/// `NAME=ADDRESS` as it was typed.
fn typed_context(arguments: &SubmitArguments, name: &str) -> Result<String, PrepareError> {
    let mut texts = arguments.build.typed("build_contexts").into_iter().rev();
    let found = texts.find_map(|text| {
        let text = text.into_string().ok()?;
        text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    });
    let address = found.ok_or_else(|| PrepareError::NotText(name.into()))?;
    Ok(format!("{name}={}", without_password(&address)?))
}

fn without_password(address: &str) -> Result<String, PrepareError> {
    let Ok(url) = url::Url::parse(address) else { return Ok(address.to_owned()) };
    let is_web = matches!(url.scheme(), "http" | "https" | "git");
    if url.password().is_some() || (is_web && !url.username().is_empty()) {
        return Err(PrepareError::Password(url.host_str().unwrap_or_default().to_owned()));
    }
    Ok(address.to_owned())
}

/// Has the Dockerfile in the context where it is part of it, else as a file of its own.
fn dockerfile(
    request: &BuildRequest,
    local: &LocalInputs,
    files: &mut Vec<ContextFile>,
    words: &mut Vec<String>,
) -> Result<(), PrepareError> {
    let Some(text) = &local.dockerfile else {
        // The context is elsewhere, and it is in there.
        if let DockerfileSource::Path(path) = &request.dockerfile {
            let path = path.to_str().ok_or_else(|| PrepareError::NotText(path.clone()))?;
            words.push(format!("--file={path}"));
        }
        return Ok(());
    };
    let context = local.contexts.get(&None);
    match context.and_then(|context| dockerfile_in(context, &request.dockerfile)) {
        Some(path) if path == Path::new("Dockerfile") => {}
        Some(path) => {
            let path = path.into_os_string();
            let path = path.into_string().map_err(|path| PrepareError::NotText(path.into()))?;
            words.push(format!("--file={path}"));
        }
        None => {
            words.push(format!("--file={FILES}/Dockerfile"));
            files.push(ContextFile { name: "Dockerfile".to_owned(), content: text.clone().into_bytes() });
        }
    }
    Ok(())
}

/// The Dockerfile's path in the context, if it is a plain file in there that `.dockerignore` leaves in.
fn dockerfile_in(context: &Context, source: &DockerfileSource) -> Option<PathBuf> {
    let root = context.root();
    let is_file = |path: &Path| context.tree().get(path).is_some_and(|node| node.as_file().is_some());
    let path = match source {
        DockerfileSource::Text(_) => return None,
        DockerfileSource::InContext => {
            let names = ["Dockerfile", "dockerfile"];
            names.into_iter().map(PathBuf::from).find(|name| root.join(name).is_file())?
        }
        DockerfileSource::Path(path) if path.is_file() => {
            let (root, path) = (std::fs::canonicalize(root).ok()?, std::fs::canonicalize(path).ok()?);
            path.strip_prefix(root).ok()?.to_owned()
        }
        DockerfileSource::Path(path) => path.clone(),
    };
    is_file(&path).then_some(path)
}

fn read(name: String, path: &Path) -> Result<ContextFile, PrepareError> {
    use std::io::Read as _;
    let failed = |source| PrepareError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILES + 1).read_to_end(&mut content).map_err(failed)?;
    Ok(ContextFile { name, content })
}

/// The secrets by file name, and the options that name them.
fn secrets(request: &BuildRequest) -> Result<(BTreeMap<String, SecretValue>, Vec<String>), PrepareError> {
    let supplies = Supplies::gather(&request.secrets, &BTreeMap::new(), &[])?;
    let (mut values, mut words, mut size) = (BTreeMap::new(), Vec::new(), 0);
    // An id may hold what a file name may not.
    for (index, (id, value)) in supplies.secrets().iter().enumerate() {
        let name = format!("secret-{index}");
        words.push(format!("--secret=id={id},src={SECRETS}/{name}"));
        size += value.reveal().len() as u64;
        values.insert(name, value.clone());
    }
    if size > MAX_FILES {
        return Err(PrepareError::TooLarge { size });
    }
    Ok((values, words))
}

fn progress(arguments: &SubmitArguments) -> &'static str {
    use crate::cli::progress::Progress;
    match arguments.build.arguments.progress {
        Progress::Json => "--progress=json",
        Progress::Quiet => "--progress=quiet",
        Progress::Auto | Progress::Tty | Progress::Plain => "--progress=plain",
    }
}

/// The last part of an image's name, as far as a Job's name may have it.
fn short_name(image: &ImageRef) -> String {
    let path = image.repository().path();
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.replace(['.', '_'], "-").to_lowercase();
    let name: String = name.chars().take(30).collect();
    name.trim_matches('-').to_owned()
}

/// Whether it is a label of DNS, as names of Jobs should be, with room for what pods and files add.
fn is_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().last()];
    name.len() <= 50
        && name.bytes().all(|byte| is_usual(byte) || byte == b'-')
        && ends.into_iter().all(|end| end.is_some_and(is_usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (image, name) in [
            ("r:5000/team/test-webapp:1", "test-webapp"),
            ("r/a__b.c", "a--b-c"),
            ("r/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbb", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ] {
            let short = short_name(&image.parse().unwrap());
            assert_eq!(short, name);
            assert!(is_name(&format!("cooper-{short}-abcde")));
        }
        for name in ["", "-a", "a-", "A", "a.b", &"a".repeat(51)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn passwords_do_not_become_part_of_a_job() {
        for address in
            ["https://me:token@h/a.git", "https://token@h/a.git", "git://token@h/a", "ssh://a:b@h/c"]
        {
            assert!(matches!(without_password(address), Err(PrepareError::Password(_))), "{address}");
        }
        for address in ["https://h/a.git#main", "ssh://git@h/a", "git@h:a/b", "oci://r:5000/a@sha256:1"] {
            assert_eq!(without_password(address).unwrap(), address);
        }
    }
}
