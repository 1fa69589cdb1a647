//! PAX records: `length key=value` lines that say what a ustar header cannot.

use std::collections::BTreeMap;

/// Begins the keys of extended attributes, as GNU tar, star and Go write them.
pub(super) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Records by key. The last of several records with one key counts.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads the records of one extended header into `records`. `None` when they are malformed.
pub(super) fn parse(mut bytes: &[u8], records: &mut Records) -> Option<()> {
    while !bytes.is_empty() {
        // More digits than these are no length of records that were accepted.
        let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = super::number::parse_decimal(&bytes[..blank])?;
        let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return None;
        }
        records.insert(key.to_vec(), value.to_vec());
        bytes = &bytes[length..];
    }
    Some(())
}

/// Appends one record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Blank, equals sign and newline.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    // The length counts its own digits.
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        for size in
            [0, 1, 2, 80, 90, 91, 92, 93, 94, 95, 96, 97, 98, 984, 985, 986, 987, 988, 989, 990, 9_980, 9_990]
        {
            let value = vec![b'\n'; size];
            let mut bytes = Vec::new();
            push(&mut bytes, b"key", &value);
            push(&mut bytes, b"k", b"=");
            let mut records = Records::new();
            assert_eq!(parse(&bytes, &mut records), Some(()), "{size}");
            assert_eq!(records, Records::from([(b"key".to_vec(), value), (b"k".to_vec(), b"=".to_vec())]));
        }
    }

    #[test]
    fn refuses_malformed_records() {
        for text in [
            "x",
            "5",
            "6 a=b",
            "6 a=bc",
            "7 a=b\n",
            "5 ab\n",
            "5 =b\n",
            "-6 a=b\n",
            "0 a=b\n",
            "2 a=b\n",
            "99999999999999999999999 a=b\n",
            "6 a=b\n6",
            " 6 a=b\n",
        ] {
            assert_eq!(parse(text.as_bytes(), &mut Records::new()), None, "{text:?}");
        }
    }
}
