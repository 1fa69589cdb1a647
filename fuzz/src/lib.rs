//! What is fuzzed: one function per parser of input that somebody else made.
//!
//! Each takes any bytes and must neither panic nor take long, and asserts what must hold of whatever was understood.
//! `make fuzz` drives them with libFuzzer; `tests/it/fuzz.rs` with a fixed number of mutations.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use cooper::cache::{CachedStep, MAX_INDEX, MAX_LAYERS, parse_tree, read_list};
use cooper::context::ignore::Ignore;
use cooper::context::source::kaniko::KanikoOptions;
use cooper::context::source::{GitSource, buildx, kaniko};
use cooper::dockerfile::{
    Escape, LintOptions, RemoteSource, Source, Span, Word, expand, expand_heredoc, expand_words, lint, parse,
    parse_chmod, parse_duration, parse_onbuild, parse_partly, parse_port_spec, parse_signal,
};
use cooper::graph::{self, Base, Bases, PlanRequest, Planned, StepId};
use cooper::image::{ImageConfig, ImageRef, ManifestOrIndex, Platform};
use cooper::layer::{DiffId, Digest, LayerIndex, TarReader, decompress};

/// How much is unpacked of an archive: a few bytes may stand for gigabytes.
const MAX_UNPACKED: u64 = 1 << 20;

/// A Dockerfile: parsed, checked, and its diagnostics rendered.
pub fn parser(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (dockerfile, errors) = parse_partly(Source::new("Dockerfile", text.as_ref()));
    let source = &dockerfile.source;
    let warnings = lint(&dockerfile, &LintOptions::default());
    for diagnostic in errors.iter().chain(&warnings) {
        if let Some(span) = diagnostic.span {
            assert!(source.text().get(span.start..span.end).is_some(), "{diagnostic:?}");
        }
    }
    for diagnostic in errors.iter().chain(&warnings).take(3) {
        let rendered = diagnostic.render(source, false);
        assert!(!rendered.contains('\u{1b}'), "{rendered:?}");
        let placed = diagnostic.placed(source);
        assert!(placed.start <= placed.end);
    }
    assert_eq!(parse(Source::new("Dockerfile", text.as_ref())).is_ok(), errors.is_empty());
    let _ = parse_onbuild(Source::new("trigger", text.as_ref()));
}

/// A Dockerfile as a graph: for a foreign platform, with empty bases that have triggers.
pub fn plan(data: &[u8]) {
    /// Steps of a plan that is looked up again and again would be endless.
    const MAX_ROUNDS: usize = 20;

    let text = String::from_utf8_lossy(data);
    let Ok(dockerfile) = parse(Source::new("Dockerfile", text.as_ref())) else { return };
    let build_args = BTreeMap::from([("a".to_owned(), "value".to_owned())]);
    let platform: Platform = "linux/s390x".parse().expect("it is a platform");
    let mut bases = Bases::new();
    for _ in 0..MAX_ROUNDS {
        let planned = graph::plan(PlanRequest {
            dockerfile: &dockerfile,
            build_args: &build_args,
            target: None,
            numbered_targets: false,
            platform: &platform,
            is_platform_given: true,
            build_platform: &Platform::host(),
            contexts: &BTreeMap::new(),
            labels: &BTreeMap::new(),
            bases: &bases,
        });
        match planned {
            Err(diagnostics) => return assert!(!diagnostics.render(false).is_empty()),
            Ok(Planned::Needs(needs)) => bases.extend(needs.into_iter().map(|need| {
                let mut config = ImageConfig::for_platform(&need.platform);
                config.config.on_build = vec!["COPY --from=b /x $a".to_owned(), "USER $b".to_owned()];
                (need, Base { config, layers: Vec::new(), is_docker: false })
            })),
            Ok(Planned::Graph(graph)) => {
                for (position, step) in graph.steps.iter().enumerate() {
                    let parent = step.operation.parent().map(StepId::position);
                    assert!(parent.is_none_or(|parent| parent < position), "inputs come first");
                }
                assert_eq!(graph.config.architecture, platform.architecture());
                return;
            }
        }
    }
    panic!("bases are looked up again and again");
}

