//! A small but valid image for the tests of what holds images.

use std::path::Path;

use super::{Bundle, Descriptor, History, ImageConfig, ImageFormat, Manifest, Platform, Time};
use crate::layer::{Compression, Encoding, Entry, LayerWriter, Metadata, TarWriter};

/// Makes an image of one layer with the file `hello`, its layer stored below `directory`.
pub(super) fn bundle(directory: &Path, format: ImageFormat, platform: &str, text: &str) -> Bundle {
    let platform: Platform = platform.parse().unwrap();
    let mut tar = TarWriter::new(LayerWriter::new(Vec::new(), Encoding::default()).unwrap());
    let entry = Entry::file("hello", Metadata::with_mode(0o644), text.len() as u64);
    tar.append(&entry, text.as_bytes()).unwrap();
    let (layer, blob) = tar.finish().unwrap().finish().unwrap();
    std::fs::write(directory.join(layer.digest.hex()), blob).unwrap();

    let mut config = ImageConfig::for_platform(&platform);
    config.config.cmd = vec!["/hello".into()];
    config.created = Some(Time::EPOCH);
    let step = History {
        created: Some(Time::EPOCH),
        created_by: "COPY hello / # buildkit".into(),
        ..History::default()
    };
    config.push_layer(layer.diff_id, step);
    let config_bytes = config.to_bytes().unwrap();
    let describe = |media_type, digest, size| Descriptor::new(media_type, digest, size);
    let manifest = Manifest::build(
        format,
        describe(format.config_type(), config.digest().unwrap(), config_bytes.len() as u64),
        vec![describe(format.layer_type(Compression::Gzip).unwrap(), layer.digest, layer.size)],
        std::collections::BTreeMap::new(),
    );
    let locate = |digest: &crate::layer::Digest| directory.join(digest.hex());
    Bundle::of_image(manifest.unwrap(), config_bytes, Some(platform), locate).unwrap()
}

/// Runs a program that must succeed and gives what it printed.
pub(super) fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}
