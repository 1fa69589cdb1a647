//! One header block, decoded but not yet interpreted.

use super::{BLOCK, TarError, number};

/// The fields of a header block, before long names and PAX records are applied.
#[derive(Debug)]
pub(super) struct RawHeader {
    pub(super) kind: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) device: (i64, i64),
}

impl RawHeader {
    /// Decodes the block found at `offset`, after checking its checksum.
    pub(super) fn decode(block: &[u8; BLOCK], offset: u64) -> Result<Self, TarError> {
        let header = tar::Header::from_byte_slice(block);
        let fields = header.as_old();
        let read = |field: &[u8], name| number::parse(field).ok_or(TarError::Field { offset, field: name });
        if !checksum_matches(block, number::parse(&fields.cksum)) {
            return Err(TarError::Checksum { offset });
        }
        let mut path = until_zero(&fields.name).to_vec();
        let mut device = (0, 0);
        // The GNU format keeps other things where ustar has the prefix.
        if let Some(ustar) = header.as_ustar() {
            let prefix = until_zero(&ustar.prefix);
            if !prefix.is_empty() {
                path.splice(0..0, prefix.iter().copied().chain([b'/']));
            }
        }
        if let Some((major, minor)) = header
            .as_ustar()
            .map(|ustar| (&ustar.dev_major, &ustar.dev_minor))
            .or_else(|| header.as_gnu().map(|gnu| (&gnu.dev_major, &gnu.dev_minor)))
            && matches!(fields.linkflag[0], b'3' | b'4')
        {
            device = (read(major, "device number")?, read(minor, "device number")?);
        }
        Ok(Self {
            kind: fields.linkflag[0],
            path,
            link: until_zero(&fields.linkname).to_vec(),
            mode: u32::try_from(read(&fields.mode, "mode")? & 0o7777)
                .map_err(|_| TarError::Field { offset, field: "mode" })?,
            uid: read(&fields.uid, "uid")?,
            gid: read(&fields.gid, "gid")?,
            size: u64::try_from(read(&fields.size, "size")?)
                .map_err(|_| TarError::Field { offset, field: "size" })?,
            mtime: read(&fields.mtime, "modification time")?,
            device,
        })
    }
}

/// The checksum is the sum of all bytes with its own field as blanks. Some writers of old summed signed bytes.
fn checksum_matches(block: &[u8; BLOCK], stored: Option<i64>) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    const BLANKS: i64 = 8 * b' ' as i64;
    let unsigned = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(byte.cast_signed())).sum::<i64>();
    stored.is_some_and(|stored| {
        stored == unsigned(block) - unsigned(&block[FIELD]) + BLANKS
            || stored == signed(block) - signed(&block[FIELD]) + BLANKS
    })
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
