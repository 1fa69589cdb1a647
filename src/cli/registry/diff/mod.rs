//! `cooper registry diff`: what differs between two images.

mod config;
mod files;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use self::config::ConfigChange;
use self::files::{Change, Contents, FileChange};
use super::error::CommandError;
use super::place::Place;
use super::source::{PlatformImage, Source};
use super::{Connection, Verdict, bytes};
use crate::cli::printable;
use crate::image::{ImageConfig, Platform};
use crate::layer::{DiffId, Digest};

/// What `cooper registry diff` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct DiffArguments {
    /// An image
    #[arg(value_name = "A")]
    a: Place,
    /// Another one
    #[arg(value_name = "B")]
    b: Place,
    /// The platform to compare [default: that of this machine]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Compare times, too: of files, of the images, of their history
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    connection: Connection,
}

const NOTES: &str = "\
Layers that both have are read once. Exit code: 0 if nothing differs, 1 if something does.";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    a: Side,
    b: Side,
    config: Vec<ConfigChange>,
    layers: LayerChange,
    files: Vec<FileChange>,
}

#[derive(Debug, Serialize)]
struct Side {
    image: String,
    digest: Digest,
}

/// Layers by what they are uncompressed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerChange {
    /// How many both have, in the same order from the lowest on.
    shared: usize,
    only_in_a: Vec<ShownLayer>,
    only_in_b: Vec<ShownLayer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLayer {
    diff_id: DiffId,
    digest: Digest,
    size: u64,
}

pub(super) async fn run(arguments: &DiffArguments) -> Result<Verdict, CommandError> {
    let registries = arguments.connection.registries()?;
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let mut sides = Vec::new();
    for place in [&arguments.a, &arguments.b] {
        let source = Source::open(place, &registries).await?;
        let image = source.single(&platform).await?;
        sides.push((source, image));
    }
    let [(source_a, image_a), (source_b, image_b)] = sides.as_slice() else {
        return Err(CommandError::Usage("two images are compared".to_owned()));
    };
    let (config_a, config_b) = (config_of(source_a, image_a)?, config_of(source_b, image_b)?);
    // An image that is the same all over needs no layer to be read.
    let is_same = image_a.manifest.config.digest == image_b.manifest.config.digest;
    let files = if is_same || config_a.rootfs.diff_ids == config_b.rootfs.diff_ids {
        Vec::new()
    } else {
        let mut contents = Contents::default();
        let tree_a = contents.tree(source_a, image_a, config_a).await?;
        let tree_b = contents.tree(source_b, image_b, config_b).await?;
        contents.changes(&tree_a, &tree_b, arguments.times)
    };
    let report = Report {
        a: side(source_a, image_a),
        b: side(source_b, image_b),
        config: config::changes(&image_a.config_bytes, &image_b.config_bytes, arguments.times),
        layers: layers((image_a, config_a), (image_b, config_b)),
        files,
    };
    arguments.connection.print(&report, || text(&report))?;
    let differs = !report.config.is_empty() || !report.files.is_empty() || report.layers.differ();
    Ok(if differs { Verdict::Bad } else { Verdict::Good })
}

fn side(source: &Source, image: &PlatformImage) -> Side {
    Side { image: source.name().to_owned(), digest: image.document.descriptor.digest }
}

fn config_of<'a>(source: &Source, image: &'a PlatformImage) -> Result<&'a ImageConfig, CommandError> {
    image.config.as_ref().ok_or_else(|| CommandError::NoImage {
        image: source.name().to_owned(),
        media_type: image.manifest.config.media_type.to_string(),
    })
}

fn layers(a: (&PlatformImage, &ImageConfig), b: (&PlatformImage, &ImageConfig)) -> LayerChange {
    let (ids_a, ids_b) = (&a.1.rootfs.diff_ids, &b.1.rootfs.diff_ids);
    let shared = ids_a.iter().zip(ids_b).take_while(|(a, b)| a == b).count();
    let rest = |(image, config): (&PlatformImage, &ImageConfig)| {
        let layers = config.rootfs.diff_ids.iter().zip(&image.manifest.layers).skip(shared);
        let shown = layers.map(|(diff_id, layer)| ShownLayer {
            diff_id: *diff_id,
            digest: layer.digest,
            size: layer.size,
        });
        shown.collect()
    };
    LayerChange { shared, only_in_a: rest(a), only_in_b: rest(b) }
}

impl LayerChange {
    fn differ(&self) -> bool {
        !self.only_in_a.is_empty() || !self.only_in_b.is_empty()
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for (mark, side) in [("a", &report.a), ("b", &report.b)] {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "{mark} {}  {}", side.image, side.digest);
    }
    if !report.config.is_empty() {
        text.push_str("config\n");
    }
    for change in &report.config {
        for (mark, value) in [('-', &change.a), ('+', &change.b)] {
            if let Some(value) = value {
                let _ =
                    writeln!(text, "  {mark} {} {}", printable(&change.field), printable(&value.to_string()));
            }
        }
    }
    let LayerChange { shared, only_in_a, only_in_b } = &report.layers;
    let _ = writeln!(text, "layers\n  = {shared} from the lowest on");
    for (mark, layers) in [('-', only_in_a), ('+', only_in_b)] {
        for layer in layers {
            let _ = writeln!(text, "  {mark} {} {:>9}", layer.digest, bytes(layer.size));
        }
    }
    if !report.files.is_empty() {
        text.push_str("files\n");
    }
    for file in &report.files {
        let path = printable(&file.path);
        let _ = match &file.change {
            Change::Added { b } => writeln!(text, "  + {path}  {b}"),
            Change::Removed { a } => writeln!(text, "  - {path}  {a}"),
            Change::Changed { aspects } => {
                let aspects: Vec<String> = aspects.iter().map(ToString::to_string).collect();
                writeln!(text, "  ~ {path}  {}", aspects.join(", "))
            }
        };
    }
    if report.config.is_empty() && report.files.is_empty() {
        let same = if report.layers.differ() { "the same files and config" } else { "no difference" };
        let _ = writeln!(text, "{same}");
    } else {
        let kinds: BTreeSet<&str> = report.files.iter().map(|file| file.change.name()).collect();
        let counts = kinds.into_iter().map(|kind| {
            let count = report.files.iter().filter(|file| file.change.name() == kind).count();
            format!("{count} {kind}")
        });
        let counts: Vec<String> = counts.collect();
        let files = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let _ = writeln!(text, "{} changes of the config; files: {files}", report.config.len());
    }
    text
}
