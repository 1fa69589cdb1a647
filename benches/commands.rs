//! What a RUN costs beside its command: setting up and tearing down, and finding what changed.
//!
//! `cargo bench --bench commands`, as root. A rootfs of 100,000 files is unpacked for it, in the target directory.
//!
//! - `trivial RUN`: a rootfs of unpacked layers, `/bin/sh -c true` in it, an empty layer. At most 10 ms with an overlay.
//! - `diff of a small RUN`: only finding and writing what changed among the 100,000 files. At most 2 ms with an overlay,
//!   5 µs per entry (0.5 s) with a plain directory.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]
#![expect(clippy::print_stderr, reason = "where nothing can be measured, people want to know why")]

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use cooper::cancel::Cancel;
use cooper::exec::sandbox::{
    DiffSettings, Isolation, IsolationChoice, LayerSource, Network, Rootfs, RunSpec, Sandbox,
};
use cooper::layer::{Digest, Entry, Metadata, TarWriter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const FILES: usize = 100_000;

/// An overlay has no more lower directories than about 500, and each commit adds one.
const COMMITS_OF_ONE_ROOTFS: u64 = 100;

/// Busybox, and so many files in directories of 100.
fn base(files: usize) -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let metadata = |mode| Metadata { mtime: 1_000_000_000, ..Metadata::with_mode(mode) };
    let mut tar = TarWriter::new(Vec::new());
    for name in ["bin", "etc", "proc", "sys", "dev"] {
        tar.append(&Entry::directory(name, metadata(0o755)), std::io::empty()).unwrap();
    }
    tar.append(&Entry::file("bin/sh", metadata(0o755), busybox.len() as u64), busybox.as_slice()).unwrap();
    for number in 0..files {
        let path = format!("usr/lib/package-{}/file-{number}", number / 100);
        tar.append(&Entry::file(path, metadata(0o644), 4), &b"text"[..]).unwrap();
    }
    tar.finish().unwrap()
}

/// A sandbox with a layer unpacked in its store.
struct Unpacked {
    sandbox: Sandbox,
    layer: Vec<u8>,
    chain: Digest,
    cancel: Cancel,
    _store: TempDir,
}

impl Unpacked {
    fn new(isolation: Isolation, files: usize) -> Option<Self> {
        let store = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let helper = Path::new(env!("CARGO_BIN_EXE_cooper"));
        match Sandbox::choose(IsolationChoice::Only(isolation), store.path(), helper) {
            Ok(sandbox) => {
                let layer = base(files);
                let chain = Digest::of(&layer);
                Some(Self { sandbox, layer, chain, cancel: Cancel::new().unwrap(), _store: store })
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    fn rootfs(&self) -> Rootfs {
        let layer = self.layer.clone();
        let source =
            LayerSource { chain: self.chain, open: Box::new(move || Ok(Box::new(Cursor::new(layer)))) };
        self.sandbox.rootfs(vec![source], &self.cancel).unwrap()
    }

    fn run(&self, rootfs: &mut Rootfs, script: &str) {
        let spec = RunSpec {
            argv: ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            hostname: "buildkitsandbox".to_owned(),
            network: Network::Host,
            mounts: Vec::new(),
            extra_hosts: Vec::new(),
            shm_size: None,
            ulimits: Vec::new(),
            emulator: None,
        };
        assert!(rootfs.run(&spec, &mut |_, _| {}, &self.cancel).unwrap().success());
    }

    fn commit(&self, rootfs: &mut Rootfs) -> u64 {
        rootfs.commit(DiffSettings::default(), &mut std::io::sink(), &self.cancel).unwrap().entries
    }
}

fn trivial_run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trivial RUN");
    for isolation in [Isolation::Overlay, Isolation::Userns] {
        let Some(unpacked) = Unpacked::new(isolation, 100) else { continue };
        drop(unpacked.rootfs());
        group.bench_function(isolation.to_string(), |bencher| {
            bencher.iter(|| {
                let mut rootfs = unpacked.rootfs();
                unpacked.run(&mut rootfs, "true");
                assert_eq!(unpacked.commit(&mut rootfs), 0);
            });
        });
    }
    group.finish();
}

fn diff(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("diff of a small RUN");
    for isolation in [Isolation::Overlay, Isolation::Userns] {
        let Some(unpacked) = Unpacked::new(isolation, FILES) else { continue };
        let entries = if isolation == Isolation::Overlay { 1 } else { FILES as u64 };
        group.throughput(Throughput::Elements(entries));
        let mut rootfs = unpacked.rootfs();
        group.bench_function(isolation.to_string(), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for iteration in 0..iterations {
                    if isolation == Isolation::Overlay && iteration % COMMITS_OF_ONE_ROOTFS == 0 {
                        rootfs = unpacked.rootfs();
                    }
                    unpacked.run(
                        &mut rootfs,
                        "echo $$ $PPID >> /etc/new; echo more >> /usr/lib/package-7/file-700",
                    );
                    let began = Instant::now();
                    let entries = unpacked.commit(&mut rootfs);
                    spent += began.elapsed();
                    assert_eq!(entries, 6);
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = trivial_run, diff
}
criterion_main!(benches);
