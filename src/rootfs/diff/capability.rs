//! The capabilities of files, where they can be set and where not.
//!
//! CRI-O's root may not set them (it lacks `CAP_SETFCAP`). Then a note of them is left in an attribute that anybody
//! may set. It counts as long as the file is what it was unpacked as, for the kernel takes capabilities away from files
//! that are written to or change their owner; and only on files that nobody but root could have put it on.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Stat, XattrFlags};
use rustix::io::Errno;

use super::CAPABILITY;
use super::status::Status;

/// Says what [`CAPABILITY`] would have said, behind the evidence that the file is unchanged.
const NOTE: &str = "user.cooper.capability";

/// Size, owner, group, seconds and nanoseconds of the modification time.
const EVIDENCE: usize = 8 + 4 + 4 + 8 + 4;

/// Sets the capabilities of a file that is finished, or leaves a note of them and gives the system's refusal.
pub(crate) fn set_capability(file: impl AsFd, value: &[u8]) -> io::Result<()> {
    let Err(refused) = rustix::fs::fsetxattr(&file, CAPABILITY, value, XattrFlags::empty()) else {
        return Ok(());
    };
    let mut note = evidence(&rustix::fs::fstat(&file)?).to_vec();
    note.extend_from_slice(value);
    // Without the note it is as if the file had none, which is what is told anyway.
    let _ = rustix::fs::fsetxattr(&file, NOTE, &note, XattrFlags::empty());
    Err(refused.into())
}

/// The capabilities of a file, as they are in its user namespace.
pub(super) fn capability(file: impl AsFd) -> io::Result<Option<Vec<u8>>> {
    // The longest form there is has 24 bytes.
    let mut value = [0_u8; 64];
    match rustix::fs::fgetxattr(&file, CAPABILITY, &mut value[..]) {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::NODATA | Errno::NOTSUP) => noted(&file),
        Err(error) => Err(error.into()),
    }
}

fn noted(file: impl AsFd) -> io::Result<Option<Vec<u8>>> {
    let mut note = [0_u8; EVIDENCE + 64];
    let length = match rustix::fs::fgetxattr(&file, NOTE, &mut note[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    let is_roots = stat.st_uid == 0 && stat.st_mode & 0o022 == 0;
    let found = note.get(..length).and_then(|note| note.split_at_checked(EVIDENCE));
    Ok(found
        .filter(|(evidence, value)| is_roots && *evidence == self::evidence(&stat) && !value.is_empty())
        .map(|(_, value)| value.to_vec()))
}

fn evidence(stat: &Stat) -> [u8; EVIDENCE] {
    let Status { size, uid, gid, mtime: (seconds, nanoseconds), .. } = Status::from(stat);
    let mut bytes = [0; EVIDENCE];
    let fields = size.to_le_bytes().into_iter().chain(uid.to_le_bytes()).chain(gid.to_le_bytes());
    let fields = fields.chain(seconds.to_le_bytes()).chain(nanoseconds.to_le_bytes());
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_note_counts_as_long_as_the_file_is_unchanged() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"program").unwrap();
        // No valid value: the kernel refuses it, as it does any without the capability to set one.
        assert!(set_capability(&file, b"value").is_err());
        assert_eq!(capability(&file).unwrap(), Some(b"value".to_vec()));
        let mode = |mode| file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert_eq!(capability(&file).unwrap(), None);
        mode(0o755);
        assert_eq!(capability(&file).unwrap(), Some(b"value".to_vec()));
        file.write_all(b"changed").unwrap();
        assert_eq!(capability(&file).unwrap(), None);
    }
}