/// A word with variables, and the values that words become.
pub fn expansion(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let word = Word::new(text.as_ref(), Span::new(0, text.len()));
    let variables: BTreeMap<String, String> = [("a", ""), ("b", "value"), ("path", "/usr/lib:/lib*?[")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for escape in [Escape::Backslash, Escape::Backtick] {
        if let Ok(expanded) = expand(&word, &variables, escape) {
            for undefined in &expanded.undefined {
                assert!(text.get(undefined.span.start..undefined.span.end).is_some(), "{undefined:?}");
            }
        }
        let _ = expand_words(&word, &variables, escape);
    }
    let _ = expand_heredoc(&word, &variables);
    let _ = parse_chmod(&text);
    let _ = parse_duration(&text);
    let _ = parse_port_spec(&text);
    let _ = parse_signal(&text);
    let _ = RemoteSource::of(&text);
}

/// Where a build context is: a git repository or another address, as `docker buildx` and as Kaniko write them.
pub fn context(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(git) = GitSource::parse(&text) {
        let directory = git.subdirectory.unwrap_or_default();
        assert!(
            directory.components().all(|part| matches!(part, Component::Normal(_))),
            "{}",
            directory.display()
        );
    }
    let _ = buildx::parse(&text);
    let _ = kaniko::parse(&text, &KanikoOptions::default());
}

/// A `.dockerignore`; the first line is a path to be looked up.
pub fn ignore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, patterns) = text.split_once('\n').unwrap_or(("a/b", &text));
    let Ok(ignore) = Ignore::parse(patterns) else { return };
    let excluded = ignore.excludes(Path::new(path));
    assert!(!(excluded && ignore.is_empty()));
}

/// A layer or an archive for ADD: decompressed and listed.
pub fn archive(data: &[u8]) {
    let Ok(tar) = decompress(data) else { return };
    let mut reader = TarReader::of_archive(tar.take(MAX_UNPACKED));
    while let Ok(Some((entry, mut contents))) = reader.next_entry() {
        let inside = entry.path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(inside, "{}", entry.path.display());
        if std::io::copy(&mut contents, &mut std::io::sink()).is_err() {
            break;
        }
    }
    let _ = LayerIndex::read(data);
}

/// The listing of a layer, as it is kept in stores.
pub fn layer_index(data: &[u8]) {
    let Ok(index) = LayerIndex::read_from(data) else { return };
    let mut written = Vec::new();
    index.write_to(&mut written).expect("what was read can be written");
    assert_eq!(LayerIndex::read_from(written.as_slice()).expect("what was written can be read"), index);
}

/// The key for which entries of caches are read.
pub const CACHE_KEY: &str = "key";

/// The layer for which lists in caches are read.
pub const CACHED_LAYER: &str = "layer";

/// What caches hold, which others may write to: the entries of steps, those of layers, and lists of layers.
pub fn cache_entry(data: &[u8]) {
    let key = Digest::of(CACHE_KEY);
    if let Ok(step) = CachedStep::parse(data, key) {
        assert!((1..=MAX_LAYERS).contains(&step.layers.len()));
        assert!(
            step.layers.iter().filter_map(|layer| layer.index.as_ref()).all(|index| index.size <= MAX_INDEX)
        );
        let bytes = step.to_manifest(key).to_bytes().expect("what was read can be written");
        assert_eq!(CachedStep::parse(&bytes, key).expect("what was written can be read"), step);
        assert!(CachedStep::parse(data, Digest::of("another")).is_err(), "an entry is for its own key only");
    }
    if let Ok(list) = parse_tree(data, DiffId(Digest::of(CACHED_LAYER))) {
        assert!(list.size <= MAX_INDEX);
        assert!(parse_tree(data, DiffId(key)).is_err(), "a list is of its own layer only");
    }
    if let Ok(index) = read_list(data) {
        let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(index.entries.iter().all(|entry| inside(&entry.path)));
    }
}

/// What registries answer: manifests, indexes and configs.
pub fn manifest(data: &[u8]) {
    match ManifestOrIndex::parse(data, None) {
        Ok(ManifestOrIndex::Manifest(manifest)) => {
            let bytes = manifest.to_bytes().expect("what was read can be written");
            ManifestOrIndex::parse(&bytes, None).expect("what was written can be read");
        }
        Ok(ManifestOrIndex::Index(index)) => {
            let _ = index.select(&Platform::host());
        }
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let bytes = config.to_bytes().expect("what was read can be written");
        assert_eq!(ImageConfig::parse(&bytes).expect("what was written can be read"), config);
    }
}

/// Names of images and platforms.
pub fn image_reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(image) = text.parse::<ImageRef>() {
        assert_eq!(image.to_string().parse().as_ref(), Ok(&image));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform));
    }
}
