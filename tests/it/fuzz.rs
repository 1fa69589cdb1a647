//! The fuzz targets with a fixed number of mutations: what `make fuzz` does for longer and with coverage.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library of its own for libFuzzer")]
mod targets;

use std::io::Write as _;

use cooper::cache::{CachedLayer, CachedStep, parse_tree};
use cooper::image::{Descriptor, Layer, MediaType, Time};
use cooper::layer::{DiffId, Digest, Entry, EntryKind, LayerIndex, Metadata, TarWriter};

/// Mutations per target.
const ROUNDS: u32 = 1000;

/// Inputs are kept this short: what is wrong shows in short ones, too.
const MAX_LENGTH: usize = 4096;

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// Changes an input a little: bits, bytes, words of the language, pieces of other inputs.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], numbers: &mut Numbers) {
    let at = numbers.below(input.len() + 1);
    match numbers.below(6) {
        0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
        1 if at < input.len() => input[at] = u8::try_from(numbers.below(256)).unwrap(),
        2 => {
            let end = (at + numbers.below(16)).min(input.len());
            input.drain(at..end);
        }
        3 => {
            let end = (at + numbers.below(64)).min(input.len());
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        4 => {
            let other = &seeds[numbers.below(seeds.len())];
            let start = numbers.below(other.len() + 1);
            let end = (start + numbers.below(128)).min(other.len());
            input.splice(at..at, other[start..end].iter().copied());
        }
        _ => {
            let word = words[numbers.below(words.len())];
            input.splice(at..at, word.bytes());
        }
    }
    input.truncate(MAX_LENGTH);
}

fn fuzz(target: impl Fn(&[u8]), seeds: &[Vec<u8>], words: &[&str]) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        target(seed);
    }
    for _ in 0..ROUNDS {
        let mut input = seeds[numbers.below(seeds.len())].clone();
        for _ in 0..=numbers.below(8) {
            mutate(&mut input, seeds, words, &mut numbers);
        }
        target(&input);
    }
}

fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// A line of text, as `xz` packs it.
const XZ: &[u8] = &[
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x0c,
    0x00, 0x00, 0x00, 0x8f, 0x98, 0x41, 0x9c, 0x01, 0x00, 0x11, 0x6e, 0x6f, 0x74, 0x20, 0x61, 0x20, 0x74,
    0x61, 0x72, 0x2c, 0x20, 0x62, 0x75, 0x74, 0x20, 0x78, 0x7a, 0x0a, 0x00, 0x00, 0x00, 0xef, 0x3f, 0x71,
    0x56, 0x86, 0x34, 0xc3, 0x42, 0x00, 0x01, 0x2a, 0x12, 0x4b, 0x08, 0x54, 0xbc, 0x1f, 0xb6, 0xf3, 0x7d,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
];

/// A small tar with everything in it.
fn tar() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let metadata = Metadata::with_mode(0o644);
    tar.append(&Entry::directory("etc", Metadata::with_mode(0o755)), &[][..]).unwrap();
    tar.append(&Entry::file("etc/passwd", metadata.clone(), 5), &b"root\n"[..]).unwrap();
    tar.append(&Entry::file("long/".repeat(40) + "name", metadata.clone(), 0), &[][..]).unwrap();
    tar.append(&Entry::whiteout("etc/gone"), &[][..]).unwrap();
    let link = EntryKind::Symlink("../etc".into());
    tar.append(&Entry { path: "link".into(), metadata, kind: link }, &[][..]).unwrap();
    tar.finish().unwrap()
}

