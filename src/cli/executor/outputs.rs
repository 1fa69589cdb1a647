//! Files that tell what was built.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::flags::build as flags;
use super::parse::Parsed;
use crate::image::ImageRef;
use crate::layer::Digest;
use crate::registry::{Credentials, Registries, RegistrySettings};

/// How long the receiver of a digest has to answer.
const LIMIT: Duration = Duration::from_mins(1);

/// Writes the digest files that were asked for. Fails with a line that says which and why.
pub(super) async fn write(
    parsed: &Parsed,
    destinations: &[ImageRef],
    digest: Digest,
    registries: &RegistrySettings,
) -> Result<(), String> {
    let lines = |with_tag: bool| -> String {
        let line = |name: &ImageRef| {
            let (repository, tag) = (kanikos_name(name), name.tag().unwrap_or("latest"));
            if with_tag {
                format!("{repository}:{tag}@{digest}\n")
            } else {
                format!("{repository}@{digest}\n")
            }
        };
        destinations.iter().map(line).collect()
    };
    let wanted = [
        (&flags::DIGEST_FILE, digest.to_string(), "writing digest to file failed"),
        (&flags::IMAGE_NAME_WITH_DIGEST_FILE, lines(false), "writing image name with digest to file failed"),
        (
            &flags::IMAGE_NAME_TAG_WITH_DIGEST_FILE,
            lines(true),
            "writing image name with image tag and digest to file failed",
        ),
    ];
    for (flag, text, failed) in wanted {
        let Some(place) = parsed.some(flag) else { continue };
        let written = if place.starts_with("https://") {
            put(place, text, registries).await
        } else {
            write_file(Path::new(place), &text)
        };
        written.map_err(|reason| format!("{failed}: `{place}`: {reason}"))?;
    }
    Ok(())
}

/// The repository as Kaniko writes it: Docker Hub by its old name.
fn kanikos_name(name: &ImageRef) -> String {
    let repository = name.repository();
    match repository.registry() {
        "docker.io" => format!("index.docker.io/{}", repository.path()),
        _ => repository.to_string(),
    }
}

/// Opens, truncates and writes: the file may be one that can only be written to, as `/dev/termination-log`.
fn write_file(path: &Path, text: &str) -> Result<(), String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|error| error.to_string())?;
    }
    std::fs::write(path, text).map_err(|error| error.to_string())
}

/// Sends a text to a URL, which may be one that a cloud's storage has signed.
async fn put(url: &str, text: String, settings: &RegistrySettings) -> Result<(), String> {
    let parsed: url::Url = url.parse().map_err(|error| format!("{error}"))?;
    let registries = Registries::new(settings.clone(), Credentials::anonymous());
    let client = registries.and_then(|registries| registries.web_client(&parsed));
    let client = client.map_err(|error| crate::pipeline::describe(&error))?;
    let request = client.put(parsed).header("Content-Type", "text/plain").body(text).timeout(LIMIT);
    let response = request.send().await.map_err(|error| crate::pipeline::describe(&error.without_url()))?;
    if response.status().as_u16() >= 400 {
        return Err(format!("request failed: {}", response.status()));
    }
    Ok(())
}

/// A line of `$BUILDER_OUTPUT/images`.
#[derive(Serialize)]
struct BuiltImage {
    name: String,
    digest: Digest,
}

/// Writes `$BUILDER_OUTPUT/images`, a JSON object per pushed name, as Google's Cloud Build reads it.
pub(super) fn write_builder_output(
    directory: &Path,
    destinations: &[ImageRef],
    digest: Digest,
) -> Result<(), String> {
    let line = |name: &ImageRef| {
        let tag = name.tag().unwrap_or("latest");
        let image = BuiltImage { name: format!("{}:{tag}", kanikos_name(name)), digest };
        serde_json::to_string(&image).map(|line| line + "\n").map_err(|error| error.to_string())
    };
    let path = directory.join("images");
    let text = destinations.iter().map(line).collect::<Result<String, String>>()?;
    std::fs::write(&path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
