//! Files of the data folder that others of the machine may neither read nor redirect.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// Owner reads and writes, nobody else anything.
const MODE: u32 = 0o600;

/// Opens a file that only its owner can open, and not through a link. One that was made more open is closed to others first.
pub(super) fn ours_alone(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let file = options.mode(MODE).custom_flags(no_link).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}
