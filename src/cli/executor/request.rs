//! From flags to a request, with the checks that Kaniko makes, in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::flags::{build as flags, registry};
use super::parse::Parsed;
use super::registries::settings;
use super::{Mistake, read, secret, variable};
use crate::cache::{CachePlace, CacheSource, CacheTarget, CachedSteps, ParseCachePlaceError};
use crate::cli::arguments::source_date_epoch;
use crate::context::source::kaniko::{self, GitFlags, KanikoOptions};
use crate::image::{ImageFormat, ImageRef, Platform, RepoName};
use crate::layer::Encoding;
use crate::request::{BuildRequest, ContextSource, Destination, DockerfileSource, Output, PushPolicy};

/// What an archive's image is called when nobody has named it.
const UNNAMED: &str = "docker.io/unset-repo/unset-image-name";

/// A build, and what belongs to it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) request: BuildRequest,
    /// The destinations as Kaniko writes them, for its files.
    pub(super) destinations: Vec<ImageRef>,
    /// What is removed afterwards.
    pub(super) cleanup: Option<PathBuf>,
    /// Things to tell before the build.
    pub(super) warnings: Vec<String>,
}

/// Makes the plan. Looks whether directories are there, and at nothing else.
pub(super) fn plan(parsed: &Parsed) -> Result<Plan, Mistake> {
    let said = |text: &str| Mistake::Said(text.to_owned());
    let no_push = parsed.is_on(&flags::NO_PUSH);
    let platform = platform(parsed)?;
    check_snapshot_mode(parsed)?;
    if !no_push && !parsed.is_given(&flags::DESTINATION) {
        return Err(said("you must provide --destination, or use --no-push"));
    }
    let destinations = destinations(parsed)?;
    check_format(parsed)?;
    if parsed.is_on(&flags::CACHE)
        && no_push
        && !parsed.is_on(&flags::NO_PUSH_CACHE)
        && parsed.some(&flags::CACHE_REPO).is_none()
    {
        return Err(said(
            "cache flags invalid: if using cache with --no-push, specify cache repo with --cache-repo",
        ));
    }
    check_cache_repository(parsed)?;
    let context = context(parsed)?;
    for (flag, name) in [
        (&flags::IMAGE_NAME_WITH_DIGEST_FILE, "ImageNameDigestFile"),
        (&flags::IMAGE_NAME_TAG_WITH_DIGEST_FILE, "ImageNameTagDigestFile"),
    ] {
        if destinations.is_empty() && parsed.is_given(flag) {
            return Err(said(&format!("you must provide --destination if setting {name}")));
        }
    }
    let mut targets = parsed.list(&flags::TARGET).into_iter().filter(|target| !target.is_empty());
    let mut build_args = build_args(parsed);
    let epoch = source_date_epoch(&mut build_args).map_err(Mistake::Said)?;
    let reproducible = parsed.is_on(&flags::REPRODUCIBLE).then_some(0);
    let retries = |flag| u32::try_from(parsed.number(flag)).unwrap_or_default();
    let mut pushed_to: BTreeSet<String> = if no_push {
        BTreeSet::new()
    } else {
        destinations.iter().map(|name| name.repository().registry().to_owned()).collect()
    };
    let cache = cache_place(parsed, &destinations)?;
    if let Some(CachePlace::Registry(name)) = &cache {
        pushed_to.insert(name.registry().to_owned());
    }
    let steps = if parsed.is_on(&flags::CACHE_COPY_LAYERS) { CachedSteps::All } else { CachedSteps::Runs };
    let written = cache.clone().filter(|_| !parsed.is_on(&flags::NO_PUSH_CACHE));
    let (store, cleanup) = store(parsed);
    let mut tags = destinations.clone();
    if tags.is_empty() && parsed.is_given(&flags::TAR_PATH) {
        tags.extend(UNNAMED.parse());
    }
    let mut warnings = Vec::new();
    if parsed.is_on(&flags::MATERIALIZE) {
        warnings.push(
            "--materialize has no effect: the container's own files are not changed. `cooper build --output type=local,dest=DIR` writes an image's files"
                .to_owned(),
        );
    }
    let request = BuildRequest {
        context,
        dockerfile: DockerfileSource::Path(parsed.text(&flags::DOCKERFILE).into()),
        target: targets.next(),
        numbered_targets: true,
        further_targets: targets.collect(),
        source_date_epoch: epoch.or(reproducible),
        build_args,
        platforms: platform.into_iter().collect(),
        labels: labels(parsed),
        annotations: parsed.pairs(&flags::ANNOTATION).into_iter().collect(),
        tags,
        outputs: outputs(parsed, no_push),
        image_format: parsed.some(&flags::IMAGE_FORMAT).map(|format| match format {
            "docker" => ImageFormat::Docker,
            _ => ImageFormat::Oci,
        }),
        encoding: encoding(parsed)?,
        ignored_paths: parsed.all(&flags::IGNORE_PATH).iter().map(PathBuf::from).collect(),
        single_layer: parsed.is_on(&flags::SINGLE_SNAPSHOT),
        push: PushPolicy {
            retries: retries(&registry::PUSH_RETRY),
            accept_immutable_tags: parsed.is_on(&registry::PUSH_IGNORE_IMMUTABLE_TAG_ERRORS),
            check_first: !parsed.is_on(&flags::SKIP_PUSH_PERMISSION_CHECK),
        },
        warmed_images: parsed
            .is_on(&flags::CACHE)
            .then(|| PathBuf::from(parsed.text(&flags::CACHE_DIR)))
            .filter(|directory| directory.is_dir()),
        look_up_retries: retries(&registry::IMAGE_DOWNLOAD_RETRY),
        use_cache: parsed.is_on(&flags::CACHE),
        use_cached_runs: parsed.is_on(&flags::CACHE_RUN_LAYERS),
        max_cache_age: Some(parsed.duration(&flags::CACHE_TTL)),
        cache_from: cache.into_iter().map(|place| CacheSource { place, max_age: None }).collect(),
        cache_to: written.into_iter().map(|place| CacheTarget { place, steps }).collect(),
        isolation: read(&flags::ISOLATION, parsed.text(&flags::ISOLATION), |text| {
            text.parse().map_err(|error| format!("{error}"))
        })?,
        secrets: secrets(parsed)?,
        registries: settings(parsed, &pushed_to, retries(&flags::IMAGE_FS_EXTRACT_RETRY))?,
        ..BuildRequest::new(PathBuf::new(), store)
    };
    Ok(Plan { request, destinations, cleanup, warnings })
}

