//! Secrets: as files in memory, as variables, or both.

use super::{MountError, Supplies};
use crate::dockerfile::SecretMount;
use crate::exec::sandbox::{InlineFile, Mount, MountKind};

/// The secret's file, if the mount wants one and there is the secret.
pub(super) fn file(mount: &SecretMount, supplies: &Supplies) -> Result<Option<Mount>, MountError> {
    let Some(value) = supplies.secrets.get(&mount.id) else {
        if mount.required {
            return Err(MountError::NoSecret { id: mount.id.clone() });
        }
        return Ok(None);
    };
    Ok(mount.target.as_ref().map(|target| {
        let contents = value.reveal().to_vec();
        let file = InlineFile { contents, is_secret: true, mode: mount.mode, uid: mount.uid, gid: mount.gid };
        Mount { target: target.into(), kind: MountKind::File(file) }
    }))
}

/// The secret's variable, if the mount wants one: empty, as with BuildKit, if there is no such secret.
pub(super) fn variable(
    mount: &SecretMount,
    supplies: &Supplies,
) -> Result<Option<(String, String)>, MountError> {
    let Some(name) = &mount.env else { return Ok(None) };
    let value = match supplies.secrets.get(&mount.id) {
        None => String::new(),
        Some(value) => std::str::from_utf8(value.reveal())
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| MountError::NotText { id: mount.id.clone() })?
            .to_owned(),
    };
    Ok(Some((name.clone(), value)))
}
