//! `cooper remote build`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::client::Client;
use super::{Failure, follow, pack};
use crate::cli::arguments::key_value;
use crate::cli::build::complain;
use crate::cli::progress::Progress;
use crate::cli::stop_signal;
use crate::context::source::{ContextOrigin, ContextSource, buildx};
use crate::image::ImageRef;
use crate::pipeline::describe;
use crate::serve::{BuildId, Context, GitContext, Request};

/// What `cooper remote build` takes: of `cooper build` what makes sense elsewhere, with the same names.
#[derive(Debug, Args)]
pub(super) struct RemoteBuildArguments {
    /// A directory, which is sent; or a git repository or `oci://REPOSITORY@DIGEST`, which the service fetches
    #[arg(value_name = "CONTEXT")]
    context: String,
    /// The Dockerfile [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Name of the image, which is pushed; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]", required = true)]
    tags: Vec<ImageRef>,
    /// Value of an ARG; without a value, that of the environment variable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Platform of the image, like linux/arm64; several make an index
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<String>,
    /// Label of the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    /// Repository to look for results in
    #[arg(long = "cache-from", value_name = "REPOSITORY")]
    cache_from: Vec<String>,
    /// Repository to put results into
    #[arg(long = "cache-to", value_name = "REPOSITORY")]
    cache_to: Vec<String>,
    /// The project it belongs to [default: the token's]
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Higher ones begin first
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// How long it may take, like 30m
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// Memory it may take, like 4GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Processors it is counted with, like 2
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Container to give the image to when it is pushed: [NAMESPACE/]deployment/NAME=CONTAINER; repeatable
    #[arg(long = "set-image", value_name = "CONTAINER")]
    set_image: Vec<String>,
    /// Only say the build's name, and do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// How the build is shown
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    progress: Progress,
}

/// Asks for the build, and follows it. A signal cancels it.
pub(super) async fn build(client: &Client, arguments: &RemoteBuildArguments) -> Result<(), Failure> {
    let mut request = request(arguments);
    let source = buildx::parse(&arguments.context).map_err(|error| describe(&error))?;
    let body = match &source {
        ContextSource::Directory(directory) => {
            request.dockerfile_text = Some(pack::dockerfile(directory, arguments.file.as_deref())?);
            let ignore = pack::ignore(directory, arguments.file.as_deref())?;
            Some(pack::stream(directory.clone(), ignore))
        }
        source => {
            request.context = Some(elsewhere(source, &arguments.context)?);
            request.dockerfile = arguments.file.as_ref().map(|path| path.to_string_lossy().into_owned());
            None
        }
    };
    let (body, packing) = body.map_or((None, None), |(body, packing)| (Some(body), Some(packing)));
    let created = client.create(&request, body).await;
    // A context that cannot be read looks to the service like a client that is gone.
    if let Some(packing) = packing
        && let Ok(Err(error)) = packing.await
    {
        return Err(error.into());
    }
    let build = created?;
    if arguments.detach {
        crate::cli::build::say(&mut std::io::stdout(), build.id.as_str());
        return Ok(());
    }
    if arguments.progress != Progress::Json && arguments.progress != Progress::Quiet {
        complain(&format!("build {}", build.id));
    }
    let reporter = arguments.progress.reporter();
    let followed = tokio::select! {
        followed = follow::follow(client, &build.id, reporter.as_ref()) => followed?,
        () = stop_signal() => return cancel(client, &build.id).await,
    };
    reporter.finish();
    follow::conclude(&followed, arguments.progress)
}

async fn cancel(client: &Client, id: &BuildId) -> Result<(), Failure> {
    match client.cancel(id).await {
        Ok(_) => complain(&format!("cancelled {id}")),
        Err(error) => complain(&format!("{id} may go on: {error}")),
    }
    Err(Failure::Build(130))
}

fn request(arguments: &RemoteBuildArguments) -> Request {
    let labels = arguments.labels.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    });
    Request {
        tags: arguments.tags.clone(),
        build_args: arguments.build_args.iter().filter_map(|text| key_value(text)).collect(),
        labels: labels.collect(),
        target: arguments.target.clone(),
        platforms: arguments.platforms.clone(),
        no_cache: arguments.no_cache,
        cache_from: arguments.cache_from.clone(),
        cache_to: arguments.cache_to.clone(),
        project: arguments.project.clone(),
        priority: arguments.priority,
        timeout: arguments.timeout.clone(),
        memory: arguments.memory.clone(),
        cpus: arguments.cpus.clone(),
        set_image: arguments.set_image.clone(),
        ..Request::default()
    }
}

/// A context that the service fetches.
fn elsewhere(source: &ContextSource, text: &str) -> Result<Context, String> {
    let ContextSource::Remote(remote) = source else {
        return Err("there is no context; give a directory".to_owned());
    };
    match &remote.origin {
        ContextOrigin::Artifact(_) => Ok(Context::Artifact(text.to_owned())),
        ContextOrigin::Git(git) => {
            if git.login.is_some() {
                return Err("a login in the address would be kept by the service; it has logins of its own"
                    .to_owned());
            }
            let is_commit = git.reference.as_deref().is_some_and(crate::context::source::is_commit_id);
            let (reference, commit) = match (git.reference.clone(), git.checksum.clone()) {
                (Some(reference), None) if is_commit => (None, Some(reference)),
                (Some(reference), Some(commit)) if reference == commit => (None, Some(commit)),
                pair => pair,
            };
            Ok(Context::Git(GitContext {
                url: git.url.to_string(),
                reference,
                commit,
                directory: git.subdirectory.as_deref().map(Path::to_string_lossy).map(Into::into),
            }))
        }
        other => Err(format!(
            "a service does not build from {other}; give a directory, a git repository or oci://…"
        )),
    }
}
