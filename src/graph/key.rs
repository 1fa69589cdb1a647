//! Keys: what the result of a step is found by.

use crate::layer::{Digest, Hasher};

/// The making of a key: a SHA-256 over fields that each carry their length, so that no two sequences of fields give
/// the same bytes.
#[derive(Debug)]
pub struct KeyWriter {
    hasher: Hasher,
}

/// Raised when the meaning of any field changes, or what a step makes of them: older results are then not found.
const VERSION: &str = "cooper-1";

impl KeyWriter {
    /// The key of an operation of this kind.
    pub fn new(kind: &str) -> Self {
        let mut writer = Self { hasher: Hasher::new() };
        writer.field(VERSION).field(kind);
        writer
    }

    /// Adds a field.
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.field(number.to_be_bytes())
    }

    /// Adds another key or a digest.
    pub fn digest(&mut self, digest: Digest) -> &mut Self {
        self.field(digest.as_bytes())
    }

    /// Adds a list, by its length and its fields.
    pub fn list<T: AsRef<[u8]>>(&mut self, fields: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.number(fields.len() as u64);
        for field in fields {
            self.field(field);
        }
        self
    }

    /// Adds a value that may be missing.
    pub fn optional(&mut self, field: Option<impl AsRef<[u8]>>) -> &mut Self {
        match field {
            None => self.number(0),
            Some(field) => self.number(1).field(field),
        }
    }

    /// The key.
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[&str]) -> Digest {
        let mut writer = KeyWriter::new("test");
        for field in fields {
            writer.field(field);
        }
        writer.finish()
    }

    #[test]
    fn fields_do_not_run_together() {
        let keys =
            [key(&["ab", "c"]), key(&["a", "bc"]), key(&["abc"]), key(&["abc", ""]), key(&["", "abc"])];
        for (position, one) in keys.iter().enumerate() {
            assert!(keys[position + 1..].iter().all(|other| other != one));
        }
    }
}