/// Where results are shared: `--cache-repo`, or `cache` below the first destination.
fn cache_place(parsed: &Parsed, destinations: &[ImageRef]) -> Result<Option<CachePlace>, Mistake> {
    if !parsed.is_on(&flags::CACHE) {
        return Ok(None);
    }
    if let Some(text) = parsed.some(&flags::CACHE_REPO) {
        let place = text
            .parse()
            .map_err(|error: ParseCachePlaceError| Mistake::Said(format!("--cache-repo: {error}")))?;
        return Ok(Some(place));
    }
    let first = destinations.first().map(ImageRef::repository);
    Ok(first
        .map(|name| CachePlace::Registry(RepoName::new(name.registry(), format!("{}/cache", name.path())))))
}

fn platform(parsed: &Parsed) -> Result<Option<Platform>, Mistake> {
    let parse = |text: &str| {
        text.parse().map_err(|error| Mistake::Said(format!("Invalid platform {text:?}: {error}")))
    };
    parsed.some(&flags::CUSTOM_PLATFORM).map(parse).transpose()
}

fn check_cache_repository(parsed: &Parsed) -> Result<(), Mistake> {
    let name = parsed.some(&flags::CACHE_REPO).filter(|name| !name.starts_with("oci:"));
    let Some(Err(error)) = name.map(str::parse::<ImageRef>) else { return Ok(()) };
    Err(Mistake::Said(format!("cache flags invalid: --cache-repo: {error}")))
}

fn check_snapshot_mode(parsed: &Parsed) -> Result<(), Mistake> {
    match parsed.text(&flags::SNAPSHOT_MODE) {
        "full" | "redo" | "time" => Ok(()),
        mode => Err(Mistake::Said(format!(
            "{mode:?} is not a valid snapshot mode. Please specify one of (full, redo, time)"
        ))),
    }
}

fn check_format(parsed: &Parsed) -> Result<(), Mistake> {
    let is_zstd = parsed.text(&flags::COMPRESSION) == "zstd";
    let format = parsed.text(&flags::IMAGE_FORMAT);
    let tar = parsed.some(&flags::TAR_PATH).is_some();
    let text = if format == "docker" && is_zstd {
        "--compression=zstd cannot be used with --image-format=docker, the Docker schema2 format has no zstd layer media type, use --image-format=oci"
    } else if tar && format == "oci" {
        "--tar-path writes a Docker schema2 tarball and cannot be used with --image-format=oci, use --oci-layout-path to write an OCI image"
    } else if tar && is_zstd {
        "--compression=zstd cannot be used with --tar-path, the Docker schema2 tarball has no zstd layer media type, use --oci-layout-path for zstd layers"
    } else {
        return Ok(());
    };
    Err(Mistake::Said(text.to_owned()))
}

