//! Files that are too many or too large to be kept: made anew, always the same.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Words of a text that compresses about as well as source code does.
const WORDS: [&str; 24] = [
    "return",
    "value",
    "function",
    "const",
    "export",
    "module",
    "import",
    "if",
    "else",
    "for",
    "length",
    "undefined",
    "index",
    "result",
    "options",
    "callback",
    "error",
    "require",
    "prototype",
    "string",
    "object",
    "true",
    "null",
    "this",
];

/// `SplitMix64`, by Sebastiano Vigna: numbers that look random and always are the same.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }

    fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length + 24);
        while text.len() < length {
            text.push_str(WORDS[self.below(WORDS.len())]);
            match self.below(9) {
                0 => text.push_str("();\n"),
                1 => {
                    text.push_str(" = ");
                    text.push_str(&(self.next() % 10_000).to_string());
                    text.push_str(";\n");
                }
                2 => text.push('.'),
                _ => text.push(' '),
            }
        }
        text.truncate(length);
        text
    }
}

/// `count` files of 200 bytes to 4 KiB in `count / 40` directories, as a `node_modules` has them.
pub(super) fn small_files(root: &Path, count: usize) -> io::Result<()> {
    let mut numbers = Numbers(40_000);
    for number in 0..count {
        let package = number / 40;
        let directory = root.join(format!("package-{}/lib-{}", package / 10, package % 10));
        if number % 40 == 0 {
            fs::create_dir_all(&directory)?;
        }
        let length = 200 + numbers.below(3_896);
        fs::write(directory.join(format!("file-{number}.js")), numbers.text(length))?;
    }
    Ok(())
}

/// A file of `mebibytes` MiB: of each four, three are text like that of a program's data, one does not compress.
pub(super) fn large_file(path: &Path, mebibytes: usize) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut numbers = Numbers(1 << 30);
    // A window of a longer text, another one for each MiB, so that no two are alike.
    let text = numbers.text(2 << 20).into_bytes();
    let mut noise = vec![0_u8; 1 << 20];
    for number in 0..mebibytes {
        if number % 4 == 3 {
            for chunk in noise.chunks_exact_mut(8) {
                chunk.copy_from_slice(&numbers.next().to_le_bytes());
            }
            file.write_all(&noise)?;
            continue;
        }
        let start = numbers.below(1 << 20);
        let mut piece = text[start..start + (1 << 20)].to_vec();
        // What a compressor that looks far back would find again is not there twice.
        for position in (0..piece.len()).step_by(61) {
            piece[position] = b'a' + u8::try_from(numbers.below(26)).unwrap_or_default();
        }
        file.write_all(&piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_always_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for root in [one.path(), other.path()] {
            small_files(root, 100).unwrap();
            large_file(&root.join("large"), 5).unwrap();
        }
        for path in ["package-0/lib-2/file-99.js", "large"] {
            assert!(fs::read(one.path().join(path)).unwrap() == fs::read(other.path().join(path)).unwrap());
        }
        assert_eq!(fs::metadata(one.path().join("large")).unwrap().len(), 5 << 20);
    }
}
