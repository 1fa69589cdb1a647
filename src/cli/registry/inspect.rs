//! `cooper registry inspect`: an image as it is in a registry, a layout or an archive.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::error::CommandError;
use super::place::Place;
use super::source::{Contents, PlatformImage, ShownBlob, Source};
use super::{Connection, Verdict, bytes};
use crate::cli::printable;
use crate::image::{ImageConfig, Platform};

/// What `cooper registry inspect` takes.
#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: Place,
    /// Show this platform only
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    #[serde(flatten)]
    root: ShownBlob,
    /// One after the other, as the index has them; one for an image without an index.
    images: Vec<ShownImage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownImage {
    platform: Option<String>,
    #[serde(flatten)]
    manifest: ShownBlob,
    /// Bytes of config and layers.
    total_size: u64,
    layers: Vec<ShownLayer>,
    /// The config as it is written; of other artifacts its type alone.
    config: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLayer {
    #[serde(flatten)]
    blob: ShownBlob,
    /// What made it, by the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

pub(super) async fn run(arguments: &InspectArguments) -> Result<Verdict, CommandError> {
    let registries = arguments.connection.registries()?;
    let source = Source::open(&arguments.image, &registries).await?;
    let contents = source.contents(arguments.platform.as_ref()).await?;
    let shown = shown(&source, &contents);
    arguments.connection.print(&shown, || text(&shown, &contents))?;
    Ok(Verdict::Good)
}

fn shown(source: &Source, contents: &Contents) -> Shown {
    let images = contents.images.iter().map(|image| ShownImage {
        platform: image.platform.as_ref().map(ToString::to_string),
        manifest: (&image.document.descriptor).into(),
        total_size: image.size(),
        layers: layers(image),
        config: match &image.config {
            Some(_) => serde_json::from_slice(&image.config_bytes).unwrap_or(Value::Null),
            None => Value::String(image.manifest.config.media_type.to_string()),
        },
    });
    Shown {
        name: source.name().to_owned(),
        root: (&contents.root.descriptor).into(),
        images: images.collect(),
    }
}

/// The layers with the steps that made them, where the history accounts for all of them.
fn layers(image: &PlatformImage) -> Vec<ShownLayer> {
    let steps: Vec<_> = image.config.iter().flat_map(|config| &config.history).collect();
    let making: Vec<_> = steps.iter().filter(|step| !step.empty_layer).collect();
    let is_whole = making.len() == image.manifest.layers.len();
    let created_by =
        |position: usize| making.get(position).filter(|_| is_whole).map(|step| step.created_by.clone());
    let layers = image.manifest.layers.iter().enumerate();
    layers.map(|(n, layer)| ShownLayer { blob: layer.into(), created_by: created_by(n) }).collect()
}

fn text(shown: &Shown, contents: &Contents) -> String {
    let root = &contents.root.descriptor;
    let mut text = format!("{}\n  {}\n  {}\n", shown.name, root.digest, root.media_type);
    for image in &contents.images {
        // Writing to a string does not fail.
        let _ = write_image(&mut text, image);
    }
    text
}

fn write_image(text: &mut String, image: &PlatformImage) -> std::fmt::Result {
    let descriptor = &image.document.descriptor;
    writeln!(text, "\n{}  {}", image.label(), descriptor.digest)?;
    writeln!(text, "  {}, {}", bytes(image.size()), count(image.manifest.layers.len(), "layer"))?;
    let Some(config) = &image.config else {
        writeln!(text, "  config      {}", printable(image.manifest.config.media_type.as_ref()))?;
        return Ok(());
    };
    for (name, value) in settings(config) {
        writeln!(text, "  {name:11} {}", printable(&value))?;
    }
    let layers = layers(image);
    if !layers.is_empty() {
        writeln!(text, "  layers")?;
    }
    for (layer, descriptor) in layers.iter().zip(&image.manifest.layers) {
        let made_by = layer.created_by.as_deref().map(|step| shortened(&printable(step))).unwrap_or_default();
        writeln!(text, "    {} {:>9}  {made_by}", descriptor.digest, bytes(descriptor.size))?;
    }
    if !config.history.is_empty() {
        writeln!(text, "  history")?;
    }
    for step in &config.history {
        let created = step.created.map(|time| time.to_string()).unwrap_or_default();
        let mark = if step.empty_layer { ' ' } else { '+' };
        writeln!(text, "    {created:20} {mark} {}", shortened(&printable(&step.created_by)))?;
    }
    Ok(())
}

/// What a container of the image runs as, each where it is given.
fn settings(config: &ImageConfig) -> Vec<(&'static str, String)> {
    let run = &config.config;
    let list = |words: &[String]| {
        if words.is_empty() { String::new() } else { serde_json::to_string(words).unwrap_or_default() }
    };
    let set = |words: &std::collections::BTreeSet<String>| {
        words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let mut settings = vec![
        ("created", config.created.map(|time| time.to_string()).unwrap_or_default()),
        ("entrypoint", list(&run.entrypoint)),
        ("cmd", list(&run.cmd)),
        ("user", run.user.clone()),
        ("directory", run.working_dir.clone()),
        ("ports", set(&run.exposed_ports)),
        ("volumes", set(&run.volumes)),
    ];
    settings.extend(run.env.iter().map(|variable| ("env", variable.clone())));
    settings.extend(run.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    settings.retain(|(_, value)| !value.is_empty());
    settings
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A line that does not wrap on most screens.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 90;
    match text.char_indices().nth(WIDTH) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
