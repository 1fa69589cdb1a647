use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::layer::Digest;

fn gzip(input: &[u8], level: u8, threads: usize) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new(), level, NonZeroUsize::new(threads).unwrap()).unwrap();
    writer.write_all(input).unwrap();
    writer.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut decoder = GzDecoder::new(bytes);
    decoder.read_to_end(&mut output).unwrap();
    assert!(decoder.into_inner().is_empty(), "one member and nothing behind it");
    output
}

/// Something like the files of an image: words, numbers and noise, the same each time.
fn prose(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % below
    };
    let words =
        ["layer", "image", "config", "manifest", "digest", "of", "the", "a", "0x", "\n", "{}", "usr/lib"];
    let mut text = Vec::with_capacity(length + 64);
    while text.len() < length {
        match random(4) {
            0 => text.extend((0..random(20)).map(|_| random(256).to_le_bytes()[0])),
            1 => text.extend(random(100_000).to_string().bytes()),
            2 if text.len() > 4000 => {
                let start = text.len() - 1 - random(4000);
                text.extend_from_within(start..(start + random(60)).min(text.len()));
            }
            _ => text.extend(words[random(words.len())].bytes()),
        }
    }
    text.truncate(length);
    text
}

#[test]
fn inflates_to_what_it_was_at_every_size_and_level() {
    let text = prose(4 * BLOCK);
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 4 * BLOCK] {
        for level in [0, 1, 4, 9] {
            assert!(gunzip(&gzip(&text[..size], level, 2)) == text[..size], "{size} at {level}");
        }
    }
}

#[test]
fn does_not_depend_on_threads_nor_on_how_it_is_written() {
    let text = prose(4 * BLOCK + 77);
    for level in 0..=9 {
        let alone = gzip(&text, level, 1);
        assert!(gzip(&text, level, 2) == alone && gzip(&text, level, 7) == alone, "level {level}");
    }
    let mut writer = GzipWriter::new(Vec::new(), 6, NonZeroUsize::new(3).unwrap()).unwrap();
    for piece in text.chunks(10_007) {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    assert!(writer.finish().unwrap() == gzip(&text, 6, 1));
}

#[test]
fn writes_the_same_bytes_for_ever() {
    // A change of these digests is a change of every layer made: it empties all caches.
    let text = prose(3 * BLOCK + 12_345);
    for (level, digest) in [
        (0, "sha256:3a23122d8c0a68e7608d1fc41a252e37bdca1e02c85f0c49a3b34e978e4b01cb"),
        (1, "sha256:41bf74926247d79bb44e6434e9a8498f3bc4b5c4fe902b9753aaae10dc8a6f08"),
        (6, "sha256:9bbe80f1c4cc94b6c38ee3387bf724cda07526fb92e42b065ca0cc3b0c30c04b"),
        (9, "sha256:5b72c14da58f78db17f0c0967a55a6cd4bb4f420f500fdcf4bf73224462874c0"),
    ] {
        assert_eq!(Digest::of(gzip(&text, level, 2)).to_string(), digest, "level {level}");
    }
    assert_eq!(gzip(b"", 6, 2), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn noise_hardly_grows() {
    // Bytes that take nine bits in fixed codes, the worst case of the fast levels.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24).to_le_bytes()[0] | 0x90
    })
    .take(BLOCK + 1)
    .collect();
    for level in 0..=9 {
        let bytes = gzip(&noise, level, 1);
        assert!(gunzip(&bytes) == noise && bytes.len() < noise.len() * 9 / 8 + 100, "level {level}");
    }
}

#[test]
fn noise_is_stored_and_what_is_there_twice_is_not() {
    let mut state = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    })
    .take(2 * BLOCK)
    .collect();
    let stored = gzip(&noise, 6, 2);
    assert!(
        gunzip(&stored) == noise && stored.len() < noise.len() + noise.len() / 1000 + 100,
        "{}",
        stored.len()
    );
    let twice = noise[..20_000].repeat(40);
    let bytes = gzip(&twice, 6, 2);
    assert!(gunzip(&bytes) == twice && bytes.len() < 80_000, "{}", bytes.len());
    // Half of a block is text: it is deflated as a whole.
    let mixed = [&noise[..BLOCK / 2], &prose(BLOCK / 2)].concat();
    let bytes = gzip(&mixed, 6, 1);
    assert!(gunzip(&bytes) == mixed && bytes.len() < mixed.len() * 9 / 10, "{}", bytes.len());
}

#[test]
fn starts_threads_only_when_they_are_worth_it() {
    let text = prose(3 * BLOCK);
    let started = |size: usize, threads: usize| {
        let mut writer = GzipWriter::new(Vec::new(), 1, NonZeroUsize::new(threads).unwrap()).unwrap();
        writer.write_all(&text[..size]).unwrap();
        let started = writer.workers.as_ref().map_or(0, Workers::count);
        drop(writer.finish());
        started
    };
    assert_eq!((started(2 * BLOCK, 2), started(3 * BLOCK, 2), started(3 * BLOCK, 1)), (0, 2, 0));
}

#[test]
fn can_be_dropped_unfinished() {
    let mut writer = GzipWriter::new(Vec::new(), 6, NonZeroUsize::new(2).unwrap()).unwrap();
    writer.write_all(&prose(6 * BLOCK)).unwrap();
    drop(writer);
}

#[test]
fn passes_on_the_errors_of_its_target() {
    let room = [0_u8; 5000];
    let mut room = room.to_vec();
    let mut writer = GzipWriter::new(room.as_mut_slice(), 0, NonZeroUsize::new(2).unwrap()).unwrap();
    let result = writer.write_all(&prose(20 * BLOCK)).and_then(|()| writer.finish().map(drop));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WriteZero);
    assert!(GzipWriter::new(Vec::new(), 10, NonZeroUsize::MIN).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn round_trips(
        seed in prop::collection::vec(any::<u8>(), 1..2000),
        repeats in 1..500_usize,
        level in 0..=9_u8,
        threads in 1..4_usize,
    ) {
        let input = seed.repeat(repeats);
        let bytes = gzip(&input, level, threads);
        prop_assert!(gunzip(&bytes) == input);
        prop_assert!(bytes == gzip(&input, level, 1));
    }
}
