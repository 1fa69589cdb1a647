//! `--ignore-path`: what is left out of new layers.

use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::copy::Placed;
use super::error::StepError;
use super::writing::NewLayer;
use crate::layer::{TarReader, TarWriter};

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

/// Of the entries of a COPY, those that go into the layer.
pub(super) fn kept(placed: &[Placed], ignored: &[PathBuf]) -> Vec<Placed> {
    placed.iter().filter(|placed| !is_ignored(&placed.entry.path, ignored)).cloned().collect()
}

/// Copies a tar stream into `layer`, without what is ignored. `write` writes the stream.
pub(super) fn filter(
    layer: NewLayer,
    ignored: &[PathBuf],
    write: impl FnOnce(&mut dyn Write) -> Result<(), StepError>,
) -> Result<NewLayer, StepError> {
    let (reader, mut writer) = io::pipe().map_err(StepError::Write)?;
    std::thread::scope(|scope| {
        let copying = scope.spawn(move || -> Result<NewLayer, StepError> {
            let mut tar = TarReader::new(io::BufReader::with_capacity(1 << 18, reader));
            let mut output = TarWriter::new(layer);
            while let Some((entry, contents)) = tar.next_entry()? {
                if !is_ignored(&entry.path, ignored) {
                    output.append(&entry, contents)?;
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
