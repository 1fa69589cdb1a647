//! Keys: what the result of a step is found by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::layer::{Digest, Hasher};

/// The making of a key: a SHA-256 over fields that each carry their length, so that no two sequences of fields give
/// the same bytes.
#[derive(Debug)]
pub struct KeyWriter {
    hasher: Hasher,
}

/// Raised when the meaning of any field changes, or what a step makes of them: older results are then not found.
const VERSION: &str = "cooper-2";

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

/// What a step is made from, part by part, so that two builds of it can be compared; its key is a hash of all parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    kind: String,
    parts: Vec<(String, Digest)>,
}

impl Definition {
    /// An operation of this kind, of which nothing is known yet.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), parts: Vec::new() }
    }

    /// Adds a part under a name for people.
    pub fn part(&mut self, name: impl Into<String>, digest: Digest) -> &mut Self {
        self.parts.push((name.into(), digest));
        self
    }

    /// Adds a part that is a text. The text itself is not kept.
    pub fn text(&mut self, name: impl Into<String>, text: impl AsRef<[u8]>) -> &mut Self {
        self.part(name, Digest::of(text))
    }

    /// The key.
    pub fn key(&self) -> Digest {
        let mut key = KeyWriter::new(&self.kind);
        key.number(self.parts.len() as u64);
        for (name, digest) in &self.parts {
            key.field(name).digest(*digest);
        }
        key.finish()
    }

    /// The names of the parts in which this differs from `before`: changed, added, and gone, each once.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut left: BTreeMap<&str, Vec<Digest>> = BTreeMap::new();
        for (name, digest) in before.parts.iter().rev() {
            left.entry(name).or_default().push(*digest);
        }
        let mut changes = Vec::new();
        for (name, digest) in &self.parts {
            match left.get_mut(name.as_str()).and_then(Vec::pop) {
                Some(old) if old == *digest => {}
                Some(_) => changes.push(Change { name: name.clone(), kind: ChangeKind::Changed }),
                None => changes.push(Change { name: name.clone(), kind: ChangeKind::Added }),
            }
        }
        let gone = left.iter().filter(|(_, digests)| !digests.is_empty());
        changes.extend(gone.map(|(name, _)| Change { name: (*name).to_owned(), kind: ChangeKind::Gone }));
        changes.sort();
        changes.dedup();
        changes
    }
}

/// A part in which two definitions differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// The part.
    pub name: String,
    /// How.
    pub kind: ChangeKind,
}

/// How a part differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is another one now.
    Changed,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_tell_what_changed() {
        let definition = |parts: &[(&str, &str)]| {
            let mut definition = Definition::new("test");
            for (name, text) in parts {
                definition.text(*name, text);
            }
            definition
        };
        let before = definition(&[("command", "make"), ("a", "1"), ("b", "2"), ("x", "1"), ("x", "2")]);
        let after = definition(&[("command", "make"), ("a", "2"), ("c", "2"), ("x", "1"), ("x", "2")]);
        assert_ne!(before.key(), after.key());
        let changes: Vec<_> =
            after.changes_since(&before).into_iter().map(|change| (change.name, change.kind)).collect();
        let expected = [("a", ChangeKind::Changed), ("b", ChangeKind::Gone), ("c", ChangeKind::Added)];
        assert_eq!(changes, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(before.changes_since(&before), []);
        assert_ne!(definition(&[("a", "bc")]).key(), definition(&[("ab", "c")]).key());
    }

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