/// The names of the image. Each has a tag, if only `latest`.
pub(super) fn destinations(parsed: &Parsed) -> Result<Vec<ImageRef>, Mistake> {
    let parse = |text: &String| {
        text.parse::<ImageRef>()
            .map_err(|error| error.to_string())
            .and_then(|name| match name.digest() {
                Some(_) => Err("it has a digest, which only the build can tell; give a tag".to_owned()),
                None => Ok(name),
            })
            .map_err(|reason| Mistake::Said(format!("getting tag for destination: {reason}")))
    };
    parsed.all(&flags::DESTINATION).iter().map(parse).collect()
}

fn context(parsed: &Parsed) -> Result<ContextSource, Mistake> {
    let text = parsed.text(&flags::CONTEXT);
    let bucket = parsed.some(&flags::BUCKET);
    let said = |text: String| Mistake::Said(text);
    if text.is_empty() && bucket.is_none() {
        return Err(said(
            "error resolving source context: please specify a path to the build context with the --context flag or a bucket with the --bucket flag".to_owned(),
        ));
    }
    let mut git = GitFlags::default();
    for value in parsed.all(&flags::GIT) {
        read(&flags::GIT, value, |value| git.set(value).map_err(|error| error.to_string()))?;
    }
    let options = KanikoOptions {
        sub_path: parsed.some(&flags::CONTEXT_SUB_PATH).map(PathBuf::from),
        bucket: bucket.filter(|_| text.is_empty() || !parsed.is_given(&flags::CONTEXT)).map(str::to_owned),
        git,
        ..KanikoOptions::default()
    };
    let text = if options.bucket.is_some() { "" } else { text };
    match kaniko::parse(text, &options.with_environment(variable)) {
        Ok(ContextSource::Directory(path)) if !path.is_dir() => {
            let path = path.display();
            Err(said(format!(
                "error resolving source context: the build context `{path}` is not a directory"
            )))
        }
        Ok(source) => Ok(source),
        Err(error) => Err(said(format!("error resolving source context: {error}"))),
    }
}

/// Build arguments; a bare name takes the executor's own variable, and is empty without one.
pub(super) fn build_args(parsed: &Parsed) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.clone(), variable(text).unwrap_or_default()),
    };
    parsed.all(&flags::BUILD_ARG).iter().map(pair).collect()
}

fn labels(parsed: &Parsed) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    parsed.all(&flags::LABEL).iter().map(pair).collect()
}

fn secrets(parsed: &Parsed) -> Result<BTreeMap<String, crate::exec::SecretSource>, Mistake> {
    let parse = |text: &String| read(&flags::SECRET, text, |text| secret::parse(text, variable));
    parsed.all(&flags::SECRET).iter().map(parse).collect()
}

fn outputs(parsed: &Parsed, no_push: bool) -> Vec<Output> {
    let mut outputs = Vec::new();
    if let Some(path) = parsed.some(&flags::OCI_LAYOUT_PATH) {
        outputs.push(Output::Oci(Destination::Directory(path.into())));
    }
    if let Some(path) = parsed.some(&flags::TAR_PATH) {
        outputs.push(Output::Docker(Destination::File(path.into())));
    }
    if !no_push {
        outputs.push(Output::Push);
    }
    outputs
}

fn encoding(parsed: &Parsed) -> Result<Encoding, Mistake> {
    let level = parsed.number(&flags::COMPRESSION_LEVEL);
    let level = |highest: u8| match u8::try_from(level) {
        // 0 and less are Kaniko's ways of saying nothing.
        _ if level <= 0 => Ok(None),
        Ok(level) if level <= highest => Ok(Some(level)),
        _ => Err(Mistake::Said(format!(
            "invalid value \"{level}\" for --compression-level: it goes from 1 to {highest}"
        ))),
    };
    Ok(match parsed.text(&flags::COMPRESSION) {
        "zstd" => Encoding::Zstd { level: level(22)?.unwrap_or(Encoding::DEFAULT_ZSTD_LEVEL) },
        _ => Encoding::Gzip { level: level(9)?.unwrap_or(Encoding::DEFAULT_GZIP_LEVEL) },
    })
}

/// Where the store is, and what is to be removed of it: a store that is only there for the build may go with it.
fn store(parsed: &Parsed) -> (PathBuf, Option<PathBuf>) {
    let cache = Path::new(parsed.text(&flags::CACHE_DIR));
    if parsed.is_on(&flags::CACHE) && is_writable_directory(cache) {
        return (cache.join(super::warm::STORE), None);
    }
    let kaniko = Path::new(parsed.text(&flags::KANIKO_DIR));
    let named = variable("COOPER_STORE").filter(|store| !store.is_empty()).map(PathBuf::from);
    let store = match named {
        Some(store) if !parsed.is_given(&flags::KANIKO_DIR) => store,
        _ => kaniko.join(super::warm::STORE),
    };
    let cleanup = parsed.is_on(&flags::CLEANUP) && store.starts_with(kaniko);
    (store.clone(), cleanup.then_some(store))
}

fn is_writable_directory(path: &Path) -> bool {
    path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}
