//! `warmer`: fetching base images into the cache directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::flags::warmer as flags;
use super::parse::Parsed;
use super::registries::settings;
use super::run::Logging;
use super::{Mistake, say, variable};
use crate::cli::build::{Failure, run_pipeline};
use crate::image::{ImageRef, Platform};
use crate::pipeline::{self, describe};
use crate::registry::{CredentialPlaces, Credentials};
use crate::request::{BuildRequest, ContextSource, DockerfileSource};

/// The directory within a cache directory that is Cooper's store.
pub(super) const STORE: &str = "cooper";

pub(super) fn run(parsed: &Parsed, logging: &Logging) -> Result<ExitCode, Mistake> {
    let said = |text: String| Mistake::Said(text);
    if !parsed.is_given(&flags::IMAGE) && parsed.some(&flags::DOCKERFILE).is_none() {
        return Err(said(
            "you must select at least one image to cache or a dockerfilepath to parse".to_owned(),
        ));
    }
    let images = parsed.all(&flags::IMAGE).iter();
    let images: Result<Vec<ImageRef>, _> = images.map(|text| text.parse()).collect();
    let images = images.map_err(|error| said(format!("failed to parse image name: {error}")))?;
    let request = request(parsed)?;
    let credentials = Credentials::load(&CredentialPlaces::from_environment());
    let credentials = credentials.map_err(|error| said(describe(&error)))?;
    let events = logging.events(false);
    let results = run_pipeline(credentials, &events, async |environment| {
        pipeline::warm(&request, &images, environment).await
    });
    events.finish();
    // As with Kaniko, standard output says why.
    let fail = |text: &str| {
        say(&format!("failed warming cache: {text}\n"));
        Ok(ExitCode::FAILURE)
    };
    let results = match results {
        Ok(results) => results,
        Err(Failure::Build(error)) => return fail(&describe(&*error)),
        Err(Failure::Other(text)) => return fail(&text),
    };
    let mut warmed = 0;
    for (image, result) in &results {
        match result {
            Ok(()) => {
                warmed += 1;
                logging.info(&format!("Image {image} is in {}", request.store.display()));
            }
            Err(error) => {
                logging.warn(&format!("Error while trying to warm image {image}: {}", describe(error)));
            }
        }
    }
    if warmed == 0 && !results.is_empty() {
        return fail("did not warm any of the given images");
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be warmed by the Dockerfile, and with which settings.
fn request(parsed: &Parsed) -> Result<BuildRequest, Mistake> {
    let dockerfile = match parsed.some(&flags::DOCKERFILE) {
        None => DockerfileSource::InContext,
        Some(path) if Path::new(path).is_file() => DockerfileSource::Path(path.into()),
        Some(_) => {
            return Err(Mistake::Said(
                "error validating dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile"
                    .to_owned(),
            ));
        }
    };
    let parse = |text: &str| {
        text.parse::<Platform>().map_err(|error| Mistake::Said(format!("Invalid platform {text:?}: {error}")))
    };
    let platform = parsed.some(&flags::CUSTOM_PLATFORM).map(parse).transpose()?;
    let directory = Path::new(parsed.text(&flags::CACHE_DIR));
    std::fs::create_dir_all(directory).map_err(|error| {
        Mistake::Said(format!("failed to create cache directory: `{}`: {error}", directory.display()))
    })?;
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.clone(), variable(text).unwrap_or_default()),
    };
    Ok(BuildRequest {
        context: ContextSource::Empty,
        dockerfile,
        build_args: parsed.all(&flags::BUILD_ARG).iter().map(pair).collect(),
        platforms: platform.into_iter().collect(),
        registries: settings(parsed, &BTreeSet::new(), 0)?,
        ..BuildRequest::new(PathBuf::new(), directory.join(STORE))
    })
}
