//! `--ignore-path`: what is left out of new layers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use super::copy::Placed;
use super::error::StepError;
use super::writing::NewLayer;
use crate::layer::{Entry, EntryKind, TarReader, TarWriter};

/// Whether `path`, as a layer writes it, is one of `ignored` or below one.
fn is_ignored(path: &Path, ignored: &[PathBuf]) -> bool {
    ignored.iter().any(|ignored| {
        let names = ignored.components().filter(|part| matches!(part, Component::Normal(_)));
        let mut own = path.components();
        let mut names = names.peekable();
        // Ignoring `/` leaves out everything.
        names.all(|name| own.next() == Some(name))
    })
}

/// Of the entries of a COPY, those that go into the layer. Of a file whose first name stays out, the next name is the file.
pub(super) fn kept(placed: &[Placed], ignored: &[PathBuf]) -> Vec<Placed> {
    let is_ignored = |path: &Path| is_ignored(path, ignored);
    let mut first_names: HashMap<&Path, &Path> = HashMap::new();
    let mut kept = Vec::new();
    for item in placed.iter().filter(|placed| !is_ignored(&placed.entry.path)) {
        let path = item.entry.path.as_path();
        let item = match &item.entry.kind {
            EntryKind::Hardlink(target) if is_ignored(target) => {
                if let Some(first) = first_names.get(target.as_path()) {
                    let kind = EntryKind::Hardlink((*first).to_owned());
                    Placed { entry: Entry { kind, ..item.entry.clone() }, content: None }
                } else {
                    first_names.insert(target, path);
                    let file = placed.iter().find(|placed| placed.entry.path == *target).unwrap_or(item);
                    let entry = Entry { path: path.to_owned(), ..file.entry.clone() };
                    Placed { entry, content: file.content.clone() }
                }
            }
            _ => item.clone(),
        };
        kept.push(item);
    }
    kept
}

/// Files that stay out, as long as a later name of theirs may not: a tar has the contents at the first name only.
struct Withheld<'a> {
    directory: &'a Path,
    spool: Option<File>,
    files: HashMap<PathBuf, Held>,
}

enum Held {
    /// Its entry, and where its contents are.
    Aside(Entry, u64),
    /// It is in the layer, under this name.
    Written(PathBuf),
}

impl Withheld<'_> {
    fn keep(&mut self, entry: Entry, mut contents: impl Read) -> io::Result<()> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(tempfile::tempfile_in(self.directory)?),
        };
        let offset = spool.stream_position()?;
        io::copy(&mut contents, spool)?;
        self.files.insert(entry.path.clone(), Held::Aside(entry, offset));
        Ok(())
    }

    /// Writes a link to a file that stays out: as the file, or as a link to what has become the file.
    fn write_link(
        &mut self,
        link: Entry,
        target: &Path,
        output: &mut TarWriter<NewLayer>,
    ) -> Result<(), StepError> {
        let (Some(held), Some(spool)) = (self.files.get_mut(target), &mut self.spool) else {
            return Ok(output.append(&link, io::empty())?);
        };
        match held {
            Held::Written(first) => {
                let kind = EntryKind::Hardlink(first.clone());
                output.append(&Entry { kind, ..link }, io::empty())?;
            }
            Held::Aside(file, offset) => {
                let end = spool.stream_position().map_err(StepError::Write)?;
                spool.seek(SeekFrom::Start(*offset)).map_err(StepError::Write)?;
                let size = if let EntryKind::File { size, .. } = file.kind { size } else { 0 };
                let entry = Entry { path: link.path, ..file.clone() };
                output.append(&entry, (&mut *spool).take(size))?;
                spool.seek(SeekFrom::Start(end)).map_err(StepError::Write)?;
                *held = Held::Written(entry.path);
            }
        }
        Ok(())
    }
}

/// Copies a tar stream into `layer`, without what is ignored. `write` writes the stream; `scratch` is a directory for
/// temporary files.
pub(super) fn filter(
    layer: NewLayer,
    ignored: &[PathBuf],
    scratch: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), StepError>,
) -> Result<NewLayer, StepError> {
    let (reader, mut writer) = io::pipe().map_err(StepError::Write)?;
    std::thread::scope(|scope| {
        let copying = scope.spawn(move || -> Result<NewLayer, StepError> {
            let mut tar = TarReader::new(io::BufReader::with_capacity(1 << 18, reader));
            let mut output = TarWriter::new(layer);
            let mut withheld = Withheld { directory: scratch, spool: None, files: HashMap::new() };
            while let Some((entry, contents)) = tar.next_entry()? {
                let is_file = matches!(entry.kind, EntryKind::File { .. });
                match &entry.kind {
                    _ if is_ignored(&entry.path, ignored) => {
                        if is_file {
                            withheld.keep(entry, contents).map_err(StepError::Write)?;
                        }
                    }
                    EntryKind::Hardlink(target) if is_ignored(target, ignored) => {
                        let target = target.clone();
                        withheld.write_link(entry, &target, &mut output)?;
                    }
                    _ => output.append(&entry, contents)?,
                }
            }
            tar.finish()?;
            Ok(output.finish()?)
        });
        let written = write(&mut writer);
        drop(writer);
        let copied = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A reader that stops makes the writer fail: its reason is the reason.
        match (copied, written) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(layer), Ok(())) => Ok(layer),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_ignored_with_all_below_it() {
        let ignored = [PathBuf::from("/var/cache"), PathBuf::from("tmp/")];
        for (path, expected) in [
            ("var/cache", true),
            ("var/cache/x/y", true),
            ("var/cached", false),
            ("var", false),
            ("tmp", true),
            ("a/tmp", false),
        ] {
            assert_eq!(is_ignored(Path::new(path), &ignored), expected, "{path}");
        }
        assert!(is_ignored(Path::new("anything"), &[PathBuf::from("/")]));
    }
}
