//! A build's graph as LLB, for a BuildKit daemon to execute. Base images are looked up (their configs take part in
//! planning), and nothing else is fetched or executed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BuildError, Environment, clock, image, plan_alone};
use crate::dockerfile::{Code, Diagnostic, Diagnostics};
use crate::exec::Supplies;
use crate::graph::{LLB_CONTEXT, LlbError, LlbOptions, llb as write};
use crate::image::Platform;
use crate::request::{BuildRequest, RequestError};

/// What a BuildKit daemon needs to make the image.
#[derive(Debug, Clone)]
pub struct LlbBuild {
    /// The marshalled `pb.Definition`, for the standard input of `buildctl build`.
    pub definition: Vec<u8>,
    /// The image's config without layers, for the exporter attribute `containerimage.config`.
    pub config: Vec<u8>,
    /// The directories it reads, by the names for `buildctl build --local NAME=PATH`.
    pub locals: BTreeMap<String, PathBuf>,
}

/// Writes the build of a request as LLB.
pub async fn llb(request: &BuildRequest, environment: Environment) -> Result<LlbBuild, BuildError> {
    let platform = match request.platforms.as_slice() {
        [] => Platform::host(),
        [platform] => platform.clone(),
        _ => return Err(RequestError::OnePlatformOnly { output: "LLB" }.into()),
    };
    // Secrets are the daemon's affair: they need not be here.
    let supplies = Supplies::gather(&BTreeMap::new(), &BTreeMap::new(), &[])?;
    let (inputs, graph) = plan_alone(request, environment, &supplies, &platform).await?;

    let directories = inputs.directories();
    let ignored =
        directories.iter().map(|(name, (_, ignore))| (name.clone(), ignore.patterns().collect())).collect();
    let options = LlbOptions {
        platform: &platform,
        ignored: &ignored,
        extra_hosts: &request.extra_hosts,
        use_cache: request.use_cache,
    };
    let written = write(&graph, &options).map_err(placed)?;
    let clock = clock(request, &inputs.dockerfile, &platform)?;
    let locals = written.locals.into_iter().filter_map(|name| {
        let (directory, _) = directories.get(&name)?;
        Some((name.unwrap_or_else(|| LLB_CONTEXT.to_owned()), directory.to_path_buf()))
    });
    Ok(LlbBuild {
        definition: written.definition,
        config: image::config_without_layers(&graph, clock)?,
        locals: locals.collect(),
    })
}

fn placed(error: LlbError) -> BuildError {
    let message = error.to_string();
    match error {
        LlbError::Layout { place, .. } => {
            let diagnostic = Diagnostic::error(Code::Unsupported, message, place.span);
            BuildError::Dockerfile(Diagnostics::one(place.source, diagnostic))
        }
        LlbError::Empty => BuildError::Llb(error),
    }
}
