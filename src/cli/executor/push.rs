//! `executor push`: an image that is there already, into registries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::flags::build as flags;
use super::flags::registry;
use super::parse::Parsed;
use super::registries::settings;
use super::request::destinations;
use super::run::{Logging, credentials};
use super::{Mistake, complain, only_argument, outputs};
use crate::cli::build::{Failure, run_pipeline};
use crate::image::SavedImage;
use crate::pipeline::{self, PushSaved};
use crate::request::PushPolicy;

pub(super) fn run(parsed: &Parsed, logging: &Logging) -> Result<ExitCode, Mistake> {
    let path = PathBuf::from(only_argument(parsed)?);
    let destinations = destinations(parsed)?;
    if destinations.is_empty() {
        return Err(Mistake::Said("at least one --destination is required".to_owned()));
    }
    if let Err(error) = std::fs::metadata(&path) {
        return Err(Mistake::Said(format!("path {} not readable: {error}", path.display())));
    }
    let pushed_to: BTreeSet<String> =
        destinations.iter().map(|name| name.repository().registry().to_owned()).collect();
    let settings = settings(parsed, &pushed_to, 0)?;
    let policy = PushPolicy {
        retries: u32::try_from(parsed.number(&registry::PUSH_RETRY)).unwrap_or_default(),
        accept_immutable_tags: parsed.is_on(&registry::PUSH_IGNORE_IMMUTABLE_TAG_ERRORS),
        check_first: !parsed.is_on(&flags::SKIP_PUSH_PERMISSION_CHECK),
    };
    let events = logging.events(false);
    let result = run_pipeline(credentials(parsed, logging)?, &events, async |environment| {
        let image = match open(&path).await {
            Ok(image) => image,
            Err(reason) => return Ok(Err(format!("loading image: {reason}"))),
        };
        let push = PushSaved { image: &image, names: &destinations, settings: &settings, policy };
        pipeline::push_saved(push, environment).await?;
        Ok(outputs::write(parsed, &destinations, image.root.0.digest, &settings).await)
    });
    events.finish();
    match result {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(text)) | Err(Failure::Other(text)) => Ok(fail(&text)),
        Err(Failure::Build(error)) => Ok(fail(&match &*error {
            pipeline::BuildError::PushForbidden { .. } => {
                format!("checking push permissions: {}", pipeline::describe(&*error))
            }
            error => format!("pushing image: {}", pipeline::describe(error)),
        })),
    }
}

async fn open(path: &Path) -> Result<SavedImage, String> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || SavedImage::open(&path, &std::env::temp_dir())).await;
    opened.map_err(|error| error.to_string())?.map_err(|error| pipeline::describe(&error))
}

fn fail(text: &str) -> ExitCode {
    complain(&format!("Error: {text}"));
    ExitCode::FAILURE
}