#[test]
fn parser() {
    let seeds = texts(&[
        "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=$BUILDPLATFORM a:$V AS b\nRUN x `\n y\n",
        "FROM scratch\nCOPY --from=a --chmod=u+x --exclude=*.a a* b/ /c/\nADD <<-'A' <<B /d/\n\tx\n\tA\n$y\nB\nCMD [\"a\"]\n",
        "FROM x\nRUN --mount=type=cache,id=a,target=/b,sharing=locked --network=none \\\n # c\n\n a\nHEALTHCHECK --interval=1s CMD x\n",
        "FROM x\nENV a=b c=\"d e\" f\nENV k v w\nLABEL \"a b\"='c'\nEXPOSE 80-90/tcp\nONBUILD COPY <<E /\nx\nE\nSHELL [\"a\"]\n",
    ]);
    let words = [
        "FROM ", "\\\n", "<<EOF", "\nEOF\n", "--mount=", "${", "}", "\"", "'", "[", "\u{feff}", "\t", "日",
        "\r\n", "ONBUILD ",
    ];
    fuzz(targets::parser, &seeds, &words);
}

#[test]
fn plan() {
    let seeds = texts(&[
        "ARG V=1\nFROM b:$V AS b\nARG a\nRUN --mount=from=b,target=/x y\nFROM b\nCOPY --from=b --chmod=$a /a /b\n",
        "FROM scratch AS b\nENV A=$a\nWORKDIR $A\nONBUILD COPY --from=c /x /\nFROM x AS c\nFROM b\nEXPOSE $A 1-2\n",
        "FROM b AS b\nFROM b AS c\nCOPY --from=0 a b/\nADD --checksum=$a http://x/y /\nCOPY <<E /x\n$a\nE\nVOLUME $a\n",
        "FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH=x B=$a\nLABEL a=$B\nUSER $a\nSTOPSIGNAL $a\nHEALTHCHECK NONE\n",
    ]);
    let words = [
        "FROM ", "--from=", " AS b", "ONBUILD ", "$a", "${a:-", "}", "\n", "scratch", "b", "c", "RUN ", "/",
        "..",
    ];
    fuzz(targets::plan, &seeds, &words);
}

#[test]
fn expansion() {
    let seeds = texts(&[
        "$a ${b} \"${c:-$d}\" '$e' \\$f ${path//:*/ }",
        "${a:+x${b:?no}} ${path##*/} ${path%%:*} ${b/l?/\\/}",
        "u=rwX,go+s-t",
        "1h2m3.5s",
        "127.0.0.1:80-90:80-90/tcp",
    ]);
    fuzz(
        targets::expansion,
        &seeds,
        &["${", "}", ":-", "##", "%%", "//", "\\", "`", "\"", "'", "*", "?", "é"],
    );
}

#[test]
fn context() {
    let seeds = texts(&[
        "https://user:password@host.invalid:8443/a/b.git#refs/pull/1/head:sub/directory",
        "https://host.invalid/a.git?ref=v1&subdir=x&checksum=0123abc&submodules=0&mtime=commit",
        "git@host.invalid:a/b#main",
        "ssh://host.invalid/a",
        "git://host.invalid/a#:x",
        "s3://bucket/key.tar.gz",
        "tar:///context.tar",
        "dir:///workspace",
        "https://host.invalid/context.tar.xz",
    ]);
    let words = ["../", "#", ":", "?", "&", "=", "@", "//", "%2e%2e", "[::1]", ".git", "gs://", "é", " "];
    fuzz(targets::context, &seeds, &words);
}

#[test]
fn ignore() {
    let seeds = texts(&["a/b/c\n# x\n*\n!a/**/c\n", "x\n[a-z]?\\*\n**/y\n!\n", "a\n/a/../b/./\n!b\n[^x]\n"]);
    fuzz(targets::ignore, &seeds, &["**", "*", "!", "[", "]", "^", "-", "\\", "/", "\n", "..", "é"]);
}

#[test]
fn archive() {
    let plain = tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    let seeds =
        [plain, gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd, XZ.to_vec()].map(|mut seed| {
            seed.truncate(MAX_LENGTH);
            seed
        });
    fuzz(
        targets::archive,
        &seeds,
        &["../", "/", ".wh.", "\0", "ustar", "27 SCHILY.xattr.user.a=b\n", "77777777777"],
    );
}

