//! What a build without a RUN spends its time on: reading a Dockerfile, tar, gzip, and listing a layer.
//!
//! `cargo bench`; each group takes a few seconds.

use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use cooper::dockerfile::{LintOptions, Source, lint, parse};
use cooper::layer::{Encoding, Entry, GzipWriter, LayerIndex, Metadata, TarWriter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FILES: usize = 7000;
const MEBIBYTE: usize = 1 << 20;

/// Entries like those of a Linux distribution: short paths, a few hundred bytes each.
fn small_files() -> Vec<(Entry, Vec<u8>)> {
    (0..FILES)
        .map(|number| {
            let path = format!("usr/lib/package-{}/module-{number}.js", number / 40);
            let contents = format!("exports.number = {number};\n").repeat(number % 20).into_bytes();
            let metadata = Metadata { mtime: 1_700_000_000, ..Metadata::with_mode(0o644) };
            (Entry::file(path, metadata, contents.len() as u64), contents)
        })
        .collect()
}

fn tar_of(members: &[(Entry, Vec<u8>)], target: impl Write) -> Option<()> {
    let mut tar = TarWriter::new(target);
    members.iter().try_for_each(|(entry, contents)| tar.append(entry, contents.as_slice())).ok()?;
    tar.finish().ok().map(drop)
}

/// Bytes that deflate about as well as programs and libraries do: lines of text with numbers, and some noise.
fn compressible(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut bytes = Vec::with_capacity(length + 128);
    while bytes.len() < length {
        let (name, value) = (random() % 5000, random());
        bytes.extend_from_slice(format!("  const value_{name} = lookup(table, {value:x});\n").as_bytes());
        bytes.extend((0..4).flat_map(|_| random().to_le_bytes()));
    }
    bytes.truncate(length);
    bytes
}

fn tar_writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tar writing");
    let members = small_files();
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("7000 small files", |bencher| {
        bencher.iter(|| tar_of(black_box(&members), io::sink()));
    });
    let large = compressible(64 * MEBIBYTE);
    let member = [(Entry::file("large", Metadata::with_mode(0o644), large.len() as u64), large)];
    group.throughput(Throughput::Bytes(64 * MEBIBYTE as u64));
    group.bench_function("one large file", |bencher| bencher.iter(|| tar_of(black_box(&member), io::sink())));
    group.finish();
}

fn gzip(criterion: &mut Criterion) {
    let input = compressible(8 * MEBIBYTE);
    let mut group = criterion.benchmark_group("gzip");
    group.throughput(Throughput::Bytes(input.len() as u64));
    for threads in [1, 2] {
        group.bench_function(format!("{threads} threads"), |bencher| {
            bencher.iter(|| {
                let threads = NonZeroUsize::new(threads)?;
                let mut writer = GzipWriter::new(io::sink(), Encoding::DEFAULT_GZIP_LEVEL, threads).ok()?;
                writer.write_all(black_box(&input)).ok()?;
                writer.finish().ok()
            });
        });
    }
    group.finish();
}

fn listing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer index");
    group.throughput(Throughput::Elements(FILES as u64));
    let mut tar = Vec::new();
    let written = tar_of(&small_files(), &mut tar);
    assert!(written.is_some(), "writing to memory succeeds");
    group.bench_function("from tar", |bencher| bencher.iter(|| LayerIndex::read(black_box(tar.as_slice()))));
    let mut kept = Vec::new();
    if let Ok(index) = LayerIndex::read(tar.as_slice()) {
        assert!(index.write_to(&mut kept).is_ok(), "writing to memory succeeds");
    }
    group.bench_function("as kept in the store", |bencher| {
        bencher.iter(|| LayerIndex::read_from(black_box(kept.as_slice())));
    });
    group.finish();
}

/// A Dockerfile of so many lines, with some of everything.
fn long_dockerfile(lines: usize) -> String {
    const BLOCK: &str = r#"# A comment about what follows
RUN --mount=type=cache,target=/var/cache/apt apt-get update \
    && apt-get install -y --no-install-recommends "curl=$VERSION" ca-certificates \
    # and away with it
    && rm -rf /var/lib/apt/lists/*
COPY --chown=app:app --from=0 ["a b.txt", "${DIRECTORY:-/srv}/"]
ENV PATH="/opt/bin:$PATH" LANG=C.UTF-8
LABEL org.opencontainers.image.title='an image' version="$VERSION"
COPY <<EOF /etc/app.conf
listen = ${PORT:-8080}
EOF
HEALTHCHECK --interval=5s --retries=3 CMD ["curl", "-f", "http://localhost/"]
WORKDIR /srv/app
EXPOSE 80 443/tcp
"#;
    let mut text =
        String::from("# syntax=docker/dockerfile:1\nARG VERSION=1\nFROM scratch AS first\nFROM scratch\n");
    // Four lines are there already.
    for _ in 0..(lines - 4) / BLOCK.lines().count() {
        text.push_str(BLOCK);
    }
    text
}

fn reading_dockerfiles(criterion: &mut Criterion) {
    const LINES: usize = 10_000;
    let text = long_dockerfile(LINES);
    let mut group = criterion.benchmark_group("dockerfile");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("parse 10000 lines", |bencher| {
        bencher.iter(|| parse(Source::new("Dockerfile", black_box(text.as_str()))));
    });
    let parsed = parse(Source::new("Dockerfile", text.as_str()));
    assert!(parsed.is_ok(), "it is a Dockerfile");
    if let Ok(dockerfile) = parsed {
        group.bench_function("lint 10000 lines", |bencher| {
            bencher.iter(|| lint(black_box(&dockerfile), &LintOptions::default()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = reading_dockerfiles, tar_writing, gzip, listing
}
criterion_main!(benches);
