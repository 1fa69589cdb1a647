//! Directories that are done with, kept until all is measured.
//!
//! Removing them between runs would be measured with the next run: ext4 does not give out the number of a file again
//! that was removed within the last minute, and looks for another by going through all of those, one by one, for every
//! file that is made (`recently_deleted` in Linux' `fs/ext4/ialloc.c`). After some thousand files that is half a
//! millisecond per file.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::BenchError;

const NAME: &str = "aside";

/// Moves a directory out of the way, if it is there, and makes it anew.
pub(super) fn renew(directory: &Path) -> Result<(), BenchError> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let failed = |source| BenchError::io(directory, source);
    let aside = directory.with_file_name(NAME);
    std::fs::create_dir_all(&aside).map_err(failed)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    match std::fs::rename(directory, aside.join(number.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::create_dir_all(directory).map_err(failed)
}

/// Removes what was moved aside in `work`.
pub(super) fn clear(work: &Path) -> Result<(), BenchError> {
    let aside = work.join(NAME);
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BenchError::io(&aside, error)),
        _ => Ok(()),
    }
}
