//! Decompression, chosen by the first bytes.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use oci_spec::image::MediaType;

use super::Ahead;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all, as far as can be told.
    Uncompressed,
    /// Gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// Bzip2.
    Bzip2,
    /// XZ.
    Xz,
}

/// Why a blob cannot be used as a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerTypeError {
    /// A layer that a registry may not hand out.
    #[error(
        "the layer is of the foreign type `{0}`, which must be fetched from elsewhere: that is not supported"
    )]
    Foreign(String),
    /// No type of a layer.
    #[error("`{0}` is not the type of an image layer that can be read")]
    Unknown(String),
}

/// So many bytes tell the formats apart.
const HEAD: usize = 10;

/// Largest window a zstd frame may ask for, as a power of two: 128 MiB, the format's own advice.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Most memory an xz stream may ask for, in KiB: twice what `xz -9` needs.
const XZ_MEMORY: u32 = 130 << 10;

impl Compression {
    /// Recognises the format by its first bytes; ten are enough.
    pub fn detect(head: &[u8]) -> Self {
        const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
        const BZIP2_END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // The second is a frame to be skipped, which may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A tar may begin with a file named `BZh…`: the magic of the first block decides.
            [b'B', b'Z', b'h', b'1'..=b'9', magic @ ..]
                if magic.starts_with(&BZIP2_BLOCK) || magic.starts_with(&BZIP2_END) =>
            {
                Self::Bzip2
            }
            _ => Self::Uncompressed,
        }
    }

    /// What the media type of a layer announces. The contents decide all the same: some registries hold layers
    /// that are not what their type says.
    pub fn of_layer(media_type: &MediaType) -> Result<Self, LayerTypeError> {
        let text = media_type.to_string();
        match text.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Ok(Self::Uncompressed)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Self::Zstd),
            foreign if foreign.contains(".foreign.") || foreign.contains(".nondistributable.") => {
                Err(LayerTypeError::Foreign(text))
            }
            _ => Err(LayerTypeError::Unknown(text)),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncompressed => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// Decompresses `reader` in whatever format it is. Reading to the end consumes `reader` to its end, so that a
/// digest taken there covers all of it. Memory is bounded for every format.
pub fn decompress<'a>(mut reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = Vec::with_capacity(HEAD);
    (&mut reader).take(HEAD as u64).read_to_end(&mut head)?;
    let compression = Compression::detect(&head);
    let whole = BufReader::with_capacity(1 << 16, Cursor::new(head).chain(reader));
    Ok(match compression {
        Compression::Uncompressed => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY)),
    })
}

/// Decompresses on a thread of its own, so that what is done with the result happens at the same time.
pub fn decompress_ahead(
    reader: impl Read + Send + 'static,
) -> io::Result<Ahead<Box<dyn Read + Send + 'static>>> {
    Ahead::start(decompress(reader)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::layer::{Digest, Hashing};

    fn filter(program: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{program:?}");
        output.stdout
    }

    fn sample() -> Vec<u8> {
        (0..200_000_u32).flat_map(|number| (number / 7).to_string().into_bytes()).collect()
    }

    /// Gives one byte at a time, as a slow connection might.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let wanted = buffer.len().min(1);
            self.0.read(&mut buffer[..wanted])
        }
    }

    #[test]
    fn reads_what_the_usual_programs_write() {
        let input = sample();
        for (program, compression) in [
            (&["cat"][..], Compression::Uncompressed),
            (&["gzip"], Compression::Gzip),
            (&["bzip2"], Compression::Bzip2),
            (&["xz"], Compression::Xz),
            (&["xz", "-9", "--check=sha256"], Compression::Xz),
            (&["xz", "--x86", "--lzma2"], Compression::Xz),
            (&["zstd"], Compression::Zstd),
            (&["zstd", "-19", "--long=27"], Compression::Zstd),
        ] {
            for parts in [1, 2] {
                // Members, frames and streams may follow each other.
                let blob = filter(program, &input).repeat(parts);
                assert_eq!(Compression::detect(&blob), compression);
                let mut source = Hashing::new(blob.as_slice());
                let mut output = Vec::new();
                decompress(&mut source).unwrap().read_to_end(&mut output).unwrap();
                assert!(output == input.repeat(parts), "{program:?} {parts}");
                assert_eq!(source.finish().1, Digest::of(&blob), "{program:?} is read to the end");
            }
            let blob = filter(program, b"short");
            let mut output = Vec::new();
            decompress(Trickle(&blob)).unwrap().read_to_end(&mut output).unwrap();
            assert_eq!(output, b"short");
        }
    }

    #[test]
    fn inflates_ahead() {
        let input = sample();
        let mut ahead = decompress_ahead(io::Cursor::new(filter(&["gzip"], &input))).unwrap();
        let mut output = Vec::new();
        ahead.read_to_end(&mut output).unwrap();
        assert!(output == input);
    }

    #[test]
    fn refuses_damage_and_excess() {
        let input = sample();
        for program in [&["gzip"][..], &["bzip2"], &["xz"], &["zstd"]] {
            let blob = filter(program, &input);
            let cut = decompress(&blob[..blob.len() - 3]).unwrap().read_to_end(&mut Vec::new());
            assert!(cut.is_err(), "{program:?}");
        }
        for program in [&["xz", "--lzma2=dict=1GiB"][..], &["zstd", "--long=31", "--no-check"]] {
            let blob = filter(program, &input);
            assert!(
                decompress(blob.as_slice()).unwrap().read_to_end(&mut Vec::new()).is_err(),
                "{program:?}"
            );
        }
    }

    #[test]
    fn knows_layers_by_media_type() {
        for (text, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Ok(Compression::Uncompressed)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Ok(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Ok(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Ok(Compression::Gzip)),
        ] {
            assert_eq!(Compression::of_layer(&text.into()), expected, "{text}");
        }
        for text in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert_eq!(Compression::of_layer(&text.into()), Err(LayerTypeError::Foreign(text.into())));
        }
        assert!(matches!(
            Compression::of_layer(&"text/plain".into()),
            Err(LayerTypeError::Unknown(text)) if text == "text/plain"
        ));
    }

    #[test]
    fn a_tar_with_a_strange_first_name_is_no_bzip2() {
        assert_eq!(Compression::detect(b"BZh9/file\0\0"), Compression::Uncompressed);
        assert_eq!(Compression::detect(b""), Compression::Uncompressed);
    }
}
