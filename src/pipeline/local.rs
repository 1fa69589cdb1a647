//! What a build reads on this machine, for who builds it elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::BuildError;
use super::check::needed_images;
use super::inputs::{FetchedMain, Inputs};
use crate::context::Context;
use crate::image::ImageRef;
use crate::request::{BuildRequest, ContextSource, DockerfileSource};

/// What a build reads on this machine.
#[derive(Debug)]
pub struct LocalInputs {
    /// The text of the Dockerfile; `None` if it is elsewhere, with the context.
    pub dockerfile: Option<String>,
    /// The contexts that are directories, after `.dockerignore`; the build context has no name.
    pub contexts: BTreeMap<Option<String>, Arc<Context>>,
    /// The images that the Dockerfile begins with, copies from and mounts; none if it is elsewhere.
    pub images: BTreeSet<ImageRef>,
}

/// Reads the Dockerfile, which must make sense, and lists the files of all contexts that are directories.
pub fn local_inputs(request: &BuildRequest) -> Result<LocalInputs, BuildError> {
    request.validate()?;
    let is_elsewhere = matches!(request.context, ContextSource::Remote(_));
    let inputs = if is_elsewhere {
        // Its Dockerfile cannot be looked at; the other contexts can.
        let request = BuildRequest {
            context: ContextSource::Empty,
            dockerfile: DockerfileSource::Text("FROM scratch\n".to_owned()),
            ..request.clone()
        };
        Inputs::open(&request, FetchedMain::default())?
    } else {
        Inputs::open(request, FetchedMain::default())?
    };
    let dockerfile = (!is_elsewhere).then(|| inputs.dockerfile.source.text().to_owned());
    let images = if is_elsewhere { BTreeSet::new() } else { needed_images(&inputs.dockerfile, request) };
    Ok(LocalInputs { dockerfile, contexts: inputs.contexts()?, images })
}
