//! `cooper registry verify`: is everything there, and is it what its digests say?

use std::collections::BTreeMap;
use std::io;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use super::error::CommandError;
use super::place::Place;
use super::source::{Contents, Source};
use super::{Connection, Verdict, bytes};
use crate::image::Descriptor;
use crate::layer::Digest;
use crate::pipeline::describe;

/// Blobs fetched at once. A registry's own limits hold besides.
const AT_ONCE: usize = 4;

/// What `cooper registry verify` takes.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The image; of an index, all that it lists
    #[arg(value_name = "IMAGE")]
    image: Place,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    digest: Digest,
    /// Blobs that were read and are what they should be, documents included.
    blobs: usize,
    /// Their bytes.
    size: u64,
    /// What is wrong.
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Fault {
    digest: Digest,
    problem: String,
}

pub(super) async fn run(arguments: &VerifyArguments) -> Result<Verdict, CommandError> {
    let registries = arguments.connection.registries()?;
    let source = Source::open(&arguments.image, &registries).await?;
    // Documents are checked against their digests as they are fetched; one that is damaged ends it here.
    let contents = source.contents(None).await?;
    let report = report(&source, &contents).await;
    arguments.connection.print(&report, || text(&report))?;
    Ok(if report.faults.is_empty() { Verdict::Good } else { Verdict::Bad })
}

async fn report(source: &Source, contents: &Contents) -> Report {
    let manifests = contents.images.iter().map(|image| &image.document);
    let configs = contents.images.iter().map(|image| &image.manifest.config);
    let read = contents.indexes.iter().chain(manifests).map(|document| &document.descriptor).chain(configs);
    let mut good: BTreeMap<Digest, u64> = read.map(|document| (document.digest, document.size)).collect();
    let layers: BTreeMap<Digest, &Descriptor> = contents
        .images
        .iter()
        .flat_map(|image| &image.manifest.layers)
        .map(|layer| (layer.digest, layer))
        .collect();
    let results: Vec<_> = stream::iter(layers.values())
        .map(|layer| async move { (*layer, check(source, layer).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut faults: Vec<Fault> = Vec::new();
    for (layer, result) in results {
        match result {
            Ok(()) => {
                good.insert(layer.digest, layer.size);
            }
            Err(error) => faults.push(Fault { digest: layer.digest, problem: describe(&error) }),
        }
    }
    for image in &contents.images {
        let Some(config) = &image.config else { continue };
        let (layers, listed) = (image.manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != listed {
            let problem = format!("the manifest has {layers} layers, its config {listed}");
            faults.push(Fault { digest: image.document.descriptor.digest, problem });
        }
    }
    faults.sort_by_key(|fault| fault.digest);
    Report {
        image: source.name().to_owned(),
        digest: contents.root.descriptor.digest,
        blobs: good.len(),
        size: good.values().fold(0, |sum, size| sum.saturating_add(*size)),
        faults,
    }
}

/// Reads a blob to its end, where a wrong digest or length is an error.
async fn check(source: &Source, blob: &Descriptor) -> Result<(), CommandError> {
    let (image, digest) = (source.name().to_owned(), blob.digest);
    let mut reader = source.blob(blob).await?;
    super::source::blocking(move || {
        let read = io::copy(&mut reader, &mut io::sink());
        read.map(drop).map_err(|source| CommandError::Blob { image, digest, source })
    })
    .await
}

fn text(report: &Report) -> String {
    let Report { image, digest, blobs, size, faults } = report;
    let verdict = match faults.len() {
        0 => "all of them good".to_owned(),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let damaged = faults.iter().map(|fault| format!("damaged  {}  {}", fault.digest, fault.problem));
    let summary = format!("{image}: {digest}, {blobs} blobs with {} read, {verdict}\n", bytes(*size));
    damaged.chain([summary]).collect::<Vec<_>>().join("\n")
}