#[test]
fn layer_index() {
    let mut seed = Vec::new();
    LayerIndex::read(tar().as_slice()).unwrap().write_to(&mut seed).unwrap();
    let words = ["../", "\"", "{", "}", "\\u0000", "9999999999999999999", "-1", "null", "\n", ","];
    fuzz(targets::layer_index, &[seed], &words);
}

#[test]
fn cache_entry() {
    let digest = |text: &str| Digest::of(text);
    let layer = |text: &str| {
        let diff_id = DiffId(digest(text));
        let blob = |kind, suffix: &str| Descriptor::new(kind, digest(&[text, suffix].concat()), 7);
        let mut index =
            blob(MediaType::Other("application/vnd.cooper.layer-index.v2+zstd".to_owned()), "list");
        index.annotations.insert("dev.cooper.diff-id".to_owned(), diff_id.to_string());
        let layer = Layer { diff_id, descriptor: blob(MediaType::ImageLayerGzip, "blob") };
        CachedLayer { layer, created: Time::from_epoch(1_700_000_000).unwrap(), index: Some(index) }
    };
    let step = CachedStep { layers: vec![layer(targets::CACHED_LAYER), layer("two")] };
    let step = step.to_manifest(digest(targets::CACHE_KEY));
    let bytes = step.to_bytes().unwrap();
    assert!(CachedStep::parse(&bytes, digest(targets::CACHE_KEY)).is_ok());
    // The entry of a layer differs in what it says it is, and has its list only.
    let own = DiffId(digest(targets::CACHED_LAYER)).to_string();
    let mut tree = step;
    tree.annotations.insert("dev.cooper.cache".to_owned(), "tree-1".to_owned());
    tree.annotations.insert("dev.cooper.key".to_owned(), own);
    tree.layers = vec![layer(targets::CACHED_LAYER).index.unwrap()];
    let tree = tree.to_bytes().unwrap();
    assert!(parse_tree(&tree, DiffId(digest(targets::CACHED_LAYER))).is_ok());
    let mut list = Vec::new();
    LayerIndex::read(tar().as_slice()).unwrap().write_to(&mut list).unwrap();
    let list = zstd::encode_all(list.as_slice(), 3).unwrap();
    assert!(cooper::cache::read_list(&list).is_ok());
    let words = [
        "null",
        "\"size\": 99999999999",
        "dev.cooper.diff-id",
        "dev.cooper.key",
        "step-1",
        "tree-1",
        "sha256:",
        "\"layers\": [",
        "}",
        ",",
        "\"\"",
    ];
    fuzz(targets::cache_entry, &[bytes, tree, list], &words);
}

#[test]
fn manifest() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let descriptor = |kind: &str| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":7}}"#)
    };
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}],"annotations":{{"a":"b"}}}}"#,
        descriptor("config.v1+json"),
        descriptor("layer.v1.tar+gzip")
    );
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        descriptor("manifest.v1+json")
    );
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2020-01-02T03:04:05.678Z","config":{{"Env":["A=b"],"Cmd":["x"],"ExposedPorts":{{"80/tcp":{{}}}},"Healthcheck":{{"Test":["NONE"],"Interval":5}},"OnBuild":["RUN x"]}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"history":[{{"created_by":"x","empty_layer":true}}]}}"#
    );
    let words = ["null", "{}", "[]", "-1", "1e99", "99999999999999999999", "\"\"", ",", "\\u0000", "sha256:"];
    fuzz(targets::manifest, &texts(&[&image, &index, &config]), &words);
}

#[test]
fn image_reference() {
    let digest = format!("a/b@sha256:{}", "0f".repeat(32));
    let seeds = texts(&["localhost:5000/a/b-c__d:tag.1", "[::1]:80/x", "alpine", "linux/arm/v7", &digest]);
    fuzz(
        targets::image_reference,
        &seeds,
        &["/", ":", "@", ".", "-", "_", "__", "[", "]", "sha256:", "é", "A"],
    );
}
